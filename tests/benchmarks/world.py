"""The pool that the serving benchmarks stand on: 10,000 artworks, and watchers who have seen 97.7% of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg

from features.database import connect, query
from features.settings import Settings
from serving import bundle as bundles
from serving.bundle import Manifest
from tests.benchmarks.filling import careless, filling
from tests.stage import stage
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

ARTWORKS = 10_000
SEEN_SHARE = 0.977
SIGNALS = 200  # of taste, and as many mere displays
COMPONENTS = 50

_ACTIVE = "UPDATE public.art_sessions SET pool_status = 'active' WHERE pool_status IS DISTINCT FROM 'active'"
_KEYS = """
INSERT INTO vernissage.artwork_keys (artwork_id) SELECT id FROM public.art_sessions ON CONFLICT DO NOTHING
"""
_USERS = "INSERT INTO public.users (id, email) SELECT n, n || '@example.org' FROM unnest(%(names)s::text[]) AS n"
_SEEN = """
INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
SELECT n, k.artwork_key, now() - make_interval(mins => 10 + k.place)
FROM unnest(%(names)s::text[]) AS n, LATERAL (
    SELECT artwork_key, row_number() OVER ()::integer AS place
    FROM (SELECT artwork_key FROM vernissage.artwork_keys
          ORDER BY hashint8extended(artwork_key, hashtext(n)) LIMIT %(seen)s) AS drawn
) AS k
"""
_IMPRESSIONS = """
INSERT INTO public.user_art_impressions (user_id, artwork_id, viewed_at)
SELECT s.user_id, k.artwork_id, s.seen_at AT TIME ZONE 'UTC'
FROM vernissage.seen AS s JOIN vernissage.artwork_keys AS k USING (artwork_key) WHERE s.user_id = ANY (%(names)s)
"""
_ABSORBED = """
INSERT INTO vernissage.absorbed (user_id, host_rows, host_latest)
SELECT user_id, count(*), max(viewed_at) FROM public.user_art_impressions WHERE user_id = ANY (%(names)s) GROUP BY 1
"""
_EVENTS = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, session_id)
SELECT gen_random_uuid(), s.user_id, s.artwork_key, d.kind, s.seen_at, 'long-ago'
FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY seen_at DESC) AS place FROM vernissage.seen
      WHERE user_id = ANY (%(names)s)) AS s
CROSS JOIN (VALUES ('displayed'), ('like')) AS d (kind)
WHERE s.place <= %(signals)s
"""


@dataclass(frozen=True)
class Gallery:
    """A database with a pool and watchers."""

    settings: Settings
    watchers: list[str]

    @property
    def url(self) -> str:
        """Where the database is."""
        return self.settings.database_url


@contextlib.contextmanager
def gallery(watchers: int = 0, artworks: int = ARTWORKS) -> Iterator[Gallery]:
    """A fresh durable database with a pool, a model and so many watchers who have seen nearly all of it."""
    names = [f"watcher-{number}" for number in range(watchers)]
    with stage() as settings:
        with connect(settings.database_url, autocommit=True) as connection:
            _hang(connection, artworks)
            add_users(connection, names)
            _let_see(connection, names, round(artworks * SEEN_SHARE))
            show_model(connection, make_model(settings, connection, "1"))
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        yield Gallery(settings, names)


def add_users(connection: psycopg.Connection, names: list[str]) -> None:
    """Users of these ids, whom the host knows."""
    connection.execute(_USERS, {"names": names})


def make_model(settings: Settings, connection: psycopg.Connection, version: str) -> dict[str, str]:
    """Save a factor model of the pool and return its live row; its numbers are drawn: speed does not depend on them."""
    folder = settings.bundles_path / f"drawn-{version}"
    rows = connection.execute("SELECT artwork_id FROM vernissage.artwork_keys ORDER BY artwork_key").fetchall()
    ids = np.array([row[0] for row in rows])
    bundle = bundles.save(folder, manifest(version), factor_arrays(ids, int(version)))
    return {"alias": "champion", "version": version, "bundle_path": str(folder), "digest": bundle.digest}


def show_model(connection: psycopg.Connection, live_row: dict[str, str]) -> None:
    """Make a saved model live."""
    connection.execute(query("set_live_model"), live_row)


def manifest(version: str) -> Manifest:
    """The manifest of a drawn model."""
    return Manifest(
        kind="factors",
        model="drawn",
        version=version,
        fold_in="nonnegative",
        created_at="2026-01-01T00:00:00+00:00",
        snapshot="",
        half_life_days=90.0,
    )


def factor_arrays(artwork_ids: np.ndarray, seed: int) -> dict[str, Any]:
    """Arrays of a factor model with the sparsity of a real one."""
    draw = np.random.default_rng(seed)
    factors = draw.gamma(0.3, 1.0, (len(artwork_ids), COMPONENTS)).astype(np.float32)
    return {
        "artwork_ids": artwork_ids,
        "factors": factors,
        "projection": factors,
        "gram": factors.T.astype(np.float64) @ factors.astype(np.float64),
        "prior": factors.sum(axis=1),
    }


def _hang(connection: psycopg.Connection, artworks: int) -> None:
    """A pool of artworks as a host has them, all of them active."""
    write_world(connection, make_world(Recipe(seed=1, users=1, artworks=artworks, until=datetime.now(UTC))))
    connection.execute(_ACTIVE)
    connection.execute(_KEYS)


def _let_see(connection: psycopg.Connection, names: list[str], seen: int) -> None:
    """Let each of them have seen so many artworks, through the host's routes and through ours."""
    if not names:
        return
    values = {"names": names, "seen": seen, "signals": SIGNALS}
    tables = ("public.user_art_impressions", "vernissage.seen")
    with careless(connection), filling(connection, *tables):
        for statement in (_SEEN, _IMPRESSIONS, _ABSORBED, _EVENTS):
            connection.execute(statement, values)
