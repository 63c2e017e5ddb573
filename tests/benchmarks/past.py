"""A long past for the benchmarks: millions of impressions, as time scatters them, in all tables that grow with them.

People look at twenty artworks a visit, and visits of many lie side by side, so that a person's rows are scattered over
the tables. More impressions are more people, not longer lives: those who are measured have the same past in every size.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import psycopg
from numpy.typing import NDArray

from features.database import connect
from tests.benchmarks.filling import careless, filling
from tests.benchmarks.world import add_users

VISIT = 20  # artworks
LEAST_VISITS, MEAN_MORE, MOST_MORE = 10, 40, 240  # of a person: 200 to 5,000 impressions, 1,000 on average
ROUNDS = 500  # of visits, an hour apart: three weeks
WATCHERS = 250  # people who are here to the last round
HOSTS, OURS = "public.user_art_impressions", ("vernissage.seen", "vernissage.events")
TABLES = (HOSTS, *OURS, "vernissage.seen_bits")  # the last is filled by triggers

_EMPTY = f"TRUNCATE {', '.join(TABLES)}, vernissage.absorbed, vernissage.hosted_users"
_PEOPLE = "CREATE TEMP TABLE people (id text, visits integer, begins integer, step bigint, first bigint)"
_COPY = "COPY people FROM STDIN"
_WORKS = """
CREATE TEMP TABLE works AS
SELECT row_number() OVER (ORDER BY artwork_key) - 1 AS number, artwork_id FROM vernissage.artwork_keys;
ANALYZE works
"""
#: Ids begin with what tells the user, as those of `features.identifiers.named_id` do.
_IMPRESSIONS = """
INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
SELECT (left(md5(p.id), 12) || substr(md5(p.id || p.place), 13))::uuid::text, p.id, w.artwork_id,
       (now() AT TIME ZONE 'UTC') + make_interval(hours => p.round - %(rounds)s, mins => p.place %% %(visit)s)
FROM generate_series(0, %(rounds)s - 1) AS r (round), LATERAL (
         SELECT b.*, r.round, (r.round - b.begins) * %(visit)s + k AS place
         FROM people AS b, generate_series(0, %(visit)s - 1) AS k
         WHERE r.round >= b.begins AND r.round < b.begins + b.visits OFFSET 0) AS p
JOIN works AS w ON w.number = (p.first + p.place * p.step) %% %(artworks)s
"""
_SEEN = """
INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
SELECT i.user_id, k.artwork_key, i.viewed_at AT TIME ZONE 'UTC'
FROM public.user_art_impressions AS i JOIN vernissage.artwork_keys AS k USING (artwork_id)
"""
_EVENTS = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, received_at, session_id)
SELECT i.id::uuid, i.user_id, k.artwork_key, 'displayed', i.viewed_at AT TIME ZONE 'UTC',
       i.viewed_at AT TIME ZONE 'UTC', md5(i.user_id)::uuid::text
FROM public.user_art_impressions AS i JOIN vernissage.artwork_keys AS k USING (artwork_id)
"""
_LIKES = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, received_at, session_id)
SELECT (left(md5(e.user_id), 12) || substr(md5('like' || e.event_key), 13))::uuid, e.user_id, e.artwork_key, 'like',
       e.at, e.at, e.session_id
FROM vernissage.events AS e WHERE get_byte(uuid_send(e.event_key), 15) < 16  -- one in sixteen
"""
_ABSORBED = """
INSERT INTO vernissage.absorbed (user_id, host_rows, host_latest)
SELECT user_id, count(*), max(viewed_at) FROM public.user_art_impressions GROUP BY 1
"""
_HOSTED = "INSERT INTO vernissage.hosted_users (user_id) SELECT DISTINCT user_id FROM public.user_art_impressions"
_BYTES = "SELECT pg_table_size(%(table)s::regclass), pg_indexes_size(%(table)s::regclass)"


@dataclass(frozen=True)
class People:
    """Who looked at what: artwork (first + place * step) modulo the pool, at the places 0, 1, 2, 20 of them a visit."""

    ids: list[str]
    visits: NDArray[np.int64]
    begins: NDArray[np.int64]  # the first round
    steps: NDArray[np.int64]  # of no common factor with the pool's size: nobody meets an artwork twice
    firsts: NDArray[np.int64]

    def unseen(self, person: int, artwork_ids: list[str]) -> Iterator[str]:
        """What the person has not met yet, in a fixed order."""
        first, step = int(self.firsts[person]), int(self.steps[person])
        for place in range(VISIT * int(self.visits[person]), len(artwork_ids)):
            yield artwork_ids[(first + place * step) % len(artwork_ids)]


@dataclass(frozen=True)
class Past:
    """What a database was filled with."""

    rows: int  # impressions
    seconds: float  # that it took
    sizes: dict[str, tuple[int, int]]  # bytes of each table, and of its indexes
    watchers: list[str]
    writers: list[tuple[str, Iterator[str]]]  # everybody else, with what each has not seen

    @property
    def bytes_per_row(self) -> float:
        """What an impression takes in all of them."""
        return sum(map(sum, self.sizes.values())) / self.rows

    def draw(self, size: int, seed: int) -> Iterator[tuple[str, list[str]]]:
        """Somebody at random, and the next artworks of theirs, for ever."""
        chance = random.Random(seed)  # noqa: S311 - a benchmark's draw
        while True:
            user, unseen = chance.choice(self.writers)
            ids = list(islice(unseen, size))
            if len(ids) == size:
                yield user, ids


def make_people(impressions: int, artworks: int) -> People:
    """As many as make so many impressions; visits by the golden ratio, so that every size has like lives."""
    most = impressions // (VISIT * LEAST_VISITS) + 1
    draws = np.arange(most) * 0.618033988749895 % 1
    visits = LEAST_VISITS + np.minimum(-MEAN_MORE * np.log1p(-draws), MOST_MORE).astype(np.int64)
    count = int(np.searchsorted(np.cumsum(visits) * VISIT, impressions)) + 1
    chance, visits = np.random.default_rng(0), visits[:count]
    begins = (chance.random(count) * (ROUNDS - visits + 1)).astype(np.int64)
    begins[:WATCHERS] = ROUNDS - visits[:WATCHERS]
    prime = [step for step in range(1, artworks) if np.gcd(step, artworks) == 1]
    return People(
        ids=[str(uuid.UUID(bytes=octets.tobytes())) for octets in chance.integers(0, 256, (count, 16), np.uint8)],
        visits=visits,
        begins=begins,
        steps=chance.choice(prime, count),
        firsts=chance.integers(0, artworks, count),
    )


def fill(url: str, impressions: int) -> Past:
    """Let the pool of a database have been looked at so often, by new people alone."""
    started = time.monotonic()
    with connect(url, autocommit=True) as connection:
        rows = connection.execute("SELECT artwork_id FROM vernissage.artwork_keys ORDER BY artwork_key").fetchall()
        artwork_ids = [row[0] for row in rows]
        people = make_people(impressions, len(artwork_ids))
        with careless(connection):
            _add(connection, people)
            with ThreadPoolExecutor(1) as threads, filling(connection, HOSTS):
                connection.execute(_IMPRESSIONS, {"rounds": ROUNDS, "visit": VISIT, "artworks": len(artwork_ids)})
                connection.execute(f"ANALYZE {HOSTS}")  # one by itself may have come before these rows were there
                ours = threads.submit(_fill_ours, url)
            ours.result()
        sizes = {table: _sizes(connection, table) for table in TABLES}
    everybody = list(enumerate(people.ids))
    return Past(
        rows=int(people.visits.sum()) * VISIT,
        seconds=time.monotonic() - started,
        sizes=sizes,
        watchers=people.ids[:WATCHERS],
        writers=[(user, people.unseen(number, artwork_ids)) for number, user in everybody[WATCHERS:]],
    )


def _add(connection: psycopg.Connection, people: People) -> None:
    """The users, nobody else's past, and what the impressions are made from."""
    add_users(connection, people.ids)
    for statement in (_EMPTY, _WORKS, _PEOPLE):
        connection.execute(statement)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in zip(people.ids, people.visits, people.begins, people.steps, people.firsts, strict=True):
            copy.write_row([str(value) for value in row])


def _fill_ours(url: str) -> None:
    """What our own tables would hold of the impressions."""
    with connect(url, autocommit=True) as connection, filling(connection, *OURS):
        for statement in (_SEEN, _EVENTS, _LIKES, _ABSORBED, _HOSTED):
            connection.execute(statement)


def _sizes(connection: psycopg.Connection, table: str) -> tuple[int, int]:
    """Bytes of a table and of its indexes."""
    found = connection.execute(_BYTES, {"table": table}).fetchone()
    assert found is not None
    return found[0], found[1]
