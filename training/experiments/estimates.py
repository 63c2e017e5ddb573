"""Differences between groups of users at one moment: Welch's interval, ratios by the delta method, CUPED, Holm. Pure.

For a horizon that was fixed before. Who looks earlier, or again and again, takes training.experiments.sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]
LEVEL = 0.05


class Estimate(NamedTuple):
    """A difference, its interval and its two-sided p-value; all NaN where a group has fewer than two."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def tells(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0


def welch(control: Values, treated: Values, level: float = LEVEL) -> Estimate:
    """Mean of ``treated`` less mean of ``control``, one value per user, whose spreads may differ.

    Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947).

    >>> found = welch(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    >>> round(found.difference, 3), round(found.low, 3), round(found.high, 3), round(found.p_value, 3)
    (1.0, -1.267, 3.267, 0.288)
    """
    if min(len(control), len(treated)) < 2:  # noqa: PLR2004 - a spread
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    difference = float(treated.mean() - control.mean())
    parts = [float(group.var(ddof=1)) / len(group) for group in (control, treated)]
    if sum(parts) == 0:
        return Estimate(difference, difference, difference, float(difference == 0))
    error = sum(parts) ** 0.5
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(group) - 1) for part, group in zip(parts, (control, treated), strict=True)
    )
    half = float(stats.t.ppf(1 - level / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return Estimate(difference, difference - half, difference + half, p_value)


def scores_of_ratio(numerators: Values, denominators: Values) -> Values:
    """One value per user whose mean is the ratio of the sums, and whose spread is that ratio's, shape (n,).

    The delta method: Deng, Knoblich & Lu, "Applying the delta method in metric analytics" (KDD 2018). Users and not
    displays are what is drawn, so that the displays of one user belong together. 0 for all without any denominator.

    >>> scores_of_ratio(np.array([2.0, 6.0]), np.array([8.0, 8.0])).tolist()
    [0.25, 0.75]
    """
    mean = denominators.mean() if len(denominators) else 0.0
    if mean == 0:
        return np.zeros(len(numerators))
    ratio = numerators.mean() / mean
    return np.asarray(ratio + (numerators - ratio * denominators) / mean)


def cuped(values: Values, before: Values, groups: NDArray[np.integer]) -> Values:
    """``values`` without what the users' past foretells: y - theta (x - mean x), theta within the ``groups``.

    Deng, Xu, Kohavi & Walker, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data" (WSDM 2013). ``before`` (n,) must not be touched by the experiment; 0 for who had no past.

    >>> cuped(np.array([1.0, 3.0, 2.0, 4.0]), np.array([0.0, 2.0, 0.0, 2.0]), np.array([0, 0, 1, 1])).tolist()
    [2.0, 2.0, 3.0, 3.0]
    """
    inside = [groups == group for group in np.unique(groups)]
    x, y = np.empty_like(before), np.empty_like(values)
    for mask in inside:
        x[mask], y[mask] = before[mask] - before[mask].mean(), values[mask] - values[mask].mean()
    spread = float(x @ x)
    if spread == 0:
        return values
    return np.asarray(values - float(x @ y) / spread * (before - before.mean()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of several arms against one control, so that one false alarm among all is as rare as one alone.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    found, least = np.empty(len(p_values)), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = least
    return [float(value) for value in found]


def preference(ones: Values, others: Values, level: float = LEVEL) -> Estimate:
    """How far users prefer the ``others`` team of an interleaved list: the mean over users of (b - a) / (b + a).

    ``ones`` and ``others`` (n,): likes that each team's artworks got from each user; who liked nothing says nothing.
    Between -1 and 1; 0 is no preference. A one-sample t interval (Chapelle, Joachims, Radlinski & Yue, "Large-scale
    validation and analysis of interleaved search evaluation", ACM TOIS 30(1), 2012, with users for queries).

    >>> preference(np.array([0.0, 1.0, 0.0]), np.array([2.0, 1.0, 1.0])).difference == 2 / 3
    True
    """
    told = ones + others > 0
    lean = (others[told] - ones[told]) / (ones[told] + others[told])
    if len(lean) < 2:  # noqa: PLR2004 - a spread
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    mean, error = float(lean.mean()), float(lean.std(ddof=1)) / len(lean) ** 0.5
    if error == 0:
        return Estimate(mean, mean, mean, float(mean == 0))
    half = float(stats.t.ppf(1 - level / 2, len(lean) - 1)) * error
    return Estimate(mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, len(lean) - 1)))
