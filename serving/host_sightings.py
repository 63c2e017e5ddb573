"""What the host's unmodified client reports: images it has loaded, and artworks it has shown.

Loaded is not shown. A loaded artwork is never offered to another session of the user, while its own session may be
offered it again until it is shown; that is what stops the client from loading, recording and asking again for ever.
That client never claims, so what it shows has happened, also where its lease had ended: such late draws are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from features.database import Pool, query, transaction
from features.settings import Settings
from serving import telemetry
from serving.impressions import Event, Impressions, displays


@dataclass(frozen=True)
class Loaded:
    """What a batch of loaded artworks came to."""

    attempted: int  # after repetitions were taken out
    recorded: list[str]  # artworks that the host holds, in the order sent


@dataclass(frozen=True)
class Shown:
    """What a report of shown artworks came to, each in the order sent."""

    recorded: list[str]
    rejected: list[str]  # artworks that the host does not hold


class HostSightings:
    """Records the client's reports from one worker."""

    def __init__(self, pool: Pool, impressions: Impressions, settings: Settings) -> None:
        self._pool = pool
        self._impressions = impressions
        self._settings = settings

    async def load(self, user_id: str, session_id: str | None, artwork_ids: Sequence[str]) -> Loaded:
        """Record loaded artworks, once however often they are sent; what the host does not hold is left out."""
        sent = list(dict.fromkeys(artwork_ids))
        rows = await self._record_loaded(user_id, session_id, _storable(sent))
        held = {row["artwork_id"] for row in rows if row["artwork_known"]}
        for row in rows:
            telemetry.EVENTS.labels("loaded", "new" if row["marked"] else "known").inc()
        telemetry.UNKNOWN.labels("artwork").inc(len(sent) - len(held))
        return Loaded(len(sent), [artwork_id for artwork_id in sent if artwork_id in held])

    async def show(self, user_id: str, session_id: str | None, artwork_ids: Sequence[str]) -> Shown:
        """Record shown artworks; without a session they are those of the session that holds or has loaded them."""
        sent = list(dict.fromkeys(artwork_ids))
        found = {row["artwork_id"]: row for row in await self._sightings(user_id, _storable(sent))}
        events = [
            event
            for row in found.values()
            if row["keyed"] or row["artwork_known"]
            for event in _display(user_id, session_id, row)
        ]
        recorded = await self._impressions.record(events)
        _count_late([event for event in events if event.event_id in set(recorded.new)], found)
        held = {artwork_id for artwork_id, row in found.items() if row["artwork_known"]}
        rejected = [artwork_id for artwork_id in sent if artwork_id not in held]
        return Shown([artwork_id for artwork_id in sent if artwork_id in held], rejected)

    async def _record_loaded(
        self, user_id: str, session_id: str | None, artwork_ids: list[str]
    ) -> list[dict[str, Any]]:
        """Lock, keys and marks."""
        values = {
            "user_id": user_id,
            "session_id": session_id,
            "artwork_ids": artwork_ids,
            "stretch_seconds": self._settings.lease_stretch * self._settings.seconds_per_artwork,
            "grace_seconds": self._settings.lease_grace_seconds,
        }
        async with (
            transaction(self._pool, [user_id]) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await connection.execute(query("register_held_artworks"), {"artwork_ids": artwork_ids})
            await cursor.execute(query("record_loaded"), values)
            return await cursor.fetchall()

    async def _sightings(self, user_id: str, artwork_ids: list[str]) -> list[dict[str, Any]]:
        """How each artwork stands with the user before the report counts."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("sightings"), {"user_id": user_id, "artwork_ids": artwork_ids})
            return await cursor.fetchall()


def _storable(artwork_ids: list[str]) -> list[str]:
    """Those ids that PostgreSQL can hold at all; any other is no artwork's."""
    return [artwork_id for artwork_id in artwork_ids if "\0" not in artwork_id]


def _display(user_id: str, session_id: str | None, row: dict[str, Any]) -> list[Event]:
    """The event of one shown artwork; none where a report without a session tells of what was shown before.

    The client reports one display by two routes, of which one does not name the session.
    """
    if session_id is None and row["shown"]:
        return []
    session = session_id if session_id is not None else row["holder"] or row["loaded_by"]
    return displays(user_id, session, [row["artwork_id"]])


def _count_late(events: Sequence[Event], found: dict[str, dict[str, Any]]) -> None:
    """Count the displays of artworks that their session did not hold (any more)."""
    for event in events:
        row = found[event.artwork_id]
        if row["shown"]:
            telemetry.LATE.labels("repeated").inc()
        elif row["holder"] != (event.session_id or ""):
            telemetry.LATE.labels("expired" if row["holder"] is None else "foreign").inc()
