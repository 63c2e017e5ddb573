"""The parameters and answers of /v1/generation, as types: they check what comes in and make the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

OrderState = Literal["planned", "sent", "running", "delivered", "failed", "cancelled", "expired"]


class OrderPath(Struct):
    """The path of a route about one order."""

    order_id: UUID


class OrderQuery(Struct):
    """When an order is looked at."""

    at: Annotated[datetime | None, Meta(description="as it was then; default: now")] = None


class OrdersQuery(Struct):
    """Which orders."""

    state: OrderState | None = None
    at: Annotated[datetime | None, Meta(description="as they were then; default: now")] = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class EventsQuery(Struct):
    """From where on."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1, description="the last event known; Last-Event-ID goes before")] = 0


class PlannedBlock(Struct, kw_only=True):
    """The block of time, and the arm that has it, of the generation experiment that ran."""

    name: Annotated[str, Meta(description="the experiment")]
    version: int
    block: Annotated[int, Meta(description="whole blocks since 1970")]
    arm: str


class OrderAnswer(Struct, kw_only=True):
    """One order."""

    order_id: UUID
    state: OrderState
    state_at: datetime
    ordered_at: datetime
    deadline: datetime
    epoch: int
    place: Annotated[int, Meta(description="in the plan of its epoch, the best first")]
    dispatcher: Annotated[str, Meta(description="who makes it")]
    user_ids: Annotated[list[str], Meta(description="for whom; users who were erased have left")]
    near: Annotated[str, Meta(description="the artwork that it shall be like")]
    styles: list[str]
    prompt: str
    dna_vector: Annotated[list[float], Meta(description="50 numbers")]
    benefit: Annotated[float, Meta(description="dollars of stock-outs avoided, expected")]
    reach: Annotated[float, Meta(description="users who get to it within the horizon, expected")]
    priority: Annotated[float, Meta(description="the highest need among its users")]
    cost: Annotated[float, Meta(description="dollars")]
    artwork_id: Annotated[str | None, Meta(description="what was delivered")]
    reason: Annotated[str | None, Meta(description="why it failed or was cancelled")]
    experiment: Annotated[PlannedBlock | None, Meta(description="by whose arm it was planned")]


class OrdersAnswer(Struct, kw_only=True):
    """Orders, the latest first."""

    orders: list[OrderAnswer]


class OrderEvent(Struct, kw_only=True):
    """One entry of an order's history, in a stream of events as its data."""

    event: Annotated[int, Meta(description="grows over all orders")]
    version: int
    state: OrderState
    at: datetime
    detail: dict[str, Any]


class OrderHistory(Struct, kw_only=True):
    """An order with all that became of it."""

    order: OrderAnswer
    events: list[OrderEvent]


class BreakerAnswer(Struct, kw_only=True):
    """The circuit breaker of one provider."""

    dispatcher: str
    phase: Literal["closed", "open", "half_open"]
    since: datetime | None
    open_share: Annotated[float, Meta(description="of the last day")]


class BudgetAnswer(Struct, kw_only=True):
    """What generation may cost, and who makes what is ordered."""

    hour_dollars: Annotated[float, Meta(description="that may go now")]
    hour_images: Annotated[float, Meta(description="that may go now")]
    day_spent: Annotated[float, Meta(description="dollars since the local midnight")]
    day_dollars: Annotated[float, Meta(description="the day's budget")]
    alert: Annotated[bool, Meta(description="the day's budget is nearly gone")]
    stopped: Annotated[bool, Meta(description="the switch is off: nothing is ordered or sent")]
    stopped_by: str | None
    stopped_at: datetime | None
    in_flight: Annotated[int, Meta(description="orders that are not over")]
    breakers: list[BreakerAnswer]
