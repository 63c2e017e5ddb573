"""Numbers that look drawn but depend on their input alone: for hashes of sets and fixed coins. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijective scrambling of 64-bit integers (the finaliser of SplitMix64: Steele et al., OOPSLA 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
