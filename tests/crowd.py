"""A database as it looks after a long time, and what the planner makes of our queries in it.

`crowd` fills it with one statement per table; `plans` names every statement that requests send, with values as the
service sends them; `verdict` reads a plan. Nothing here runs a query of the service for its result.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from features.database import Pool, query
from features.host import Host, read_host
from features.settings import Settings
from features.weights import KINDS
from serving.generation.situation import DISPLAYS, Situation
from serving.host_artworks import HostArtworks
from serving.impressions import Event, Impressions
from serving.leases import Leases
from serving.library import Library

#: Tables that grow with what people do, or with the pool: no request may read one from end to end.
GROWING = frozenset({
    "seen", "seen_bits", "events", "served_lists", "sessions", "user_art_impressions", "art_sessions", "artwork_keys",
    "absorbed", "hosted_users", "replays", "art_favorites", "users",
})  # fmt: skip
SCANS = frozenset({"Index Scan", "Index Only Scan", "Bitmap Index Scan"})
#: Takes over everything that the host recorded for a user past us; then the compact keys may well be read at once.
WHOLE = {"absorb_keys": "artwork_keys", "absorb_marks": "artwork_keys"}
DEVOTED = "devoted"  # a user who has seen nearly everything
ORDINARY = "user-7"

FILL = (
    """INSERT INTO public.art_sessions (id, session_id, user_id, image_url, prompt, styles, is_library, created_at)
       SELECT 'artwork-' || n, 'catalogue-seed', 'system', '/images/' || n || '.webp', 'artwork ' || n,
              ARRAY['style ' || n %% 40], true, timestamp '2025-01-01' + n * interval '1 minute'
       FROM generate_series(1, %(artworks)s) AS n""",
    """INSERT INTO public.users (id) SELECT 'user-' || n FROM generate_series(1, %(users)s) AS n
       UNION ALL SELECT 'devoted'
       UNION ALL SELECT 'quiet-' || n FROM generate_series(1, %(artworks)s) AS n""",
    """INSERT INTO vernissage.artwork_keys (artwork_id) SELECT id FROM public.art_sessions ORDER BY created_at""",
    """INSERT INTO vernissage.hosted_users SELECT id FROM public.users""",
    """INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
       SELECT 'user-' || u, 1 + (u * 7919 + n * 31) %% %(artworks)s, now() - n * interval '7 minutes'
       FROM generate_series(1, %(users)s) AS u, generate_series(1, %(each)s) AS n
       UNION
       SELECT 'devoted', n, now() - n * interval '7 minutes'
       FROM generate_series(1, (%(artworks)s * %(coverage)s)::integer) AS n
       ON CONFLICT DO NOTHING""",
    """INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
       SELECT gen_random_uuid()::text, s.user_id, k.artwork_id, s.seen_at AT TIME ZONE 'UTC'
       FROM vernissage.seen AS s JOIN vernissage.artwork_keys AS k USING (artwork_key)""",
    """INSERT INTO vernissage.absorbed (user_id, host_rows, host_latest)
       SELECT u.id, count(i.user_id), max(i.viewed_at)
       FROM public.users AS u LEFT JOIN public.user_art_impressions AS i ON i.user_id = u.id GROUP BY u.id""",
    """INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, session_id)
       SELECT gen_random_uuid(), s.user_id, s.artwork_key, k.kind, s.seen_at, 'tab-' || s.artwork_key %% 50
       FROM vernissage.seen AS s
       JOIN (VALUES ('displayed', 1), ('dwell', 3), ('like', 17), ('skip', 11)) AS k (kind, every)
         ON s.artwork_key %% k.every = 0""",
    """INSERT INTO vernissage.sessions (user_id, session_id, expires_at, held, passes)
       SELECT u.id, 'tab-' || n, now() + (n - 48) * interval '1 minute', ARRAY[n, n + 1, n + 2], ARRAY[0, 0, 0]
       FROM public.users AS u, generate_series(0, 49) AS n WHERE u.id NOT LIKE 'quiet-%%'""",
    """INSERT INTO vernissage.served_lists (recommendation_id, user_id, session_id, served_at, policy, requested,
           artwork_keys, scores, rungs, propensities, candidate_hash, candidate_size, excluded)
       SELECT gen_random_uuid(), u.id, 'tab-' || n %% 50, now() - n * interval '1 hour', 'ladder-1', 3,
              ARRAY[n, n + 1, n + 2], ARRAY[1, 1, 1], ARRAY[4, 4, 4], ARRAY[1, 1, 1], n, 100, '{}'
       FROM public.users AS u, generate_series(1, 60) AS n WHERE u.id NOT LIKE 'quiet-%%'""",
    """INSERT INTO vernissage.replays (user_id, artwork_key)
       SELECT user_id, artwork_key FROM vernissage.seen WHERE artwork_key %% 20 = 0""",
    """INSERT INTO public.art_favorites (id, user_id, artwork_id)
       SELECT gen_random_uuid()::text, user_id, artwork_id FROM public.user_art_impressions
       WHERE hashtext(artwork_id) %% 20 = 0""",
    "VACUUM ANALYZE",
)


@dataclass(frozen=True)
class Statement:
    """One statement of a request, with the values that it is sent with."""

    name: str
    text: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What a plan does that it must not."""

    cost: float
    faults: list[str]  # as in "Seq Scan on seen"


def crowd(
    connection: psycopg.Connection,
    *,
    artworks: int = 20_000,
    users: int = 2_000,
    each: int = 100,
    coverage: float = 0.977,
) -> None:
    """Fill a fresh database over an autocommit connection: ``users`` who saw ``each``, and one who saw ``coverage``."""
    values = {"artworks": artworks, "users": users, "each": each, "coverage": coverage}
    for text in FILL:
        connection.execute(text, values)


def statements(connection: psycopg.Connection, user: str) -> list[Statement]:
    """Every statement that a request about ``user`` sends, but the advisory locks."""
    host, settings = read_host(connection), Settings()
    return [*_lists(host, settings, user), *_displays(host, settings, user), *_past(host, user)]


def need_statements(connection: psycopg.Connection, users: Sequence[str]) -> Iterator[Statement]:
    """What need and plans send about many users."""
    host, settings = read_host(connection), Settings()
    situation = Situation(_no_pool(), host, settings)
    many = {"user_ids": list(users)}
    yield Statement("demand_state", situation._people, many | {"displays": DISPLAYS})
    yield Statement(
        "taste_state", situation._tastes, many | {"kinds": list(KINDS), "signals": settings.signals_per_user}
    )
    yield Statement("active_users", query("active_users"), {"users": settings.planned_users})


def verdict(connection: psycopg.Connection, statement: Statement, *, generic: bool) -> Verdict:
    """The plan of a statement: for its values, or for any (what PostgreSQL may turn to for a prepared statement)."""
    (plan,) = (_generic_plan if generic else _plan)(connection, statement)
    allowed = f"Seq Scan on {WHOLE.get(statement.name)}"
    return Verdict(plan["Plan"]["Total Cost"], sorted(set(_faults(plan["Plan"])) - {allowed}))


def _lists(host: Host, settings: Settings, user: str) -> Iterator[Statement]:
    """What asking for artworks sends."""
    leases = Leases(_no_pool(), host, settings)
    session = {"user_id": user, "session_id": "tab-49"}
    asked = {"user_ids": [user, "user-3"], "session_ids": ["tab-49", "tab-7"]}
    yield Statement("user_states", leases._states, asked | {"signals": settings.signals_per_user, "kinds": list(KINDS)})
    for name in ("check_absorbed", "absorb_keys", "absorb_marks", "note_absorbed"):
        yield Statement(name, query(name), {"user_id": user})
    yield Statement("supersede", query("supersede"), session | {"supersedes": "tab-48"})
    keys = list(range(19_900, 19_925))
    written = {
        "requested": 20, "repeats": None, "policy": "ladder-1", "model_version": None, "reason": None,
        "artwork_keys": keys, "scores": [1.0] * len(keys), "rungs": [4] * len(keys), "known": True, "held": keys[:3],
        "passes": [0] * 3, "retired": keys[-1:], "candidate_hash": 1, "candidate_size": 100, "excluded": {"seen": 1},
        "experiments": {"a": {"version": 1, "arm": "b"}}, "propensities": [1.0] * len(keys), "inputs": {},
        "sampler": None, "head_keys": None, "head_scores": None, "took_ms": 5.0, "fallback": None,
    }  # fmt: skip
    lists = [
        written | {"place": place, "recommendation_id": str(uuid.uuid4()), "user_id": name, "session_id": "tab-49"}
        for place, name in enumerate([user, "user-3"])
    ]
    times = {"first_seconds": 60.0, "stretch_seconds": 90.0, "grace_seconds": 60.0}
    yield Statement("lease_lists", leases._lease, times | {"lists": json.dumps(lists)})
    yield Statement("host_artworks", HostArtworks(host, most=1)._query, {"keys": keys})


def _displays(host: Host, settings: Settings, user: str) -> Iterator[Statement]:
    """What impressions, claims, heartbeats and ends send."""
    impressions = Impressions(_no_pool(), host, settings)
    claims = [
        Event(str(number), user, f"artwork-{number}", "displayed", "tab-49", uuid.uuid4(), fenced=True)
        for number in range(19_900, 19_920)
    ]
    yield Statement("record_events", impressions._record, impressions._values(claims, [user]))
    session = {"user_id": user, "session_id": "tab-49"}
    beat = {"client": Jsonb({"pending": 1}), "stretch_seconds": 90.0, "grace_seconds": 60.0}
    yield Statement("heartbeat", query("heartbeat"), session | beat)
    yield Statement("end_session", query("end_session"), session)


def _past(host: Host, user: str) -> Iterator[Statement]:
    """What history, replays and favourites send."""
    library = Library(_no_pool(), host)
    asked = {"user_id": user, "before": "2030-01-01T00:00:00Z", "limit": 100}
    one = {"user_id": user, "artwork_id": "artwork-77"}
    yield Statement("history", library._history, asked)
    yield Statement("replay", query("replay"), one)
    yield Statement("favourites", query("favourites"), {"user_id": user, "limit": 100})
    yield Statement("set_favourite", query("set_favourite"), one)
    yield Statement("unset_favourite", query("unset_favourite"), one)


def _no_pool() -> Pool:
    """A pool that is never opened: only texts are wanted."""
    return Pool("", seconds=1.0, open=False)


def _plan(connection: psycopg.Connection, statement: Statement) -> list[dict[str, Any]]:
    """The plan for these values."""
    row = connection.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.values).fetchone()
    assert row is not None
    plan: list[dict[str, Any]] = row[0]
    return plan


def _generic_plan(connection: psycopg.Connection, statement: Statement) -> list[dict[str, Any]]:
    """The plan for any values."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.text)))
    text = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement.text)
    given = psycopg.ClientCursor(connection).mogrify(
        ", ".join(["%s"] * len(names)), [statement.values[name] for name in names]
    )
    with connection.transaction():
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE looked_at AS {text.replace('%%', '%')}".encode())
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE looked_at({given})".encode()).fetchone()
        connection.execute("DEALLOCATE looked_at")
    assert row is not None
    plan: list[dict[str, Any]] = row[0]
    return plan


def _faults(node: Mapping[str, Any]) -> Iterator[str]:
    """Growing tables that are read from end to end: row by row, or by an index without a condition."""
    kind = node["Node Type"]
    table = node.get("Relation Name") or node.get("Index Name", "")
    if kind == "Seq Scan" and table in GROWING:
        yield f"{kind} on {table}"
    if kind in SCANS and "Index Cond" not in node and any(name in table for name in GROWING):
        yield f"{kind} on {table} without a condition"
    for part in node.get("Plans", ()):
        yield from _faults(part)
