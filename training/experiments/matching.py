"""Likes per display where users had seen as much of the pool: what the never-repeat promise does to a comparison. Pure.

A user's pool is consumed, and a better ranker spends the good artworks first: it looks better early and worse late.
Tenth by tenth of the pool seen, like is compared with like.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.experiments.definitions import Definition
from training.experiments.estimates import Estimate, Values, scores_of_ratio, welch
from training.experiments.reading import Exposed

LEAST = 2  # users of each group who were shown something: a spread
Which = NDArray[np.bool_]


class Tenth(NamedTuple):
    """Likes per display of one arm beside the control, of users who had seen as much of the pool."""

    tenth: int
    arm: str
    displays: int  # the arm's
    estimate: Estimate


class Matched(NamedTuple):
    """The tenths together, weighed by their displays in the two arms, so that both count as seen equally much."""

    arm: str
    control_mean: float
    estimate: Estimate


def tenths_of(definition: Definition, exposed: Exposed) -> list[Tenth]:
    """Each tenth in which both an arm and the control have users."""
    found = []
    for tenth in range(10):
        for place, arm in enumerate(definition.arms[1:], start=1):
            if not _is_known(exposed, tenth, place):
                continue
            control, treated = (_scores(exposed, tenth, _shown(exposed, tenth, each)) for each in (0, place))
            displays = int(exposed.tenths["displays"][tenth][exposed.arms == place].sum())
            found.append(Tenth(tenth, arm.name, displays, welch(control, treated)))
    return found


def matched_of(definition: Definition, exposed: Exposed) -> list[Matched]:
    """Each arm over all tenths that it shares with the control.

    Post-stratification: the weighted mean of the tenths' ratios. A user's value is the same mean of the user's scores,
    so that the tenths of one user belong together.
    """
    found = []
    for place, arm in enumerate(definition.arms[1:], start=1):
        tenths = [tenth for tenth in range(10) if _is_known(exposed, tenth, place)]
        if not tenths:
            continue
        both = (exposed.arms == 0) | (exposed.arms == place)
        shown = np.array([exposed.tenths["displays"][tenth][both].sum() for tenth in tenths])
        control, treated = (
            (shown / shown.sum()) @ np.stack([_scores(exposed, tenth, exposed.arms == each) for tenth in tenths])
            for each in (0, place)
        )
        found.append(Matched(arm.name, float(control.mean()), welch(control, treated)))
    return found


def _is_known(exposed: Exposed, tenth: int, place: int) -> bool:
    """Whether both have users in the tenth."""
    return min(int(_shown(exposed, tenth, each).sum()) for each in (0, place)) >= LEAST


def _shown(exposed: Exposed, tenth: int, place: int) -> Which:
    """Who of an arm was shown something in the tenth."""
    return np.asarray((exposed.arms == place) & (exposed.tenths["displays"][tenth] > 0))


def _scores(exposed: Exposed, tenth: int, which: Which) -> Values:
    """Likes per display, one value per user."""
    return scores_of_ratio(*(exposed.tenths[name][tenth][which] for name in ("likes", "displays")))
