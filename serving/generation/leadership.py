"""One leader among many: a row that is a lease, with an end and a fencing number that grows with each new leader.

No session holds anything, so a transaction pooler may sit in between. A leader that was asleep and has lost its lease
finds out inside the transaction that it writes in (`still_leads`).
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from features.database import Pool, query, transaction
from features.identifiers import new_id

PLANNER = "planner"


@dataclass(frozen=True)
class Lead:
    """A lease that was granted."""

    role: str
    fence: int


class Leadership:
    """One candidate for a role."""

    def __init__(self, pool: Pool, seconds: float, role: str = PLANNER) -> None:
        self._pool = pool
        self._seconds = seconds
        self._role = role
        self.holder = new_id().hex

    async def take(self) -> Lead | None:
        """The lease, taken or renewed for as long again; None while another one leads."""
        asked = {"role": self._role, "holder": self.holder, "seconds": self._seconds}
        async with transaction(self._pool) as connection:
            row = await (await connection.execute(query("take_lead"), asked)).fetchone()
        return Lead(self._role, row[0]) if row else None

    async def leave(self) -> None:
        """End the lease now, so that another one need not wait for its end."""
        async with transaction(self._pool) as connection:
            await connection.execute(query("leave_lead"), {"role": self._role, "holder": self.holder})


async def still_leads(connection: psycopg.AsyncConnection, lead: Lead) -> bool:
    """Whether the lease holds; no other leader comes before the end of this transaction then."""
    asked = {"role": lead.role, "fence": lead.fence}
    return (await connection.execute(query("hold_lead"), asked)).rowcount == 1
