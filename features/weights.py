"""What one event says of taste, as a number: the one formula for training (many users) and for serving (one).

An impression is exposure, not taste: the host chose what was shown (newest first), so a matrix of impressions
learns that policy. A display therefore weighs little, and dwell, likes, favourites, dislikes and skips carry the
taste. Where a data set holds nothing but displays they are all there is, and the same small weights, equal for
all, amount to the usual binary matrix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats

KINDS = ("displayed", "dwell", "like", "dislike", "skip", "favourite")
KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_DWELL = KIND_CODES["dwell"]
_LIKE = KIND_CODES["like"]

#: Weight of one event of each kind, in units of one like; dwell's is per doubling of the user's typical dwell.
KIND_WEIGHTS = np.array([0.05, 0.5, 1.0, -1.0, -0.5, 2.0], dtype=np.float32)
DWELL_RANGE = (-0.5, 1.0)


def weigh(
    kinds: NDArray[np.int8], values: Floats, ages_days: Floats, typical_dwell: Floats | float, half_life_days: float
) -> Floats:
    """Return the weight of each event, shape (n,), in units of one fresh like.

    ``values``: seconds for dwell, strength (1 = a plain like) for like, else unused; NaN where absent.
    ``typical_dwell``: the user's median dwell in seconds, a scalar or shape (n,): people differ in pace, so only
    the ratio to their own median speaks (log-normal dwell: Yin et al., "Silence is also evidence", KDD 2013).
    A like's strength counts by log2(1 + strength), after Hu, Koren & Volinsky (ICDM 2008), section 3.
    """
    weights = KIND_WEIGHTS[kinds].copy()
    dwell = kinds == _DWELL
    with np.errstate(divide="ignore", invalid="ignore"):
        doublings = np.log2(values / typical_dwell)
    weights[dwell] = np.clip(np.nan_to_num(KIND_WEIGHTS[_DWELL] * doublings, nan=0.0), *DWELL_RANGE)[dwell]
    strong = (kinds == _LIKE) & (values > 0)
    weights[strong] = np.log2(1.0 + values[strong])
    return np.asarray(weights * np.exp2(-np.maximum(ages_days, 0.0) / half_life_days), dtype=np.float32)


def typical_dwell(kinds: NDArray[np.int8], values: Floats) -> float:
    """The median dwell in seconds among one user's events; 1.0 when there is none."""
    seconds = values[(kinds == _DWELL) & (values > 0)]
    return float(np.median(seconds)) if len(seconds) else 1.0


def combine(artwork_rows: NDArray[np.int32], weights: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Sum one user's weights per artwork: distinct rows (m,) and their weights (m,)."""
    rows, inverse = np.unique(artwork_rows, return_inverse=True)
    return rows.astype(np.int32), np.bincount(inverse, weights=weights, minlength=len(rows)).astype(np.float32)
