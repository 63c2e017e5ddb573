"""How sure a mean over users is: percentile bootstrap, seeded; and the same for differences on the same users.

Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. Users are what is drawn, for one user's figures
belong together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
DRAWS = 1_000

Values = NDArray[np.floating]


class Interval(NamedTuple):
    """A mean and the ends of its interval; all NaN where there is nobody."""

    mean: float
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether 0 is outside: for a difference, whether there is one."""
        return self.low > 0 or self.high < 0


def interval(values: Values, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean of ``values`` (one per user; NaN for a user without one) and its percentile interval.

    >>> interval(np.array([0.5, 0.5, np.nan]))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    draw = np.random.default_rng(seed)
    means = [values[draw.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def paired_interval(
    values: Values, others: Values, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval:
    """The mean of ``values - others`` and its interval; row i of both is one and the same user.

    >>> paired_interval(np.array([0.2, 0.9]), np.array([0.1, 0.8])).tells
    True
    """
    return interval(values - others, level=level, draws=draws, seed=seed)
