"""Artworks as the host has them, remembered by a worker while their rows do not change.

A row's version is the transaction that wrote it, so what was changed is read again and nothing has to be told. The
memory is bounded, and safe to lose.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from features.arrays import Keys
from features.database import Pool, query, transaction
from features.host import ARTWORK_COLUMNS, Host
from serving.telemetry import CACHES

SHORT = 30  # characters; ids have more
AHEAD = 100  # artworks that are read ahead at once: a request that comes meanwhile waits some milliseconds


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class HostArtwork:
    """One row of art_sessions; ``columns`` has each of `features.host.ARTWORK_COLUMNS` by its name."""

    key: int
    row_version: int
    columns: Any


class HostArtworks:
    """Reads artworks, and remembers the ``most`` that were wanted last."""

    def __init__(self, host: Host, most: int) -> None:
        self._query = query("host_artworks", columns=host.select("art_sessions", ARTWORK_COLUMNS, "a"))
        self._most = most
        self._known: OrderedDict[int, HostArtwork] = OrderedDict()

    async def find(self, connection: psycopg.AsyncConnection, versions: Mapping[int, int]) -> dict[int, HostArtwork]:
        """Artworks by key, as new as ``versions`` has them; one that the host deleted meanwhile is left out."""
        found = {key: artwork for key, version in versions.items() if (artwork := self._recall(key, version))}
        missing = [key for key in versions if key not in found]
        CACHES.labels("artworks", "hit").inc(len(found))
        if missing:
            CACHES.labels("artworks", "miss").inc(len(missing))
            found |= {artwork.key: artwork for artwork in await self._read(connection, missing)}
        return found

    async def look_ahead(self, pool: Pool, keys: Keys) -> None:
        """Read some of ``keys`` that are not remembered yet, the last ones first, before anybody waits for them."""
        if len(self._known) >= min(self._most, len(keys)):
            return
        wanted = (key for key in reversed(keys[-self._most :].tolist()) if key not in self._known)
        missing = list(islice(wanted, min(AHEAD, self._most - len(self._known))))
        if missing:
            async with transaction(pool) as connection:
                await self._read(connection, missing)

    def _recall(self, key: int, version: int) -> HostArtwork | None:
        """The artwork, where it is remembered and has not changed."""
        artwork = self._known.get(key)
        if artwork is None or artwork.row_version != version:
            return None
        self._known.move_to_end(key)
        return artwork

    async def _read(self, connection: psycopg.AsyncConnection, keys: list[int]) -> list[HostArtwork]:
        """The artworks from the database; the memory gives up those that were not wanted for longest."""
        async with connection.cursor(row_factory=namedtuple_row, binary=True) as cursor:
            await cursor.execute(self._query, {"keys": keys})
            rows: list[Any] = await cursor.fetchall()
        found = [HostArtwork(row.artwork_key, row.row_version, row._make(map(_shared, row))) for row in rows]
        for artwork in found:
            self._known[artwork.key] = artwork
            self._known.move_to_end(artwork.key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found


def _shared(value: Any) -> Any:
    """The value, its short texts held once for all artworks: names of styles, motifs and the like."""
    if isinstance(value, str) and len(value) <= SHORT:
        return sys.intern(value)
    return [_shared(each) for each in value] if isinstance(value, list) else value
