"""The active pool as arrays: one immutable snapshot, refreshed in place of a query per request.

Rows are only ever added and an artwork keeps its row while the process lives; one that leaves the pool becomes
inactive. Rows with one and the same image are one artwork: the first stands for all of them, and whatever is known
of another (seen, on lease) counts for it. The snapshot is a copy that is safe to be late: what is served is checked
against the database again (query lease_lists), and what a user has seen never comes from here.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Marks
from features.content import LENGTH, Space, searchable, space_of
from features.scramble import scramble
from features.texts import NOWHERE, Places, Texts

if TYPE_CHECKING:
    from features.dna_index import ContentIndex

ORIENTATIONS = ("portrait", "landscape", "square")
ANY_ORIENTATION = -1
INDEXED_FROM = 100_000  # artworks; fewer are scored whole in a few milliseconds (tests/benchmarks/nearest.py)

#: What a snapshot keeps once it was asked for: made beforehand, that no request waits for it.
KEPT_OF_ROWS = ("space", "_stand_ins", "_in_order", "_hash_sums")
KEPT_OF_ACTIVE = ("active_rows", "active_keys", "fitting", "fingerprint")

Counts = tuple[int, int, int]  # rows, active ones, and a sum that tells one set of active ones from another


@dataclass(frozen=True)
class Catalogue:
    """The pool; every array has one entry per row (n), except `row_of_key`."""

    keys: NDArray[np.int32]
    ids: Sequence[str]
    created: NDArray[np.float64]  # seconds since 1970, UTC
    orientation: NDArray[np.int8]  # index into ORIENTATIONS, or ANY_ORIENTATION
    quality: Floats  # 0 to 1
    active: NDArray[np.bool_]
    dna_kinds: NDArray[np.int8]
    vectors: Floats  # content, (n, 128)
    style_rows: dict[str, NDArray[np.int32]]  # rows by casefolded style
    row_of_key: NDArray[np.int32]  # by artwork key; -1 where unknown, the first row of its image where several have it
    artist_rows: dict[str, NDArray[np.int32]] = field(default_factory=dict)  # rows by casefolded artist
    places: Places = NOWHERE  # of the ids
    images: Places = NOWHERE  # first rows of the images, by their URLs
    index: ContentIndex | None = None  # of the content vectors of a large pool; shared by all later snapshots
    prints: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))  # of what is known of each
    counts: Counts = (-1, -1, 0)  # of art_sessions when this was read
    size: int = field(init=False, default=0)  # active artworks

    def __post_init__(self) -> None:
        """Count the active artworks once."""
        object.__setattr__(self, "size", int(self.active.sum()))

    @cached_property
    def space(self) -> Space:
        """The content vectors, with what tells how artworks differ."""
        return space_of(self.vectors)

    @cached_property
    def active_rows(self) -> NDArray[np.int32]:
        """The rows of active artworks."""
        return np.flatnonzero(self.active).astype(np.int32)

    @cached_property
    def active_keys(self) -> NDArray[np.int32]:
        """The keys of active artworks, in the order of the rows."""
        return self.keys[self.active_rows]

    @cached_property
    def fingerprint(self) -> tuple[int, int, int]:
        """What tells this pool from another: its newest key, a hash of its active keys, a sum over their prints."""
        keys = np.sort(self.keys[self.active])
        contents = int(self.prints[self.active].sum(dtype=np.uint64))
        return int(self.keys.max(initial=0)), zlib.crc32(keys.tobytes()), contents

    @cached_property
    def _hash_sums(self) -> NDArray[np.uint64]:
        """The sum of the scrambled keys of all rows before each, shape (n + 1,)."""
        sums = np.zeros(len(self.keys) + 1, np.uint64)
        np.cumsum(scramble(self.keys.astype(np.uint64)), out=sums[1:])
        return sums

    def hash_of(self, rows: NDArray[np.int32]) -> int:
        """A hash of a set of artworks, given as strictly rising rows, as a signed 64-bit integer.

        It is the sum of their scrambled keys: of all from the first to the last, minus those of the gaps between.
        """
        if not len(rows):
            return 0
        sums = self._hash_sums
        gaps = np.flatnonzero(rows[1:] - rows[:-1] > 1)
        left_out = (sums[rows[gaps + 1]] - sums[rows[gaps] + 1]).sum(dtype=np.uint64)
        total = int(sums[rows[-1] + 1]) - int(sums[rows[0]]) - int(left_out)
        return (total + 2**63) % 2**64 - 2**63

    def rows(self, keys: NDArray[np.int32]) -> NDArray[np.int32]:
        """Rows of those of ``keys`` that the catalogue holds; the others are left out."""
        keys = keys[keys < len(self.row_of_key)]
        rows = self.row_of_key[keys]
        return rows[rows >= 0]

    @cached_property
    def _stand_ins(self) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Keys of artworks for which the first one of their image stands, and its rows."""
        own = np.full(len(self.row_of_key), -1, np.int32)
        own[self.keys] = np.arange(len(self.keys), dtype=np.int32)
        keys = np.flatnonzero((self.row_of_key >= 0) & (self.row_of_key != own))
        return keys, self.row_of_key[keys]

    def own_marks(self, marks: Marks) -> Marks:
        """``marks`` of just the known keys; of artworks with one image, the first bears the mark of any."""
        whole = np.zeros(len(self.row_of_key), dtype=bool)
        whole[: len(marks)] = marks[: len(whole)]
        keys, rows = self._stand_ins
        whole[self.keys[rows[whole[keys]]]] = True
        return whole

    def marked(self, marks: Marks) -> NDArray[np.bool_]:
        """Which rows are marked by their own key or by one that they stand for, shape (n,)."""
        return np.asarray(self.own_marks(marks)[self.keys])

    @cached_property
    def fitting(self) -> dict[str | None, tuple[Marks, int]]:
        """The keys of active artworks that fit each orientation, and how many they are; None: of all."""
        found = {}
        for orientation in (None, *ORIENTATIONS):
            marks = np.zeros(len(self.row_of_key), dtype=bool)
            marks[self.keys[self.active & self.fits(orientation)]] = True
            found[orientation] = (marks, int(np.count_nonzero(marks)))
        return found

    def fits(self, orientation: str | None) -> NDArray[np.bool_]:
        """Which rows fit an orientation, shape (n,); one without an orientation fits all."""
        if orientation not in ORIENTATIONS:
            return np.ones(len(self.keys), dtype=bool)
        return np.isin(self.orientation, (ORIENTATIONS.index(orientation), ANY_ORIENTATION))

    @cached_property
    def _in_order(self) -> bool:
        """Whether keys rise with the rows."""
        return bool((np.diff(self.keys) > 0).all())

    def rows_without(self, marks: Marks, orientation: str | None) -> tuple[NDArray[np.int32], int]:
        """The rows, rising, of active artworks that are not marked and fit; and how many active ones are not marked."""
        own, (every, _) = self.own_marks(marks), self.fitting[None]
        fitting, _ = self.fitting.get(orientation, self.fitting[None])
        rows = self.row_of_key[np.flatnonzero(fitting > own)]
        left = len(rows) if fitting is every else int(np.count_nonzero(every > own))
        return rows if self._in_order else np.sort(rows), left

    def with_styles(self, styles: Iterable[str]) -> NDArray[np.bool_]:
        """Which rows carry at least one of ``styles``, shape (n,)."""
        return self._with(self.style_rows, styles)

    def with_artists(self, artists: Iterable[str]) -> NDArray[np.bool_]:
        """Which rows carry at least one of ``artists``, shape (n,)."""
        return self._with(self.artist_rows, artists)

    def _with(self, rows_of: dict[str, NDArray[np.int32]], names: Iterable[str]) -> NDArray[np.bool_]:
        """Which rows are listed under at least one of ``names``, shape (n,)."""
        mask = np.zeros(len(self.keys), dtype=bool)
        for name in names:
            rows = rows_of.get(name.casefold())
            if rows is not None:
                mask[rows] = True
        return mask


def empty() -> Catalogue:
    """A pool without artworks."""
    return Catalogue(
        keys=np.zeros(0, np.int32),
        ids=[],
        created=np.zeros(0, np.float64),
        orientation=np.zeros(0, np.int8),
        quality=np.zeros(0, np.float32),
        active=np.zeros(0, bool),
        dna_kinds=np.zeros(0, np.int8),
        vectors=np.zeros((0, LENGTH), np.float32),
        style_rows={},
        row_of_key=np.zeros(0, np.int32),
    )


def joined(parts: Sequence[Catalogue]) -> Catalogue:
    """One snapshot of several, in their order; the first one's index and counts."""
    first, filled = parts[0], [part for part in parts if len(part.keys)]
    if not any(part is not first for part in filled):
        return first
    starts = [0, *np.cumsum([len(part.keys) for part in filled[:-1]]).tolist()]
    images = Places.joined([part.images for part in filled], starts)
    return Catalogue(
        keys=np.concatenate([part.keys for part in filled]),
        ids=Texts.joined([part.ids for part in filled]),
        created=np.concatenate([part.created for part in filled]),
        orientation=np.concatenate([part.orientation for part in filled]),
        quality=np.concatenate([part.quality for part in filled]),
        active=np.concatenate([part.active for part in filled]),
        dna_kinds=np.concatenate([part.dna_kinds for part in filled]),
        vectors=np.concatenate([part.vectors for part in filled]),
        style_rows=_join_tags([part.style_rows for part in filled], starts),
        row_of_key=_join_keys(filled, starts, images),
        artist_rows=_join_tags([part.artist_rows for part in filled], starts),
        places=Places.joined([part.places for part in filled], starts),
        images=images,
        index=first.index,
        prints=np.concatenate([part.prints for part in filled]),
        counts=first.counts,
    )


def indexed(catalogue: Catalogue) -> Catalogue:
    """The snapshot with all its vectors in the index, which is made when the pool is too large to be scored whole."""
    if catalogue.index is None and len(catalogue.vectors) < INDEXED_FROM:
        return catalogue
    from features.dna_index import ContentIndex  # noqa: PLC0415 - most pools never need faiss

    vectors = searchable(catalogue.vectors)
    if catalogue.index is None:
        return dataclasses.replace(catalogue, index=ContentIndex(vectors, INDEXED_FROM))
    catalogue.index.extend(vectors)
    return catalogue


def read_style_preferences(text: str | None) -> list[str]:
    """The styles in a user's style_preferences, [] where it is absent, malformed or of another shape."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return []
    styles = found.get("styles") if isinstance(found, dict) else None
    return [style for style in styles if isinstance(style, str)] if isinstance(styles, list) else []


def activated(catalogue: Catalogue, keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """The active mask when exactly ``keys`` are active; an image's later rows never are."""
    listed = np.zeros(len(catalogue.row_of_key), dtype=bool)
    listed[keys[keys < len(listed)]] = True
    first = catalogue.row_of_key[catalogue.keys] == np.arange(len(catalogue.keys))
    return np.asarray(listed[catalogue.keys] & first)


def _join_tags(parts: Sequence[dict[str, NDArray[np.int32]]], starts: Sequence[int]) -> dict[str, NDArray[np.int32]]:
    """The rows by tag of parts that begin at these rows."""
    found: dict[str, list[NDArray[np.int32]]] = {}
    for part, start in zip(parts, starts, strict=True):
        for tag, rows in part.items():
            found.setdefault(tag, []).append(rows + np.int32(start))
    return {tag: rows[0] if len(rows) == 1 else np.concatenate(rows) for tag, rows in found.items()}


def _join_keys(parts: Sequence[Catalogue], starts: Sequence[int], images: Places) -> NDArray[np.int32]:
    """The map from key to row of parts that begin at these rows; the first row of an image stands for all of it."""
    joined = np.full(max(len(part.row_of_key) for part in parts), -1, np.int32)
    for part, start in zip(parts, starts, strict=True):
        stands_in = np.arange(start, start + len(part.keys), dtype=np.int32)
        stands_in[part.images.rows] = images.find(part.images.hashes)
        joined[part.keys] = stands_in[part.row_of_key[part.keys]]
    return joined
