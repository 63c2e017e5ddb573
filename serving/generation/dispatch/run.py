"""Brings orders to their providers and notes what becomes of each, one by one; a failure is that of one order alone.

Only the loop that leads does this. What it finds sent or running without a task of its own was begun by a process that
is gone, and is taken up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

from features.errors import DatabaseUnavailableError, GenerationFailedError
from features.settings import Settings
from serving import telemetry
from serving.generation.breakers import Breakers
from serving.generation.dispatch.interface import Dispatcher
from serving.generation.orders import Ledger, Order, State


class Deliveries:
    """The deliveries that are going on in this process."""

    def __init__(
        self, ledger: Ledger, breakers: Breakers, dispatchers: Mapping[str, Dispatcher], settings: Settings
    ) -> None:
        self._ledger = ledger
        self._breakers = breakers
        self._dispatchers = dispatchers
        self._most = settings.deliveries
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._provider: dict[UUID, str] = {}

    async def step(self) -> None:
        """Begin what may begin."""
        orders = await self._ledger.open_orders()
        for name, dispatcher in self._dispatchers.items():
            mine = [order for order in orders if order.dispatcher == name and order.order_id not in self._tasks]
            await self._begin(dispatcher, mine)

    async def stop(self) -> None:
        """Let go of everything; what was begun is taken up by the next leader."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait(self) -> None:
        """Until the deliveries of now are over."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _begin(self, dispatcher: Dispatcher, orders: list[Order]) -> None:
        """Take up what was begun, then begin others, the most urgent first, as far as the breaker and room allow."""
        planned = [order for order in orders if order.state == State.PLANNED]
        for order in orders:
            if order.state != State.PLANNED and self._free(dispatcher.name) > 0:
                self._start(dispatcher, order)
        room = min(self._free(dispatcher.name), await dispatcher.room() if planned else 0)
        for order in planned[:room]:
            if not await self._breakers.allow(dispatcher.name):
                return
            if await self._ledger.advance(order.order_id, State.SENT):
                sent = await self._ledger.find(order.order_id)
                assert sent is not None  # noqa: S101 - orders are never deleted while they are in flight
                self._start(dispatcher, sent)

    def _free(self, name: str) -> int:
        """How many more deliveries the provider may have."""
        return self._most - sum(provider == name for provider in self._provider.values())

    def _start(self, dispatcher: Dispatcher, order: Order) -> None:
        """A task of its own for one order."""
        self._provider[order.order_id] = dispatcher.name
        self._tasks[order.order_id] = asyncio.create_task(self._deliver(dispatcher, order))

    async def _deliver(self, dispatcher: Dispatcher, order: Order) -> None:
        """One order to its end; when the database is away it stays as it is, and is given again."""
        try:
            await self._carry_out(dispatcher, order)
        except DatabaseUnavailableError as error:
            telemetry.BACKGROUND_ERRORS.labels("delivery").inc()
            telemetry.get_logger().warning("delivery interrupted", order=str(order.order_id), error=str(error))
        finally:
            del self._tasks[order.order_id], self._provider[order.order_id]

    async def _carry_out(self, dispatcher: Dispatcher, order: Order) -> None:
        """Ask the provider, and note its answer in the ledger and in its breaker."""
        try:
            artwork_id = await dispatcher.deliver(order)
        except GenerationFailedError as error:
            await self._failed(dispatcher.name, order, error)
        except DatabaseUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - one order's trouble must not be all orders'
            telemetry.get_logger().exception("delivery failed", order=str(order.order_id))
            ours = f"an error of ours: {type(error).__name__}"
            failed = GenerationFailedError(order_id=order.order_id, reason=ours, charged=True)
            await self._failed(dispatcher.name, order, failed)
        else:
            if await self._ledger.advance(order.order_id, State.DELIVERED, {"artwork_id": artwork_id}):
                telemetry.DELIVERIES.labels(dispatcher.name, "delivered").inc()
            await self._breakers.record(dispatcher.name, ok=True)

    async def _failed(self, name: str, order: Order, error: GenerationFailedError) -> None:
        """The order's end without an artwork."""
        reason = str(error.context["reason"])
        telemetry.DELIVERIES.labels(name, "failed").inc()
        telemetry.get_logger().warning("order failed", order=str(order.order_id), dispatcher=name, reason=reason)
        await self._ledger.advance(order.order_id, State.FAILED, {"reason": reason}, charged=error.charged)
        if not error.blameless:
            await self._breakers.record(name, ok=False)
