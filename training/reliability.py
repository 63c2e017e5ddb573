"""How far probabilities are from what came of them: Brier score, expected calibration error, bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.generation.demand import Counts, Numbers

BINS = 10  # of equal width


@dataclass(frozen=True)
class Reliability:
    """What was said and what came, by bin of what was said; empty bins are left out."""

    said: Numbers  # mean per bin
    came: Numbers  # share per bin
    counts: Counts
    brier: float

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over cases of |said - came| of their bins."""
        return float(np.average(np.abs(self.said - self.came), weights=self.counts))


def reliability(said: Numbers, came: NDArray[np.bool_]) -> Reliability:
    """Compare probabilities with outcomes, both (m,), at least one (Guo et al., "On calibration", ICML 2017)."""
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    some = counts > 0
    sums = [np.bincount(bins, values, BINS)[some] / counts[some] for values in (said, came.astype(float))]
    return Reliability(sums[0], sums[1], counts[some], float(np.mean((said - came) ** 2)))
