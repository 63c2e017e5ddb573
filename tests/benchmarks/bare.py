"""What `next` is compared with: bare Starlette routes that do the database's part of a lease and nothing else.

/statements/{user_id}  our own two statements (lock and read; insert and commit), rows fetched and thrown away
/least/{user_id}       the least that could keep the promise: lock, seen marks; one list inserted, commit

On the same connection pool, driver and server (uvicorn, uvloop, httptools) as the service. Run by uvicorn.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from features.database import Pool, make_pool, query, transaction
from features.host import USER_COLUMNS, Host, introspect
from features.identifiers import new_id
from features.settings import Settings
from features.weights import KINDS

DATABASE_URL = "BARE_DATABASE_URL"
LIMIT, SPARES = 20, 5

_READ = """
SELECT string_agg(int4send(s.block) || bit_send(s.bits), ''::bytea) FROM vernissage.seen_bits AS s
WHERE s.user_id = %(user_id)s
"""
_INSERT = """
INSERT INTO vernissage.served_lists (recommendation_id, user_id, session_id, policy, requested, artwork_keys, scores,
                                     rungs, propensities, candidate_hash, candidate_size, excluded)
VALUES (%(recommendation_id)s, %(user_id)s, 'tab', 'bare', 20, %(keys)s, %(scores)s, %(rungs)s, %(scores)s, 0, 0, '{}')
"""


@dataclass
class State:
    """What the routes share."""

    pool: Pool
    keys: list[int]
    read: str
    write: str


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Open the pool and prepare the statements."""
    settings = Settings()
    async with make_pool(os.environ[DATABASE_URL], settings) as pool:
        async with transaction(pool) as connection:
            host = introspect(await (await connection.execute(query("host_columns"))).fetchall())
            rows = await connection.execute("SELECT artwork_key FROM vernissage.artwork_keys ORDER BY 1")
            keys = [row[0] for row in await rows.fetchmany(LIMIT + SPARES)]
        app.state.shared = State(pool, keys, _state_statement(host), _list_statement(host))
        yield


async def ours(request: Request) -> Response:
    """Our statements, bare."""
    shared: State = request.app.state.shared
    user_id = request.path_params["user_id"]
    users = {"user_ids": [user_id], "session_ids": ["bare"]}
    asked = users | {"signals": Settings().signals_per_user, "kinds": list(KINDS)}
    async with transaction(shared.pool, [user_id]) as connection, connection.cursor(binary=True) as cursor:
        await cursor.execute(shared.read, asked)
        await cursor.fetchone()
        await cursor.execute(shared.write, _one_list(user_id, shared.keys))
        await cursor.fetchall()
    return JSONResponse({})


async def least(request: Request) -> Response:
    """The least statements."""
    shared: State = request.app.state.shared
    user_id = request.path_params["user_id"]
    async with transaction(shared.pool, [user_id]) as connection, connection.cursor(binary=True) as cursor:
        await cursor.execute(_READ, {"user_id": user_id})
        await cursor.fetchone()
        await connection.execute(_INSERT, _list_values(user_id, shared.keys[:LIMIT]))
    return JSONResponse({})


def _state_statement(host: Host) -> str:
    """The read of `serving.leases`."""
    favourites = query("user_favourites") if host.has("art_favorites") else ""
    return query("user_states", columns=host.select("users", USER_COLUMNS, "h"), favourites=favourites)


def _list_statement(host: Host) -> str:
    """The write of `serving.leases`."""
    return query("lease_lists", active=host.servable("a"))


def _list_values(user_id: str, keys: list[int]) -> dict[str, Any]:
    """One list of always the same artworks."""
    numbers = [1.0] * len(keys)
    return {
        "recommendation_id": new_id(),
        "user_id": user_id,
        "keys": keys,
        "scores": numbers,
        "rungs": [1] * len(keys),
    }


def _one_list(user_id: str, keys: list[int]) -> dict[str, Any]:
    """The same, as our statement takes it."""
    values = _list_values(user_id, keys)
    whole = values | {
        "place": 0,
        "session_id": "bare",
        "requested": LIMIT,
        "policy": "bare",
        "artwork_keys": keys,
        "propensities": values["scores"],
        "inputs": {},
        "known": True,
        "held": [],
        "passes": [],
        "retired": [],
        "candidate_hash": 0,
        "candidate_size": len(keys),
        "excluded": {},
        "took_ms": 1.0,
    }
    seconds = {"first_seconds": 60.0, "stretch_seconds": 90.0, "grace_seconds": 60.0}
    return {"lists": msgspec.json.encode([whole]).decode()} | seconds


app = Starlette(routes=[Route("/statements/{user_id}", ours), Route("/least/{user_id}", least)], lifespan=lifespan)
