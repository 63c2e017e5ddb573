"""Impressions one by one, each durable before it is acknowledged, beside a loop that commits each row alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

from features.database import connect
from tests.benchmarks.batches import INSERT, Batches, batches
from tests.benchmarks.crowd import drive, post
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import add_users, gallery
from tests.service import Service

CONNECTIONS = 64
SECONDS = 2.5
USERS = 200


def run() -> list[Figure]:
    """Impressions a second of both."""
    with gallery() as place, connect(place.url) as connection:
        rows = connection.execute("SELECT artwork_id FROM vernissage.artwork_keys ORDER BY 1").fetchall()
        ids = [row[0] for row in rows]
        sides = {side: [f"{side}-{number}" for number in range(USERS)] for side in ("ours", "bare")}
        add_users(connection, [name for names in sides.values() for name in names])
        connection.commit()
        ours, bare = batches(sides["ours"], ids, 1), batches(sides["bare"], ids, 1)

        def insert() -> float:
            count, end = 0, time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                user, artworks = next(bare)
                connection.execute(INSERT, ([user], artworks))
                connection.commit()
                count += 1
            return count / SECONDS

        with Service(place.url, place.settings.home_path) as service:
            lines = [_requests(service.key, ours) for _ in range(CONNECTIONS)]
            found = in_turns({"ours": lambda: drive(service.port, lines, SECONDS).rate, "bare": insert})
    reference = "psycopg, one connection, one commit each"
    return [
        compare(
            f"single impressions, {CONNECTIONS} connections",
            "rows/s",
            found["ours"],
            reference,
            found["bare"],
            reach=">= 10",
        )
    ]


def _requests(key: str, given: Batches) -> Iterator[bytes]:
    """One connection's events, from those that all share."""
    for number, (user, (artwork,)) in enumerate(given):
        event = {"event_id": f"{artwork}-{number}", "user_id": user, "artwork_id": artwork, "kind": "displayed"}
        yield post("/v1/impressions", {"events": [event | {"session_id": "tab"}]}, key)
