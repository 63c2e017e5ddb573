"""Wishes, and the parts that carry them out on a database, without a plan: for tests and evidence of generation."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from features.database import Pool, make_pool, query, transaction
from features.host import Host, introspect
from features.settings import Settings
from serving.generation.breakers import Breakers
from serving.generation.budget import Budget
from serving.generation.orders import Ledger, Order, Wish
from serving.generation.painter import usual_range


@dataclass(frozen=True)
class Parts:
    """What a planning loop holds, but for the plan."""

    pool: Pool
    host: Host
    settings: Settings
    budget: Budget
    ledger: Ledger
    breakers: Breakers


@contextlib.asynccontextmanager
async def parts_of(settings: Settings) -> AsyncIterator[Parts]:
    """The parts on the settings' database."""
    pool = make_pool(settings.database_url, settings)
    await pool.open()
    try:
        async with transaction(pool) as connection:
            host = introspect(await (await connection.execute(query("host_columns"))).fetchall())
        budget = Budget(settings)
        yield Parts(pool, host, settings, budget, Ledger(pool, budget, settings), Breakers(pool, settings))
    finally:
        await pool.close()


def wish(number: int = 0, *, seconds: float = 60.0, cost: float = 0.02, **columns: object) -> Wish:
    """A wish; another number is another picture. ``seconds`` until its deadline."""
    low, high = usual_range()
    dna = (low + np.random.default_rng(number).random(len(low)) * (high - low)).astype(np.float32)
    given = {
        "user_ids": ("ada", "bob"),
        "near": "nothing-like-it",
        "dna": dna,
        "styles": ("cubism",),
        "prompt": f"A wish, number {number}",
        "benefit": 0.1,
        "reach": 2.0,
        "priority": 1.0 - number / 1000,
        "cost": cost,
        "deadline": datetime.now(UTC) + timedelta(seconds=seconds),
    }
    return Wish(**(given | columns))  # type: ignore[arg-type]


class Scripted:
    """A provider that does what the test says."""

    name = "scripted"

    def __init__(self, answer: Callable[[Order], Awaitable[str]], room: int = 100) -> None:
        self._answer = answer
        self._room = room
        self.orders: list[Order] = []

    async def room(self) -> int:
        """As told."""
        return self._room

    async def deliver(self, order: Order) -> str:
        """As told."""
        self.orders.append(order)
        return await self._answer(order)
