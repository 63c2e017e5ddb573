"""Popularity: the yardstick, and the prior of users about whom nothing is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.matrix import Interactions
from training.learner import Learner, of_matrix


def make_learner() -> Learner:
    """Popularity as a learner; it has no settings."""
    return of_matrix("popularity", "factors", "constant", fit)


def fit(interactions: Interactions) -> dict[str, np.ndarray]:
    """Arrays of a FactorRanker with the constant fold-in: one factor (n, 1), the appeal, which is the prior as well."""
    prior = appeal(interactions)
    return {"artwork_ids": interactions.artwork_ids, "factors": prior[:, None], "prior": prior}


def appeal(interactions: Interactions) -> NDArray[np.float32]:
    """Sum of each artwork's weights, negative ones included, shape (n,), scaled so that the greatest is 1."""
    totals = interactions.matrix.sum(axis=0, dtype=np.float64)
    return np.asarray(totals / max(float(np.abs(totals).max(initial=0.0)), np.finfo(np.float32).tiny), dtype=np.float32)
