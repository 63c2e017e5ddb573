"""The coverage-aware fallback: an order of unseen artworks that needs no model and must never fail.

Plain arithmetic on finite arrays: while much is unseen it is choosy (chosen styles, quality); as the user's
coverage grows there is less to choose from and the newest come first, so that nothing grows old unseen. A small
share depends on user and artwork alone, so that not everybody is shown the same list.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats
from features.catalogue import Catalogue
from features.scramble import scramble

STYLE, QUALITY, NEWNESS, SPREAD = 0.5, 0.2, 0.2, 0.1


def score(
    catalogue: Catalogue, rows: NDArray[np.int32], chosen: NDArray[np.bool_], *, coverage: float, user_id: str
) -> Floats:
    """Scores of ``rows`` (m,) within 0 and 1, higher first.

    ``chosen``: whether an artwork is in a style the user chose, shape (m,); ``coverage``: 0 to 1.
    """
    choosy = 1.0 - coverage
    newness = _rank_share(catalogue.created[rows])
    scores = (
        choosy * (STYLE * chosen + QUALITY * catalogue.quality[rows])
        + (NEWNESS + coverage * (STYLE + QUALITY)) * newness
        + SPREAD * _spread(catalogue.keys[rows], user_id)
    )
    return np.asarray(scores, dtype=np.float32)


def _rank_share(values: NDArray[np.float64]) -> Floats:
    """Each value's rank as a share of the largest rank, ties broken by position; 0 for a single one."""
    ranks = np.empty(len(values), dtype=np.float32)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values), dtype=np.float32)
    return np.asarray(ranks / max(len(values) - 1, 1), dtype=np.float32)


def _spread(keys: NDArray[np.int32], user_id: str) -> Floats:
    """A number within 0 and 1 that depends on the user and the artwork only."""
    seed = int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest())
    return np.asarray(scramble(keys.astype(np.uint64) ^ np.uint64(seed)) / np.float64(2**64), dtype=np.float32)
