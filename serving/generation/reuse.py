"""Artworks that the host has put aside and that could be given back instead of ordering others like them: free."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from psycopg.rows import dict_row
from scipy.sparse import csr_matrix

from features import pool_reading
from features.arrays import Keys, Mask
from features.catalogue import Catalogue, empty
from features.database import Pool, query, transaction
from features.host import Host
from serving.generation.planner import Reusable, Wanted
from serving.generation.situation import People

MOST = 500  # archived artworks that are looked at, the latest
NEAR = 0.7  # cosine of directions from which one is as good as a new one


@dataclass(frozen=True)
class Archive:
    """Archived artworks, as a catalogue of their own (its keys are plain numbers)."""

    catalogue: Catalogue
    keys: Keys  # artwork keys, -1 for one that nobody can have been shown by us

    @property
    def ids(self) -> Sequence[str]:
        """The artworks' ids, by row."""
        return self.catalogue.ids

    @classmethod
    async def read(cls, pool: Pool, host: Host, *, reuse: bool) -> Self:
        """The latest archived artworks; none where the host archives nothing, or nothing is to be reused."""
        if not reuse or "pool_status" not in host.columns["art_sessions"]:
            return cls(empty(), np.zeros(0, np.int32))
        text = query(
            "archived_artworks",
            columns=host.select("art_sessions", pool_reading.COLUMNS, "a"),
            url=host.fetchable("r"),
        )
        async with transaction(pool) as connection, connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(text, {"artworks": MOST})
            rows = await cursor.fetchall()
        numbered = [row | {"artwork_key": number} for number, row in enumerate(rows)]
        keys = [-1 if row["known_key"] is None else row["known_key"] for row in rows]
        catalogue = await asyncio.to_thread(pool_reading.append, empty(), numbered)
        return cls(catalogue, np.array(keys, dtype=np.int32))


def reusable_for(archive: Archive, catalogue: Catalogue, wanted: Wanted, people: People) -> Reusable | None:
    """Which archived artwork is near which medoid, and who would get it as something new; None where there are none.

    Nearness is judged from the pool's mean, by which the medoids were chosen.
    """
    if not archive.ids or not len(wanted.artwork_rows):
        return None
    space = catalogue.space
    theirs = space.beside(archive.catalogue.vectors)
    near = csr_matrix(space.directions(wanted.artwork_rows.astype(np.int32)) @ theirs.T >= NEAR, dtype=np.float64)
    relevant = ((near.T @ wanted.users) > 0).toarray()
    relevant[_twins(archive, catalogue)] = False
    for row, seen in enumerate(people.seen):
        if relevant[:, row].any():
            relevant[:, row] &= archive.catalogue.fits(people.orientations[row]) & ~np.isin(archive.keys, seen)
    return Reusable(np.arange(len(archive.ids)), csr_matrix(relevant, dtype=np.float64), near)


def _twins(archive: Archive, catalogue: Catalogue) -> Mask:
    """Which archived artworks have the image of another one: given back, it would never be shown beside the other."""
    own = archive.catalogue.images
    rows = catalogue.images.find(own.hashes)
    found = rows >= 0
    twins = np.ones(len(archive.ids), dtype=bool)  # but for the first of each image
    twins[own.rows] = False
    twins[own.rows[found]] = catalogue.keys[rows[found]] != archive.keys[own.rows[found]]
    return twins
