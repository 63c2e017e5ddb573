"""What was chosen, with and without: commits in groups, compressed bodies, a covering index, a cache of lists.

Per 1,000 impressions where it says so.
"""

from __future__ import annotations

import gzip
import statistics
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray

from features.database import connect
from tests.benchmarks.batches import INSERT
from tests.benchmarks.crowd import again, drive, get, post
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import ARTWORKS, Gallery, add_users, gallery
from tests.service import Service
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_visits import Exposures

CONNECTIONS = 64
SECONDS = 2.5
USERS = 200
BATCH = 200
READS = 300
MINUTES = (1, 5, 30)
LIST, DISPLAYS = 20, 10  # artworks of a list, and displays until the next is asked for
COVERING = "CREATE INDEX covering ON public.user_art_impressions (user_id, artwork_id, viewed_at)"
READ = "SELECT artwork_id, viewed_at FROM public.user_art_impressions WHERE user_id = %s AND artwork_id = ANY (%s)"
ALONE = {"VERNISSAGE_WRITE_GROUP": "1", "VERNISSAGE_WRITE_LANES": "8"}


def run() -> list[Figure]:
    """All four, and how often the caches that there are know the answer."""
    return [*_groups(), *_bodies(), *_covering(), *_cached_lists(), *_caches()]


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


def _cached_lists() -> list[Figure]:
    """Lists of 20 kept in memory for a while: how many requests that would answer, and with what already seen.

    The requests are those of the synthetic world's visits: one at a visit's start and one per 10 displays. Either what
    a user is shown drops the list, or nothing does but the time.
    """
    shown = make_world(Recipe(seed=1, users=1_000, artworks=2_000, until=datetime.now(UTC))).exposures
    asked = _asked(shown)
    found = []
    for minutes in MINUTES:
        dropped, stale = (_from_cache(shown, asked, minutes * 60e6, forget=forget) for forget in (True, False))
        seen = sum(stale) / max(LIST * len(stale), 1)
        found += [
            Figure(
                f"cache of {minutes} min, dropped at each display: requests it answers",
                100 * len(dropped) / asked.sum(),
                "%",
            ),
            Figure(f"cache of {minutes} min, kept: requests it answers", 100 * len(stale) / asked.sum(), "%"),
            Figure(f"cache of {minutes} min, kept: of what it answers seen already", 100 * seen, "%"),
            Figure(f"cache of {minutes} min, kept: reads saved", 1_000 * len(stale) / len(shown), "per 1,000"),
        ]
    return found


def _asked(shown: Exposures) -> NDArray[np.bool_]:
    """Before which displays a list was asked for, shape (d,)."""
    starts = np.flatnonzero(np.diff(shown.session_rows, prepend=-1))
    place = np.arange(len(shown)) - np.repeat(starts, np.diff(starts, append=len(shown)))
    return np.asarray(place % DISPLAYS == 0)


def _from_cache(shown: Exposures, asked: NDArray[np.bool_], lifetime: float, *, forget: bool) -> list[int]:
    """For each request that a user's kept list answers: how many of its artworks were displayed since it was made."""
    answered, user, made, since = [], -1, 0, 0
    for row, at, asks in zip(shown.user_rows.tolist(), shown.shown_at.tolist(), asked.tolist(), strict=True):
        kept = row == user and at - made < lifetime and not (forget and since)
        if asks and kept:
            answered.append(min(since, LIST))
        elif asks:
            user, made, since = row, at, 0
        since += 1
    return answered


def _caches() -> list[Figure]:
    """The caches that there are, at their best: four users who ask for the same list again and again."""
    with gallery(watchers=4) as place, Service(place.url, place.settings.home_path) as service:
        lists = [again(get(f"/v1/users/{user}/next?session_id=tab", service.key)) for user in place.watchers]
        drive(service.port, lists, SECONDS * 4)
        counted = service.metrics()
    return [
        Figure(
            f"look-ups that the cache answers: {name}, one list each of four users", _hit_percent(counted, name), "%"
        )
        for name in ("keys", "artworks")
    ]


def _hit_percent(counted: Mapping[str, float], name: str) -> float:
    """How many look-ups in a hundred a cache answered."""
    series = "vernissage_cache_lookups_total"
    hits, misses = (counted.get(f'{series}{{cache="{name}",outcome="{outcome}"}}', 0.0) for outcome in ("hit", "miss"))
    return 100 * hits / (hits + misses)


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
