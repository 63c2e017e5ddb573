"""A FAISS index over content vectors, for pools too large to score whole: the nearest unseen, by inner product.

What is nearest to a user's taste is what the user has seen, so an approximate index that looks at its nearest lists
alone finds nothing but the seen. Here the search is told what is unseen, looks at more lists until those bring nothing
better, and where little is unseen that is scored whole, exactly.

Inverted lists: Jegou, Douze & Schmid, "Product quantization for nearest neighbor search", IEEE TPAMI 33(1), 2011.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import faiss
import numpy as np

from features.arrays import Floats, Mask, Rows

FIRST_LISTS = 64  # that a search looks at; doubled until nothing better is found
LEARNT_FROM = 50  # artworks per list that the centres are learnt from
OUTGROWN = 4  # times the vectors that the centres were learnt from: then they are learnt anew
SEED = 0


class ContentIndex:
    """Vectors (n, d) in the order they were added; one thread may search while another adds."""

    def __init__(self, vectors: Floats, exact_below: int, index: Any = None) -> None:
        """Inverted lists from ``exact_below`` vectors on (they are learnt here, seconds for 100,000); else flat."""
        self.exact_below = exact_below
        self._lock = Lock()
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._index: Any = index or _build(self._vectors, exact_below)
        self._learnt = len(self._vectors)

    def __len__(self) -> int:
        """How many vectors it holds."""
        return int(self._index.ntotal)

    @property
    def approximate(self) -> bool:
        """Whether a search may miss some."""
        return isinstance(self._index, faiss.IndexIVF)

    def add(self, vectors: Floats) -> None:
        """Further vectors, after those that are there; the lists' centres stay, until there are many times as many."""
        added = np.ascontiguousarray(vectors, dtype=np.float32)
        every = np.concatenate([self._vectors, added])
        if len(every) >= OUTGROWN * self._learnt:
            index = _build(every, self.exact_below)  # beside the old one, which is searched meanwhile
            with self._lock:
                self._vectors, self._index, self._learnt = every, index, len(every)
            return
        with self._lock:
            self._vectors = every
            self._index.add(added)

    def search(self, query: Floats, unseen: Mask, count: int) -> tuple[Rows, Floats]:
        """The ``count`` best unseen rows, best first, and their inner products with ``query`` (d,); fewer if fewer are.

        ``unseen``: (m,) for m at most the vectors; later ones count as seen.
        """
        rows = np.flatnonzero(unseen).astype(np.int32)
        if len(rows) < self.exact_below or not self.approximate:
            return self.exact(query, rows, count)
        with self._lock:
            return self._search(query, unseen, min(count, len(rows)))

    def exact(self, query: Floats, rows: Rows, count: int) -> tuple[Rows, Floats]:
        """The best of ``rows``, all of them scored."""
        scores = self._vectors[rows] @ query
        if count < len(rows):  # what is as good as the last of the best stays in, so that the first of equals wins
            least = np.partition(scores, len(scores) - count)[len(scores) - count]
            good = np.flatnonzero(scores >= least)
            rows, scores = rows[good], scores[good]
        best = np.argsort(-scores, kind="stable")[:count]
        return rows[best], scores[best]

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        with self._lock:
            faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path, vectors: Floats, exact_below: int) -> ContentIndex:
        """Read an index that was saved with these vectors. Raises ValueError when it holds others."""
        index = faiss.read_index(str(path))
        if (index.ntotal, index.d) != vectors.shape:
            raise ValueError(
                f"{path} holds {index.ntotal} vectors of {index.d}, not {len(vectors)} of {vectors.shape[1]}"
            )
        return cls(vectors, exact_below, index)

    def _search(self, query: Floats, unseen: Mask, count: int) -> tuple[Rows, Floats]:
        """Look at ever more lists until so many unseen ones were found and twice the lists bring no better ones."""
        faiss.omp_set_num_threads(1)  # one thread a query: more of them wait for each other on a busy machine
        bits = np.packbits(unseen, bitorder="little")
        chosen = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg,arg-type] # takes an array
        asked = query[None].astype(np.float32)
        before: Rows = np.zeros(0, np.int32)
        lists = min(FIRST_LISTS, self._index.nlist)
        while True:
            found = faiss.SearchParametersIVF(sel=chosen, nprobe=lists)  # type: ignore[call-arg] # takes its fields
            scores, rows = self._index.search(asked, count, params=found)
            kept = rows[0] >= 0
            settled = kept.all() and np.array_equal(rows[0], before)
            if settled or lists == self._index.nlist:
                return rows[0][kept].astype(np.int32), scores[0][kept]
            before, lists = rows[0], min(2 * lists, self._index.nlist)


def _build(vectors: Floats, exact_below: int) -> Any:
    """An index that holds the vectors."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    if len(vectors) < exact_below:
        flat.add(vectors)
        return flat
    index: Any = faiss.index_factory(vectors.shape[1], f"IVF{_lists(len(vectors))},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = SEED
    index.cp.max_points_per_centroid = LEARNT_FROM
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    return index


def recall(index: ContentIndex, queries: Floats, unseen: Mask, count: int) -> float:
    """Share of the ``count`` exactly best unseen rows that the index finds, over ``queries`` (q, d)."""
    rows = np.flatnonzero(unseen).astype(np.int32)
    found = [np.isin(index.exact(query, rows, count)[0], index.search(query, unseen, count)[0]) for query in queries]
    return float(np.concatenate(found).mean())


def _lists(count: int) -> int:
    """How many lists: twice the root, so that a list and the centres cost alike."""
    return 2 * int(np.sqrt(count))
