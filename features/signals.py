"""What people did, as weights: one formula for training (a polars frame) and for serving (a few rows).

An impression is exposure, not taste: the host chose what was shown (newest first), so a matrix of impressions
learns that policy. A display therefore weighs little, and dwell, likes, favourites, dislikes and skips carry the
taste. Where a data set holds nothing but displays they are all there is, and the same small weights, equal for
all, amount to the usual binary matrix.

No models and no HTTP here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.database import query

if TYPE_CHECKING:  # polars comes with the training extra; serving runs without it
    import polars as pl
    import psycopg

KINDS = ("displayed", "dwell", "like", "dislike", "skip", "favourite")
KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_DWELL = KIND_CODES["dwell"]
_LIKE = KIND_CODES["like"]

#: Weight of one event of each kind, in units of one like; dwell's is per doubling of the user's typical dwell.
KIND_WEIGHTS = np.array([0.05, 0.5, 1.0, -1.0, -0.5, 2.0], dtype=np.float32)
DWELL_RANGE = (-0.5, 1.0)

Floats = NDArray[np.float32]


def weigh(
    kinds: NDArray[np.int8], values: Floats, ages_days: Floats, typical_dwell: Floats | float, half_life_days: float
) -> Floats:
    """Return the weight of each event, shape (n,), in units of one fresh like.

    ``values``: seconds for dwell, strength (1 = a plain like) for like, else unused; NaN where absent.
    ``typical_dwell``: the user's median dwell in seconds, a scalar or shape (n,): people differ in pace, so only
    the ratio to their own median speaks (log-normal dwell: Yin et al., "Silence is also evidence", KDD 2013).
    A like's strength counts by log2(1 + strength), after Hu, Koren & Volinsky (ICDM 2008), section 3.
    """
    weights = KIND_WEIGHTS[kinds].copy()
    dwell = kinds == _DWELL
    with np.errstate(divide="ignore", invalid="ignore"):
        doublings = np.log2(values / typical_dwell)
    weights[dwell] = np.clip(np.nan_to_num(KIND_WEIGHTS[_DWELL] * doublings, nan=0.0), *DWELL_RANGE)[dwell]
    strong = (kinds == _LIKE) & (values > 0)
    weights[strong] = np.log2(1.0 + values[strong])
    return np.asarray(weights * np.exp2(-np.maximum(ages_days, 0.0) / half_life_days), dtype=np.float32)


def typical_dwell(kinds: NDArray[np.int8], values: Floats) -> float:
    """The median dwell in seconds among one user's events; 1.0 when there is none."""
    seconds = values[(kinds == _DWELL) & (values > 0)]
    return float(np.median(seconds)) if len(seconds) else 1.0


def combine(artwork_rows: NDArray[np.int32], weights: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Sum one user's weights per artwork: distinct rows (m,) and their weights (m,)."""
    rows, inverse = np.unique(artwork_rows, return_inverse=True)
    return rows.astype(np.int32), np.bincount(inverse, weights=weights, minlength=len(rows)).astype(np.float32)


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
    import polars as pl  # noqa: PLC0415 - only training has it

    parts = [_copy_events(connection, query("learn_seen")), _copy_events(connection, query("learn_events"))]
    if _has_table(connection, "public.user_art_impressions"):
        parts.append(_copy_events(connection, query("learn_impressions")))
    if _has_table(connection, "public.art_favorites"):
        parts.append(_copy_events(connection, query("learn_favourites")))
    votes, left_out = _read_votes(connection)
    return Events(pl.concat([*parts, votes]).sort("user_id", "artwork_id", "at", "kind", "value"), left_out)


def sum_signals(events: pl.DataFrame, half_life_days: float, until: datetime | None = None) -> pl.DataFrame:
    """Weigh the events before ``until`` (default: all) and sum them per user and artwork.

    Returns user_id, artwork_id, weight, taste, at, sorted by the first two. ``taste`` is the weight without the
    displays, null for what was only displayed; ``at`` is the first sighting. Ages count from ``until`` or from the
    newest event, never from the clock, so that equal data give equal weights. Where nothing at all tells of taste,
    the displays' equal (small, ageing) weights are all there is; the models normalise their scale away.
    """
    import polars as pl  # noqa: PLC0415 - only training has it

    known = events if until is None else events.filter(pl.col("at") < until)
    tells = pl.col("kind") != "displayed"
    weighed = known.with_columns(weight=_weights(known, half_life_days, until))
    pairs = weighed.group_by("user_id", "artwork_id").agg(
        pl.col("weight").sum(),
        pl.when(tells.any()).then(pl.col("weight").filter(tells).sum()).alias("taste"),
        pl.col("at").min(),
    )
    return pairs.with_columns(pl.col("weight", "taste").cast(pl.Float32)).sort("user_id", "artwork_id")


def _weights(events: pl.DataFrame, half_life_days: float, until: datetime | None) -> pl.Series:
    """The weight of each event, shape (n,); Float64, for it is rounded after summing."""
    import polars as pl  # noqa: PLC0415 - only training has it

    kinds = events["kind"].to_physical().to_numpy().astype(np.int8)
    dwell = pl.when((pl.col("kind") == "dwell") & (pl.col("value") > 0)).then(pl.col("value"))
    newest = events["at"].max() if until is None else until
    columns = events.select(
        value=pl.col("value").fill_null(float("nan")),
        typical=dwell.median().over("user_id").fill_null(1.0),
        age=(pl.lit(newest, pl.Datetime("us", "UTC")) - pl.col("at")).dt.total_microseconds() / 86_400e6,
    )
    value, typical, age = (columns[name].cast(pl.Float32).to_numpy() for name in ("value", "typical", "age"))
    return pl.Series(weigh(kinds, value, age, typical, half_life_days)).cast(pl.Float64)


def _read_votes(connection: psycopg.Connection) -> tuple[pl.DataFrame, int]:
    """The host's votes, each person's last one per artwork, and how many were left out."""
    if not _has_table(connection, "public.art_votes"):
        return _frame(b""), 0
    sessions = query("learn_sessions")
    if _has_table(connection, "public.rai_sessions"):
        sessions += " UNION " + query("learn_host_sessions")
    votes = _copy_events(connection, query("learn_votes", sessions=sessions))
    told = votes.drop_nulls(["user_id", "artwork_id"])
    last = told.sort("at", "kind").unique(["user_id", "artwork_id"], keep="last", maintain_order=True)
    return last, votes.height - told.height


def _copy_events(connection: psycopg.Connection, select: str) -> pl.DataFrame:
    """Read one query's rows by COPY, which is several times faster than fetching them."""
    with connection.cursor() as cursor, cursor.copy(f"COPY ({select}) TO STDOUT (FORMAT csv)".encode()) as copy:
        return _frame(b"".join(copy))


def _frame(rows: bytes) -> pl.DataFrame:
    """Parse CSV rows without a header."""
    import polars as pl  # noqa: PLC0415 - only training has it

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
