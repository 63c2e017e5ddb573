"""The rankers: arrays and a fold-in; training fits them, serving scores with them.

No user lives in a model. A user's vector is solved at request time from the signals in the database.
A ranker works in its own rows (`model rows`, -1 for an artwork that it does not know): what it cannot score is
NaN, never zero, and a user that it cannot score raises CannotScoreError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dtrtrs
from scipy.optimize import nnls
from scipy.sparse import csr_array

from features.arrays import Floats, Rows, all_products, products
from features.content import LENGTH, WORD_LENGTH, Space
from features.errors import BadBundleError, CannotScoreError
from serving.bundle import FoldIn

READ_ALL_FROM = 4  # from a fourth of the artworks on, scoring all of them is quicker
COMPARED_TOGETHER = 65_536  # rows
TOLERANCE = 1e-6  # of differences that rounding makes


class Ranker(Protocol):
    """What a model needs of its parts."""

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores of ``candidates`` (model rows), shape (n,), higher is better; NaN where unknown."""


@dataclass(frozen=True)
class FactorRanker:
    """Artwork factors (n, k), a fold-in for the user's k numbers, and a prior for users without signals.

    Fold-in "nonnegative" solves min_w>=0 w'Gw - 2b'w with G = gram (k, k) and b = sum of weight x projection row:
    the user step of non-negative matrix factorisation (Lee & Seung, NIPS 2000) solved exactly (Lawson & Hanson).
    "regularised" is the user step of alternating least squares for implicit feedback (Hu, Koren & Volinsky, ICDM
    2008): (G + a sum |w| yy' + (r0 + r1 n) I) u = sum of (1 + aw) y over what was liked, for n signals and ridge =
    (a, r0, r1); a dislike is a certain zero. "linear" sums weight x projection rows. "constant" is popularity.

    Rows from n on are artworks without history whose factors come from their content (`with_cold`).
    """

    fold_in: FoldIn
    factors: Floats
    prior: Floats
    projection: Floats  # (n, k); or (n, 1) where it is the factors, each row times a number
    solved: NDArray[np.float64]  # what the fold-in has ready: G's Cholesky factor, or G
    ridge: tuple[float, float, float]
    offset: Floats  # added to every score; the popularity that a model learnt apart
    content_map: Floats | None  # (d + 1, k): content vector and a one to factors

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores of ``candidates``; the prior's when the user has no positive signal in the model."""
        vector = self.user_vector(signal_rows, weights)
        end = len(self.prior) if vector is None else len(self.factors)
        if len(candidates) and candidates.min() >= 0 and candidates.max() < end:
            return self._of(candidates, vector)
        scores = np.full(len(candidates), np.nan, dtype=np.float32)
        known = (candidates >= 0) & (candidates < end)
        scores[known] = self._of(candidates[known], vector)
        return scores

    def _of(self, rows: Rows, vector: Floats | None) -> Floats:
        """Scores of rows that are there; of many of them it is quicker to score all than to gather theirs first."""
        if vector is None:
            return self.prior[rows]
        if len(rows) * READ_ALL_FROM < len(self.factors):
            return np.asarray(products(self.factors, rows, vector) + self.offset.take(rows))
        every = all_products(self.factors, vector)
        every += self.offset
        return np.asarray(every.take(rows))

    def user_vector(self, signal_rows: Rows, weights: Floats) -> Floats | None:
        """The user's k numbers, or None when nothing positive is known of the user."""
        if self.fold_in == "constant":
            return np.ones(self.factors.shape[1], dtype=np.float32)
        useful = (signal_rows >= 0) & (signal_rows < len(self.prior))
        rows, weights = signal_rows[useful], weights[useful]
        if not (weights > 0).any():
            return None
        vector = self._fold_in(rows, weights)
        return np.asarray(vector, dtype=np.float32) if vector.any() else None

    def with_cold(self, vectors: Floats) -> FactorRanker:
        """The ranker with further rows for artworks whose content vectors, shape (m, d), are known; NaN for zeros."""
        if not len(vectors):
            return self
        mapped = np.full((len(vectors), self.factors.shape[1]), np.nan, dtype=np.float32)
        told = vectors.any(axis=1)
        if self.content_map is not None:
            mapped[told] = vectors[told] @ self.content_map[:-1] + self.content_map[-1]
        offset = np.concatenate([self.offset, np.full(len(vectors), self.offset.mean(), np.float32)])
        return replace(self, factors=np.concatenate([self.factors, mapped]), offset=offset)

    def _projected(self, rows: Rows) -> Floats:
        """The projection's rows, shape (m, k)."""
        own = self.projection[rows]
        return own if self.projection.shape[1] == self.factors.shape[1] else own * self.factors[rows]

    def _fold_in(self, rows: Rows, weights: Floats) -> NDArray[np.float64]:
        """The user's vector, from signals that are in the model."""
        if self.fold_in == "linear":
            return np.asarray(weights.astype(np.float64) @ self._projected(rows))
        if self.fold_in == "regularised":
            return self._least_squares(rows, weights.astype(np.float64))
        liked = weights > 0
        pull = weights[liked] @ self._projected(rows[liked])
        return np.asarray(nnls(self.solved.T, dtrtrs(self.solved, pull, lower=1)[0])[0])

    def _least_squares(self, rows: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """One user's step of alternating least squares."""
        certainty, base, each = self.ridge
        known = self.factors[rows].astype(np.float64)
        normal = self.solved + known.T @ (known * (certainty * np.abs(weights))[:, None])
        normal[np.diag_indices_from(normal)] += base + each * len(rows)
        pull = np.where(weights > 0, 1.0 + certainty * weights, 0.0) @ known
        return np.asarray(cho_solve(cho_factor(normal, lower=True, check_finite=False), pull, check_finite=False))


@dataclass(frozen=True)
class ItemItemRanker:
    """How alike artworks are, a sparse matrix (n, n): a score is the weighted sum of the rows of what was liked.

    Item-based collaborative filtering (Sarwar et al., WWW 2001; Deshpande & Karypis, ACM TOIS 22(1), 2004).
    """

    similarity: csr_array
    prior: Floats

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores of ``candidates``; the prior's when the user has no positive signal in the model."""
        count = len(self.prior)
        useful = (signal_rows >= 0) & (signal_rows < count)
        liked = (weights[useful] > 0).any()
        every = weights[useful] @ self.similarity[signal_rows[useful]] if liked else self.prior
        scores = np.full(len(candidates), np.nan, dtype=np.float32)
        known = (candidates >= 0) & (candidates < count)
        scores[known] = every[candidates[known]]
        return scores

    def with_cold(self, vectors: Floats) -> ItemItemRanker:  # noqa: ARG002 - nobody is alike to what nobody saw
        """Itself: artworks without history stay unknown."""
        return self


@dataclass(frozen=True)
class TastePrior:
    """What is expected of anybody's taste: ``mean`` (129,), and ``ridge`` (129, 129) for how firmly.

    The numbers are of the content vectors and, the last, of a constant. ``ridge`` is the noise of one signal over the
    covariance of tastes.
    """

    mean: Floats
    ridge: NDArray[np.float64]


#: Before anything was learnt of people: no taste, as firmly as four artworks' worth of signals; looks speak louder,
#: for artworks differ less in them.
PLAIN = TastePrior(
    np.zeros(LENGTH + 1, np.float32), np.diag(np.where(np.arange(LENGTH + 1) // WORD_LENGTH == 1, 1.0, 4.0))
)


@dataclass(frozen=True)
class ContentRanker:
    """One linear taste per user over the content vectors: ridge regression of the user's weights, at request time.

    Towards a prior (Zhang & Koren, "Efficient Bayesian hierarchical user modeling for recommendation systems", SIGIR
    2007; without one: Hoerl & Kennard, Technometrics 12(1), 1970). The words' directions are nearly orthogonal, so
    several tastes live in one vector without being averaged away; dislikes and skips count as what they are,
    negative. Rows are the catalogue's own.
    """

    space: Space
    prior: TastePrior = PLAIN

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Expected weights of ``candidates``, shape (n,), but for a constant.

        Raises CannotScoreError for a user without any liking.
        """
        taste = self.taste(signal_rows, weights)
        scores = products(self.space.vectors, candidates, taste[:-1])
        scores[~self.space.looks[candidates]] += taste[-1]
        return np.asarray(scores, dtype=np.float32)

    def taste(self, rows: Rows, weights: Floats) -> Floats:
        """The user's coefficients, shape (129,): of the content vectors, and what unknown looks are worth.

        A score is the inner product with `features.content.searchable`. Raises CannotScoreError as `score` does.
        """
        if not (weights > 0).any():
            raise CannotScoreError(ranker="content", reason="no positive signal")
        known = np.ones((len(rows), LENGTH + 1), np.float32)
        known[:, :-1] = self.space.differences(rows)
        surprise = known.T @ (weights - known @ self.prior.mean)
        factor = cho_factor(self.prior.ridge + known.T @ known, lower=True, check_finite=False)
        learnt = cho_solve(factor, surprise, check_finite=False)
        taste = np.asarray(self.prior.mean + learnt, dtype=np.float32)
        taste[-1] = self.space.centre[WORD_LENGTH:] @ taste[WORD_LENGTH:-1]
        return taste


def make_taste_prior(arrays: Mapping[str, np.ndarray]) -> TastePrior:
    """The prior that a part of kind "content" has learnt. Raises BadBundleError when its ridge regularises nothing."""
    if "taste_ridge" not in arrays:
        return PLAIN
    ridge = arrays["taste_ridge"].astype(np.float64)
    try:
        np.linalg.cholesky(ridge)
    except np.linalg.LinAlgError as error:
        raise BadBundleError(path="content", reason=f"taste_ridge regularises nothing: {error}") from error
    return TastePrior(arrays["taste_mean"], ridge)


def make_factor_ranker(fold_in: FoldIn, arrays: Mapping[str, np.ndarray]) -> FactorRanker:
    """The ranker of a part of kind "factors". Raises BadBundleError when its gram matrix is not one."""
    factors = np.ascontiguousarray(arrays["factors"])  # as a saved one is; pieces of another would be copied each time
    gram = arrays.get("gram", np.zeros((0, 0)))
    try:
        solved = _cholesky(gram) if fold_in == "nonnegative" else gram.astype(np.float64)
    except np.linalg.LinAlgError as error:
        raise BadBundleError(path="factors", reason=f"gram is no gram matrix: {error}") from error
    projection = arrays.get("projection", factors)
    scale = row_scale(factors, projection)
    certainty, base, each = arrays.get("ridge", np.zeros(3)).tolist()
    if fold_in == "regularised" and not (certainty >= 0 and base > 0 and each >= 0):
        raise BadBundleError(path="factors", reason=f"the ridge {certainty}, {base}, {each} regularises nothing")
    return FactorRanker(
        fold_in=fold_in,
        factors=factors,
        prior=arrays["prior"],
        projection=projection if scale is None else scale[:, None],
        solved=solved,
        ridge=(certainty, base, each),
        offset=arrays.get("offset", np.zeros(len(factors), np.float32)),
        content_map=arrays.get("content_map"),
    )


def row_scale(factors: Floats, projection: Floats) -> Floats | None:
    """What each row of ``factors`` (n, k) times is that of ``projection``, shape (n,); None where it is not so.

    The projection of our factorisations is the factors over the artworks' degrees: there is no need to hold both. Of
    one factor alone there is nothing to be had.
    """
    if factors.shape[1] == 1:
        return None
    squares = np.einsum("nk,nk->n", factors, factors)
    products = np.einsum("nk,nk->n", factors, projection)
    scale = np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)
    for start in range(0, len(factors), COMPARED_TOGETHER):
        part = slice(start, start + COMPARED_TOGETHER)
        least = np.float32(TOLERANCE) * np.abs(projection[part]).max()
        if not np.allclose(factors[part] * scale[part, None], projection[part], rtol=TOLERANCE, atol=least):
            return None
    return np.asarray(scale, dtype=np.float32)


def make_item_ranker(arrays: Mapping[str, np.ndarray]) -> ItemItemRanker:
    """The ranker of a part of kind "items"."""
    count = len(arrays["prior"])
    shape = (count, count)
    return ItemItemRanker(csr_array((arrays["values"], arrays["indices"], arrays["indptr"]), shape), arrays["prior"])


def _cholesky(gram: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lower Cholesky factor of a gram matrix, with a touch of ridge for factors that died in training."""
    ridge = 1e-6 * max(float(np.trace(gram)) / len(gram), 1e-12)
    lower = np.linalg.cholesky(gram.astype(np.float64) + ridge * np.eye(len(gram)))
    return np.asarray(lower, dtype=np.float64)
