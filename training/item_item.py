"""Artwork-to-artwork models: each a fit that returns the arrays of an ItemItemRanker, a sparse matrix of likeness.

Cosine and BM25 neighbours come from implicit; the linear graph filter and EASE are a few lines of linear algebra.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import msgspec
import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from implicit.utils import ParameterWarning
from numpy.typing import NDArray
from scipy.linalg.lapack import spotrf, spotri
from scipy.sparse import csr_array, csr_matrix

from features.errors import TooManyArtworksError
from features.matrix import Interactions, inverse_root
from training.learner import Learner, of_matrix
from training.popularity import appeal
from training.svd import normalise, right_vectors

BLOCK = 1_000  # artworks whose likeness to all others is in memory at once


class NeighbourConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of cosine and BM25 neighbours."""

    neighbours: int = 100
    threads: int = 2


class GraphConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the graph filter; without low-pass components it is the linear filter alone."""

    neighbours: int = 500  # strongest entries that are kept of each row
    n_components: int = 0
    low_pass: float = 1.0  # weight of the low-pass part
    seed: int = 0


class EaseConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of EASE."""

    penalty: float = 500.0
    neighbours: int = 1_000  # strongest entries that are kept of each row
    most_artworks: int = 8_000  # a dense matrix of them squared is inverted


def make_cosine(config: NeighbourConfig) -> Learner:
    """Neighbours by the cosine of who liked them (Sarwar et al., WWW 2001)."""
    return _learner("cosine", lambda given: _neighbours(given, CosineRecommender, config), config)


def make_bm25(config: NeighbourConfig) -> Learner:
    """Neighbours by BM25: much-liked artworks and busy users weigh less (Robertson & Zaragoza, 2009)."""
    return _learner("bm25", lambda given: _neighbours(given, BM25Recommender, config), config)


def make_graph_filter(config: GraphConfig) -> Learner:
    """The graph filter, called linear-filter without a low-pass part and gf-cf with one."""
    name = "gf-cf" if config.n_components else "linear-filter"
    return _learner(name, lambda given: fit_graph_filter(given, config), config)


def make_ease(config: EaseConfig) -> Learner:
    """EASE as a learner."""
    return _learner("ease", lambda given: fit_ease(given, config), config)


def fit_graph_filter(interactions: Interactions, config: GraphConfig) -> dict[str, np.ndarray]:
    """P + a Di^-1/2 V V' Di^1/2 with P = A'A, A = Du^-1/2 R Di^-1/2 and V the first right singular vectors of A.

    GF-CF (Shen et al., "How powerful is graph convolution for recommendation?", CIKM 2021). R are the positive
    weights; by blocks of rows, so that no dense matrix of all artworks is ever made.
    """
    normalised, roots = normalise(interactions)
    likeness = (normalised.T @ normalised).tocsr()
    basis = right_vectors(normalised, config.n_components, config.seed)
    left, right = basis * inverse_root(roots**2)[:, None], basis * roots[:, None]

    def blocks() -> Iterator[NDArray[np.floating]]:
        for start in range(0, likeness.shape[0], BLOCK):
            block = likeness[start : start + BLOCK].toarray()
            yield block + config.low_pass * (left[start : start + BLOCK] @ right.T) if basis.size else block

    return _arrays(interactions, _strongest(blocks(), config.neighbours))


def fit_ease(interactions: Interactions, config: EaseConfig) -> dict[str, np.ndarray]:
    """B = I - P / diag(P) with P = (R'R + penalty I)^-1, the diagonal at 0; R is 1 where the weight is positive.

    Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019). Raises TooManyArtworksError.
    """
    liked = csr_array(interactions.matrix > 0, dtype=np.float32)
    count = liked.shape[1]
    if count > config.most_artworks:
        raise TooManyArtworksError(model="ease", artworks=count, most=config.most_artworks)
    gram = (liked.T @ liked).toarray().astype(np.float32)
    gram[np.diag_indices(count)] += config.penalty
    inverse = _inverse(gram)
    weights = np.asarray(-inverse / np.diag(inverse), dtype=np.float32)
    np.fill_diagonal(weights, 0.0)
    blocks = (weights[start : start + BLOCK] for start in range(0, count, BLOCK))
    return _arrays(interactions, _strongest(blocks, config.neighbours))


def _inverse(gram: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of a positive definite matrix, by its Cholesky factor in place: half the work of solving for I."""
    factor, _ = spotrf(gram.T, overwrite_a=1)
    lower, _ = spotri(factor, overwrite_c=1)
    upper = np.triu(lower)
    return np.asarray(upper + np.triu(upper, 1).T)


def _learner(name: str, fit: object, config: msgspec.Struct) -> Learner:
    """An item-item learner; it has no fold-in, for a user's signals pick rows as they are."""
    return of_matrix(name, "items", "none", fit, msgspec.structs.asdict(config))  # type: ignore[arg-type]


def _neighbours(interactions: Interactions, kind: type, config: NeighbourConfig) -> dict[str, np.ndarray]:
    """The library's own neighbours; it counts each artwork among its own, and so do we."""
    liked = csr_matrix(interactions.matrix.maximum(0), dtype=np.float64)
    liked.eliminate_zeros()
    liked.data /= liked.data.mean() if liked.nnz else 1.0  # BM25 reads a weight as a count
    model = kind(K=config.neighbours, num_threads=config.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParameterWarning)  # about its own weighted copy of the matrix
        model.fit(liked, show_progress=False)
    return _arrays(interactions, csr_array(model.similarity, dtype=np.float32))


def _strongest(blocks: Iterator[NDArray[np.floating]], most: int) -> csr_array:
    """The ``most`` entries of greatest size of each row, as a sparse matrix."""
    parts = []
    for block in blocks:
        kept = block.astype(np.float32)
        if block.shape[1] > most:
            least = np.partition(np.abs(kept), -most, axis=1)[:, -most]
            kept[np.abs(kept) < least[:, None]] = 0.0
        parts.append(csr_array(kept))
    return csr_array(_stack(parts))


def _stack(parts: list[csr_array]) -> csr_array:
    """Sparse rows one below the other."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    values, indices = (np.concatenate([getattr(part, name) for part in parts]) for name in ("data", "indices"))
    return csr_array((values, indices, indptr), shape=(len(lengths), parts[0].shape[1]))


def _arrays(interactions: Interactions, likeness: csr_array) -> dict[str, np.ndarray]:
    """What an ItemItemRanker reads."""
    likeness.sort_indices()
    return {
        "artwork_ids": interactions.artwork_ids,
        "indptr": likeness.indptr.astype(np.int64),
        "indices": likeness.indices.astype(np.int32),
        "values": likeness.data.astype(np.float32),
        "prior": appeal(interactions),
    }
