"""The write path: displays and signals, recorded once each however often they are sent.

Nothing is acknowledged before it is durable. What the host's tables do not hold is kept on our side all the same,
since it matters for never repeating, and counted.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from features.database import query, transaction
from features.host import Host
from features.identifiers import named_id
from features.settings import Settings
from serving import telemetry

#: A held artwork is taken out for its session when later ones were shown this often before it (a broken image).
MOST_PASSES = 3


@dataclass(frozen=True)
class Event:
    """One display or signal as a client sent it."""

    event_id: str
    user_id: str
    artwork_id: str
    kind: str
    session_id: str | None = None
    lease_id: uuid.UUID | None = None
    value: float | None = None
    at: datetime | None = None
    fenced: bool = False  # a claim: counts only while its session holds the artwork and nobody has shown it

    @property
    def key(self) -> uuid.UUID:
        """The event's identity: scoped to the user, so that two users' clients may count alike."""
        return named_id(self.user_id, self.event_id)


@dataclass(frozen=True)
class Recorded:
    """What a batch came to; every list in the order sent, without repetition."""

    new: list[str]  # event ids logged now
    known: list[str]  # event ids logged before
    first_seen: list[str]  # artwork ids that a user is now marked to have seen
    unknown_artworks: list[str]  # artwork ids that the host does not hold
    unknown_users: list[str]


def displays(user_id: str, session_id: str | None, artwork_ids: Sequence[str]) -> list[Event]:
    """Events for a plain list of displayed artworks; the same display sent twice is the same event."""
    return [
        Event(f"displayed:{session_id or ''}:{artwork_id}", user_id, artwork_id, "displayed", session_id)
        for artwork_id in dict.fromkeys(artwork_ids)
    ]


class Impressions:
    """Records events from one worker."""

    def __init__(self, pool: AsyncConnectionPool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._record = query("record_events", active=host.active("a"))

    async def record(self, events: Sequence[Event]) -> Recorded:
        """Log the events, mark what was seen and end the leases, in one transaction."""
        if not events:
            return Recorded([], [], [], [], [])
        rows, users, known_users = await self._write_all(events)
        recorded = _sort_out(events, rows, users, known_users)
        _count(events, rows, recorded)
        return recorded

    async def claim(self, events: Sequence[Event]) -> list[bool]:
        """Record fenced displays; per event whether it was granted, now or (the same claim again) before."""
        rows, _, _ = await self._write_all(events)
        for row in rows:
            telemetry.CLAIMS.labels(_outcome(row)).inc()
        return [row["logged"] or row["repeated"] for row in rows]

    async def _write_all(self, events: Sequence[Event]) -> tuple[list[dict[str, Any]], list[str], list[str]]:
        """The statement's rows, the users named and those of them that the host holds; committed."""
        users = list(dict.fromkeys(event.user_id for event in events))
        async with transaction(self._pool, users) as connection:
            rows, known_users = await self._write(connection, events, users)
        return rows, users, known_users

    async def _write(
        self, connection: psycopg.AsyncConnection, events: Sequence[Event], users: list[str]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Keys, log and marks."""
        columns = {
            "event_keys": [event.key for event in events],
            "user_ids": [event.user_id for event in events],
            "artwork_ids": [event.artwork_id for event in events],
            "kinds": [event.kind for event in events],
            "session_ids": [event.session_id for event in events],
            "lease_ids": [event.lease_id for event in events],
            "values": [_single(event.value) for event in events],
            "ats": [event.at for event in events],
            "fenced": [event.fenced for event in events],
            "most_passes": MOST_PASSES,
            "stretch_seconds": self._settings.lease_stretch * self._settings.seconds_per_artwork,
            "grace_seconds": self._settings.lease_grace_seconds,
        }
        async with connection.cursor(row_factory=dict_row) as cursor:
            await connection.execute(query("register_named_artworks"), {"artwork_ids": columns["artwork_ids"]})
            known = await connection.execute(query("known_users"), {"user_ids": users})
            await cursor.execute(self._record, columns)
            found = await known.fetchone()
            return await cursor.fetchall(), list(found[0] or []) if found else []


def _single(value: float | None) -> float | None:
    """The value in single precision, as its column has it; what is too small for that becomes zero."""
    return None if value is None else float(np.float32(value))


def _outcome(row: dict[str, Any]) -> str:
    """How a claim ended: granted, repeated (the same answer again) or lost."""
    if row["logged"]:
        return "granted"
    return "repeated" if row["repeated"] else "lost"


def _sort_out(
    events: Sequence[Event], rows: list[dict[str, Any]], users: list[str], known_users: list[str]
) -> Recorded:
    """The statement's rows (one per event, in order) as the answer."""
    new: dict[str, None] = {}
    known: dict[str, None] = {}
    for event, row in zip(events, rows, strict=True):
        logged_here = row["logged"] and event.event_id not in new
        (new if logged_here else known).setdefault(event.event_id, None)
    return Recorded(
        new=list(new),
        known=[event_id for event_id in known if event_id not in new],
        first_seen=list(dict.fromkeys(row["artwork_id"] for row in rows if row["marked"])),
        unknown_artworks=list(dict.fromkeys(row["artwork_id"] for row in rows if not row["artwork_known"])),
        unknown_users=[user_id for user_id in users if user_id not in set(known_users)],
    )


def _count(events: Sequence[Event], rows: list[dict[str, Any]], recorded: Recorded) -> None:
    """Metrics of one batch."""
    for event, row in zip(events, rows, strict=True):
        telemetry.EVENTS.labels(event.kind, "new" if row["logged"] else "known").inc()
    telemetry.UNKNOWN.labels("artwork").inc(len(recorded.unknown_artworks))
    telemetry.UNKNOWN.labels("user").inc(len(recorded.unknown_users))
