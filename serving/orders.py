"""The ledger of orders for new artworks: what was wished for, and what became of it, in append-only versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from features.arrays import Floats


class State(StrEnum):
    """Where an order is; the first three are in flight and count as stock."""

    PLANNED = "planned"
    SENT = "sent"
    RUNNING = "running"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


IN_FLIGHT = (State.PLANNED, State.SENT, State.RUNNING)


@dataclass(frozen=True)
class Wish:
    """One image to order, as a plan says it."""

    user_ids: tuple[str, ...]  # for whom
    near: str  # id of the artwork that it shall be like
    dna: Floats  # (50,)
    styles: tuple[str, ...]
    prompt: str
    benefit: float  # dollars of stock-outs avoided, expected
    reach: float  # users who get to it within the horizon, expected
    priority: float  # the highest need among its users
    cost: float  # dollars
    deadline: datetime


@dataclass(frozen=True)
class InFlight:
    """An order that is not over yet."""

    order_id: str
    user_ids: tuple[str, ...]
    near: str
    ordered_at: datetime
