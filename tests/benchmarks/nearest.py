"""The nearest unseen of a pool by its content: the index beside scoring everything, by size and by what was seen.

Where the ratio falls under one, the index pays: `features.catalogue.INDEXED_FROM` stands on it. In the end a million
artworks of the synthetic world, whose nearest are hard to tell apart, for tastes as people have them there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from features.arrays import Floats, Mask, Rows
from features.content import LENGTH, WORD_LENGTH, Searchable, content_vectors, searchable, space_of, tokens_of
from features.dna import read_dna
from features.dna_index import ContentIndex, recall
from serving.rankers import ContentRanker
from tests.benchmarks.figures import Figure, compare, in_turns
from training.synth import World, make_world
from training.synth_recipe import STYLES, Recipe
from training.synth_store import ARTWORK_COLUMNS, _artwork_rows

SIZES = (10_000, 30_000, 100_000, 300_000)
FOUND = 1_000
KINDS, SPREAD = 400, 0.7
CALLS, QUERIES = 5, 10
BEST_SEEN = 0.1  # share of the pool: what a user has seen is what is nearest

WORLD, COPIES, NOISE = 200_000, 5, 0.02  # a million: artworks of the world, and each in so many near forms
LIST = 20
LIKED, PASSED = 40, 40  # artworks that a taste is made from: of two styles, and of any
NEAREST_SEEN, RANDOM_SEEN, NEARLY_ALL = 10_000, 1_000, 0.977


def run() -> list[Figure]:
    """Milliseconds of one search on one thread, and its recall against scoring everything."""
    with threadpool_limits(1):
        return [figure for size in SIZES for figure in _figures(size)] + _million()


def _figures(size: int) -> list[Figure]:
    """One size of pool, of whose nearest a tenth is seen."""
    draw = np.random.default_rng(0)
    vectors = Searchable(_pool(draw, size), np.zeros(size, dtype=bool))
    queries = np.hstack([_pool(draw, QUERIES), np.zeros((QUERIES, 1), np.float32)])
    index = ContentIndex(vectors, exact_below=1)
    unseen = _without_the_best(vectors, queries[0], int(BEST_SEEN * size))
    rows = np.flatnonzero(unseen).astype(np.int32)
    found = in_turns(
        {
            "index": lambda: _milliseconds(lambda: index.search(queries[0], unseen, FOUND)),
            "all": lambda: _milliseconds(lambda: index.exact(queries[0], rows, FOUND)),
        }
    )
    masks = [_without_the_best(vectors, query, int(BEST_SEEN * size)) for query in queries]
    shares = [recall(index, query[None], mask, FOUND) for query, mask in zip(queries, masks, strict=True)]
    return [
        compare(f"{FOUND:,} of {size:,}, by the index", "ms", found["index"], "scoring all", found["all"]),
        Figure(f"recall of {FOUND:,} of {size:,}, the best tenth seen", statistics.mean(shares), "", reach=">= 0.9"),
    ]


def _million() -> list[Figure]:
    """A list from a million artworks in three states of seen, beside one pass over all of them."""
    draw = np.random.default_rng(0)
    world = make_world(Recipe(seed=1, users=1, artworks=WORLD, until=datetime.now(UTC)))
    content = _near_forms(draw, _vectors(world))
    tastes = _tastes(draw, content, np.tile(world.artworks.style_rows, COPIES))
    vectors = searchable(content)
    whole = vectors.copied(slice(None))
    started = time.perf_counter()
    index = ContentIndex(vectors, exact_below=len(vectors) // 10)
    built = time.perf_counter() - started
    states: dict[str, Callable[[Floats], Mask]] = {
        f"{RANDOM_SEEN:,} at random seen": lambda _: _without(draw, len(vectors), RANDOM_SEEN),
        f"the best {NEAREST_SEEN:,} seen": lambda taste: _without_the_best(vectors, taste, NEAREST_SEEN),
        f"{NEARLY_ALL:.1%} seen": lambda _: _without(draw, len(vectors), round(NEARLY_ALL * len(vectors))),
    }
    size = len(vectors)
    figures = [Figure(f"an index of {size:,} made", built, "s")]
    for name, left in states.items():
        masks = [left(taste) for taste in tastes]
        asked = list(zip(tastes, masks, strict=True))
        found = in_turns(
            {
                "index": partial(_each, partial(index.search, count=LIST), asked),
                "all": partial(_each, partial(_scan, whole), asked),
            }
        )
        right = [np.isin(_scan(whole, *each), index.search(*each, LIST)[0]).mean() for each in asked]
        figures += [
            compare(
                f"{LIST} of {size:,}, {name}: all scored",
                "ms",
                found["all"],
                "the index",
                found["index"],
                reach=">= 4",
            ),
            Figure(f"recall of {LIST} of {size:,}, {name}", float(np.mean(right)), "", reach=">= 0.98"),
        ]
    return figures


def _scan(vectors: Floats, taste: Floats, unseen: Mask) -> Rows:
    """The best unseen by one pass over all, as quick as numpy has it: no marks of the seen, whose ties cost dearly."""
    rows = np.flatnonzero(unseen)
    scores = (vectors @ taste)[rows]
    return rows[np.argpartition(scores, -LIST)[-LIST:]].astype(np.int32)


def _each(search: Callable[[Floats, Mask], object], asked: list[tuple[Floats, Mask]]) -> float:
    """The median milliseconds of a search for each taste."""
    return statistics.median(_milliseconds(partial(search, *each), calls=1) for each in asked)


def _vectors(world: World) -> Floats:
    """Content vectors of a world's artworks, as the service would read them."""
    rows = [dict(zip(ARTWORK_COLUMNS, row[1:], strict=True)) for row in _artwork_rows(world)]
    kinds, numbers = zip(*(read_dna(row["dna_vector"]) for row in rows), strict=True)
    tokens = [tokens_of(row["styles"], row["motifs"], row["artists"], row["prompt"]) for row in rows]
    return content_vectors(kinds, np.stack(numbers), tokens)


def _near_forms(draw: np.random.Generator, vectors: Floats) -> Floats:
    """Every artwork several times, each a little different in its words, and in its looks where they are known."""
    many = np.tile(vectors, (COPIES, 1))
    for part in (slice(WORD_LENGTH), slice(WORD_LENGTH, LENGTH)):
        length = np.linalg.norm(many[:, part], axis=1, keepdims=True)
        noisy = many[:, part] + np.float32(NOISE) * draw.standard_normal(many[:, part].shape, np.float32)
        many[:, part] = noisy * (length / np.linalg.norm(noisy, axis=1, keepdims=True))
    return many


def _tastes(draw: np.random.Generator, content: Floats, styles: Rows) -> Floats:
    """What the content ranker makes of people who like two styles and pass over some others."""
    ranker = ContentRanker(space_of(content))
    found = []
    for _ in range(QUERIES):
        of_styles = np.flatnonzero(np.isin(styles, draw.choice(len(STYLES), 2, replace=False)))
        rows = np.concatenate([draw.choice(of_styles, LIKED), draw.choice(len(content), PASSED)]).astype(np.int32)
        weights = np.concatenate([draw.uniform(0.3, 1.0, LIKED), draw.uniform(-0.5, 0.1, PASSED)])
        found.append(ranker.taste(rows, weights.astype(np.float32)))
    return np.stack(found)


def _pool(draw: np.random.Generator, count: int) -> Floats:
    """Unit vectors about some centres, the same for every size."""
    centres = np.random.default_rng(9).standard_normal((KINDS, LENGTH))
    vectors = centres[draw.integers(0, KINDS, count)] + SPREAD * draw.standard_normal((count, LENGTH))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _without(draw: np.random.Generator, size: int, seen: int) -> Mask:
    """What is unseen when so many drawn at random have been seen."""
    unseen = np.ones(size, dtype=bool)
    unseen[draw.permutation(size)[:seen]] = False
    return unseen


def _without_the_best(vectors: Searchable, query: Floats, seen: int) -> Mask:
    """What is unseen when the nearest have been seen."""
    unseen = np.ones(len(vectors), dtype=bool)
    unseen[np.argsort(-vectors.score(query, np.arange(len(vectors), dtype=np.int32)))[:seen]] = False
    return unseen


def _milliseconds(work: Callable[[], object], calls: int = CALLS) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1_000
