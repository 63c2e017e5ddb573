"""Non-negative matrix factorisation: a small config, and a fit that returns the arrays of a FactorRanker.

No users in the result: serving folds each one in from the latest signals.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from sklearn.decomposition import NMF, MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from features.matrix import Interactions, inverse_root
from training.learner import Learner, of_matrix
from training.popularity import appeal

PASSES = 50  # over all batches


class NmfConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one fit; equal configs on equal data give equal bytes."""

    n_components: int = 50  # fewer where there are fewer users or artworks
    max_iter: int = 200  # passes of coordinate descent; not always to the very end, which changes nothing measurable
    tol: float = 1e-4
    degree_prior: float = 1.0  # in mean artwork degrees: what every artwork's degree is raised by
    batch_size: int = 0  # users at once: MiniBatchNMF, for what does not fit in memory otherwise; 0: all, NMF
    seed: int = 0


def make_learner(config: NmfConfig) -> Learner:
    """NMF as a learner with these settings."""
    name = "minibatch-nmf" if config.batch_size else "nmf"
    settings = msgspec.structs.asdict(config)
    return replace(of_matrix(name, "factors", "nonnegative", lambda given: fit(given, config), settings), beside="fit")


def fit(interactions: Interactions, config: NmfConfig) -> dict[str, np.ndarray]:
    """Factorise A = Du^-1/2 R Di^-1/2 ~ W H with W, H >= 0, where R are the weights, negative ones as 0.

    Du are the users' degrees (row sums), Di the artworks' (column sums) plus `degree_prior` mean degrees: plain R
    lets the busiest users and the best-known artworks fill the components, and without the prior an artwork that
    was met once, or long ago, weighs as much as a well-known one. Normalising by degree is the symmetric one of
    spectral clustering (Dhillon, KDD 2001).

    Returns, for n artworks and k components: artwork_ids (n,); factors (n, k) = Di^1/2 H', which undoes the
    artworks' half of the normalisation and so estimates R and not A (user degrees do not change a user's order);
    projection (n, k) = Di^-1/2 H' and gram (k, k) = H H' for the fold-in; prior (n,), the popularity.
    """
    weights = interactions.matrix.maximum(0)
    user_degrees, artwork_degrees = weights.sum(axis=1), weights.sum(axis=0)
    artwork_degrees = artwork_degrees + config.degree_prior * artwork_degrees.mean()
    scale = inverse_root(artwork_degrees)
    normalised = csr_array(diags_array(inverse_root(user_degrees)) @ weights @ diags_array(scale))
    components = _factorise(normalised, config)
    return {
        "artwork_ids": interactions.artwork_ids,
        "factors": (components * np.sqrt(artwork_degrees)).T.astype(np.float32),
        "projection": (components * scale).T.astype(np.float32),
        "gram": components @ components.T,
        "prior": appeal(interactions),
    }


def _factorise(normalised: csr_array, config: NmfConfig) -> NDArray[np.float64]:
    """H, shape (k, n), by one thread: faster on matrices this sparse, and the same sums on every machine size."""
    settings = {
        "n_components": min(config.n_components, *normalised.shape),
        "init": "nndsvda",
        "max_iter": config.max_iter,
        "tol": config.tol,
        "random_state": config.seed,
    }
    # Batches differ so much from each other that the usual rule, ten without a gain, would stop within a pass or two.
    patient = {"batch_size": config.batch_size, "max_no_improvement": None, "tol": 0.0, "max_iter": PASSES}
    model = MiniBatchNMF(**{**settings, **patient}) if config.batch_size else NMF(**settings)
    # The root is of an error that rounding can make negative where a user or two are fitted fully.
    with threadpool_limits(1), np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is a budget here
        model.fit(normalised.astype(np.float64))
    return np.asarray(model.components_, dtype=np.float64)
