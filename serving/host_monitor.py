"""The host's picture of its pool: sessions, look-ahead, coverage and pace at this moment. Read only."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import dict_row

from features.catalogue import Catalogue
from features.database import Pool, query, transaction
from features.host import Host
from features.packed import unpack_bits

MOST_USERS = 100  # whose coverage is looked at


@dataclass(frozen=True)
class PoolState:
    """The pool and who lives on it."""

    sessions: int  # with live leases
    active_sessions: int  # of them, with a sign of life in the last 5 minutes
    artworks: int
    held_per_session: float
    coverage: float  # 0 to 1, mean over the users in session; 0.0 where there are none, or no artworks
    shown_per_minute: float
    minutes_left: float | None  # until the users in session have seen all, at this pace; None: none is shown
    generating: int  # pre-generations at work and waiting
    queued: int


class HostMonitor:
    """Looks at the database from one worker."""

    def __init__(self, pool: Pool, host: Host) -> None:
        self._pool = pool
        self._has_jobs = host.has("generation_jobs")

    async def state(self, catalogue: Catalogue) -> PoolState:
        """The state of the pool now."""
        async with transaction(self._pool) as connection:
            now = await (await connection.cursor(row_factory=dict_row).execute(query("pool_monitor"))).fetchone()
            seen = await (await connection.execute(query("seen_by_live_users"), {"users": MOST_USERS})).fetchall()
            jobs = await (await connection.execute(query("pregenerations"))).fetchone() if self._has_jobs else None
        assert now is not None  # noqa: S101 - an aggregate has a row
        covered = [_covered(catalogue, packed) for (packed,) in seen]
        coverage = sum(covered) / len(covered) if covered else 0.0
        left = (1.0 - coverage) * catalogue.size * now["users"]
        return PoolState(
            sessions=now["sessions"],
            active_sessions=now["active"],
            artworks=catalogue.size,
            held_per_session=now["held"],
            coverage=coverage,
            shown_per_minute=now["per_minute"],
            minutes_left=left / now["per_minute"] if now["per_minute"] else None,
            generating=jobs[0] if jobs else 0,
            queued=jobs[1] if jobs else 0,
        )


def _covered(catalogue: Catalogue, packed: bytes | None) -> float:
    """The share of the active pool that a user has seen."""
    seen = catalogue.active & catalogue.marked(unpack_bits(packed))
    return int(seen.sum()) / catalogue.size if catalogue.size else 0.0
