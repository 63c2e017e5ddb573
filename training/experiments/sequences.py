"""What may be looked at every day: confidence sequences, and a test of the sample ratio valid at all times. Pure.

An interval at a fixed horizon is wrong once in twenty; looked at daily, it is wrong once in four. A sequence is wrong
once in twenty at all moments together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Values = NDArray[np.float64]
LEVEL = 0.05
FIRST = 100  # users before a sequence says anything: it is exact in the limit only
TIGHTEST = 1_000  # users at which it is tightest
RATIO_LEVEL = 0.01  # of the alarm about the sample ratio: a false one stops an experiment
STIFFNESS = 100.0  # of the sample ratio's prior, in users: small shifts are found late, large ones soon enough


class Track(NamedTuple):
    """A difference after each user, and its bounds, each of shape (n,); no bounds (infinite) for the first ones."""

    difference: Values
    low: Values
    high: Values

    @property
    def tells(self) -> NDArray[np.bool_]:
        """After which users 0 was outside, shape (n,)."""
        return (self.low > 0) | (self.high < 0)


def sequence(values: Values, treated: NDArray[np.bool_], share: float, level: float = LEVEL) -> Track:
    """The mean of treated users less that of the others, after each user in order of exposure, valid at all times.

    ``values`` (n,), one per user, complete when it comes in; ``treated`` (n,); ``share``: the chance to be treated.
    Asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory
    and asymptotic confidence sequences" (Annals of Statistics 52(6), 2024; arXiv:2103.06476), on each user's inversely
    weighted distance from the mean of those before.

    >>> track = sequence(np.tile([0.0, 1.0, 1.0, 2.0], 200), np.tile([False, True, False, True], 200), 0.5)
    >>> round(float(track.difference[-1]), 2), bool(track.tells[-1]), bool(track.tells[:99].any())
    (1.0, True, False)
    """
    count = np.arange(1, len(values) + 1)
    sums = np.cumsum(values)
    earlier = np.concatenate([[0.0], sums[:-1] / count[:-1]])
    if len(values):
        earlier[0] = values[0]  # nobody was before; the first user says nothing
    weights = np.where(treated, 1 / share, -1 / (1 - share))
    each = (values - earlier) * weights
    means = np.cumsum(each) / count
    spread = np.sqrt(np.maximum(np.cumsum(each**2) / count - means**2, 0))
    tight = (-2 * math.log(level) + math.log(-2 * math.log(level) + 1)) / TIGHTEST  # rho squared
    half = spread * np.sqrt(2 * (count * tight + 1) / (count**2 * tight) * np.log(np.sqrt(count * tight + 1) / level))
    half[: FIRST - 1] = np.inf
    return Track(means, means - half, means + half)


def ratio_evidence(counts: Sequence[int], shares: Sequence[float]) -> float:
    """How much likelier these ``counts`` are if the units are not drawn by ``shares``: a Bayes factor.

    Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022; arXiv:2011.03567), the
    Dirichlet-multinomial against the multinomial. It exceeds 1 / level with a chance of ``level`` at most, at all looks
    together (Ville's inequality). ``shares`` are above 0 and add up to 1.

    >>> ratio_evidence([500, 500], [0.5, 0.5]) < 1 < 100 < ratio_evidence([600, 400], [0.5, 0.5])
    True
    """
    return float(_ratio_evidence(np.asarray(counts, dtype=float), shares))


def ratio_track(arms: NDArray[np.integer], shares: Sequence[float]) -> Values:
    """`ratio_evidence` after each unit; ``arms`` (n,): the place of each unit's arm, in order of coming.

    >>> ratio_track(np.array([0, 1, 0]), [0.5, 0.5]).round(3).tolist()
    [1.0, 0.99, 0.99]
    """
    return _ratio_evidence(np.cumsum(arms[:, None] == np.arange(len(shares)), axis=0, dtype=float), shares)


def _ratio_evidence(counts: Values, shares: Sequence[float]) -> Values:
    """Of counts of shape (..., arms)."""
    drawn = np.asarray(shares, dtype=float)
    prior = STIFFNESS * drawn
    marginal = (
        gammaln(STIFFNESS) - gammaln(STIFFNESS + counts.sum(-1)) + (gammaln(prior + counts) - gammaln(prior)).sum(-1)
    )
    return np.asarray(np.exp(np.minimum(marginal - (counts * np.log(drawn)).sum(-1), 700.0)))


def is_mismatch(counts: Sequence[int], shares: Sequence[float], level: float = RATIO_LEVEL) -> bool:
    """Whether the sample ratio is wrong, so that nothing else of the experiment is to be believed.

    >>> is_mismatch([5_000, 5_050], [0.5, 0.5]), is_mismatch([5_000, 5_500], [0.5, 0.5])
    (False, True)
    """
    return ratio_evidence(counts, shares) > 1 / level
