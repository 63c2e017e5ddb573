"""The write path: displays and signals, recorded once each however often they are sent.

Nothing is acknowledged before it is durable. What the host's tables do not hold is kept on our side all the same,
since it matters for never repeating, and counted.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from features.database import Pool, query, transaction
from features.host import Host
from features.identifiers import named_id
from features.settings import Settings
from serving import telemetry
from serving.group_commit import GroupCommit

#: A held artwork is taken out for its session when later ones were shown this often before it (a broken image).
MOST_PASSES = 3


class Event(msgspec.Struct, frozen=True):
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


class Fate:
    """What became of one event, as the statement says it: bits of a byte."""

    ARTWORK_KNOWN = 1  # the host holds the artwork
    USER_KNOWN = 2  # and the user
    REPEATED = 4  # logged before
    LOGGED = 8  # logged now
    MARKED = 16  # the artwork is marked as seen since now


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

    def __init__(self, pool: Pool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._record = query("record_events", active=host.active("a"))
        self._together: GroupCommit[Event, int] = GroupCommit(
            self._write, most=settings.write_group, room=settings.write_room, lanes=settings.write_lanes
        )

    async def record(self, events: Sequence[Event]) -> Recorded:
        """Log the events, mark what was seen and end the leases, in one transaction. Raises QueueFullError."""
        if not events:
            return Recorded([], [], [], [], [])
        fates = await self._together.write(_users(events), events)
        recorded = _sort_out(events, fates)
        _count(events, fates, recorded)
        return recorded

    async def claim(self, events: Sequence[Event]) -> list[bool]:
        """Record fenced displays; per event whether it was granted, now or (the same claim again) before."""
        fates = await self._together.write(_users(events), events)
        for fate in fates:
            telemetry.CLAIMS.labels(_outcome(fate)).inc()
        return [bool(fate & (Fate.LOGGED | Fate.REPEATED)) for fate in fates]

    async def _write(self, events: list[Event]) -> Sequence[int]:
        """Log, marks and leases in one statement; the fate of each event once it has been committed."""
        users = list(_users(events))
        async with transaction(self._pool, users) as connection:
            row = await (await connection.execute(self._record, self._values(events, users), binary=True)).fetchone()
        telemetry.GROUPS.observe(len(events))
        assert row is not None  # noqa: S101 - an aggregate is one row
        return bytes(row[0])

    def _values(self, events: Sequence[Event], users: list[str]) -> dict[str, Any]:
        """What the statement takes; events as one JSON array: psycopg is ten times slower at an array per field."""
        return {
            "events": msgspec.json.encode([_fields(event) for event in events]).decode(),
            "users": users,
            "most_passes": MOST_PASSES,
            "stretch_seconds": self._settings.lease_stretch * self._settings.seconds_per_artwork,
            "grace_seconds": self._settings.lease_grace_seconds,
        }


def _users(events: Sequence[Event]) -> frozenset[str]:
    """The users that the events are of."""
    return frozenset(event.user_id for event in events)


def _fields(event: Event) -> dict[str, Any]:
    """An event as the statement takes it."""
    return {
        "event_key": event.key,
        "user_id": event.user_id,
        "artwork_id": event.artwork_id,
        "kind": event.kind,
        "session_id": event.session_id,
        "lease_id": event.lease_id,
        "value": _single(event.value),
        "at": event.at,
        "fenced": event.fenced,
    }


def _single(value: float | None) -> float | None:
    """The value in single precision, as its column has it; what is too small for that becomes zero."""
    return None if value is None else float(np.float32(value))


def _outcome(fate: int) -> str:
    """How a claim ended: granted, repeated (the same answer again) or lost."""
    if fate & Fate.LOGGED:
        return "granted"
    return "repeated" if fate & Fate.REPEATED else "lost"


def _sort_out(events: Sequence[Event], fates: Sequence[int]) -> Recorded:
    """The fates (one per event, in order) as the answer."""
    new: dict[str, None] = {}
    known: dict[str, None] = {}
    for event, fate in zip(events, fates, strict=True):
        logged_here = fate & Fate.LOGGED and event.event_id not in new
        (new if logged_here else known).setdefault(event.event_id, None)

    def named(what: int, *, there: bool, of: str) -> list[str]:
        pairs = zip(events, fates, strict=True)
        return list(dict.fromkeys(getattr(event, of) for event, fate in pairs if bool(fate & what) is there))

    return Recorded(
        new=list(new),
        known=[event_id for event_id in known if event_id not in new],
        first_seen=named(Fate.MARKED, there=True, of="artwork_id"),
        unknown_artworks=named(Fate.ARTWORK_KNOWN, there=False, of="artwork_id"),
        unknown_users=named(Fate.USER_KNOWN, there=False, of="user_id"),
    )


def _count(events: Sequence[Event], fates: Sequence[int], recorded: Recorded) -> None:
    """Metrics of one caller's events."""
    outcomes = Counter(
        (event.kind, "new" if fate & Fate.LOGGED else "known") for event, fate in zip(events, fates, strict=True)
    )
    for labels, count in outcomes.items():
        telemetry.EVENTS.labels(*labels).inc(count)
    telemetry.UNKNOWN.labels("artwork").inc(len(recorded.unknown_artworks))
    telemetry.UNKNOWN.labels("user").inc(len(recorded.unknown_users))
