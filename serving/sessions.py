"""The life of a browser session: its heartbeat renews its leases and brings its counters, its end gives them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.database import Pool, query, transaction
from features.settings import Settings
from serving import telemetry


@dataclass(frozen=True)
class Pulse:
    """What a session has after a heartbeat."""

    live: bool  # False: its leases have expired (or it never had any), and what it holds unclaimed is lost
    seconds_left: float
    held: list[str]  # artwork ids, in order of offering


class Sessions:
    """Keeps sessions alive and ends them."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def heartbeat(self, user_id: str, session_id: str, counters: Mapping[str, int]) -> Pulse:
        """Renew the session's leases; ``counters`` are the client's own, counted since its page was loaded."""
        row = await self._change(
            "heartbeat",
            user_id,
            session_id,
            client=Jsonb(counters),
            stretch_seconds=self._settings.lease_stretch * self._settings.seconds_per_artwork,
            grace_seconds=self._settings.lease_grace_seconds,
        )
        if row is None:
            return Pulse(live=False, seconds_left=0.0, held=[])
        _count_growth(row["client"], counters)
        if not row["live"]:
            return Pulse(live=False, seconds_left=0.0, held=[])
        return Pulse(live=True, seconds_left=row["seconds"], held=row["held"])

    async def end(self, user_id: str, session_id: str) -> int:
        """Give back what the session holds; how many artworks that were."""
        row = await self._change("end_session", user_id, session_id)
        return int(row["held"]) if row else 0

    async def _change(self, name: str, user_id: str, session_id: str, **values: Any) -> dict[str, Any] | None:
        """Run one statement on a session under its user's lock."""
        async with (
            transaction(self._pool, [user_id]) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query(name), {"user_id": user_id, "session_id": session_id, **values})
            return await cursor.fetchone()


def _count_growth(before: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Add what the client's counters grew by; `pending` is a level, not a count."""
    for what, value in now.items():
        if what != "pending":
            telemetry.CLIENT.labels(what).inc(max(value - before.get(what, 0), 0))
