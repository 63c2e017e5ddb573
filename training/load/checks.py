"""What the database says after a run, beside what the service had acknowledged: nothing lost, nothing shown twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import psycopg

from features.database import query
from training.load.crowd import Run
from training.load.tab import Tab

PEOPLE = 500  # that are compared at once


@dataclass(frozen=True)
class Account:
    """Acknowledged beside stored, over all people of a run."""

    displays: int  # acknowledged
    signals: int
    lost: int  # acknowledged displays that the log, the seen marks or the host's impressions lack
    lost_signals: int
    repeated: int  # displays beyond the first of an artwork to a person, as the tabs or as the log have them


@dataclass(frozen=True)
class Size:
    """How large the database is, and how much it has written so far."""

    stored: int  # bytes
    written: int  # bytes of WAL


def add_people(connection: psycopg.Connection, people: str, count: int) -> None:
    """Make the host know the people that a run brings."""
    connection.execute(query("load_add_people"), {"user_ids": [f"{people}-{place}" for place in range(count)]})


def settle(connection: psycopg.Connection, run: Run) -> Account:
    """Compare what each tab was told with what is stored of its person."""
    lost = lost_signals = repeated = 0
    for tabs in _parts(run.tabs):
        stored = _stored(connection, tabs)
        for tab in tabs:
            displayed, seen, impressions, signals = stored.get(tab.user_id, ([], [], [], 0))
            kept = set(displayed) & set(seen) & set(impressions)
            lost += sum(run.names[number] not in kept for number in tab.shown)
            lost_signals += max(tab.signals - signals, 0)
            repeated += max(tab.repeated, len(displayed) - len(set(displayed)))
    return Account(
        displays=sum(len(tab.shown) for tab in run.tabs),
        signals=sum(tab.signals for tab in run.tabs),
        lost=lost,
        lost_signals=lost_signals,
        repeated=repeated,
    )


def measure(connection: psycopg.Connection) -> Size:
    """The database's size now."""
    row = connection.execute(query("load_size")).fetchone()
    return Size(*row) if row else Size(0, 0)


def _stored(
    connection: psycopg.Connection, tabs: Sequence[Tab]
) -> dict[str, tuple[list[str], list[str], list[str], int]]:
    """Per person: artworks in the display log, one entry per display; marked as seen; in the host's table; signals.

    The signals are the tab's own; all else is whatever the person has seen.
    """
    names = {"user_ids": [tab.user_id for tab in tabs], "session_ids": [tab.first_id for tab in tabs]}
    rows = connection.execute(query("load_stored"), names).fetchall()
    return {user_id: (displayed, seen, impressions, signals) for user_id, displayed, seen, impressions, signals in rows}


def _parts(tabs: Sequence[Tab]) -> Iterator[list[Tab]]:
    """The tabs, some at a time."""
    given = iter(tabs)
    while part := list(islice(given, PEOPLE)):
        yield part
