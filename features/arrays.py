"""The names of the array types that cross modules, and what numpy lacks of ascending ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]  # row numbers of a catalogue or a model; -1 where unknown
Keys = NDArray[np.int32]  # artwork keys
Mask = NDArray[np.bool_]


def is_in(values: Keys, ascending: Keys) -> Mask:
    """Which of ``values`` are among ``ascending``, shape (m,): `numpy.isin` for few values and many that are sorted.

    >>> is_in(np.array([5, 1, 9], np.int32), np.array([1, 2, 5], np.int32)).tolist()
    [True, True, False]
    """
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[places] == values)
