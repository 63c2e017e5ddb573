"""Guardrails: what no arm may harm, each by a confidence sequence over users, valid whenever it is looked at. Pure.

All of an experiment's sequences together give a false alarm in one experiment of twenty at most (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from serving.experiments.definitions import Definition, Guardrail
from serving.experiments.metrics import METRICS, Ratio
from training.experiments.estimates import LEVEL, Values
from training.experiments.judging import follow, told_by
from training.experiments.reading import WINDOWS_DAYS, Exposed
from training.experiments.sequences import Track

#: Each guardrail's parts, and whether more of it is harm. A user's value is the first part over the second within the
#: window; the difference is that of the users' mean values.
#:
#: - fill_rate: slots returned over slots asked for.
#: - stockout_rate: lists for which nothing unseen was left, over lists.
#: - display_freshness: displays of what the user was shown for the first time, over displays.
#: - p95_latency: lists that took longer than 95% of the control's, over timed lists: above the control's share where,
#:   and only where, the arm's 95th percentile is. Time until the list is written; what the network adds is nobody's.
#: - error_rate: lists that the model was to rank and did not (late, busy, broken) or that lost artworks on the way,
#:   over lists. A request that failed has left no list: the service's metrics count those, for all arms together.
#: - cost_per_impression: dollars over displays; an ordered artwork's price is shared by all users who have seen it, and
#:   what the host made or had is free. Orders that nobody has seen are the planner's waste and no arm's.
GUARDRAILS: Mapping[Guardrail, tuple[Ratio, bool]] = {
    "fill_rate": (Ratio("returned", "asked"), False),
    "stockout_rate": (Ratio("stockouts", "lists"), True),
    "display_freshness": (Ratio("fresh", "displays"), False),
    "p95_latency": (Ratio("slow", "timed"), True),
    "error_rate": (Ratio("errors", "lists"), True),
    "cost_per_impression": (Ratio("dollars", "displays"), True),
    "displays_per_user": (METRICS["displays_per_user"], False),
    "skips_per_display": (METRICS["skips_per_display"], True),
}


class Guarded(NamedTuple):
    """A guardrail of one arm beside the control, by its confidence sequence; NaN before anybody's window was over."""

    guardrail: Guardrail
    arm: str
    window_days: int  # of each user, from the first exposure
    users: int
    difference: float
    low: float
    high: float
    harmed: bool  # at any time so far
    track: Track
    days: Values  # since the start, at which each user of the track came in


def guard(definition: Definition, exposed: Exposed) -> list[Guarded]:
    """Each guardrail of each arm, by what users met at once and by what they met in time."""
    level = LEVEL / (len(definition.guardrails) * (len(definition.arms) - 1) * len(WINDOWS_DAYS))
    found = []
    for name in definition.guardrails:
        for days in WINDOWS_DAYS:
            units = exposed.in_windows(GUARDRAILS[name][0], days)
            came = exposed.days()[exposed.followed(days)] + days
            for place in range(1, len(definition.arms)):
                track = follow(definition, units, place, level)
                found.append(_guarded(definition, name, place, days, track, came[told_by(units, place)]))
    return found


def _guarded(  # noqa: PLR0917 - one row of a table
    definition: Definition, name: Guardrail, place: int, window_days: int, track: Track, days: Values
) -> Guarded:
    """What a sequence says in the end, and whether it ever spoke of harm."""
    harmed = (track.low > 0) if GUARDRAILS[name][1] else (track.high < 0)
    difference, low, high = (float(part[-1]) if len(part) else np.nan for part in track)
    arm = definition.arms[place].name
    return Guarded(name, arm, window_days, len(days), difference, low, high, bool(harmed.any()), track, days)
