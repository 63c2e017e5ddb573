"""What people did, as one weighted frame: displays, dwell, votes, favourites and skips of everybody, for training.

The formula of the weights is features.weights. No models and no HTTP here, and nothing that serving imports: polars
comes with the training extra.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import psycopg
from numpy.typing import NDArray

from features.arrays import Floats
from features.database import query
from features.event_frames import (
    Numbered,
    begins,
    in_order,
    join_events,
    number_events,
    runs,
    unpack_events,
    without,
)
from features.weights import KIND_CODES, KINDS, weigh


@dataclass(frozen=True)
class Events:
    """What was read: one row per display or signal, and how many votes could not be told whose or of what."""

    frame: pl.DataFrame  # user_id, artwork_id, kind (Enum of KINDS), value (Float32 or null), at (UTC, microseconds)
    votes_left_out: int = 0


def read_signals(connection: psycopg.Connection, half_life_days: float, until: datetime | None = None) -> pl.DataFrame:
    """Read everything and return it as weights: see `read_events` and `sum_signals`."""
    return sum_signals(read_events(connection).frame, half_life_days, until)


def read_events(connection: psycopg.Connection) -> Events:
    """Read displays, dwell, votes, favourites and skips, sorted, so that equal data give an equal frame.

    Whatever was seen counts as one display. A vote of the host's is joined by its exact prompt and by its session;
    where either leads to none or to several it is left out and counted. A person's last vote on an artwork counts.
    Tables of the host that are absent count as empty.
    """
    return join(read_own(connection), *read_host(connection))


def read_own(connection: psycopg.Connection) -> Numbered:
    """What our own schema knows."""
    with connection.transaction():
        connection.execute(query("learn_memory"))
        packed = [row for name in ("learn_seen", "learn_events") for row in _fetch(connection, query(name))]
        return unpack_events(packed, dict(_fetch(connection, query("learn_keys"))))


def read_host(connection: psycopg.Connection) -> tuple[Numbered, int]:
    """What the host's tables know, displays that we know too left out, and the number of votes that were left out."""
    texts = []
    with connection.transaction():
        connection.execute(query("learn_memory"))
        if _has_table(connection, "public.user_art_impressions"):
            texts.append(_copy_events(connection, query("learn_impressions")))
        if _has_table(connection, "public.art_favorites"):
            texts.append(_copy_events(connection, query("learn_favourites")))
        votes, left_out = _read_votes(connection)
    return number_events(pl.concat([*texts, votes])), left_out


def join(own: Numbered, hosts: Numbered, votes_left_out: int) -> Events:
    """All of it, as `read_events` has it; a favourite that both know is ours."""
    return Events(join_events([own, without(hosts, "favourite", own)]), votes_left_out)


def sum_signals(events: pl.DataFrame, half_life_days: float, until: datetime | None = None) -> pl.DataFrame:
    """Weigh the events before ``until`` (default: all) and sum them per user and artwork.

    Returns user_id, artwork_id, weight, taste, at, sorted by the first two. ``taste`` is the weight without the
    displays, null for what was only displayed; ``at`` is the first sighting. Ages count from ``until`` or from the
    newest event, never from the clock, so that equal data give equal weights. Where nothing at all tells of taste,
    the displays' equal (small, ageing) weights are all there is; the models normalise their scale away.
    """
    known = in_order(events if until is None else events.filter(pl.col("at") < until))
    first = known.select(begins("user_id", "artwork_id").arg_true()).to_series().to_numpy()
    weights, at = _weights(known, half_life_days, until), known["at"].to_physical().to_numpy()
    tells = (known["kind"] != "displayed").to_numpy()
    pairs = known[first].select(
        "user_id",
        "artwork_id",
        weight=pl.Series(np.add.reduceat(weights, first), dtype=pl.Float32),
        taste=pl.Series(np.add.reduceat(weights * tells, first), dtype=pl.Float32),
        at=pl.Series(np.minimum.reduceat(at, first)).cast(pl.Datetime("us", "UTC")),
    )
    told = pl.Series(np.logical_or.reduceat(tells, first))
    return pairs.with_columns(taste=pl.when(told).then("taste"))


def _weights(events: pl.DataFrame, half_life_days: float, until: datetime | None) -> NDArray[np.float64]:
    """The weight of each event of a frame in order, shape (n,); float64, for it is rounded after summing."""
    kinds = events["kind"].to_physical().to_numpy().astype(np.int8)
    newest = events["at"].max() if until is None else until
    columns = events.select(
        value=pl.col("value").fill_null(float("nan")),
        age=(pl.lit(newest, pl.Datetime("us", "UTC")) - pl.col("at")).dt.total_microseconds() / 86_400e6,
        user=runs("user_id").cast(pl.Int64),
    )
    value, age = (columns[name].cast(pl.Float32).to_numpy() for name in ("value", "age"))
    typical = _typical_dwell(columns["user"].to_numpy(), kinds, value)
    return weigh(kinds, value, age, typical, half_life_days).astype(np.float64)


def _typical_dwell(users: NDArray[np.int64], kinds: NDArray[np.int8], values: Floats) -> Floats:
    """The median dwell of each event's user in seconds, 1 for one who has none; users are numbers from 0, in order."""
    dwell = (kinds == KIND_CODES["dwell"]) & (values > 0)
    whose = users[dwell]
    # Positive numbers are in the order of their bits, so that one sort of whole numbers orders them user by user.
    ordered = np.sort(whose << 32 | values[dwell].view(np.int32))
    seconds = ordered.astype(np.int32).view(np.float32)
    ends = np.cumsum(np.bincount(whose, minlength=int(users.max(initial=-1)) + 1))
    counts = np.diff(ends, prepend=0)
    told = counts > 0
    upper = (ends - counts + counts // 2)[told]
    lower = (ends - counts + (counts - 1) // 2)[told]
    typical = np.ones(len(counts), np.float32)
    typical[told] = (seconds[lower] + seconds[upper]) / 2
    return typical[users]


def _read_votes(connection: psycopg.Connection) -> tuple[pl.DataFrame, int]:
    """The host's votes, each person's last one per artwork, and how many were left out."""
    if not _has_table(connection, "public.art_votes"):
        return _frame(b""), 0
    sessions = query("learn_sessions")
    if _has_table(connection, "public.rai_sessions"):
        sessions += " UNION ALL " + query("learn_host_sessions")
    votes = _copy_events(connection, query("learn_votes", sessions=sessions))
    told = votes.drop_nulls(["user_id", "artwork_id"])
    last = told.sort("at", "kind").unique(["user_id", "artwork_id"], keep="last", maintain_order=True)
    return last, votes.height - told.height


def _fetch(connection: psycopg.Connection, select: str) -> list[tuple[Any, ...]]:
    """All rows of a query, bytes as they are."""
    return connection.execute(select, binary=True).fetchall()


def _copy_events(connection: psycopg.Connection, select: str) -> pl.DataFrame:
    """Read one query's rows by COPY, which is several times faster than fetching them."""
    with connection.cursor() as cursor, cursor.copy(f"COPY ({select}) TO STDOUT (FORMAT csv)".encode()) as copy:
        return _frame(b"".join(copy))


def _frame(rows: bytes) -> pl.DataFrame:
    """Parse CSV rows without a header."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "user_id": pl.String,
        "artwork_id": pl.String,
        "kind": pl.Enum(KINDS),
        "value": pl.Float32,
        "at": pl.Int64,
    }
    read = pl.read_csv(io.BytesIO(rows), has_header=False, schema=schema, raise_if_empty=False)
    return read.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))


def _has_table(connection: psycopg.Connection, table: str) -> bool:
    """Whether the host has this table."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(row and row[0])
