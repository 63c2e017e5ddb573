"""Reads what became of an experiment's users: who was exposed when, what they did before and after, what they got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.database import query
from features.errors import UnknownExperimentError
from features.host import introspect
from serving.experiments.definitions import CLIENT
from serving.experiments.metrics import Ratio
from serving.experiments.registry import Entry, entry_of
from serving.experiments.trial import LACKING
from training.experiments.estimates import Values
from training.experiments.judging import Arms, Units

PARTS = ("displays", "likes", "skips", "dwell")
SERVED = ("lists", "asked", "returned", "stockouts", "errors", "timed", "slow")
SHOWN = ("fresh", "dollars")
PAST_DAYS = 28  # before a user's first exposure: what CUPED goes by
WINDOWS_DAYS = (1, 7)  # after it: what a sequence counts of each user, once it is over; harm at once, and harm in time
SPAN_ENDS = (1, 3, 6, 12, 24, 48)  # days after it: what is novel wears off fast at first
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
    lacking: dict[str, int]  # lists and their users that had to do without an arm's model, left out of every arm
    after: Sums
    before: Sums
    windows: dict[int, Sums]  # of the first days after the exposure
    spans: list[Sums]  # of the days up to each of SPAN_ENDS, from the one before
    tenths: Sums  # displays and likes, (10, n), by the tenth of the pool that the user had seen
    p95_ms: dict[int, float]  # of an arm's lists, by the arm's place; where any was timed
    teams: list[dict[str, Any]]  # user_id, team, offered, likes

    def units(self, ratio: Ratio) -> Units:
        """The users with one metric's two parts."""
        after, before = ([_column(sums, name) for name in ratio] for sums in (self.after, self.before))
        return Units(self.arms, after[0], after[1], before[0], before[1])

    def followed(self, days: int) -> NDArray[np.bool_]:
        """Whose first so many days are over."""
        return np.array([first + timedelta(days=days) <= self.until for first in self.firsts], dtype=bool)

    def in_windows(self, ratio: Ratio, days: int) -> Units:
        """The users whose window is over, with the two parts of a guardrail within it."""
        nothing = np.zeros(len(self.arms))
        numerator, denominator = (_column(self.windows[days], name) for name in ratio)
        return Units(self.arms, numerator, denominator, nothing, nothing).take(self.followed(days))

    def days(self) -> Values:
        """When each user came, in days since the start."""
        started = self.entry.started_at or self.until
        return np.array([(first - started).total_seconds() / 86_400 for first in self.firsts])


def read_exposed(connection: psycopg.Connection, name: str, version: int | None = None) -> Exposed:
    """One version's users; the newest that ran, where none is named. Raises UnknownExperimentError."""
    entry = read_entry(connection, name, version)
    until = _until(entry)
    marks = {"version": entry.definition.version}
    asked: dict[str, Any] = {"name": name, "until": until, "marked": Jsonb({name: marks})}
    asked["lacking"] = Jsonb({name: marks | {"fallback": LACKING}})
    by_client = entry.definition.knobs <= CLIENT  # nothing that is served differs: the clients say who was exposed
    rows = _rows(connection, "experiment_client_units" if by_client else "experiment_units", asked)
    places = {arm.name: place for place, arm in enumerate(entry.definition.arms)}
    counted = [row for row in rows if not row["overridden"]]
    arms = np.array([places.get(row["arm"], 0) for row in counted], dtype=np.int64)
    users = {"user_ids": [row["user_id"] for row in counted], "firsts": [row["first"] for row in counted]}
    reader = _Reader(connection, asked | users | {"arms": arms.tolist()})
    p95_ms = {row["arm"]: float(row["p95_ms"]) for row in reader.rows("experiment_times")}
    return Exposed(
        entry=entry,
        until=until,
        user_ids=users["user_ids"],
        firsts=users["firsts"],
        arms=arms,
        overridden=len(rows) - len(counted),
        lacking=reader.rows("experiment_lacking")[0],
        after=reader.sums("experiment_after", PARTS, days=FOREVER),
        before=reader.sums("experiment_before", PARTS, days=PAST_DAYS),
        windows={days: _window(reader, days, p95_ms.get(0)) for days in WINDOWS_DAYS},
        spans=reader.parted("experiment_spans", PARTS, "span", len(SPAN_ENDS), edges=list(SPAN_ENDS)),
        tenths=_stacked(
            reader.parted("experiment_tenths", ("displays", "likes"), "tenth", 10, pool=_pool_size(connection))
        ),
        p95_ms=p95_ms,
        teams=reader.rows("experiment_teams"),
    )


def latest_experiment(connection: psycopg.Connection) -> str:
    """The name of the experiment that was started last. Raises UnknownExperimentError where none was."""
    rows = _rows(connection, "latest_experiment", {})
    if not rows:
        raise UnknownExperimentError(name="that was ever started")
    return str(rows[0]["name"])


@dataclass(frozen=True)
class _Reader:
    """Asks about the same users again and again."""

    connection: psycopg.Connection
    asked: dict[str, Any]

    def rows(self, name: str, **more: Any) -> list[dict[str, Any]]:
        """What a named query returns."""
        fragments = {"parts": query("metric_parts"), "with_models": query("with_models")}
        return _rows(self.connection, name, self.asked | more, **fragments)

    def sums(self, name: str, columns: Sequence[str], **more: Any) -> Sums:
        """Rows by user as arrays in the order of the users; 0 for who has no row."""
        return self._arrays(self.rows(name, **more), columns)

    def parted(self, name: str, columns: Sequence[str], by: str, parts: int, **more: Any) -> list[Sums]:
        """The same in so many parts, by the number in a further column; what is past the last part is left out."""
        rows = self.rows(name, **more)
        return [self._arrays([row for row in rows if row[by] == part], columns) for part in range(parts)]

    def _arrays(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Sums:
        found = {row["user_id"]: row for row in rows}
        nothing = dict.fromkeys(columns, 0)
        user_ids = self.asked["user_ids"]
        return {name: np.array([float(found.get(each, nothing)[name]) for each in user_ids]) for name in columns}


def _window(reader: _Reader, days: int, slow_ms: float | None) -> Sums:
    """Everything that guardrails count of the first days; a list is slow where it took longer than ``slow_ms``."""
    return (
        reader.sums("experiment_after", PARTS, days=days)
        | reader.sums("experiment_lists", SERVED, days=days, slow_ms=slow_ms)
        | reader.sums("experiment_displays", SHOWN, days=days)
    )


def _stacked(parts: Sequence[Sums]) -> Sums:
    """One array of shape (parts, n) for each name."""
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


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


def _column(sums: Sums, name: str) -> Values:
    """A part of a metric; "1" is one for each user."""
    return np.ones(len(next(iter(sums.values())))) if name == "1" else sums[name]
