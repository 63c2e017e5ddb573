"""The nearest unseen of a pool by its content: the index beside scoring everything, by size and by what was seen.

Where the ratio falls under one, the index pays: `features.catalogue.INDEXED_FROM` stands on it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from features.arrays import Floats, Mask
from features.content import LENGTH
from features.dna_index import ContentIndex, recall
from tests.benchmarks.figures import Figure, compare, in_turns

SIZES = (10_000, 30_000, 100_000, 300_000)
FOUND = 1_000
KINDS, SPREAD = 400, 0.7
CALLS, QUERIES = 5, 10
BEST_SEEN = 0.1  # share of the pool: what a user has seen is what is nearest


def run() -> list[Figure]:
    """Milliseconds of one search on one thread, and its recall against scoring everything."""
    with threadpool_limits(1):
        return [figure for size in SIZES for figure in _figures(size)]


def _figures(size: int) -> list[Figure]:
    """One size of pool, of whose nearest a tenth is seen."""
    draw = np.random.default_rng(0)
    vectors, queries = _pool(draw, size), _pool(draw, QUERIES)
    index = ContentIndex(vectors, exact_below=1)
    unseen = _without_the_best(vectors, queries[0])
    rows = np.flatnonzero(unseen).astype(np.int32)
    found = in_turns(
        {
            "index": lambda: _milliseconds(lambda: index.search(queries[0], unseen, FOUND)),
            "all": lambda: _milliseconds(lambda: index.exact(queries[0], rows, FOUND)),
        }
    )
    shares = [recall(index, query[None], _without_the_best(vectors, query), FOUND) for query in queries]
    return [
        compare(f"{FOUND:,} of {size:,}, by the index", "ms", found["index"], "scoring all", found["all"]),
        Figure(f"recall of {FOUND:,} of {size:,}, the best tenth seen", statistics.mean(shares), "", reach=">= 0.9"),
    ]


def _pool(draw: np.random.Generator, count: int) -> Floats:
    """Unit vectors about some centres, the same for every size."""
    centres = np.random.default_rng(9).standard_normal((KINDS, LENGTH))
    vectors = centres[draw.integers(0, KINDS, count)] + SPREAD * draw.standard_normal((count, LENGTH))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _without_the_best(vectors: Floats, query: Floats) -> Mask:
    """What is unseen when the nearest have been seen."""
    unseen = np.ones(len(vectors), dtype=bool)
    unseen[np.argsort(-(vectors @ query))[: int(BEST_SEEN * len(vectors))]] = False
    return unseen


def _milliseconds(work: Callable[[], object]) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1_000
