"""The signals frame as a sparse matrix, user x artwork, with the two id maps; never a dense one.

No models here: what is done with the numbers is training's. Serving, which has no polars, does not come here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array

from features.event_frames import number


@dataclass(frozen=True)
class Interactions:
    """Weights (users, artworks) as float32; row i is ``user_ids[i]``, column j is ``artwork_ids[j]``, both sorted."""

    matrix: csr_array
    user_ids: NDArray[np.str_]
    artwork_ids: NDArray[np.str_]


def to_matrix(frame: pl.DataFrame) -> Interactions:
    """Turn user_id, artwork_id, weight (one row per pair) into a matrix; a pair that weighs nothing is not stored."""
    user_ids, user_rows = number(frame["user_id"])
    artwork_ids, artwork_rows = number(frame["artwork_id"])
    weights = frame["weight"].to_numpy().astype(np.float32)
    matrix = csr_array((weights, (user_rows, artwork_rows)), shape=(len(user_ids), len(artwork_ids)))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return Interactions(matrix, np.array(user_ids, dtype=np.str_), np.array(artwork_ids, dtype=np.str_))


def inverse_root(degrees: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 / sqrt(degree), and 0 where the degree is 0: one side of the symmetric normalisation of a matrix."""
    roots = np.zeros(len(degrees), dtype=np.float64)
    roots[degrees > 0] = 1.0 / np.sqrt(degrees[degrees > 0], dtype=np.float64)
    return roots
