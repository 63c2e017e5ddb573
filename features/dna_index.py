"""Lists of content vectors that are alike, for pools too large to score whole: the nearest unseen, by inner product.

What is nearest to a user's taste is what the user has seen, so a search that looks at the nearest lists alone finds
nothing but the seen. Here it is told what is unseen, looks at more lists until those bring nothing better, and where
little is unseen that is scored whole. FAISS learns the lists; the vectors are scored where they are, exactly: a copy of
them by list would cost half a kilobyte an artwork.

Inverted lists: Jegou, Douze & Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33(1), 2011.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Mask, Rows
from features.content import Searchable

FIRST_LISTS, GROWTH = 48, 1.5  # lists that a search looks at; so many times as many until nothing better is found
LEARNT_FROM = 50  # artworks per list that the centres are learnt from
OUTGROWN = 4  # times the vectors that the centres were learnt from: then they are learnt anew
TOGETHER = 65_536  # vectors that are put in lists at once
SEED = 0


@dataclass(frozen=True)
class _Lists:
    """Which rows (n,) are in which list: one list after the other, each from one of ``starts`` (l + 1,) to the next."""

    centres: Floats  # (l, d)
    learnt: int  # vectors that they were learnt for
    rows: Rows
    starts: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many lists there are."""
        return len(self.starts) - 1

    def nearest(self, query: Floats) -> list[int]:
        """All of them, the nearest to ``query`` (d,) first."""
        order: list[int] = np.argsort(-(self.centres @ query)).tolist()
        return order

    def members(self, lists: list[int]) -> Rows:
        """The rows in some lists."""
        return np.concatenate([self.rows[self.starts[each] : self.starts[each + 1]] for each in lists])


class ContentIndex:
    """Vectors (n, d) in the order they came; one thread may search while another extends it."""

    def __init__(self, vectors: Searchable, exact_below: int, lists: _Lists | None = None) -> None:
        """Lists from ``exact_below`` vectors on (they are learnt here, seconds for 100,000); else none."""
        self.exact_below = exact_below
        self._held = vectors, lists or (_learn(vectors) if len(vectors) >= exact_below else None)

    def __len__(self) -> int:
        """How many vectors it holds."""
        return len(self._held[0])

    @property
    def lists(self) -> int:
        """How many lists it has; with none a search scores all."""
        lists = self._held[1]
        return 0 if lists is None else lists.count

    def extend(self, vectors: Searchable) -> None:
        """Further vectors at the end; the lists' centres stay, until there are many times as many.

        ``vectors``: all of them, which begin with those that are there.
        """
        lists = self._held[1]
        if lists is None or len(vectors) >= OUTGROWN * lists.learnt:
            self._held = vectors, (_learn(vectors) if len(vectors) >= self.exact_below else None)
        elif len(vectors) > len(self):
            self._held = vectors, _extended(lists, vectors)

    def search(self, query: Floats, unseen: Mask, count: int) -> tuple[Rows, Floats]:
        """The ``count`` best unseen rows, best first, and their inner products with ``query`` (d,); fewer if fewer are.

        ``unseen``: (m,) for m at most the vectors; later ones count as seen.
        """
        vectors, lists = self._held
        if lists is None or int(np.count_nonzero(unseen)) < self.exact_below:
            return _best(vectors, query, np.flatnonzero(unseen).astype(np.int32), count)
        return _search(vectors, lists, query, unseen, count)

    def exact(self, query: Floats, rows: Rows, count: int) -> tuple[Rows, Floats]:
        """The best of ``rows``, all of them scored."""
        return _best(self._held[0], query, rows, count)

    def save(self, path: Path) -> None:
        """Write the lists to an .npz file. Raises ValueError where the vectors are too few for lists."""
        lists = self._held[1]
        if lists is None:
            raise ValueError(f"{len(self)} vectors have no lists that could be saved")
        np.savez(path, centres=lists.centres, learnt=lists.learnt, rows=lists.rows, starts=lists.starts)

    @classmethod
    def load(cls, path: Path, vectors: Searchable, exact_below: int) -> ContentIndex:
        """Read lists that were saved with these vectors. Raises ValueError when they hold others."""
        with np.load(path, allow_pickle=False) as held:
            lists = _Lists(held["centres"], int(held["learnt"]), held["rows"], held["starts"])
        of = len(lists.rows), lists.centres.shape[1]
        if of != (len(vectors), vectors.width):
            raise ValueError(f"{path} holds {of[0]} vectors of {of[1]}, not {len(vectors)} of {vectors.width}")
        return cls(vectors, exact_below, lists)


def _search(vectors: Searchable, lists: _Lists, query: Floats, unseen: Mask, count: int) -> tuple[Rows, Floats]:
    """Look at ever more lists until so many unseen ones were found and further lists bring no better ones."""
    order, looked, ahead = lists.nearest(query), 0, FIRST_LISTS
    rows, scores = np.zeros(0, np.int32), np.zeros(0, np.float32)
    while True:
        members = lists.members(order[looked:ahead])
        members = members[members < len(unseen)]
        before, (more, their_scores) = rows, _best(vectors, query, members[unseen[members]], count)
        rows, scores = np.concatenate([rows, more]), np.concatenate([scores, their_scores])
        best = np.lexsort((rows, -scores))[:count]
        rows, scores = rows[best], scores[best]
        if ahead >= lists.count or (len(rows) == count and np.array_equal(rows, before)):
            return rows, scores
        looked, ahead = ahead, int(GROWTH * ahead)


def _best(vectors: Searchable, query: Floats, rows: Rows, count: int) -> tuple[Rows, Floats]:
    """The best of ``rows``, best first, and their scores; of equals the first."""
    scores = vectors.score(query, rows)
    if count < len(rows):  # what is as good as the last of the best stays in, so that the first of equals wins
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        good = np.flatnonzero(scores >= least)
        rows, scores = rows[good], scores[good]
    best = np.lexsort((rows, -scores))[:count]
    return rows[best], scores[best]


def _learn(vectors: Searchable) -> _Lists:
    """Lists of vectors that are alike, learnt from some of them."""
    count = len(vectors)
    lists = 2 * int(np.sqrt(count))  # so that a list and the centres cost alike
    index: Any = faiss.index_factory(vectors.width, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = SEED
    index.cp.min_points_per_centroid = 1
    sample = np.random.default_rng(SEED).permutation(count)[: LEARNT_FROM * lists]
    index.train(vectors.copied(np.sort(sample).astype(np.int32)))
    centres = index.quantizer.reconstruct_n(0, lists)
    nothing = _Lists(centres, count, np.zeros(0, np.int32), np.zeros(lists + 1, np.int64))
    return _extended(nothing, vectors)


def _extended(lists: _Lists, vectors: Searchable) -> _Lists:
    """The lists with the vectors that are in none of them yet, which are the last ones."""
    known, count = len(lists.rows), len(vectors)
    ends = [*range(known, count, TOGETHER), count]
    found = [_nearest(lists.centres, vectors.copied(slice(*pair))) for pair in itertools.pairwise(ends)]
    old = np.repeat(np.arange(lists.count), np.diff(lists.starts))
    numbers = np.concatenate([old, *found])
    rows = np.concatenate([lists.rows, np.arange(known, count, dtype=np.int32)])
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(numbers, minlength=lists.count))])
    return replace(lists, rows=rows[np.argsort(numbers, kind="stable")], starts=starts)


def _nearest(centres: Floats, vectors: Floats) -> NDArray[np.int64]:
    """The list that each vector (m, d) belongs to."""
    return np.asarray(faiss.knn(vectors, centres, 1, metric=faiss.METRIC_INNER_PRODUCT)[1][:, 0])


def recall(index: ContentIndex, queries: Floats, unseen: Mask, count: int) -> float:
    """Share of the ``count`` exactly best unseen rows that the index finds, over ``queries`` (q, d)."""
    rows = np.flatnonzero(unseen).astype(np.int32)
    found = [np.isin(index.exact(query, rows, count)[0], index.search(query, unseen, count)[0]) for query in queries]
    return float(np.concatenate(found).mean())
