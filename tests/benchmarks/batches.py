"""Impressions by the 200 over HTTP, beside the same rows by an unnest loop of psycopg without HTTP; and other sizes.

Both write into the host's real table with all its indexes, durably, 8 at a time; ours writes its own log, its seen
marks and the end of the leases besides. 200 is what clients send at most but for a beacon, which holds up to 1,680.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from functools import partial

import uvloop

from features.database import Pool, connect, make_pool
from features.settings import Settings
from tests.benchmarks.crowd import Load, drive, post
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import ARTWORKS, add_users, gallery
from tests.service import Service

ROWS = 200
SIZES = (50, 100, 200, 500, 1_700)
WRITERS = 8
SECONDS = 2.5
USERS = 500  # on either side; each can see the pool once
USERS_OF_SIZE = 100
INSERT = """
INSERT INTO public.user_art_impressions (user_id, artwork_id)
SELECT n.user_id, n.artwork_id FROM unnest(%b::text[], %b::text[]) AS n (user_id, artwork_id) ON CONFLICT DO NOTHING
"""

Batches = Iterator[tuple[str, list[str]]]  # user and artworks, none of them twice


def run() -> list[Figure]:
    """Rows a second of both; rows a second and latencies of each size."""
    with gallery() as place:
        with connect(place.url, autocommit=True) as connection:
            rows = connection.execute("SELECT artwork_id FROM vernissage.artwork_keys ORDER BY 1").fetchall()
            ids = [row[0] for row in rows]
            sides = {side: [f"{side}-{number}" for number in range(USERS)] for side in ("ours", "bare")}
            sizes = {size: [f"by-{size}-{number}" for number in range(USERS_OF_SIZE)] for size in SIZES}
            add_users(connection, [name for names in (*sides.values(), *sizes.values()) for name in names])
        ours, bare = batches(sides["ours"], ids, ROWS), batches(sides["bare"], ids, ROWS)
        with Service(place.url, place.settings.home_path) as service:
            found = in_turns(
                {
                    "ours": lambda: _post(service, ours).rate * ROWS,
                    "bare": lambda: uvloop.run(_insert(place.url, bare)),
                }
            )
            by_size = _by_size(service, {size: batches(names, ids, size) for size, names in sizes.items()})
    reference = f"psycopg unnest of {ROWS}, {WRITERS} connections"
    return [
        compare(
            f"impressions by {ROWS}, {WRITERS} connections",
            "rows/s",
            found["ours"],
            reference,
            found["bare"],
            reach=">= 0.6",
        ),
        *by_size,
    ]


def batches(users: list[str], ids: list[str], size: int) -> Batches:
    """Every user's view of the whole pool in batches; the users take turns, as they do in life."""
    for start in range(0, ARTWORKS, size):
        for user in users:
            yield user, ids[start : start + size]


def _by_size(service: Service, given: dict[int, Batches]) -> list[Figure]:
    """Each size in turns with the others, beside ours."""
    loads: dict[int, list[Load]] = {size: [] for size in given}

    def post_by(size: int) -> float:
        loads[size].append(_post(service, given[size]))
        return loads[size][-1].rate * size

    rates = in_turns({str(size): partial(post_by, size) for size in given})
    found = []
    for size in given:
        measured = loads[size][1:]  # the first is to warm up
        p50, p95 = (statistics.median(load.milliseconds(quantile) for load in measured) for quantile in (0.5, 0.95))
        found += [
            compare(f"by {size}", "rows/s", rates[str(size)], f"by {ROWS}", rates[str(ROWS)]),
            Figure(f"by {size}: p50 of an answer", p50, "ms"),
            Figure(f"by {size}: p95 of an answer", p95, "ms"),
        ]
    return found


def _post(service: Service, given: Batches) -> Load:
    """Answers of the service to so many writers."""
    lines = [_requests(service.key, given) for _ in range(WRITERS)]
    return drive(service.port, lines, SECONDS)


def _requests(key: str, given: Batches) -> Iterator[bytes]:
    """One connection's requests, from the batches that all share."""
    for user, ids in given:
        yield post("/v1/impressions", {"user_id": user, "session_id": "tab", "artwork_ids": ids}, key)


async def _insert(url: str, given: Batches) -> float:
    """Rows a second straight into the table."""
    async with make_pool(url, Settings(pool_min=WRITERS, pool_max=WRITERS)) as pool:
        await pool.wait()
        end = time.perf_counter() + SECONDS
        counts = await asyncio.gather(*(_insert_until(pool, given, end) for _ in range(WRITERS)))
    return sum(counts) / SECONDS


async def _insert_until(pool: Pool, given: Batches, end: float) -> int:
    """One connection's rows; those of a batch that ends too late do not count."""
    async with pool.connection() as connection:
        for written in itertools.count(step=ROWS):
            user, ids = next(given)
            await connection.execute(INSERT, ([user] * len(ids), ids), prepare=True)
            await connection.commit()
            if time.perf_counter() > end:
                return written
    raise AssertionError  # the count never ends
