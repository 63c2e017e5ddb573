"""Truncated singular value decomposition of the degree-normalised matrix, as the arrays of a FactorRanker.

The ideal low-pass part of a graph filter (Shen et al., GF-CF, CIKM 2021), or PureSVD (Cremonesi, Koren & Turrin,
RecSys 2010) after normalising by degree.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import svds
from threadpoolctl import threadpool_limits

from features.matrix import Interactions, inverse_root
from training.learner import Learner, of_matrix
from training.popularity import appeal


class SvdConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one fit; equal configs on equal data give equal arrays."""

    n_components: int = 64
    seed: int = 0


def make_learner(config: SvdConfig) -> Learner:
    """The decomposition as a learner with these settings."""
    return of_matrix("svd", "factors", "linear", lambda given: fit(given, config), msgspec.structs.asdict(config))


def fit(interactions: Interactions, config: SvdConfig) -> dict[str, np.ndarray]:
    """A user's scores are r Di^-1/2 V V' Di^1/2 with V the first right singular vectors of A = Du^-1/2 R Di^-1/2.

    Returns projection = Di^-1/2 V and factors = Di^1/2 V, both (n, k), for the linear fold-in; prior (n,).
    """
    normalised, roots = normalise(interactions)
    basis = right_vectors(normalised, config.n_components, config.seed)
    return {
        "artwork_ids": interactions.artwork_ids,
        "factors": (basis * roots[:, None]).astype(np.float32),
        "projection": (basis * inverse_root(roots**2)[:, None]).astype(np.float32),
        "prior": appeal(interactions),
    }


def normalise(interactions: Interactions) -> tuple[csr_array, NDArray[np.float64]]:
    """A = Du^-1/2 R Di^-1/2 with R the positive weights, and the roots of the artworks' degrees, shape (n,)."""
    weights = interactions.matrix.maximum(0).astype(np.float64)
    users, artworks = weights.sum(axis=1), weights.sum(axis=0)
    normalised = diags_array(inverse_root(users)) @ weights @ diags_array(inverse_root(artworks))
    return csr_array(normalised.astype(np.float32)), np.sqrt(artworks)


def right_vectors(normalised: csr_array, most: int, seed: int) -> NDArray[np.floating]:
    """The first ``most`` right singular vectors, shape (n, k), from a start that the seed decides."""
    smaller = min(normalised.shape)
    width = min(most, smaller - 1)
    if width < 1:
        return np.zeros((normalised.shape[1], 0), np.float32)
    start = np.random.default_rng(seed).standard_normal(smaller).astype(np.float32)
    with threadpool_limits(1, "blas"):  # many small products; threads only wait for each other
        return np.asarray(svds(normalised, k=width, v0=start, return_singular_vectors="vh")[2].T)
