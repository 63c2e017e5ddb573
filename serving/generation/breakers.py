"""Every provider's breaker, kept in the database: restarts and other workers know what one of them has found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from psycopg.types.json import Jsonb

from features.database import Pool, query, transaction
from features.settings import Settings
from serving import telemetry
from serving.generation.breaker import Breaker, rules_of

T = TypeVar("T")

DAY = 86_400.0


class Breakers:
    """Asks and tells the breakers; one provider's calls take turns by its row."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._rules = rules_of(settings)

    async def allow(self, dispatcher: str) -> bool:
        """Whether a call to the provider may go through now."""
        return await self._change(dispatcher, lambda breaker, now: breaker.allow(self._rules, now))

    async def record(self, dispatcher: str, *, ok: bool) -> None:
        """A call to the provider has ended."""
        await self._change(dispatcher, lambda breaker, now: (breaker.record(self._rules, now, ok=ok), None))

    async def states(self) -> dict[str, Breaker]:
        """The breaker of each provider that was ever called."""
        async with transaction(self._pool) as connection:
            rows = await (await connection.execute(query("breaker_states"))).fetchall()
        return {dispatcher: msgspec.convert(state, Breaker) for dispatcher, state in rows}

    async def open_share(self, dispatcher: str, seconds: float = DAY) -> float:
        """The share of the last ``seconds`` that the provider's breaker was open."""
        async with transaction(self._pool) as connection:
            asked = {"dispatcher": dispatcher, "seconds": seconds}
            row = await (await connection.execute(query("breaker_open_share"), asked)).fetchone()
        return float(row[0]) if row else 0.0

    async def _change(self, dispatcher: str, step: Callable[[Breaker, float], tuple[Breaker, T]]) -> T:
        """One step of the state machine under the row's lock, by the database's clock."""
        async with transaction(self._pool) as connection:
            fresh = {"dispatcher": dispatcher, "state": Jsonb(msgspec.to_builtins(Breaker()))}
            await connection.execute(query("make_breaker"), fresh)
            row = await (await connection.execute(query("lock_breaker"), fresh)).fetchone()
            assert row is not None  # noqa: S101 - made above, and never deleted
            old, now = msgspec.convert(row[0], Breaker), row[1]
            new, found = step(old, now)
            if new != old:
                kept = {"dispatcher": dispatcher, "state": Jsonb(msgspec.to_builtins(new))}
                await connection.execute(query("keep_breaker"), kept)
            if new.phase != old.phase:
                noted = {"dispatcher": dispatcher, "now": now, "phase": new.phase}
                await connection.execute(query("note_breaker_change"), noted)
        if new.phase != old.phase:
            telemetry.get_logger().warning("breaker changed", dispatcher=dispatcher, phase=str(new.phase))
        return found
