"""Experiments for tests: a definition that nothing is wrong with, and users of the past whom it can count on."""

from __future__ import annotations

from typing import Any

import psycopg

ARMS = [{"name": "control"}, {"name": "varied", "policy": {"variety": 0.3}}]
EVERYBODY = {"first": 0, "count": 10_000}

#: What makes a definition one of a generation policy, tried by blocks of time.
SWITCHBACK: dict[str, Any] = {
    "design": "switchback",
    "unit": "block",
    "layer": "generation",
    "blocks": {"minutes": 60, "count": 40, "washout_minutes": 10},
    "arms": [{"name": "control"}, {"name": "fuller", "policy": {"generation": {"floor_artworks": 30}}}],
    "primary_metric": "stockout_rate",
}

#: Each of so many users, spread over four weeks, was shown ten artworks and liked none to three of them.
PAST = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, received_at)
SELECT gen_random_uuid(), 'past-' || u, n, CASE WHEN n <= 10 THEN 'displayed' ELSE 'like' END, moment, moment
FROM generate_series(1, %(users)s) AS u, generate_series(1, 10 + u %% 4) AS n,
     LATERAL (SELECT now() - make_interval(secs => 60 + 27 * 86400.0 * u / %(users)s) AS moment) AS m
"""


def definition(name: str = "more-variety", **fields: Any) -> dict[str, Any]:
    """A definition as its file has it."""
    whole: dict[str, Any] = {
        "name": name,
        "version": 1,
        "hypothesis": "Variety keeps people longer",
        "owner": "ada",
        "layer": "lists",
        "slots": EVERYBODY,
        "arms": ARMS,
        "primary_metric": "likes_per_display",
        "smallest_effect": 0.3,
    }
    return whole | fields


def give_past(connection: psycopg.Connection, users: int = 1_000) -> None:
    """Let there have been traffic."""
    connection.execute(PAST, {"users": users})
