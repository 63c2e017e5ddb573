"""Bayesian personalised ranking: a small config, and a fit that returns the arrays of a FactorRanker.

Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009), fitted by implicit.
"""

from __future__ import annotations

import msgspec
import numpy as np
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from features.matrix import Interactions
from training.learner import Learner, of_matrix
from training.popularity import appeal

FOLD_CERTAINTY, FOLD_RIDGE = 10.0, 1.0


class BprConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one fit; with one thread, equal configs on equal data give equal arrays."""

    n_components: int = 64
    iterations: int = 150
    learning_rate: float = 0.05
    regularisation: float = 0.01
    threads: int = 1
    seed: int = 0


def make_learner(config: BprConfig) -> Learner:
    """BPR as a learner with these settings."""
    return of_matrix("bpr", "factors", "regularised", lambda given: fit(given, config), msgspec.structs.asdict(config))


def fit(interactions: Interactions, config: BprConfig) -> dict[str, np.ndarray]:
    """Learn from pairs of a liked and an unseen artwork; weights do not count, only that they are positive.

    BPR has no user step to solve at request time. Its artwork factors get the one of least squares instead, which
    needs only them; each artwork's bias is the array offset.
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
    return {
        "artwork_ids": interactions.artwork_ids,
        "factors": factors,
        "offset": np.ascontiguousarray(model.item_factors[:, -1]),
        "gram": factors.T.astype(np.float64) @ factors.astype(np.float64),
        "ridge": np.array([FOLD_CERTAINTY, FOLD_RIDGE, 0.0]),
        "prior": appeal(interactions),
    }
