"""The pool as training sees it: the same catalogue that serving ranks over, read once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import psycopg
from psycopg.rows import dict_row

from features.catalogue import Catalogue, activated, empty, indexed, joined
from features.database import query
from features.host import read_host
from features.packed import unpack_keys
from features.pool_reading import LOAD_BATCH, catalogue_query, read_part
from features.texts import Places, hashes_of


def take_pool(connection: psycopg.Connection, newest: int | None = None) -> Catalogue:
    """Read all active artworks, or those with a key up to ``newest``; those without a key get one."""
    host = read_host(connection)
    with connection.transaction():
        connection.execute(query("register_artworks", active=host.active("a")))
    row = connection.execute(query("active_keys", active=host.servable("a")), binary=True).fetchone()
    keys = np.sort(unpack_keys(row[0] if row else None))
    keys = keys if newest is None else keys[keys <= newest]
    parts = [empty()]
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        for start in range(0, len(keys), LOAD_BATCH):
            cursor.execute(catalogue_query(host), {"keys": keys[start : start + LOAD_BATCH].tolist()})
            parts.append(read_part(cursor.fetchall()))
    pool = indexed(joined(parts))
    return dataclasses.replace(pool, active=activated(pool, keys))


def bare_pool(artwork_ids: Sequence[str]) -> Catalogue:
    """A pool of which nothing is known but the ids, as in data sets without content."""
    count = len(artwork_ids)
    rows = np.arange(count, dtype=np.int32)
    return dataclasses.replace(
        empty(),
        keys=rows,
        ids=list(artwork_ids),
        created=np.zeros(count),
        orientation=np.full(count, -1, np.int8),
        quality=np.full(count, 0.5, np.float32),
        active=np.ones(count, bool),
        dna_kinds=np.zeros(count, np.int8),
        vectors=np.zeros((count, empty().vectors.shape[1]), np.float32),
        row_of_key=rows,
        places=Places.of(hashes_of(artwork_ids)),
        prints=np.zeros(count, np.uint64),
    )
