"""An experiment's users as arrays, and what they say: the primary metric at its horizon, guardrails at any time. Pure.

The same code judges what was served and what the evidence simulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.experiments.definitions import Definition
from training.experiments.estimates import LEVEL, Estimate, Values, cuped, holm, scores_of_ratio, welch
from training.experiments.sequences import Track, is_mismatch, sequence

Arms = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """Users of an experiment in order of their first exposure; every array of shape (n,).

    A metric is ``numerators`` over ``denominators`` (ones for a mean over users); ``before_…`` are the same of the
    time before the first exposure.
    """

    arms: Arms  # places in the definition's arms
    numerators: Values
    denominators: Values
    before_numerators: Values
    before_denominators: Values

    def take(self, which: NDArray[np.bool_]) -> Units:
        """Those users alone."""
        return Units(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Compared:
    """An arm beside the control."""

    arm: str
    control_mean: float
    mean: float
    estimate: Estimate  # with CUPED
    plain: Estimate  # without
    p_value: float  # of `estimate`, adjusted for the number of arms (Holm)
    sizes: tuple[int, int]  # users of the control and of the arm
    deviations: tuple[float, float]  # of what `estimate` compares, over the users of each


def compare(definition: Definition, units: Units, level: float = LEVEL) -> list[Compared]:
    """Each arm against the first at the horizon, with CUPED and without."""
    scores, ratios = _scores(units, len(definition.arms))
    before = scores_of_ratio(units.before_numerators, units.before_denominators)
    adjusted = cuped(scores, before, units.arms)
    places = range(1, len(definition.arms))
    estimates = [_against_control(adjusted, units.arms, place, level) for place in places]
    plain = [_against_control(scores, units.arms, place, level) for place in places]
    p_values = holm([estimate.p_value for estimate in estimates])
    sizes, deviations = _sizes_and_deviations(adjusted, units.arms, len(definition.arms))
    return [
        Compared(
            arm=definition.arms[place].name,
            control_mean=ratios[0],
            mean=ratios[place],
            estimate=estimates[place - 1],
            plain=plain[place - 1],
            p_value=p_values[place - 1],
            sizes=(sizes[0], sizes[place]),
            deviations=(deviations[0], deviations[place]),
        )
        for place in places
    ]


def follow(definition: Definition, units: Units, place: int, level: float = LEVEL) -> Track:
    """One arm against the first after each user of the two (`told_by`), valid at all times."""
    told = units.take(told_by(units, place))
    weights = [arm.weight for arm in definition.arms]
    share = weights[place] / (weights[0] + weights[place])
    return sequence(told.numerators / told.denominators, told.arms == place, share, level)


def told_by(units: Units, place: int) -> NDArray[np.bool_]:
    """Which users tell an arm from the first: those of the two with any denominator, shape (n,)."""
    return np.asarray(((units.arms == 0) | (units.arms == place)) & (units.denominators > 0))


def counts_of(definition: Definition, arms: Arms) -> list[int]:
    """How many users are in each arm."""
    return [int(count) for count in np.bincount(arms, minlength=len(definition.arms))]


def ratio_is_wrong(definition: Definition, counts: Sequence[int]) -> bool:
    """Whether the arms' sizes are not those of their weights."""
    total = sum(arm.weight for arm in definition.arms)
    return is_mismatch(counts, [arm.weight / total for arm in definition.arms])


def _scores(units: Units, arms: int) -> tuple[Values, list[float]]:
    """One value per user whose mean within an arm is the arm's ratio, and these ratios."""
    scores, ratios = np.zeros(len(units.arms)), []
    for place in range(arms):
        mask = units.arms == place
        scores[mask] = scores_of_ratio(units.numerators[mask], units.denominators[mask])
        ratios.append(float(scores[mask].mean()) if mask.any() else float("nan"))
    return scores, ratios


def _sizes_and_deviations(values: Values, arms: Arms, count: int) -> tuple[list[int], list[float]]:
    """Of each arm; a deviation is 0 where there are fewer than two users."""
    groups = [values[arms == place] for place in range(count)]
    return [len(group) for group in groups], [float(group.std(ddof=1)) if len(group) > 1 else 0.0 for group in groups]


def _against_control(values: Values, arms: Arms, place: int, level: float) -> Estimate:
    """One arm less the first."""
    return welch(values[arms == 0], values[arms == place], level)
