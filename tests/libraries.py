"""The same algorithms called straight from their libraries, with the same settings and nothing of ours around them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array
from sklearn.decomposition import NMF, MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from features.matrix import Interactions
from training.nmf import PASSES

warnings.simplefilter("ignore", ParameterWarning)
warnings.simplefilter("ignore", ConvergenceWarning)


@dataclass
class Library:
    """One algorithm on one matrix: ``make`` gives an unfitted model, ``matrix`` the matrix that it is fitted on.

    ``scale`` (n,): what each artwork's scores are multiplied by, to undo what was done to the matrix' columns.
    """

    given: Interactions
    make: Callable[[], Any]
    matrix: Callable[[], csr_matrix]
    scale: NDArray[np.float64] | float = 1.0
    model: Any = None
    users: NDArray[np.float64] | None = None  # of matrix factorisation without a recommend of its own

    def fit(self) -> None:
        """From the interactions to a fitted model."""
        self.model = self.make()
        with threadpool_limits(1, "blas"):
            if isinstance(self.model, NMF | MiniBatchNMF):
                self.users = self.model.fit_transform(self.matrix())
            else:
                self.model.fit(self.matrix(), show_progress=False)

    def lists(self, user_ids: Sequence[str], places: int) -> dict[str, list[str]]:
        """The best unseen artworks of each user who was trained on, by the library's own scores."""
        row_of = {user: row for row, user in enumerate(self.given.user_ids.tolist())}
        known = [user for user in user_ids if user in row_of]
        rows = np.array([row_of[user] for user in known])
        found = self._factor_lists(rows, places) if self.users is not None else self._own_lists(rows, places)
        ids = self.given.artwork_ids
        lists = {user: [str(ids[one]) for one in row if one >= 0] for user, row in zip(known, found, strict=True)}
        return {user: lists.get(user, []) for user in user_ids}

    def _own_lists(self, rows: NDArray[np.intp], places: int) -> NDArray[np.intp]:
        """By `recommend`."""
        return np.asarray(self.model.recommend(rows, self.matrix()[rows], N=places)[0])

    def _factor_lists(self, rows: NDArray[np.intp], places: int) -> NDArray[np.intp]:
        """By the product of the factors, a block of users at a time."""
        found = []
        for block in np.array_split(rows, max(len(rows) // 500, 1)):
            scores = self.users[block] @ self.model.components_ * self.scale  # type: ignore[index] # called once fitted
            scores[self.given.matrix[block].nonzero()] = -np.inf
            found.append(np.argsort(-scores, axis=1)[:, :places])
        return np.vstack(found)


def _nmf(given: Interactions, params: Mapping[str, Any]) -> Library:
    """scikit-learn's NMF, or MiniBatchNMF, of the matrix divided by the roots of its degrees."""
    shared = {"init": "nndsvda", "random_state": params["seed"]}
    shared["n_components"] = min(params["n_components"], *given.matrix.shape)
    weights = _positive(given).astype(np.float64)
    degrees = np.asarray(weights.sum(axis=0)).ravel()
    root = np.sqrt(degrees + params["degree_prior"] * degrees.mean())

    def normalised() -> csr_matrix:
        users = np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-12)
        return csr_matrix(diags_array(users**-0.5) @ weights @ diags_array(1.0 / root))

    def make() -> NMF | MiniBatchNMF:
        if params["batch_size"]:
            return MiniBatchNMF(
                batch_size=params["batch_size"], max_iter=PASSES, max_no_improvement=None, tol=0.0, **shared
            )
        return NMF(max_iter=params["max_iter"], tol=params["tol"], **shared)

    return Library(given, make, normalised, root)


def _als(given: Interactions, params: Mapping[str, Any]) -> Library:
    """Implicit's ALS on the confidences."""
    matrix = given.matrix
    unit = float(matrix.data[matrix.data > 0].mean())

    def confidence() -> csr_matrix:
        data = np.sign(matrix.data) * (1.0 + np.abs(matrix.data) / (params["unobserved"] * unit))
        return csr_matrix((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)

    def make() -> AlternatingLeastSquares:
        return AlternatingLeastSquares(
            factors=params["n_components"],
            regularization=params["regularisation"] / params["unobserved"],
            alpha=1.0,
            iterations=params["iterations"],
            num_threads=params["threads"],
            random_state=params["seed"],
        )

    return Library(given, make, confidence)


def _bpr(given: Interactions, params: Mapping[str, Any]) -> Library:
    """Implicit's BPR on what is liked."""

    def make() -> BayesianPersonalizedRanking:
        return BayesianPersonalizedRanking(
            factors=params["n_components"],
            learning_rate=params["learning_rate"],
            regularization=params["regularisation"],
            iterations=params["iterations"],
            num_threads=params["threads"],
            random_state=params["seed"],
        )

    return Library(given, make, lambda: csr_matrix(given.matrix > 0, dtype=np.float32))


def _neighbours(kind: type) -> Callable[[Interactions, Mapping[str, Any]], Library]:
    """Implicit's nearest neighbours on counts."""

    def make_library(given: Interactions, params: Mapping[str, Any]) -> Library:
        def counts() -> csr_matrix:
            matrix = _positive(given).astype(np.float64)
            matrix.data /= matrix.data.mean()
            return matrix

        return Library(given, lambda: kind(K=params["neighbours"], num_threads=params["threads"]), counts)

    return make_library


def _positive(given: Interactions) -> csr_matrix:
    """The weights, negative ones left out."""
    matrix = csr_matrix(given.matrix.maximum(0))
    matrix.eliminate_zeros()
    return matrix


LIBRARIES: dict[str, Callable[[Interactions, Mapping[str, Any]], Library]] = {
    "nmf": _nmf,
    "minibatch-nmf": _nmf,
    "plain-als": _als,
    "bpr": _bpr,
    "cosine": _neighbours(CosineRecommender),
    "bm25": _neighbours(BM25Recommender),
}
