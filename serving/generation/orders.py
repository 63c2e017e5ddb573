"""The ledger of orders for new artworks: what was wished for, and what became of it, in append-only versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.arrays import Floats
from features.database import Pool, query, transaction
from features.identifiers import new_id
from features.settings import Settings
from serving.experiments.switchback import Block
from serving.generation.budget import Budget
from serving.generation.leadership import Lead, still_leads


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


@dataclass(frozen=True)
class Order:
    """An order as it stands, or stood at some time."""

    order_id: UUID
    epoch: int
    place: int
    ordered_at: datetime
    dispatcher: str
    wish: Wish
    state: State
    state_at: datetime
    detail: dict[str, Any]  # what the newest version says: the artwork's id, or the reason of a failure
    experiment: dict[str, Any] | None = None  # the block and arm that planned it, where a switchback ran

    @property
    def artwork_id(self) -> str | None:
        """The artwork that was delivered."""
        return self.detail.get("artwork_id") if self.state == State.DELIVERED else None


@dataclass(frozen=True)
class Version:
    """One entry of an order's history."""

    entry: int  # grows over all orders
    version: int
    state: State
    at: datetime
    detail: dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """What became of the wishes of an epoch."""

    order_ids: tuple[UUID, ...]  # in order of the wishes; fewer where the budget ended
    first: bool  # False: the epoch was planned before, or somebody else leads now, and nothing was placed


class Ledger:
    """Places orders and moves them on; every change of state is one guarded insert."""

    def __init__(self, pool: Pool, budget: Budget, settings: Settings) -> None:
        self._pool = pool
        self._budget = budget
        self._grace = settings.order_grace_seconds

    async def place(
        self,
        epoch: int,
        wishes: Sequence[Wish],
        dispatcher: str,
        *,
        lead: Lead | None = None,
        block: Block | None = None,
        planned: bool = False,
    ) -> Placed:
        """Order the wishes, best first, as far as the budget goes: all in one transaction, once for an epoch.

        With ``lead`` it is done only while that lease holds. Where nothing could be placed the epoch stays free.
        ``block``: whose arm planned them. ``planned``: some time ago; users who were erased since are left out.
        """
        told = {"dispatcher": dispatcher, "experiment": None if block is None else Jsonb(block.log)}
        async with transaction(self._pool) as connection:
            if lead is not None and not await still_leads(connection, lead):
                return Placed((), first=False)
            asked = {"epoch": epoch, "wished": len(wishes)}
            if (await connection.execute(query("open_epoch"), asked)).rowcount == 0:
                return Placed((), first=False)
            if planned:
                wishes = await _for_known(connection, wishes)
            order_ids = []
            for place, wish in enumerate(wishes):
                if not await self._budget.spend(connection, wish.cost):
                    break
                order_ids.append(await _insert(connection, wish, told | {"epoch": epoch, "place": place}))
            ending = query("close_epoch" if order_ids else "free_epoch")
            await connection.execute(ending, {"epoch": epoch, "placed": len(order_ids)})
        return Placed(tuple(order_ids), first=True)

    async def advance(
        self,
        order_id: UUID,
        state: State,
        detail: dict[str, Any] | None = None,
        *,
        charged: bool = True,
        only_from: State | None = None,
    ) -> bool:
        """Move an order on; False when its state does not allow it, or somebody else was first.

        Not ``charged``: its dollars go back into the budget, in the same transaction. ``only_from``: the state that
        this rests on, where others would allow it too.
        """
        async with transaction(self._pool) as connection:
            return await self.advance_within(connection, order_id, state, detail, charged=charged, only_from=only_from)

    async def advance_within(
        self,
        connection: psycopg.AsyncConnection,
        order_id: UUID,
        state: State,
        detail: dict[str, Any] | None = None,
        *,
        charged: bool = True,
        only_from: State | None = None,
    ) -> bool:
        """The same in the caller's transaction."""
        told = (detail or {}) | ({} if charged else {"refunded": True})
        values = {"order_id": order_id, "state": state, "detail": Jsonb(told), "only_from": only_from}
        moved = (await connection.execute(query("advance_order"), values)).rowcount == 1
        if moved and not charged:
            await self._budget.refund(connection, order_id)
        return moved

    async def in_flight(self) -> list[InFlight]:
        """What counts as stock that is on its way."""
        return [
            InFlight(str(order.order_id), order.wish.user_ids, order.wish.near, order.ordered_at)
            for order in await self.open_orders()
        ]

    async def open_orders(self) -> list[Order]:
        """The orders that are not over, the most urgent first."""
        return [_order(row) for row in await self._rows("open_orders", grace=self._grace)]

    async def expire(self, *, lately: bool = False) -> int:
        """End what is past its deadline and grace; dollars of what was never sent come back, the rest may come yet.

        ``lately``: only what was due within a day, which is quick however long the ledger is.
        """
        late = await self._rows("orders_late", grace=self._grace, lately=lately)
        ends = []
        for row in late:
            was = State(row["state"])
            expired = self.advance(row["order_id"], State.EXPIRED, charged=was != State.PLANNED, only_from=was)
            ends.append(await expired)
        return sum(ends)

    async def cancel_planned(self, reason: str) -> int:
        """Cancel what nobody was asked to make yet; its dollars come back."""
        planned = [order for order in await self.open_orders() if order.state == State.PLANNED]
        told = {"reason": reason}
        ends = [
            await self.advance(order.order_id, State.CANCELLED, told, charged=False, only_from=State.PLANNED)
            for order in planned
        ]
        return sum(ends)

    async def orders(self, *, state: State | None = None, at: datetime | None = None, limit: int = 100) -> list[Order]:
        """Orders as they stand, or stood at ``at``, the latest first; only those in ``state`` then."""
        found = await self._rows("orders_at", state=state, at=at or _ever(), order_id=None, limit=limit)
        return [_order(row) for row in found]

    async def find(self, order_id: UUID, at: datetime | None = None) -> Order | None:
        """One order as it stands, or stood at ``at``; None where there was none."""
        found = await self._rows("orders_at", state=None, at=at or _ever(), order_id=order_id, limit=1)
        return _order(found[0]) if found else None

    async def history(self, order_id: UUID, after: int = 0) -> list[Version]:
        """The versions of an order, of those with an entry beyond ``after``, in order."""
        rows = await self._rows("order_history", order_id=order_id, after=after)
        return [Version(row["entry"], row["version"], State(row["state"]), row["at"], row["detail"]) for row in rows]

    async def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """All rows of one named query."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query(name), values)
            return await cursor.fetchall()


async def _for_known(connection: psycopg.AsyncConnection, wishes: Sequence[Wish]) -> list[Wish]:
    """The wishes for those users who are there still; a wish for nobody is none."""
    asked = {"user_ids": sorted({user_id for wish in wishes for user_id in wish.user_ids})}
    known = {row[0] for row in await (await connection.execute(query("users_still_here"), asked)).fetchall()}
    left = (replace(wish, user_ids=tuple(each for each in wish.user_ids if each in known)) for wish in wishes)
    return [wish for wish in left if wish.user_ids]


async def _insert(connection: psycopg.AsyncConnection, wish: Wish, planned: dict[str, Any]) -> UUID:
    """The order of one wish, in its first version; ``planned``: epoch, place, dispatcher and experiment."""
    order_id = new_id()
    row = planned | {
        "order_id": order_id,
        "user_ids": list(wish.user_ids),
        "near": wish.near,
        "dna": wish.dna.tolist(),
        "styles": list(wish.styles),
        "prompt": wish.prompt,
        "benefit": wish.benefit,
        "reach": wish.reach,
        "priority": wish.priority,
        "cost": wish.cost,
        "deadline": wish.deadline,
    }
    await connection.execute(query("place_order"), row)
    return order_id


def _order(row: dict[str, Any]) -> Order:
    """A row of the ledger."""
    wish = Wish(
        user_ids=tuple(row["user_ids"]),
        near=row["near"],
        dna=np.array(row["dna"], dtype=np.float32),
        styles=tuple(row["styles"]),
        prompt=row["prompt"],
        benefit=row["benefit"],
        reach=row["reach"],
        priority=row["priority"],
        cost=float(row["cost"]),
        deadline=row["deadline"],
    )
    return Order(
        order_id=row["order_id"],
        epoch=row["epoch"],
        place=row["place"],
        ordered_at=row["ordered_at"],
        dispatcher=row["dispatcher"],
        wish=wish,
        state=State(row["state"]),
        state_at=row["state_at"],
        detail=row["detail"],
        experiment=row["experiment"],
    )


def _ever() -> datetime:
    """A time after every order, whatever this machine's clock says."""
    return datetime(9999, 1, 1, tzinfo=UTC)
