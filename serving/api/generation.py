"""The routes about orders for new artworks: what became of each, as it is, as it was, and as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from starlette.responses import Response, StreamingResponse

from features.errors import DatabaseUnavailableError
from serving import telemetry
from serving.api.generation_shapes import (
    BreakerAnswer,
    BudgetAnswer,
    EventsQuery,
    OrderAnswer,
    OrderEvent,
    OrderHistory,
    OrderPath,
    OrderQuery,
    OrdersAnswer,
    OrdersQuery,
    PlannedBlock,
)
from serving.api.limits import taken
from serving.api.needs import PLANNER
from serving.api.operations import Call, Operation
from serving.api.problems import Problem
from serving.generation.breaker import Breaker
from serving.generation.orders import IN_FLIGHT, Order, State, Version
from serving.worker import Worker

LOOK_SECONDS = 1.0  # between looks at the ledger
HEARTBEAT_SECONDS = 15.0
RETRY_MS = 2_000  # after which a browser asks again when the line was cut


async def orders(call: Call) -> OrdersAnswer:
    """Orders as they stand or stood, the latest first."""
    asked: OrdersQuery = call.query
    state = State(asked.state) if asked.state else None
    found = await call.worker.parts.ledger.orders(state=state, at=_in_utc(asked.at), limit=asked.limit)
    return OrdersAnswer(orders=[_answer(order) for order in found])


async def order(call: Call) -> OrderHistory:
    """One order, with what became of it until then."""
    asked: OrderQuery = call.query
    at = _in_utc(asked.at)
    found = await _find(call, at)
    versions = await call.worker.parts.ledger.history(found.order_id)
    return OrderHistory(
        order=_answer(found), events=[_event(version) for version in versions if at is None or version.at <= at]
    )


async def events(call: Call) -> Response:
    """What becomes of an order, as server-sent events; the stream ends when the order is over."""
    found = await _find(call, None)
    asked: EventsQuery = call.query
    stream = _stream(call.worker, found.order_id, _last_event(call, asked.after))
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, 200, headers)


async def budget(call: Call) -> BudgetAnswer:
    """What generation may cost now."""
    worker = call.worker
    left = await worker.budget.look(worker.pool)
    in_flight = await worker.parts.ledger.in_flight()
    breakers = await worker.parts.breakers.states()
    shares = {name: await worker.parts.breakers.open_share(name) for name in breakers}
    return BudgetAnswer(
        hour_dollars=left.hour_dollars,
        hour_images=left.hour_images,
        day_spent=left.day_spent,
        day_dollars=left.day_dollars,
        alert=left.alert,
        stopped=left.stopped,
        stopped_by=left.stopped_by,
        stopped_at=left.stopped_at,
        in_flight=len(in_flight),
        breakers=[_breaker(name, breaker, shares[name]) for name, breaker in breakers.items()],
    )


async def _find(call: Call, at: datetime | None) -> Order:
    """The order of the path. Raises Problem."""
    found = await call.worker.parts.ledger.find(UUID(call.path["order_id"]), at)
    if found is None:
        raise Problem(404, "no_such_order", "There is no such order, or there was none yet.")
    return found


async def _stream(worker: Worker, order_id: UUID, after: int) -> AsyncIterator[str]:
    """Events as text; a comment now and then, so that nobody takes a quiet line for a dead one.

    After some minutes, or when the worker stops, it ends: the client asks again, from where it was, and its key is
    looked at anew.
    """
    with taken("stream"):
        async for text in _events_of(worker, order_id, after):
            yield text


async def _events_of(worker: Worker, order_id: UUID, after: int) -> AsyncIterator[str]:
    """What a stream says."""
    yield f"retry: {RETRY_MS}\n\n"
    began = said = time.monotonic()
    while not worker.stopping.is_set() and time.monotonic() - began < worker.settings.stream_seconds:
        try:
            versions = await worker.parts.ledger.history(order_id)
        except DatabaseUnavailableError:
            telemetry.DATABASE_ERRORS.inc()
            return  # the client asks again, from where it was
        for version in versions:
            if version.entry > after:
                yield _text(version)
                after, said = version.entry, time.monotonic()
        if versions and versions[-1].state not in IN_FLIGHT:
            return
        if time.monotonic() - said >= HEARTBEAT_SECONDS:
            yield ": still waiting\n\n"
            said = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(worker.stopping.wait(), LOOK_SECONDS)


def _text(version: Version) -> str:
    """One event in the form of the stream (WHATWG HTML, section 9.2)."""
    return f"id: {version.entry}\nevent: {version.state}\ndata: {msgspec.json.encode(_event(version)).decode()}\n\n"


def _last_event(call: Call, after: int) -> int:
    """The event after which a stream goes on. Raises Problem."""
    given = call.last_event_id.strip()
    if not given:
        return after
    if not (given.isascii() and given.isdigit() and len(given) <= 18):  # noqa: PLR2004 - digits that fit a bigint
        raise Problem(400, "bad_last_event_id", "Last-Event-ID must be the id of an event, a whole number.")
    return int(given)


def _answer(found: Order) -> OrderAnswer:
    """The order as its schema."""
    wish = found.wish
    return OrderAnswer(
        order_id=found.order_id,
        state=found.state.value,
        state_at=found.state_at,
        ordered_at=found.ordered_at,
        deadline=wish.deadline,
        epoch=found.epoch,
        place=found.place,
        dispatcher=found.dispatcher,
        user_ids=list(wish.user_ids),
        near=wish.near,
        styles=list(wish.styles),
        prompt=wish.prompt,
        dna_vector=[round(float(number), 6) for number in wish.dna],
        benefit=wish.benefit,
        reach=wish.reach,
        priority=wish.priority,
        cost=wish.cost,
        artwork_id=found.artwork_id,
        reason=found.detail.get("reason"),
        experiment=None if found.experiment is None else PlannedBlock(**found.experiment),
    )


def _event(version: Version) -> OrderEvent:
    """A version as its schema."""
    return OrderEvent(
        event=version.entry,
        version=version.version,
        state=version.state.value,
        at=version.at,
        detail=version.detail,
    )


def _breaker(name: str, breaker: Breaker, open_share: float) -> BreakerAnswer:
    """A breaker as its schema."""
    since = datetime.fromtimestamp(breaker.since, UTC) if breaker.since else None
    return BreakerAnswer(dispatcher=name, phase=breaker.phase.value, since=since, open_share=open_share)


def _in_utc(at: datetime | None) -> datetime | None:
    """The time; one without a zone is in UTC."""
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


OPERATIONS = (
    Operation(
        "orders", "GET", "/v1/generation/orders", "Orders for new artworks", orders, OrdersAnswer, PLANNER,
        query_type=OrdersQuery,
    ),
    Operation(
        "order", "GET", "/v1/generation/orders/{order_id}", "One order and its history", order, OrderHistory, PLANNER,
        path_type=OrderPath, query_type=OrderQuery, missing="no_such_order",
    ),
    Operation(
        "order_events", "GET", "/v1/generation/orders/{order_id}/events", "An order's progress, as it happens", events,
        OrderEvent, PLANNER, path_type=OrderPath, query_type=EventsQuery, missing="no_such_order", stream=True,
        kind="stream",
    ),
    Operation(
        "budget", "GET", "/v1/generation/budget", "What generation may cost now", budget, BudgetAnswer, PLANNER,
    ),
)  # fmt: skip
