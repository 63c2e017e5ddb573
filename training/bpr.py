"""Bayesian personalised ranking: a small config, and a fit that returns the arrays of a FactorRanker.

Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009), fitted by implicit.
"""

from __future__ import annotations

import msgspec
import numpy as np
from implicit.bpr import BayesianPersonalizedRanking
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.arrays import Floats
from features.matrix import Interactions
from training.learner import Learner, of_matrix
from training.popularity import appeal

FOLD_RIDGE = 1e-4  # of the mean square: against a singular map where there are fewer users than factors


class BprConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one fit; with one thread, equal configs on equal data give equal arrays."""

    n_components: int = 64
    iterations: int = 30
    learning_rate: float = 0.05
    regularisation: float = 0.01
    threads: int = 1
    seed: int = 0


def make_learner(config: BprConfig) -> Learner:
    """BPR as a learner with these settings."""
    return of_matrix("bpr", "factors", "linear", lambda given: fit(given, config), msgspec.structs.asdict(config))


def fit(interactions: Interactions, config: BprConfig) -> dict[str, np.ndarray]:
    """Learn from pairs of a liked and an unseen artwork; weights do not count, only that they are positive.

    BPR has no user step to solve at request time. Instead the vectors that it learnt for its users are regressed on
    the weighted sums of what these liked, and that map (k, k) stands in the projection: what a user's signals add
    up to is near the vector that training would have given. Errors grow with what was liked, so a user counts by its
    inverse: else the few with most likes decide the map. Each artwork's bias is the array offset.
    """
    liked = csr_matrix(interactions.matrix > 0, dtype=np.float32)
    model = BayesianPersonalizedRanking(
        factors=config.n_components,
        learning_rate=config.learning_rate,
        regularization=config.regularisation,
        iterations=config.iterations,
        num_threads=config.threads,
        random_state=config.seed,
    )
    with threadpool_limits(1, "blas"):
        model.fit(liked, show_progress=False)
    factors = np.ascontiguousarray(model.item_factors[:, :-1])
    fold = _regress(model.user_factors[:, :-1], interactions.matrix.maximum(0) @ factors, np.diff(liked.indptr))
    return {
        "artwork_ids": interactions.artwork_ids,
        "factors": factors,
        "offset": np.ascontiguousarray(model.item_factors[:, -1]),
        "projection": (factors @ fold).astype(np.float32),
        "prior": appeal(interactions),
    }


def _regress(users: Floats, sums: Floats, likes: NDArray[np.integer]) -> NDArray[np.float64]:
    """The map (k, k) from sums (u, k) of what users liked to their vectors (u, k); ``likes`` (u,) is how many."""
    scale = (np.maximum(likes, 1) ** -0.5)[:, None]
    given, wanted = (sums * scale).astype(np.float64), (users * scale).astype(np.float64)
    normal = given.T @ given
    normal[np.diag_indices_from(normal)] += FOLD_RIDGE * max(float(np.diag(normal).mean()), 1e-12)
    return np.asarray(np.linalg.solve(normal, given.T @ wanted))
