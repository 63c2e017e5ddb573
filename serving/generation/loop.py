"""The planning loop: one leader among many plans each epoch, places the plan and sees to its delivery.

Beside the service, as a process of its own. Whatever fails in a round is counted and logged, and the loop lives on;
when the process dies, another one takes its lease over and takes up what it had begun.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from features.errors import VernissageError
from serving import telemetry
from serving.generation.dispatch.interface import Dispatcher
from serving.generation.dispatch.registry import dispatchers_of
from serving.generation.dispatch.run import Deliveries
from serving.generation.leadership import Lead, Leadership
from serving.generation.orders import Placed
from serving.generation.planning import GenerationPlan
from serving.worker import Worker

TICK_SECONDS = 0.5  # between looks at what can be delivered
PLAN_SECONDS = 2.0  # between looks at whether an epoch is to be planned
STOPPED = "generation is stopped"


class PlanningLoop:
    """Leads when it may."""

    def __init__(self, worker: Worker, dispatchers: Mapping[str, Dispatcher]) -> None:
        self._worker = worker
        self._settings = worker.settings
        self._parts = parts = worker.parts
        self._leadership = Leadership(worker.pool, worker.settings.leader_seconds)
        self._deliveries = Deliveries(parts.ledger, parts.breakers, dispatchers, worker.settings)
        self._lead: Lead | None = None
        self._lead_ends = 0.0  # monotonic seconds
        self._planned = -1  # the epoch that was planned last
        self._swept = False  # what was due long ago has been ended

    async def run(self) -> None:
        """Until it is cancelled; the lease is given back then."""
        beside = [
            asyncio.create_task(self._repeat("lead", self._renew, self._settings.leader_seconds / 3)),
            asyncio.create_task(self._repeat("planner", self._plan, PLAN_SECONDS)),  # a plan holds up no delivery
        ]
        try:
            await self._repeat("deliveries", self._deliver, TICK_SECONDS)
        finally:
            for task in beside:
                task.cancel()
            await self._deliveries.stop()
            await self._leadership.leave()

    @property
    def _leads(self) -> bool:
        """Whether the lease holds, as far as this process can know."""
        return self._lead is not None and time.monotonic() < self._lead_ends

    async def _renew(self) -> None:
        """Take or renew the lease."""
        asked = time.monotonic()
        lead = await self._leadership.take()
        if lead != self._lead:
            telemetry.get_logger().info("leads" if lead else "follows", fence=lead.fence if lead else None)
        self._lead, self._lead_ends = lead, asked + self._settings.leader_seconds

    async def _deliver(self) -> None:
        """See to what was ordered; with generation stopped, what was not sent yet is cancelled."""
        if not self._leads:
            await self._deliveries.stop()
            return
        await self._parts.ledger.expire(lately=self._swept)
        self._swept = True
        if await self._stopped():
            await self._parts.ledger.cancel_planned(STOPPED)
        await self._deliveries.step()

    async def _plan(self) -> None:
        """Plan and place, once in an epoch; what failed is tried again within it."""
        epoch = int(time.time() // self._settings.planning_seconds)
        if epoch == self._planned or not self._leads or await self._stopped():
            return
        plan = await make_plan(self._worker)
        placed = await place_plan(self._worker, plan, lead=self._lead)
        self._planned = plan.epoch
        if plan.wishes:
            told = {"wished": len(plan.wishes), "placed": len(placed.order_ids), "before": not placed.first}
            telemetry.get_logger().info("planned", epoch=plan.epoch, **told)

    async def _stopped(self) -> bool:
        """Whether the kill switch is thrown."""
        return (await self._worker.budget.look(self._worker.pool)).stopped

    async def _repeat(self, name: str, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Rounds for ever."""
        while True:
            try:
                await step()
            except VernissageError as error:
                telemetry.BACKGROUND_ERRORS.labels(name).inc()
                telemetry.get_logger().warning("background task failed", task=name, error=str(error))
            except Exception:  # noqa: BLE001 - a loop that dies silently would never order again
                telemetry.BACKGROUND_ERRORS.labels(name).inc()
                telemetry.get_logger().exception("background task failed", task=name)
            await asyncio.sleep(seconds)


async def make_plan(worker: Worker) -> GenerationPlan:
    """The plan of this epoch, within what the budget has left."""
    left = await worker.budget.look(worker.pool)
    most = min(worker.settings.orders_per_plan, int(left.hour_images))
    parts = worker.parts
    return await parts.planning.plan(parts.live.view, parts.live.experiments, dollars=left.dollars, most=max(most, 1))


async def place_plan(worker: Worker, plan: GenerationPlan, *, lead: Lead | None = None) -> Placed:
    """Order what the plan wishes for, and give back what it reuses; nothing where its epoch was planned before."""
    parts = worker.parts
    placed = await parts.ledger.place(
        plan.epoch, plan.wishes, worker.settings.dispatcher, lead=lead, block=plan.block, planned=True
    )
    if placed.first:
        await parts.planning.give_back(plan)
    return placed


async def run(worker: Worker) -> None:
    """Wait for the database as long as it takes, then lead or follow until cancelled."""
    await worker.start()
    try:
        while not worker.ready:  # noqa: ASYNC110 - there is nothing to wait on before the parts are built
            await asyncio.sleep(TICK_SECONDS)
        await PlanningLoop(worker, dispatchers_of(worker)).run()
    finally:
        await worker.stop()
