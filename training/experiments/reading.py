"""Reads what became of an experiment's users: who was exposed when, what they did before and after, what they got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.database import query
from features.errors import UnknownExperimentError
from features.host import introspect
from serving.experiments.definitions import CLIENT
from serving.experiments.metrics import Ratio
from serving.experiments.registry import Entry, entry_of
from training.experiments.estimates import Values
from training.experiments.judging import Arms, Units

PARTS = ("displays", "likes", "skips", "dwell")
SERVED = ("lists", "asked", "returned", "stockouts")
PAST_DAYS = 28  # before a user's first exposure: what CUPED goes by
WINDOW_DAYS = 7  # after it: what a sequence counts of each user, once it is over
FOREVER = 36_500  # days

Sums = dict[str, Values]


@dataclass(frozen=True)
class Exposed:
    """The users of one version in order of their first exposure, overridden ones left out; arrays of shape (n,)."""

    entry: Entry
    until: datetime  # what came later does not count
    user_ids: list[str]
    firsts: list[datetime]
    arms: Arms  # places in the definition's arms; 0 for all where the lists are interleaved
    overridden: int
    after: Sums
    before: Sums
    window: Sums  # of the first days after the exposure
    tenths: list[dict[str, Any]]  # user_id, tenth, displays, likes
    teams: list[dict[str, Any]]  # user_id, team, offered, likes

    def units(self, ratio: Ratio) -> Units:
        """The users with one metric's two parts."""
        after, before = ([_column(sums, name) for name in ratio] for sums in (self.after, self.before))
        return Units(self.arms, after[0], after[1], before[0], before[1])

    def in_windows(self, numerator: str, denominator: str) -> Units:
        """The users whose window is over, with the two parts of a guardrail within it."""
        over = np.array([first + timedelta(days=WINDOW_DAYS) <= self.until for first in self.firsts], dtype=bool)
        nothing = np.zeros(len(self.arms))
        parts = _column(self.window, numerator), _column(self.window, denominator)
        return Units(self.arms, parts[0], parts[1], nothing, nothing).take(over)


def read_exposed(connection: psycopg.Connection, name: str, version: int | None = None) -> Exposed:
    """One version's users; the newest that ran, where none is named. Raises UnknownExperimentError."""
    entry = read_entry(connection, name, version)
    until = _until(entry)
    asked = {"name": name, "marked": Jsonb({name: {"version": entry.definition.version}}), "until": until}
    by_client = entry.definition.knobs <= CLIENT  # nothing that is served differs: the clients say who was exposed
    rows = _rows(connection, "experiment_client_units" if by_client else "experiment_units", asked)
    places = {arm.name: place for place, arm in enumerate(entry.definition.arms)}
    counted = [row for row in rows if not row["overridden"]]
    users = {"user_ids": [row["user_id"] for row in counted], "firsts": [row["first"] for row in counted]}
    around = users | {"until": until}
    parts = {"parts": query("metric_parts")}
    window, after = around | {"days": WINDOW_DAYS}, around | {"days": FOREVER}

    def sums(name: str, values: dict[str, Any], columns: Sequence[str], **identifiers: str) -> Sums:
        return _sums(users["user_ids"], _rows(connection, name, values, **identifiers), columns)

    return Exposed(
        entry=entry,
        until=until,
        user_ids=users["user_ids"],
        firsts=users["firsts"],
        arms=np.array([places.get(row["arm"], 0) for row in counted], dtype=np.int64),
        overridden=len(rows) - len(counted),
        after=sums("experiment_after", after, PARTS, **parts),
        before=sums("experiment_before", around | {"days": PAST_DAYS}, PARTS, **parts),
        window=sums("experiment_after", window, PARTS, **parts) | sums("experiment_lists", window, SERVED),
        tenths=_rows(connection, "experiment_tenths", around | {"pool": _pool_size(connection)}),
        teams=_rows(connection, "experiment_teams", asked),
    )


def read_entry(connection: psycopg.Connection, name: str, version: int | None = None) -> Entry:
    """How a version stands; the newest that ran, where none is named. Raises UnknownExperimentError."""
    entries = [entry_of(row) for row in _rows(connection, "experiment", {"name": name})]
    wanted = [entry for entry in entries if version in {None, entry.definition.version}]
    ran = [entry for entry in wanted if entry.started_at is not None]
    if not wanted:
        raise UnknownExperimentError(name=name if version is None else f"{name} version {version}")
    return (ran or wanted)[0]


def _until(entry: Entry) -> datetime:
    """The horizon, or the stop, or now: whatever was first."""
    ends = [datetime.now(UTC)]
    if entry.stopped_at is not None:
        ends.append(entry.stopped_at)
    if entry.started_at is not None and entry.horizon_days is not None:
        ends.append(entry.started_at + timedelta(days=entry.horizon_days))
    return min(ends)


def _pool_size(connection: psycopg.Connection) -> int:
    """The active artworks."""
    host = introspect(connection.execute(query("host_columns")).fetchall())
    row = connection.execute(query("pool_counts", active=host.servable("a"))).fetchone()
    return int(row[1]) if row else 0


def _rows(
    connection: psycopg.Connection, name: str, values: dict[str, Any], **identifiers: str
) -> list[dict[str, Any]]:
    """What a named query returns."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query(name, **identifiers), values).fetchall()


def _sums(user_ids: Sequence[str], rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Sums:
    """Rows by user as arrays in the order of ``user_ids``; 0 for who has no row."""
    found = {row["user_id"]: row for row in rows}
    nothing = dict.fromkeys(columns, 0)
    return {name: np.array([float(found.get(user_id, nothing)[name]) for user_id in user_ids]) for name in columns}


def _column(sums: Sums, name: str) -> Values:
    """A part of a metric; "1" is one for each user."""
    return np.ones(len(next(iter(sums.values())))) if name == "1" else sums[name]
