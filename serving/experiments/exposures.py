"""What clients report: whose client values were acted on, the first time for each user and version."""

from __future__ import annotations

from collections.abc import Sequence

from features.database import Pool, query, transaction
from serving.experiments.assignment import Assigned


async def note_exposures(pool: Pool, user_id: str, session_id: str, found: Sequence[Assigned]) -> int:
    """Keep a user's arms as acted on; how many were not known. Raises DatabaseUnavailableError."""
    rows = [
        {
            "user_id": user_id,
            "session_id": session_id,
            "name": each.definition.name,
            "version": each.definition.version,
            "arm": each.arm.name,
            "overridden": each.overridden,
        }
        for each in found
    ]
    async with transaction(pool) as connection:
        return sum([(await connection.execute(query("note_exposure"), row)).rowcount for row in rows])
