"""The pool as it is read: rows of the host's table as a catalogue, and a snapshot brought up to date.

A large pool is read in parts, the next one while one is parsed, and joined in the end.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import dict_row

from features.arrays import Floats
from features.catalogue import (
    ANY_ORIENTATION,
    KEPT_OF_ACTIVE,
    KEPT_OF_ROWS,
    ORIENTATIONS,
    Catalogue,
    Counts,
    activated,
    empty,
    indexed,
    joined,
)
from features.content import content_vectors, tokens_of
from features.database import Pool, query, transaction
from features.dna import read_dnas
from features.host import Host
from features.memory import give_back
from features.packed import unpack_keys
from features.texts import Places, Texts, hashes_of

LOAD_BATCH = 2_000  # artworks that are read and parsed together: what that takes in small pieces is hard to get back
JOINED_TOGETHER = 50  # such parts: each joining copies all

#: What the snapshot needs of an artwork, beside its key and age.
COLUMNS = {
    "id": "varchar", "prompt": "text", "dna_vector": "text", "motifs": "text[]", "styles": "text[]",
    "artists": "text[]", "orientation": "varchar", "quality_score": "numeric", "image_url": "text",
}  # fmt: skip


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
    parts, rows = [catalogue], await _read_rows(pool, host, unknown[:LOAD_BATCH])
    for start in range(LOAD_BATCH, len(unknown) + LOAD_BATCH, LOAD_BATCH):  # while one is made, the next is read
        following = _read_rows(pool, host, unknown[start : start + LOAD_BATCH])
        part, rows = await asyncio.gather(asyncio.to_thread(read_part, rows), following)
        parts.append(part)
        if len(parts) > JOINED_TOGETHER:
            parts = [await asyncio.to_thread(joined, parts)]
    catalogue = await asyncio.to_thread(_updated, parts, keys, counts)
    if len(unknown) > LOAD_BATCH:
        parts.clear()
        await asyncio.to_thread(give_back)
    return catalogue


def _updated(parts: Sequence[Catalogue], keys: NDArray[np.int32], counts: Counts) -> Catalogue:
    """What is known and what is new as one snapshot in which exactly ``keys`` are active, with all that it keeps."""
    whole = indexed(joined(parts))
    catalogue = dataclasses.replace(whole, active=activated(whole, keys), counts=counts)
    kept = KEPT_OF_ROWS if not np.array_equal(catalogue.active, whole.active) else (*KEPT_OF_ROWS, *KEPT_OF_ACTIVE)
    vars(catalogue).update({name: vars(whole)[name] for name in kept if name in vars(whole)})
    for name in (*KEPT_OF_ROWS, *KEPT_OF_ACTIVE):
        getattr(catalogue, name)
    return catalogue


def append(catalogue: Catalogue, rows: Sequence[dict[str, Any]]) -> Catalogue:
    """A new snapshot with ``rows`` (of query catalogue_rows) at its end; they are not in the index yet."""
    return joined([catalogue, read_part(rows)])


def read_part(rows: Sequence[dict[str, Any]]) -> Catalogue:
    """A catalogue of ``rows`` (of query catalogue_rows) alone, to be joined to others."""
    if not rows:
        return empty()
    keys = np.array([row["artwork_key"] for row in rows], dtype=np.int32)
    kinds, dna = read_dnas([row["dna_vector"] for row in rows])
    tokens = (tokens_of(row["styles"] or (), row["motifs"] or (), row["artists"] or (), row["prompt"]) for row in rows)
    vectors = content_vectors(kinds, dna, tokens)
    urls = hashes_of(row["image_url"] for row in rows)
    images = Places.of(urls)
    row_of_key = np.full(int(keys.max()) + 1, -1, np.int32)
    row_of_key[keys] = images.find(urls)
    return Catalogue(
        keys=keys,
        ids=Texts.of(row["id"] for row in rows),
        created=np.array([row["created"] for row in rows], np.float64),
        orientation=np.array([_orientation(row) for row in rows], np.int8),
        quality=np.array([_quality(row) for row in rows], np.float32),
        active=np.ones(len(rows), bool),
        dna_kinds=kinds,
        vectors=vectors,
        style_rows=_rows_of_tags(rows, "styles"),
        row_of_key=row_of_key,
        artist_rows=_rows_of_tags(rows, "artists"),
        places=Places.of(hashes_of(row["id"] for row in rows)),
        images=images,
        prints=np.array([_print(*each) for each in zip(rows, vectors, strict=True)], np.uint64),
    )


def catalogue_query(host: Host) -> str:
    """The query of the rows that `append` takes, by artwork keys."""
    return query("catalogue_rows", columns=host.select("art_sessions", COLUMNS, "a"))


async def _read_rows(pool: Pool, host: Host, keys: NDArray[np.int32]) -> list[dict[str, Any]]:
    """The database's rows of ``keys``."""
    if not len(keys):
        return []
    text = catalogue_query(host)
    async with transaction(pool) as connection, connection.cursor(row_factory=dict_row, binary=True) as cursor:
        await cursor.execute(text, {"keys": keys.tolist()})
        return await cursor.fetchall()


def _unknown(catalogue: Catalogue, keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of ``keys`` have no row yet."""
    known = np.zeros(max(int(keys.max(initial=-1)) + 1, len(catalogue.row_of_key)), dtype=bool)
    known[catalogue.keys] = True
    return ~known[keys]


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


def _rows_of_tags(rows: Sequence[dict[str, Any]], column: str) -> dict[str, NDArray[np.int32]]:
    """The rows by each tag of a column (styles, artists)."""
    found: dict[str, list[int]] = {}
    for row, artwork in enumerate(rows):
        for tag in {tag.casefold() for tag in artwork[column] or () if tag}:
            found.setdefault(tag, []).append(row)
    return {tag: np.array(of_tag, np.int32) for tag, of_tag in found.items()}
