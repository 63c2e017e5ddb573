"""Users whose likes are known by construction, to judge the judges by: what they did, and what an arm changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.experiments.assignment import arm_of
from serving.experiments.definitions import Definition, make_definition
from tests.experiments import definition
from training.experiments.judging import Arms, Units

MEAN_LIKED = 0.15  # of what is displayed; users differ: Beta(1.5, 8.5)
SHOWN = 30  # artworks a user is shown in a window, on average; negative binomial, as sessions are long-tailed


def make(version: int = 1, name: str = "known", **fields: Any) -> Definition:
    """A definition of two equal arms; each version draws anew."""
    return make_definition(definition(name, version=version, **fields))


def arms_of(made: Definition, count: int) -> Arms:
    """The arm of each of so many users, by the code that serves."""
    place = {arm.name: index for index, arm in enumerate(made.arms)}
    return np.array([place[arm_of(made, f"user-{number}").name] for number in range(count)])


def guarded(count: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """What guardrails count of so many users, in a first day and in a first week: rare things, and common ones.

    Shares of lists that were short, dry, failed or slow, displays that were new (all), and dollars per display.
    """
    found: list[NDArray[np.float64]] = []
    for lists in (2, 9):
        for share in (0.01, 0.002, 0.01, 0.05):
            prone = rng.beta(0.5, 0.5 / share - 0.5, count)  # few users have most of it
            found.append(rng.binomial(lists, prone) / lists)
        found += [np.ones(count), rng.gamma(0.2, 0.005, count)]
    return found


def live(made: Definition, count: int, rng: np.random.Generator, lift: float = 0.0) -> Units:
    """What so many users did before and after: treated ones like ``lift`` (relative) more."""
    arms = arms_of(made, count)
    liking = rng.beta(1.5, 8.5, count)
    activity = rng.gamma(1.5, SHOWN / 1.5, count)
    shown, before = (1 + rng.poisson(activity) for _ in range(2))
    liked = rng.binomial(shown, np.minimum(liking * np.where(arms == 0, 1, 1 + lift), 1))
    return Units(
        arms=arms,
        numerators=liked.astype(float),
        denominators=shown.astype(float),
        before_numerators=rng.binomial(before, liking).astype(float),
        before_denominators=before.astype(float),
    )
