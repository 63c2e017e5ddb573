"""What was chosen, with and without: commits in groups, compressed bodies, a covering index. Per 1,000 impressions."""

from __future__ import annotations

import gzip
import statistics
import time
import uuid
from collections.abc import Iterator

import msgspec
import psycopg

from features.database import connect
from tests.benchmarks.batches import INSERT
from tests.benchmarks.crowd import drive, post
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import ARTWORKS, Gallery, add_users, gallery
from tests.service import Service

CONNECTIONS = 64
SECONDS = 2.5
USERS = 200
BATCH = 200
READS = 300
COVERING = "CREATE INDEX covering ON public.user_art_impressions (user_id, artwork_id, viewed_at)"
READ = "SELECT artwork_id, viewed_at FROM public.user_art_impressions WHERE user_id = %s AND artwork_id = ANY (%s)"
ALONE = {"VERNISSAGE_WRITE_GROUP": "1", "VERNISSAGE_WRITE_LANES": "8"}


def run() -> list[Figure]:
    """All three."""
    return [*_groups(), *_bodies(), *_covering()]


def _groups() -> list[Figure]:
    """Single impressions: commits, log and rate, in groups and each alone."""
    commits: dict[str, list[float]] = {}
    with gallery() as place, connect(place.url, autocommit=True) as connection:
        ids = _ids(connection)
        names = {side: [f"{side}-{number}" for number in range(USERS)] for side in ("groups", "alone")}
        add_users(connection, [name for each in names.values() for name in each])
        home = place.settings.home_path
        with (
            Service(place.url, home) as together,
            Service(place.url, home / "alone", environment=ALONE) as alone,
        ):
            services = {"groups": together, "alone": alone}
            given = {side: _singles(services[side].key, names[side], ids) for side in services}

            def rate(side: str) -> float:
                before = _commits(connection)
                lines = [given[side]] * CONNECTIONS
                load = drive(services[side].port, lines, SECONDS)
                commits.setdefault(side, []).append(1_000 * (_commits(connection) - before) / len(load.latencies))
                return load.rate

            found = in_turns({side: lambda side=side: rate(side) for side in services})  # type: ignore[misc] # bound now
    return [
        compare("single impressions, in groups", "rows/s", found["groups"], "each alone", found["alone"]),
        compare("commits per 1,000", "", commits["groups"], "each alone", commits["alone"]),
    ]


def _bodies() -> list[Figure]:
    """Bytes of 1,000 impressions in batches of 200, and the time to pack and unpack them."""
    ids = [str(uuid.uuid4()) for _ in range(BATCH)]
    plain = msgspec.json.encode({"user_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4()), "artwork_ids": ids})
    packed = gzip.compress(plain, 6)
    started = time.perf_counter()
    for _ in range(100):
        gzip.decompress(packed)
    unpack = (time.perf_counter() - started) * 10 * 1_000 / BATCH
    return [
        compare("kB per 1,000, gzip", "kB", [len(packed) / BATCH], "plain bodies", [len(plain) / BATCH]),
        Figure("unpacking them costs the worker", unpack, "ms per 1,000"),
    ]


def _covering() -> list[Figure]:
    """Reads of a user's sightings, and rows written, with the covering index of the host's plan and without."""
    reads: dict[str, list[float]] = {"with": [], "without": []}
    writes: dict[str, list[float]] = {"with": [], "without": []}
    with gallery(watchers=4) as place, connect(place.url, autocommit=True) as connection:
        ids = _ids(connection)
        for turn in range(3):
            for side in ("with", "without"):
                if side == "with":
                    connection.execute(COVERING)
                connection.execute("VACUUM ANALYZE public.user_art_impressions")
                reads[side].append(_reads(connection, place, ids))
                writes[side].append(_writes(connection, f"{side}-{turn}", ids))
                connection.execute("DROP INDEX IF EXISTS covering")
    return [
        compare("reads of 20 sightings, covering index", "us", reads["with"], "without", reads["without"]),
        compare("rows written, covering index", "rows/s", writes["with"], "without", writes["without"]),
    ]


def _reads(connection: psycopg.Connection, place: Gallery, ids: list[str]) -> float:
    """Microseconds to read whether and when a user saw 20 artworks."""
    taken = []
    for number in range(READS):
        started = time.perf_counter()
        some = ids[number % 400 * 20 : number % 400 * 20 + 20]
        connection.execute(READ, (place.watchers[number % len(place.watchers)], some)).fetchall()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def _writes(connection: psycopg.Connection, user: str, ids: list[str]) -> float:
    """Rows a second, in batches of 200."""
    add_users(connection, [user])
    started = time.perf_counter()
    for start in range(0, ARTWORKS, BATCH):
        some = ids[start : start + BATCH]
        connection.execute(INSERT, ([user] * len(some), some))
    return ARTWORKS / (time.perf_counter() - started)


def _singles(key: str, users: list[str], ids: list[str]) -> Iterator[bytes]:
    """Displays one by one, none of them twice."""
    for number, artwork in enumerate(ids):
        for user in users:
            event = {"event_id": f"{artwork}-{number}", "user_id": user, "artwork_id": artwork, "kind": "displayed"}
            yield post("/v1/impressions", {"events": [event | {"session_id": "tab"}]}, key)


def _commits(connection: psycopg.Connection) -> float:
    """Transactions that the database has committed."""
    time.sleep(1.2)  # what a connection counted is told once a second
    connection.execute("SELECT pg_stat_clear_snapshot()")
    row = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return float(row[0]) if row else 0.0


def _ids(connection: psycopg.Connection) -> list[str]:
    """The pool."""
    rows = connection.execute("SELECT artwork_id FROM vernissage.artwork_keys ORDER BY 1").fetchall()
    return [row[0] for row in rows]
