"""Orders artworks of the host's own generator, by rows in its queue, within what that queue can bear.

It throws away what has waited for 30 s and makes one pre-generation after the other, about 12 s each: so two may wait
at most, and one that nobody takes is withdrawn in time. Each costs the user who is named a credit, so only a user who
has one is named. A finished row is deleted within a minute; its artwork is known by its session id, job_<id>.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from features.database import Pool, query, transaction
from features.errors import GenerationFailedError
from features.host import Host
from features.settings import Settings
from serving.generation.dispatch.intake import Intake
from serving.generation.orders import Ledger, Order, State

MOST_WAITING = 2
PRIORITY = 10  # a fresh pre-generation; live work has 100
WITHDRAW_SECONDS = 25.0  # before the queue throws it away
LOOK_SECONDS = 1.0
GONE_LOOKS = 5  # a row that is gone without an artwork, seen so often, will not bring one
UNCHARGED = ("dead_letter", "cancelled")
MUSIC = {
    "tempo": 120, "amplitude": 0.5, "frequency": 440, "bassLevel": 0.5, "trebleLevel": 0.5, "rhythmComplexity": 0.5,
    "mood": "calm", "genre": "ambient",
}  # fmt: skip


class HostJobsDispatcher:
    """The host's queue as a provider."""

    name = "host-jobs"

    def __init__(self, pool: Pool, host: Host, ledger: Ledger, settings: Settings) -> None:
        self._pool = pool
        self._ledger = ledger
        self._grace = timedelta(seconds=settings.order_grace_seconds)
        self._intake = Intake(pool, host)
        self._entering = 0  # orders on their way into the queue, which it does not show yet

    async def room(self) -> int:
        """As many as may wait, less those that do, or will in a moment."""
        async with transaction(self._pool) as connection:
            row = await (await connection.execute(query("host_jobs_waiting"))).fetchone()
        return max(MOST_WAITING - self._entering - (row[0] if row else 0), 0)

    async def deliver(self, order: Order) -> str:
        """Put the job in the queue, unless that was done before, and wait for its artwork."""
        if order.state == State.SENT:
            self._entering += 1
            try:
                await self._enqueue(order)
            finally:
                self._entering -= 1
        gone = 0
        while datetime.now(UTC) < order.wish.deadline + self._grace:
            seen = await self._look(order)
            if seen["artwork_id"] is not None:
                return str(seen["artwork_id"])
            gone = 0 if seen["status"] else gone + 1
            if gone >= GONE_LOOKS:
                raise _failed(order, "the job is gone, and there is no artwork", charged=True)
            await self._give_up_on(order, seen)
            await asyncio.sleep(LOOK_SECONDS)
        raise _failed(order, "no artwork came in time", charged=True)

    async def _enqueue(self, order: Order) -> None:
        """The row and the ledger's word that it is there, together or not at all."""
        near = await self._intake.near(order.wish.near)
        async with transaction(self._pool) as connection:
            asked = {"user_ids": list(order.wish.user_ids)}
            payer = await (await connection.execute(query("host_payer"), asked)).fetchone()
            if payer is None:
                reason = "none of its users has a credit left"
                raise GenerationFailedError(order_id=order.order_id, reason=reason, charged=False, blameless=True)
            if not await self._ledger.advance_within(connection, order.order_id, State.RUNNING):
                return  # somebody else has done it
            job = {
                "job_id": str(order.order_id),
                "session_id": f"vernissage-{order.epoch}",
                "user_id": payer[0],
                "priority": PRIORITY,
                "payload": json.dumps(_payload(order, near.orientation)),
            }
            await connection.execute(query("host_job"), job)

    async def _look(self, order: Order) -> dict[str, Any]:
        """How the job stands."""
        asked = {"job_id": str(order.order_id), "session_id": f"job_{order.order_id}"}
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("host_job_state"), asked)
            row = await cursor.fetchone()
        assert row is not None  # noqa: S101 - the query's FROM is one row
        return row

    async def _give_up_on(self, order: Order, seen: dict[str, Any]) -> None:
        """Raise GenerationFailedError where the job has failed, or waits for so long that it must be withdrawn."""
        if seen["status"] in {"failed", *UNCHARGED}:
            reason = seen["error_message"] or f"the host says {seen['status']}"
            raise _failed(order, reason, charged=seen["status"] not in UNCHARGED)
        if seen["status"] != "pending" or seen["seconds"] < WITHDRAW_SECONDS:
            return
        async with transaction(self._pool) as connection:
            asked = {"job_id": str(order.order_id)}
            withdrawn = (await connection.execute(query("cancel_host_job"), asked)).rowcount == 1
        if withdrawn:
            raise _failed(order, f"nobody took the job for {WITHDRAW_SECONDS:g} s", charged=False)


def _payload(order: Order, orientation: str) -> dict[str, Any]:
    """What the host's own pre-generation writes."""
    return {
        "sessionId": f"vernissage-{order.epoch}",
        "audioAnalysis": MUSIC,
        "styles": list(order.wish.styles[:1]),
        "artists": [],
        "dynamicMode": False,
        "orientation": orientation,
        "isPreGeneration": True,
        "preGenerationReason": f"need {order.wish.priority:.2f}",
    }


def _failed(order: Order, reason: str, *, charged: bool) -> GenerationFailedError:
    """The error of an order without an artwork."""
    return GenerationFailedError(order_id=order.order_id, reason=reason, charged=charged)
