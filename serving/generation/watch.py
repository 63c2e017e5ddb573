"""How generation stands, looked at now and then: for the metrics and for the service's health."""

from __future__ import annotations

from dataclasses import dataclass

from features.database import Pool, query, transaction
from serving import telemetry
from serving.generation.breaker import Phase
from serving.generation.breakers import Breakers
from serving.generation.budget import Budget
from serving.generation.leadership import PLANNER
from serving.generation.orders import IN_FLIGHT, Ledger

SHOWN = {Phase.CLOSED: 0.0, Phase.HALF_OPEN: 0.5, Phase.OPEN: 1.0}


@dataclass(frozen=True)
class Standing:
    """What the last look found."""

    led: bool = False  # a planning loop holds the lease
    stopped: bool = False
    troubled: tuple[str, ...] = ()  # providers whose breaker is not closed


class GenerationWatch:
    """Looks."""

    def __init__(self, pool: Pool, budget: Budget, ledger: Ledger, breakers: Breakers) -> None:
        self._pool = pool
        self._budget = budget
        self._ledger = ledger
        self._breakers = breakers
        self.standing = Standing()

    async def refresh(self) -> None:
        """Look once, and set the gauges."""
        left = await self._budget.look(self._pool)
        telemetry.BUDGET_DAY.set(left.day_spent / left.day_dollars)
        telemetry.BUDGET_ALERT.set(left.alert)
        telemetry.GENERATION_STOPPED.set(left.stopped)
        orders = await self._ledger.open_orders()
        for state in IN_FLIGHT:
            telemetry.ORDERS.labels(state).set(sum(order.state == state for order in orders))
        breakers = await self._breakers.states()
        for name, breaker in breakers.items():
            telemetry.BREAKER.labels(name).set(SHOWN[breaker.phase])
        led = await self._is_led()
        telemetry.LEADING.set(led)
        troubled = tuple(name for name, breaker in breakers.items() if breaker.phase != Phase.CLOSED)
        self.standing = Standing(led, left.stopped, troubled)

    async def _is_led(self) -> bool:
        """Whether some planning loop leads."""
        async with transaction(self._pool) as connection:
            row = await (await connection.execute(query("current_lead"), {"role": PLANNER})).fetchone()
        return bool(row and row[2])
