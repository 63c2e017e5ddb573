"""What power there is and what is left: the chance to find the smallest effect now, and by the horizon. Pure.

From the spread that the experiment's own users show, with what CUPED has gained; the plan's power was a forecast from
the traffic before.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from serving.experiments.definitions import Definition
from serving.experiments.power import WANTED, WEEK, power
from training.experiments.estimates import LEVEL, Values
from training.experiments.judging import Compared


@dataclass(frozen=True)
class Outlook:
    """Of one arm beside the control."""

    arm: str
    users: int  # of the two
    power: float  # to find the smallest effect with these
    detectable: float  # the relative change that these would find with a chance of 80%
    days_left: float
    users_then: int  # at the horizon, if as many new ones come a day as lately
    power_then: float


def outlook_of(
    definition: Definition, compared: list[Compared], came: Values, days: float, horizon_days: int | None
) -> list[Outlook]:
    """For each arm that has users with any spread; ``came`` (n,): days since the start of each first exposure."""
    left = max((horizon_days or 0) - days, 0.0)
    growth = 1 + left * _new_a_day(came, days) / max(len(came), 1)
    return [_outlook(definition, each, left, growth) for each in compared if min(each.deviations) > 0]


def _outlook(definition: Definition, found: Compared, left: float, growth: float) -> Outlook:
    """One arm's."""
    level = LEVEL / (len(definition.arms) - 1)
    effect = definition.smallest_effect * abs(found.control_mean)
    sizes = (float(found.sizes[0]), float(found.sizes[1]))
    error = sum(spread**2 / size for spread, size in zip(found.deviations, sizes, strict=True)) ** 0.5
    bound = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(WANTED)
    return Outlook(
        arm=found.arm,
        users=sum(found.sizes),
        power=power(effect, found.deviations, sizes, level),
        detectable=bound * error / abs(found.control_mean) if found.control_mean else float("nan"),
        days_left=left,
        users_then=round(sum(sizes) * growth),
        power_then=power(effect, found.deviations, (sizes[0] * growth, sizes[1] * growth), level),
    )


def _new_a_day(came: Values, days: float) -> float:
    """First exposures per day of the last week, or of the time there was."""
    span = min(float(WEEK), days)
    return float((came >= days - span).sum()) / span if span > 0 else 0.0
