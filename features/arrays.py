"""The names of the array types that cross modules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]  # row numbers of a catalogue or a model; -1 where unknown
Keys = NDArray[np.int32]  # artwork keys
Mask = NDArray[np.bool_]
