"""The rankers: arrays and a fold-in; training fits them, serving scores with them.

No user lives in a model. A user's vector is solved at request time from the signals in the database.
A ranker works in its own rows (`model rows`, -1 for an artwork that it does not know): what it cannot score is
NaN, never zero, and a user that it cannot score raises CannotScoreError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from features.arrays import Floats, Rows
from features.errors import BadBundleError, CannotScoreError
from serving.bundle import Bundle

#: As much as five artworks' worth of evidence that the user has no taste; 1 to 30 serve much the same.
RIDGE = np.float32(5.0)


class Ranker(Protocol):
    """What the ladder needs of a model."""

    def rows_of(self, artwork_ids: list[str]) -> Rows:
        """Model rows of host ids, shape (n,); -1 where unknown."""

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores of ``candidates`` (model rows), shape (n,), higher is better; NaN where unknown."""


@dataclass(frozen=True)
class FactorRanker:
    """Artwork factors (n, k), a fold-in for the user's k numbers, and a prior for users without signals.

    Fold-in "nonnegative" solves min_w>=0 w'Gw - 2b'w with G = gram (k, k) and b = sum of weight x projection row:
    the user step of non-negative matrix factorisation (Lee & Seung, NIPS 2000) solved exactly (Lawson & Hanson).
    Fold-in "constant" is the user vector of ones: popularity.
    """

    bundle: Bundle
    row_of: dict[str, int]
    cholesky: NDArray[np.float64] | None

    def rows_of(self, artwork_ids: list[str]) -> Rows:
        """Model rows of host ids, shape (n,); -1 where unknown."""
        get = self.row_of.get
        return np.fromiter((get(artwork_id, -1) for artwork_id in artwork_ids), dtype=np.int32, count=len(artwork_ids))

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores of ``candidates``; the prior's when the user has no positive signal in the model."""
        known = candidates >= 0
        rows = candidates[known]
        scores = np.full(len(candidates), np.nan, dtype=np.float32)
        vector = self._user_vector(signal_rows, weights)
        scores[known] = (
            self.bundle.arrays["prior"][rows] if vector is None else self.bundle.arrays["factors"][rows] @ vector
        )
        return scores

    def _user_vector(self, signal_rows: Rows, weights: Floats) -> Floats | None:
        """The user's k numbers, or None when nothing positive is known of the user."""
        if self.cholesky is None:
            return np.ones(self.bundle.arrays["factors"].shape[1], dtype=np.float32)
        useful = (signal_rows >= 0) & (weights > 0)
        if not useful.any():
            return None
        pull = weights[useful].astype(np.float64) @ self.bundle.arrays["projection"][signal_rows[useful]]
        vector, _ = nnls(self.cholesky.T, solve_triangular(self.cholesky, pull, lower=True))
        if not vector.any():
            return None
        return np.asarray(vector, dtype=np.float32)


@dataclass(frozen=True)
class ContentRanker:
    """One linear taste per user over the content vectors: ridge regression of the user's weights, at request time.

    Hoerl & Kennard, Technometrics 12(1), 1970. The words' directions are nearly orthogonal, so several tastes live in
    one vector without being averaged away; dislikes and skips count as what they are, negative. ``vectors`` are unit
    length, shape (n, d); its rows are the catalogue's own.
    """

    vectors: Floats

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Expected weights of ``candidates``, shape (n,). Raises CannotScoreError for a user without any liking."""
        if not (weights > 0).any():
            raise CannotScoreError(ranker="content", reason="no positive signal")
        known = self.vectors[signal_rows]
        gram = known.T @ known + RIDGE * np.eye(known.shape[1], dtype=np.float32)
        taste = np.linalg.solve(gram, known.T @ weights)
        return np.asarray(self.vectors[candidates] @ taste, dtype=np.float32)


def make_factor_ranker(bundle: Bundle) -> FactorRanker:
    """The ranker of a bundle of kind "factors". Raises BadBundleError when its gram matrix is not one."""
    ids = bundle.arrays["artwork_ids"]
    gram = bundle.arrays.get("gram")
    try:
        cholesky = None if bundle.manifest.fold_in == "constant" or gram is None else _cholesky(gram)
    except np.linalg.LinAlgError as error:
        raise BadBundleError(path=bundle.label, reason=f"gram is no gram matrix: {error}") from error
    return FactorRanker(bundle, {str(artwork_id): row for row, artwork_id in enumerate(ids)}, cholesky)


def _cholesky(gram: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lower Cholesky factor of a gram matrix, with a touch of ridge for factors that died in training."""
    ridge = 1e-6 * max(float(np.trace(gram)) / len(gram), 1e-12)
    lower = np.linalg.cholesky(gram.astype(np.float64) + ridge * np.eye(len(gram)))
    return np.asarray(lower, dtype=np.float64)
