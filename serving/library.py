"""A user's own past: history, replays and favourites. Nothing here leases, ranks or writes an impression."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from features.database import Pool, query, transaction
from features.host import Host


class Library:
    """Reads what a user was shown and keeps what the user marked."""

    def __init__(self, pool: Pool, host: Host) -> None:
        self._pool = pool
        self._has_favourites = host.has("art_favorites")
        favourite = query("is_favourite") if self._has_favourites else "false"
        self._history = query("history", favourite=favourite)

    async def history(self, user_id: str, before: datetime, limit: int) -> list[dict[str, Any]]:
        """The latest displays before a moment, newest first."""
        return await self._rows(self._history, user_id=user_id, before=before, limit=limit)

    async def replay(self, user_id: str, artwork_id: str) -> dict[str, Any] | None:
        """Count a replay; None when the user was never shown the artwork, or it is gone."""
        rows = await self._rows(query("replay"), user_id=user_id, artwork_id=artwork_id)
        return rows[0] if rows else None

    async def favourites(self, user_id: str, limit: int) -> list[dict[str, Any]]:
        """The user's favourites, newest first."""
        if not self._has_favourites:
            return []
        return await self._rows(query("favourites"), user_id=user_id, limit=limit)

    async def set_favourite(self, user_id: str, artwork_id: str) -> bool:
        """Mark; False when the host does not hold the user, the artwork or favourites at all."""
        if not self._has_favourites:
            return False
        return len(await self._rows(query("set_favourite"), user_id=user_id, artwork_id=artwork_id)) == 1

    async def unset_favourite(self, user_id: str, artwork_id: str) -> None:
        """Unmark, and forget that a display has said so."""
        if self._has_favourites:
            values = {"user_id": user_id, "artwork_id": artwork_id}
            async with transaction(self._pool) as connection:
                await connection.execute(query("unset_favourite"), values)

    async def _rows(self, text: str, **values: Any) -> list[dict[str, Any]]:
        """All rows of one statement."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(text, values)
            return await cursor.fetchall()
