"""Follows the host's deletions: a user whom the host has deleted loses every row of ours."""

from __future__ import annotations

from features.database import Pool, query, transaction
from serving import telemetry


async def erase_departed(pool: Pool) -> None:
    """Erase the users who are gone; one worker at a time, the others pass.

    Only users whom the host once held count as gone: a user it never knew is served too, and keeps its marks.
    """
    async with transaction(pool) as connection:
        cursor = await connection.execute(query("lock_erasure"))
        row = await cursor.fetchone()
        if row is None or not row[0]:
            return
        cursor = await connection.execute(query("departed_users"))
        user_ids = [found[0] for found in await cursor.fetchall()]
        if user_ids:
            await connection.execute(query("erase_users"), {"user_ids": user_ids})
            await connection.execute(query("forget_in_orders"), {"user_ids": user_ids})
    telemetry.ERASED.inc(len(user_ids))
