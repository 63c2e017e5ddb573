"""The active pool as arrays: one immutable snapshot, refreshed in place of a query per request.

Rows are only ever added and an artwork keeps its row while the process lives; one that leaves the pool becomes
inactive. Rows with one and the same image are one artwork: the first stands for all of them, and whatever is known
of another (seen, on lease) counts for it. The snapshot is a copy that is safe to be late: what is served is checked
against the database again (query lease_lists), and what a user has seen never comes from here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import dict_row

from features.arrays import Floats, Marks
from features.content import LENGTH, Space, content_vectors, searchable, space_of, tokens_of
from features.database import Pool, query, transaction
from features.dna import read_dna
from features.host import Host
from features.packed import unpack_keys
from features.scramble import scramble

if TYPE_CHECKING:
    from features.dna_index import ContentIndex

ORIENTATIONS = ("portrait", "landscape", "square")
ANY_ORIENTATION = -1
LOAD_BATCH = 5_000
LARGE_BATCHES = 40  # in so many at most a large pool is read: each copies all that came before it
INDEXED_FROM = 100_000  # artworks; fewer are scored whole in a few milliseconds (tests/benchmarks/nearest.py)

#: What the snapshot needs of an artwork, beside its key and age.
COLUMNS = {
    "id": "varchar", "prompt": "text", "dna_vector": "text", "motifs": "text[]", "styles": "text[]",
    "artists": "text[]", "orientation": "varchar", "quality_score": "numeric", "image_url": "text",
}  # fmt: skip

Counts = tuple[int, int, int]  # rows, active ones, and a sum that tells one set of active ones from another


@dataclass(frozen=True)
class Catalogue:
    """The pool; every array has one entry per row (n), except `row_of_key`."""

    keys: NDArray[np.int32]
    ids: list[str]
    created: NDArray[np.float64]  # seconds since 1970, UTC
    orientation: NDArray[np.int8]  # index into ORIENTATIONS, or ANY_ORIENTATION
    quality: Floats  # 0 to 1
    active: NDArray[np.bool_]
    dna_kinds: NDArray[np.int8]
    vectors: Floats  # content, (n, 128)
    style_rows: dict[str, NDArray[np.int32]]  # rows by casefolded style
    row_of_key: NDArray[np.int32]  # by artwork key; -1 where unknown, the first row of its image where several have it
    artist_rows: dict[str, NDArray[np.int32]] = field(default_factory=dict)  # rows by casefolded artist
    row_of_image: dict[int, int] = field(default_factory=dict)  # first row by hash of the image's URL
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
    def active_rows(self) -> NDArray[np.intp]:
        """The rows of active artworks."""
        return np.flatnonzero(self.active)

    @cached_property
    def fingerprint(self) -> tuple[int, int, int]:
        """What tells this pool from another: its newest key, a hash of its active keys, a sum over their prints."""
        keys = np.sort(self.keys[self.active])
        contents = int(self.prints[self.active].sum(dtype=np.uint64))
        return int(self.keys.max(initial=0)), zlib.crc32(keys.tobytes()), contents

    @cached_property
    def key_hashes(self) -> NDArray[np.uint64]:
        """A scrambled number of each key, by row: their sum over some rows tells one set of artworks from another."""
        return scramble(self.keys.astype(np.uint64))

    def hash_of(self, rows: NDArray[np.int32]) -> int:
        """A hash of a set of artworks, whatever its order, as a signed 64-bit integer."""
        return int(self.key_hashes[rows].sum(dtype=np.uint64).astype(np.int64))

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

    def marked(self, marks: Marks) -> NDArray[np.bool_]:
        """Which rows are marked by their own key or by one that they stand for, shape (n,)."""
        whole = np.zeros(len(self.row_of_key), dtype=bool)
        whole[: len(marks)] = marks[: len(whole)]
        found = whole[self.keys]
        keys, rows = self._stand_ins
        found[rows[whole[keys]]] = True
        return np.asarray(found)

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


async def pool_counts(pool: Pool, host: Host) -> Counts:
    """All and active artworks in the database and a sum over their ids: when they differ, a snapshot is out of date."""
    async with transaction(pool) as connection:
        cursor = await connection.execute(query("pool_counts", active=host.active("a")))
        row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row else (0, 0, 0)


async def refresh(catalogue: Catalogue, pool: Pool, host: Host) -> Catalogue:
    """A snapshot brought up to date: new artworks appended, gone ones inactive, returned ones active again."""
    counts = await pool_counts(pool, host)
    async with transaction(pool) as connection:
        await connection.execute(query("register_artworks", active=host.active("a")))
    async with transaction(pool) as connection:
        cursor = await connection.execute(query("active_keys", active=host.servable("a")), binary=True)
        row = await cursor.fetchone()
    keys = unpack_keys(row[0] if row else None)
    unknown = np.sort(keys[_unknown(catalogue, keys)])
    batch = max(LOAD_BATCH, len(unknown) // LARGE_BATCHES)
    for start in range(0, len(unknown), batch):
        rows = await _read_rows(pool, host, unknown[start : start + batch])
        catalogue = await asyncio.to_thread(append, catalogue, rows)
    catalogue = await asyncio.to_thread(indexed, catalogue)
    return dataclasses.replace(catalogue, active=activated(catalogue, keys), counts=counts)


def append(catalogue: Catalogue, rows: Sequence[dict[str, Any]]) -> Catalogue:
    """A new snapshot with ``rows`` (of query catalogue_rows) at its end; they are not in the index yet."""
    if not rows:
        return catalogue
    first = len(catalogue.keys)
    keys = np.array([row["artwork_key"] for row in rows], dtype=np.int32)
    dna = [read_dna(row["dna_vector"]) for row in rows]
    kinds = [kind for kind, _ in dna]
    tokens = [tokens_of(row["styles"] or (), row["motifs"] or (), row["artists"] or (), row["prompt"]) for row in rows]
    new = content_vectors(kinds, np.stack([vector for _, vector in dna]), tokens)
    vectors = np.concatenate([catalogue.vectors, new])
    row_of_image = _first_rows(first, rows) | catalogue.row_of_image
    stands_in = np.array([row_of_image[hash(row["image_url"])] for row in rows], np.int32)
    return Catalogue(
        keys=np.concatenate([catalogue.keys, keys]),
        ids=catalogue.ids + [row["id"] for row in rows],
        created=np.concatenate([catalogue.created, [row["created"] for row in rows]]),
        orientation=np.concatenate([catalogue.orientation, np.array([_orientation(row) for row in rows], np.int8)]),
        quality=np.concatenate([catalogue.quality, np.array([_quality(row) for row in rows], np.float32)]),
        active=np.concatenate([catalogue.active, np.ones(len(rows), bool)]),
        dna_kinds=np.concatenate([catalogue.dna_kinds, np.array(kinds, np.int8)]),
        vectors=vectors,
        style_rows=_add_tags(catalogue.style_rows, first, rows, "styles"),
        row_of_key=_add_keys(catalogue.row_of_key, stands_in, keys),
        artist_rows=_add_tags(catalogue.artist_rows, first, rows, "artists"),
        row_of_image=row_of_image,
        index=catalogue.index,
        prints=np.concatenate(
            [catalogue.prints, np.array([_print(*each) for each in zip(rows, new, strict=True)], np.uint64)]
        ),
        counts=catalogue.counts,
    )


def indexed(catalogue: Catalogue) -> Catalogue:
    """The snapshot with all its vectors in the index, which is made when the pool is too large to be scored whole."""
    if catalogue.index is None and len(catalogue.vectors) < INDEXED_FROM:
        return catalogue
    from features.dna_index import ContentIndex  # noqa: PLC0415 - most pools never need faiss

    if catalogue.index is None:
        return dataclasses.replace(catalogue, index=ContentIndex(searchable(catalogue.vectors), INDEXED_FROM))
    new = catalogue.vectors[len(catalogue.index) :]
    if len(new):
        catalogue.index.add(searchable(new))
    return catalogue


def read_style_preferences(text: str | None) -> list[str]:
    """The styles in a user's style_preferences, [] where it is absent, malformed or of another shape."""
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return []
    styles = found.get("styles") if isinstance(found, dict) else None
    return [style for style in styles if isinstance(style, str)] if isinstance(styles, list) else []


def catalogue_query(host: Host) -> str:
    """The query of the rows that `append` takes, by artwork keys."""
    return query("catalogue_rows", columns=host.select("art_sessions", COLUMNS, "a"))


async def _read_rows(pool: Pool, host: Host, keys: NDArray[np.int32]) -> list[dict[str, Any]]:
    """The database's rows of ``keys``."""
    text = catalogue_query(host)
    async with transaction(pool) as connection, connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(text, {"keys": keys.tolist()})
        return await cursor.fetchall()


def _unknown(catalogue: Catalogue, keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of ``keys`` have no row yet."""
    known = np.zeros(max(int(keys.max(initial=-1)) + 1, len(catalogue.row_of_key)), dtype=bool)
    known[catalogue.keys] = True
    return ~known[keys]


def activated(catalogue: Catalogue, keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """The active mask when exactly ``keys`` are active; an image's later rows never are."""
    listed = np.zeros(len(catalogue.row_of_key), dtype=bool)
    listed[keys[keys < len(listed)]] = True
    first = catalogue.row_of_key[catalogue.keys] == np.arange(len(catalogue.keys))
    return np.asarray(listed[catalogue.keys] & first)


def _print(row: dict[str, Any], vector: Floats) -> int:
    """A number that another row, or the same one after an edit that matters to ranking, hardly has."""
    told = (row["id"], row["created"], row["orientation"], _quality(row), row["styles"], row["artists"])
    return int.from_bytes(hashlib.blake2b(repr(told).encode() + vector.tobytes(), digest_size=8).digest())


def _orientation(row: dict[str, Any]) -> int:
    """The code of an orientation; NULL, and what is not an orientation, fits all."""
    return ORIENTATIONS.index(row["orientation"]) if row["orientation"] in ORIENTATIONS else ANY_ORIENTATION


def _quality(row: dict[str, Any]) -> float:
    """Quality from 0 to 1: the host's scores are on a 0-100 scale, but one of its paths writes 0-1."""
    score = math.nan if row["quality_score"] is None else float(row["quality_score"])
    if math.isnan(score):  # numeric knows NaN too
        return 0.5
    return min(max(score if score <= 1 else score / 100, 0.0), 1.0)


def _first_rows(first: int, rows: Sequence[dict[str, Any]]) -> dict[int, int]:
    """The first of the new rows of each image, by the hash of its URL; ``first`` is the number of the first new row."""
    return {hash(row["image_url"]): first + place for place, row in reversed(list(enumerate(rows)))}


def _add_tags(
    known: dict[str, NDArray[np.int32]], first: int, rows: Sequence[dict[str, Any]], column: str
) -> dict[str, NDArray[np.int32]]:
    """The index of a column of tags (styles, artists) with the new rows."""
    found: dict[str, list[int]] = {}
    for row, artwork in enumerate(rows, start=first):
        for tag in {tag.casefold() for tag in artwork[column] or () if tag}:
            found.setdefault(tag, []).append(row)
    nothing = np.zeros(0, np.int32)
    added = {tag: np.concatenate([known.get(tag, nothing), np.array(new, np.int32)]) for tag, new in found.items()}
    return known | added


def _add_keys(row_of_key: NDArray[np.int32], rows: NDArray[np.int32], keys: NDArray[np.int32]) -> NDArray[np.int32]:
    """The map from key to row with the new keys."""
    longer = np.full(max(len(row_of_key), int(keys.max()) + 1), -1, np.int32)
    longer[: len(row_of_key)] = row_of_key
    longer[keys] = rows
    return longer
