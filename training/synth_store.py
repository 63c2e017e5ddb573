"""Writes a synthetic world into PostgreSQL by COPY, in one transaction: the host's tables and ours.

Votes and favourites of a session went through one door: the host's own client wrote them into the host's tables
(art_votes, art_favorites), ours into vernissage.events. Everything shown is in both user_art_impressions and
vernissage.seen, and marked as absorbed. The truth (tastes, true preferences) is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from features.database import query
from features.errors import PoolNotEmptyError
from features.host import Host, read_host
from training.synth import World
from training.synth_pool import GENRES, MOODS, artwork_ids
from training.synth_recipe import STYLES, Recipe

BLOCK = 50_000  # exposures copied at once; bounds the memory

#: What is told of progress: exposures written, and of how many.
Progress = Callable[[int, int], object]

ARTWORK_COLUMNS = (
    "id", "session_id", "user_id", "image_url", "prompt", "dna_vector", "motifs", "quality_score", "pool_status",
    "styles", "artists", "is_library", "orientation", "created_at",
)  # fmt: skip
USER_COLUMNS = (
    "id", "email", "subscription_tier", "preferred_orientation", "style_preferences", "created_at", "updated_at",
)  # fmt: skip

_BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_BINARY_END = b"\xff\xff"
_YEAR_2000 = 946_684_800_000_000  # PostgreSQL counts microseconds from here
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def holds_world(connection: psycopg.Connection, recipe: Recipe) -> bool:
    """Whether the world of this recipe is in the database; its end may differ.

    Raises PoolNotEmptyError when users or artworks of another origin are, HostTablesMissingError without host tables.
    """
    read_host(connection)
    found = connection.execute(query("world_present"), {"ids": list(artwork_ids(recipe))}).fetchone()
    users, artworks, known = found or (0, 0, 0)
    if known:
        return True
    if users or artworks:
        raise PoolNotEmptyError(artworks=artworks, users=users)
    return False


def write_world(
    connection: psycopg.Connection, world: World, on_progress: Progress = lambda _done, _total: None
) -> bool:
    """Write all of the world or nothing; False when it is there already.

    Raises PoolNotEmptyError when the database holds users or artworks of another origin.
    """
    with connection.transaction():
        connection.execute(query("world_lock"))
        if holds_world(connection, world.recipe):
            return False
        host = read_host(connection)
        connection.execute(query("world_tables"))
        _write_pool(connection, world, host)
        _write_people(connection, world, host)
        _write_exposures(connection, world, host, on_progress)
        connection.execute(query("world_absorbed"))
        connection.execute(query("world_analyze"))
    return True


def _write_pool(connection: psycopg.Connection, world: World, host: Host) -> None:
    """Fill art_sessions and the artwork keys."""
    _copy(connection, "world_artworks", ("artwork_row", *ARTWORK_COLUMNS), _artwork_rows(world))
    connection.execute(query("world_put_artworks", columns=_shared(host, "art_sessions", ARTWORK_COLUMNS)))
    connection.execute(query("world_put_keys"))
    connection.execute(query("world_note_keys"))


def _write_people(connection: psycopg.Connection, world: World, host: Host) -> None:
    """Fill users and rai_sessions."""
    _copy(connection, "world_users", ("user_row", *USER_COLUMNS), _user_rows(world))
    connection.execute(query("world_put_users", columns=_shared(host, "users", USER_COLUMNS)))
    columns = ("session_row", "id", "user_row", "started_at", "ended_at", "by_host_client")
    _copy(connection, "world_sessions", columns, _session_rows(world))
    if host.has("rai_sessions"):
        connection.execute(query("world_put_sessions"))
    connection.execute(query("world_analyze_stage"))


def _write_exposures(connection: psycopg.Connection, world: World, host: Host, on_progress: Progress) -> None:
    """Spread the exposures over impressions, seen marks, events, votes and favourites, a block at a time."""
    steps = ["world_put_impressions", "world_put_seen", "world_put_events"]
    steps += ["world_put_votes"] if host.has("art_votes") else []
    steps += ["world_put_favourites"] if host.has("art_favorites") else []
    for start in range(0, len(world.exposures), BLOCK):
        columns = _exposure_columns(world, slice(start, start + BLOCK))
        with connection.cursor() as cursor, cursor.copy(query("world_copy_exposures")) as copy:
            copy.write(_binary(columns))
        for step in steps:
            connection.execute(query(step))
        connection.execute(query("world_next_block"))
        on_progress(min(start + BLOCK, len(world.exposures)), len(world.exposures))


def _artwork_rows(world: World) -> Iterable[tuple[Any, ...]]:
    """Rows for ARTWORK_COLUMNS, after the row number."""
    works = world.artworks
    for row, artwork_id in enumerate(works.ids):
        library, creator = bool(works.is_library[row]), works.creator_rows[row]
        tags = [STYLES[style] for style in (works.style_rows[row], works.second_style_rows[row]) if style >= 0]
        yield (
            row,
            artwork_id,
            "catalogue-seed" if library else f"job_{artwork_id[:8]}",
            "system" if library else world.users.ids[creator] if creator >= 0 else None,
            f"/artworks/{artwork_id}.png",
            works.prompts[row],
            works.dna[row],
            [tags[0], GENRES[works.genre_rows[row]], MOODS[works.mood_rows[row]]] if library else [],
            float(works.quality[row]),
            works.statuses[row],
            tags,
            [works.artist_names[works.artist_rows[row]]],
            library,
            works.orientations[row],
            _moment(works.created_at[row]),
        )


def _user_rows(world: World) -> Iterable[tuple[Any, ...]]:
    """Rows for USER_COLUMNS, after the row number."""
    people = world.users
    for row, user_id in enumerate(people.ids):
        joined_at = _moment(people.joined_at[row])
        yield (
            row,
            user_id,
            f"{user_id}@example.org",
            people.tiers[row],
            people.orientations[row],
            people.style_preferences[row],
            joined_at,
            joined_at,
        )


def _session_rows(world: World) -> Iterable[tuple[Any, ...]]:
    """Rows of world_sessions."""
    visits = world.sessions
    for row, session_id in enumerate(visits.ids):
        started_at, ended_at = _moment(visits.started_at[row]), _moment(visits.ended_at[row])
        yield row, session_id, int(visits.user_rows[row]), started_at, ended_at, bool(visits.by_host_client[row])


def _exposure_columns(world: World, block: slice) -> dict[str, NDArray[Any]]:
    """One block of world_exposures as columns in PostgreSQL's own types."""
    shown = world.exposures
    return {
        "user_row": shown.user_rows[block].astype(np.int32),
        "artwork_row": shown.artwork_rows[block].astype(np.int32),
        "session_row": shown.session_rows[block].astype(np.int32),
        "shown_at": shown.shown_at[block] - _YEAR_2000,
        "dwell": shown.dwell[block],
        "vote": shown.vote[block].astype(np.int16),
        "favourite": shown.favourite[block],
        "skip": shown.skip[block],
    }


def _binary(columns: dict[str, NDArray[Any]]) -> bytes:
    """Columns without nulls as a binary COPY: per row the field count, then each field's size and big-endian bytes."""
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, column in columns.items():
        fields += [(f"{name}.size", ">i4"), (name, column.dtype.newbyteorder(">").str)]
    rows = np.empty(len(next(iter(columns.values()))), dtype=fields)
    rows["fields"] = len(columns)
    for name, column in columns.items():
        rows[f"{name}.size"], rows[name] = column.itemsize, column
    return _BINARY_HEADER + rows.tobytes() + _BINARY_END


def _copy(
    connection: psycopg.Connection, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Copy rows into a temporary table."""
    statement = query("world_copy", table=table, columns=", ".join(columns))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _shared(host: Host, table: str, columns: tuple[str, ...]) -> str:
    """Those of our columns that this host has."""
    return ", ".join(name for name in columns if name in host.columns[table])


def _moment(microseconds: int) -> datetime:
    """A time as PostgreSQL's adapters take it."""
    return _EPOCH + timedelta(microseconds=int(microseconds))
