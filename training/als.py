"""Alternating least squares for implicit feedback: a small config, and a fit that returns a FactorRanker's arrays.

Hu, Koren & Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008), with the regularisation
scaled by how often an artwork or a user occurs (Rendle et al., "Revisiting the performance of iALS on item
recommendation benchmarks", RecSys 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
from implicit.cpu._als import least_squares_cg  # one step for some rows; implicit's class has no public way to it
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from features.arrays import Floats
from features.matrix import Interactions
from training.learner import Learner, of_matrix
from training.popularity import appeal

Bucket = tuple[NDArray[np.intp], csr_matrix, float]

STEPS = 3  # of conjugate gradients for a row, as the library has it
FIRST_STEPS = 2  # in the first iterations, while what a row is solved from still moves
FIRST = 0.75  # share of the iterations that take these: with fewer steps to the very end recall falls
LINE = 64  # bytes of a cache line
BUCKET = 1.1  # rows whose regularisations differ by less share one: the library takes one a call, and calls cost
LEAST_SHARE = 500  # rows that a thread takes at once; each share costs a product of the other side with itself


class AlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one fit; equal configs on equal data give equal arrays."""

    n_components: int = 128
    iterations: int = 16
    unobserved: float = 0.3  # weight of a pair that nobody saw, in units of a typical signal (alpha0 of the paper)
    regularisation: float = 0.01  # lambda of the paper, per signal
    scaled: bool = True  # False: one regularisation for all rows, as the library has it
    threads: int = 2
    seed: int = 0


def make_learner(config: AlsConfig) -> Learner:
    """ALS as a learner with these settings."""
    name = "als" if config.scaled else "plain-als"
    settings = msgspec.structs.asdict(config)
    learner = of_matrix(name, "factors", "regularised", lambda given: fit(given, config), settings)
    return replace(learner, beside="judging")


def fit(interactions: Interactions, config: AlsConfig) -> dict[str, np.ndarray]:
    """Least squares in turns: a liked pair is a one with confidence 1 + w / unobserved, a pair not seen a zero with 1.

    Weights w are in units of the mean positive weight; a disliked pair is a zero with the confidence of its |w|.
    The regularisation of a row with n signals is lambda (n + unobserved * other side) / unobserved, within 5%: rows
    are taken by buckets.

    Returns, for n artworks and k components: artwork_ids (n,), factors (n, k), gram (k, k) = Y'Y and ridge (3,) for
    the fold-in, prior (n,).
    """
    matrix = interactions.matrix.astype(np.float32)
    unit = _unit(matrix)
    certainty = 1.0 / (config.unobserved * unit)
    confidence = _confidence(matrix, certainty)
    artworks = _factorise(confidence, config)
    ridge = _ridge(config, len(artworks))
    return {
        "artwork_ids": interactions.artwork_ids,
        "factors": artworks,
        "gram": artworks.T.astype(np.float64) @ artworks.astype(np.float64),
        "ridge": np.array([certainty, *ridge], dtype=np.float64),
        "prior": appeal(interactions),
    }


def _unit(matrix: csr_array) -> float:
    """The mean positive weight; 1 where there is none."""
    positive = matrix.data[matrix.data > 0]
    return float(positive.mean()) if len(positive) else 1.0


def _confidence(matrix: csr_array, certainty: float) -> csr_matrix:
    """1 + certainty * |w|, with the sign of w: what implicit reads as a like or a dislike."""
    data = np.sign(matrix.data) * (1.0 + certainty * np.abs(matrix.data))
    return csr_matrix((data.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def _ridge(config: AlsConfig, others: int) -> tuple[float, float]:
    """What a row is regularised by: a base, and more for each of its signals; ``others`` are on the other side."""
    if not config.scaled:
        return config.regularisation / config.unobserved, 0.0
    return config.regularisation * others, config.regularisation / config.unobserved


def _factorise(confidence: csr_matrix, config: AlsConfig) -> Floats:
    """Artwork factors (n, k)."""
    draw = np.random.default_rng(config.seed)
    width = min(config.n_components, *confidence.shape)
    users, artworks = (_aligned(_start(draw, rows, width)) for rows in confidence.shape)
    sides = (
        (list(_buckets(confidence, config)), users, artworks),
        (list(_buckets(confidence.T.tocsr(), config)), artworks, users),
    )
    # Our threads and not the library's: those wait for each other by spinning, which on a busy machine takes ten times
    # as long as a single one. A row is solved from the other side alone, so the order of the buckets is free.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(config.threads) as threads:
        for iteration in range(config.iterations):
            steps = FIRST_STEPS if iteration < int(FIRST * config.iterations) else STEPS
            for buckets, factors, others in sides:
                list(threads.map(partial(_solve, factors, others, steps), buckets))
    return artworks


def _solve(factors: Floats, others: Floats, steps: int, bucket: Bucket) -> None:
    """The rows of a bucket, in place, from where they are; lets the interpreter go while it works."""
    rows, part, regularisation = bucket
    solved = factors[rows]
    least_squares_cg(part, solved, others, regularisation, num_threads=1, cg_steps=steps)
    factors[rows] = solved


def _start(draw: np.random.Generator, rows: int, width: int) -> Floats:
    """Small random factors."""
    return np.asarray(draw.standard_normal((rows, width)) * 0.1 / np.sqrt(width), dtype=np.float32)


def _aligned(factors: Floats) -> Floats:
    """The same where a cache line begins, as NumPy's own never are: the kernel reads each row in fewer lines."""
    room = np.empty(factors.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    aligned = room[start : start + factors.nbytes].view(factors.dtype).reshape(factors.shape)
    aligned[:] = factors
    return aligned


def _buckets(confidence: csr_matrix, config: AlsConfig) -> Iterator[Bucket]:
    """Rows of similar regularisation, their part of the matrix, and it; rows without signals are left."""
    degrees = np.diff(confidence.indptr)
    base, each = _ridge(config, confidence.shape[1])
    wanted = base + each * degrees
    levels = np.floor(np.log(wanted) / np.log(BUCKET)) if each else np.zeros(len(degrees))
    for level in np.unique(levels[degrees > 0]):
        alike = np.flatnonzero((levels == level) & (degrees > 0))
        regularisation = float(wanted[alike].mean())
        shares = min(config.threads, -(-len(alike) // LEAST_SHARE))
        for start in range(shares):  # every so manieth row: shares of equal work, whatever the order of the rows
            rows = alike[start::shares]
            yield rows, confidence[rows], regularisation
