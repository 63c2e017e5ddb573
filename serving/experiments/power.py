"""How long an experiment must run to find the smallest effect that is worth finding, at the traffic there is. Pure.

The usual normal approximation (Kohavi, Tang & Xu, Trustworthy Online Controlled Experiments, 2020, chapter 17) for a
ratio of sums over users, by the delta method (Deng, Knoblich & Lu, KDD 2018). What CUPED gains comes on top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from serving.experiments.definitions import SLOTS, Definition

LEVEL = 0.05  # two-sided
WANTED, LEAST = 0.80, 0.50  # power: what the horizon is made for, and below which nothing is started
WEEK = 7  # days: people differ by the day of the week
FEWER_USERS = 8.0  # an interleaved list needs so many times fewer users (definitions: 8 to 11)
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Traffic:
    """``users``: how many came within the first 1, 2, ... days, each once; the metric and its deviation over users."""

    users: tuple[int, ...]
    mean: float
    deviation: float

    def within(self, days: int) -> float:
        """How many different users come within so many days; after the days known, as many new ones as lately."""
        if not self.users:
            return 0.0
        known = len(self.users)
        if days <= known:
            return float(self.users[days - 1])
        lately = min(WEEK, known - 1)
        new = (self.users[-1] - self.users[-1 - lately]) / lately if lately else float(self.users[-1])
        return self.users[-1] + new * (days - known)


@dataclass(frozen=True)
class Horizon:
    """When an experiment is judged, and the chance that it finds its smallest effect by then."""

    days: int
    power: float
    wanted_days: int | None  # until the power is what is wanted; None: never


def traffic_of(rows: Sequence[Mapping[str, Any]], days: int) -> Traffic:
    """The rows of the query experiment_traffic, as sums; days before the first user came are left out."""
    count = sum(row["users"] for row in rows)
    if count == 0:
        return Traffic((), 0.0, 0.0)
    x, y, xx, yy, xy = (sum(row[name] for row in rows) / count for name in ("x", "y", "xx", "yy", "xy"))
    came = {row["day"]: row["users"] for row in rows}
    first = min(came)
    users = tuple(
        sum(came.get(day, 0) for day in range(first, last + 1)) for last in range(first, max(days, first + 1))
    )
    if y == 0:
        return Traffic(users, 0.0, 0.0)
    ratio = x / y
    spread = max((xx - 2 * ratio * xy + ratio**2 * yy) / y**2, 0.0)  # of (x - ratio y) / mean y, whose mean is 0
    return Traffic(users, ratio, math.sqrt(spread))


def power(effect: float, deviations: tuple[float, float], sizes: tuple[float, float], level: float = LEVEL) -> float:
    """The chance that a two-sided test at ``level`` finds an absolute ``effect`` between groups of these sizes.

    >>> round(power(0.1, (1.0, 1.0), (1570, 1570)), 2)
    0.8
    """
    if min(sizes) == 0 or max(deviations) == 0:
        return level
    error = math.sqrt(sum(deviation**2 / size for deviation, size in zip(deviations, sizes, strict=True)))
    bound = _NORMAL.inv_cdf(1 - level / 2)
    return _NORMAL.cdf(effect / error - bound) + _NORMAL.cdf(-effect / error - bound)


def horizon(definition: Definition, traffic: Traffic, *, holdout: float, longest: int, most: int = 3_650) -> Horizon:
    """Whole weeks until the power is what is wanted, at most ``longest`` days."""
    weeks = range(WEEK, most + 1, WEEK)
    wanted = next((days for days in weeks if expected_power(definition, traffic, days, holdout) >= WANTED), None)
    days = longest if wanted is None else min(wanted, longest)
    return Horizon(days, expected_power(definition, traffic, days, holdout), wanted)


def expected_power(definition: Definition, traffic: Traffic, days: int, holdout: float) -> float:
    """The power after so many days with all slots in use: the least arm against the control, several ones by Holm."""
    users = traffic.within(days) * (1 - holdout) * definition.slots.count / SLOTS
    if definition.design == "interleaved":
        users *= FEWER_USERS
    total = sum(arm.weight for arm in definition.arms)
    control, *others = (users * arm.weight / total for arm in definition.arms)
    effect = definition.smallest_effect
    deviations = (traffic.deviation, (1 + effect) * traffic.deviation)  # who likes more differs more
    return power(effect * abs(traffic.mean), deviations, (control, min(others)), LEVEL / len(others))
