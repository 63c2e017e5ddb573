"""The host's queue as a provider: within what it can bear, paid by who can pay, and never twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest

from features.settings import Settings
from serving.generation.dispatch import host_jobs
from serving.generation.dispatch.host_jobs import HostJobsDispatcher
from serving.generation.dispatch.run import Deliveries
from serving.generation.orders import Order, State
from tests.generation import Parts, parts_of, wish
from tests.host import Host

WAIT_SECONDS = 60.0


@pytest.fixture
def host(connection: psycopg.Connection) -> Host:
    """The host, with a user who has credits and one who has none."""
    host = Host(connection)
    for user_id, balance in (("ada", 0), ("bob", 5)):
        host.add_user(user_id)
        host.insert("user_credits", {"user_id": user_id, "balance": balance})
    return host


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often."""
    monkeypatch.setattr(host_jobs, "LOOK_SECONDS", 0.05)


def run(settings: Settings, script: Callable[[Parts], Coroutine[Any, Any, Any]]) -> Any:
    """What a script on the parts comes to."""

    async def whole() -> Any:
        async with parts_of(settings) as parts:
            return await script(parts)

    return asyncio.run(whole())


async def deliver_all(parts: Parts, work: Callable[[], Any]) -> list[Order]:
    """Rounds until nothing is in flight, with the host at ``work`` between them."""
    queue = HostJobsDispatcher(parts.pool, parts.host, parts.ledger, parts.settings)
    deliveries = Deliveries(parts.ledger, parts.breakers, {queue.name: queue}, parts.settings)
    async with asyncio.timeout(WAIT_SECONDS):
        while await parts.ledger.open_orders():
            await deliveries.step()
            await asyncio.sleep(0.05)
            work()
    await deliveries.wait()
    return sorted(await parts.ledger.orders(), key=lambda order: order.place)


class Worker:
    """The host's worker: makes one artwork when told to, as the host does."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.payloads: list[dict[str, Any]] = []
        self.most_waiting = 0

    def finish(self, *, delete: bool = False, status: str = "completed") -> None:
        """The next job, to its end; ``delete``: its row is gone as soon as it is finished."""
        jobs = self.host.connection.execute(
            "SELECT id, user_id, payload FROM public.generation_jobs WHERE status = 'pending'"
            " ORDER BY priority DESC, created_at"
        ).fetchall()
        self.most_waiting = max(self.most_waiting, len(jobs))
        for job_id, user_id, payload in jobs[:1]:
            self.payloads.append(json.loads(payload) | {"user_id": user_id})
            if status == "completed":
                self.host.add_artwork(session_id=f"job_{job_id}", user_id=user_id)
            self.host.connection.execute(
                "UPDATE public.generation_jobs SET status = %s, error_message = 'as told' WHERE id = %s",
                (status, job_id),
            )
            if delete:
                self.host.connection.execute("DELETE FROM public.generation_jobs WHERE id = %s", (job_id,))


@pytest.mark.parametrize("delete", [False, True])
def test_orders_pass_through_the_queue_two_at_a_time(settings: Settings, host: Host, *, delete: bool) -> None:
    """Each becomes the artwork of its job, also where the row is deleted before anybody looks."""
    worker = Worker(host)

    async def script(parts: Parts) -> list[Order]:
        await parts.ledger.place(1, [wish(number) for number in range(5)], "host-jobs")
        return await deliver_all(parts, lambda: worker.finish(delete=delete))

    ended = run(settings, script)
    assert [order.state for order in ended] == [State.DELIVERED] * 5
    sessions = dict(host.connection.execute("SELECT id, session_id FROM public.art_sessions").fetchall())
    assert {sessions[str(order.artwork_id)] for order in ended} == {f"job_{order.order_id}" for order in ended}
    assert worker.most_waiting <= 2
    assert {payload["user_id"] for payload in worker.payloads} == {"bob"}
    expected = {"sessionId", "audioAnalysis", "styles", "artists", "dynamicMode", "orientation", "isPreGeneration"}
    assert all(expected <= set(payload) for payload in worker.payloads)


def test_nobody_is_made_to_pay_who_cannot(settings: Settings, host: Host) -> None:
    """The order fails, nothing is in the queue, and the dollars come back."""

    async def script(parts: Parts) -> None:
        poor = [wish(user_ids=("ada",)), wish(user_ids=("nobody",))] * 3
        await parts.ledger.place(1, poor, "host-jobs")
        ended = await deliver_all(parts, lambda: None)
        assert [order.detail["reason"] for order in ended] == ["none of its users has a credit left"] * 6
        assert (await parts.breakers.states())["host-jobs"].outcomes == ()  # the queue is not to blame
        assert (await parts.budget.look(parts.pool)).day_spent == 0.0

    run(settings, script)
    assert host.count("SELECT count(*) FROM public.generation_jobs") == 0


def test_a_job_that_nobody_takes_is_withdrawn_before_the_queue_throws_it_away(settings: Settings, host: Host) -> None:
    """No worker of the host runs."""

    def age() -> None:
        host.connection.execute("UPDATE public.generation_jobs SET created_at = created_at - interval '25 seconds'")

    async def script(parts: Parts) -> None:
        await parts.ledger.place(1, [wish()], "host-jobs")
        (order,) = await deliver_all(parts, age)
        assert (order.state, order.detail["reason"]) == (State.FAILED, "nobody took the job for 25 s")
        assert (await parts.budget.look(parts.pool)).day_spent == 0.0

    run(settings, script)
    assert host.count("SELECT count(*) FROM public.generation_jobs WHERE status = 'cancelled'") == 1


@pytest.mark.parametrize(("status", "spent"), [("failed", 0.02), ("dead_letter", 0.0)])
def test_what_the_host_says_of_a_job_ends_its_order(settings: Settings, host: Host, status: str, spent: float) -> None:
    """What was thrown away unmade costs nothing; what failed in the making may have cost."""
    worker = Worker(host)

    async def script(parts: Parts) -> None:
        await parts.ledger.place(1, [wish()], "host-jobs")
        (order,) = await deliver_all(parts, lambda: worker.finish(status=status))
        assert (order.state, order.detail["reason"]) == (State.FAILED, "as told")
        assert (await parts.budget.look(parts.pool)).day_spent == pytest.approx(spent)

    run(settings, script)


def test_a_job_that_a_dead_process_left_is_waited_for_and_not_ordered_again(settings: Settings, host: Host) -> None:
    """Its row was deleted meanwhile; the artwork tells."""
    worker = Worker(host)

    async def script(parts: Parts) -> list[Order]:
        await parts.ledger.place(1, [wish()], "host-jobs")
        queue = HostJobsDispatcher(parts.pool, parts.host, parts.ledger, parts.settings)
        deliveries = Deliveries(parts.ledger, parts.breakers, {queue.name: queue}, parts.settings)
        await deliveries.step()
        async with asyncio.timeout(WAIT_SECONDS):
            while (await parts.ledger.open_orders())[0].state != State.RUNNING:  # noqa: ASYNC110 - only the ledger tells
                await asyncio.sleep(0.02)
        await deliveries.stop()
        worker.finish(delete=True)
        return await deliver_all(parts, lambda: None)

    (order,) = run(settings, script)
    assert order.state == State.DELIVERED
    assert host.count("SELECT count(*) FROM public.art_sessions") == 1


def test_what_is_on_its_way_into_a_slow_queue_takes_its_room(settings: Settings, host: Host) -> None:
    """Two are being written and not to be seen yet: a third would be thrown away."""
    blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public.generation_jobs'::regclass"

    async def script(parts: Parts) -> list[int]:
        await parts.ledger.place(1, [wish(number, user_ids=("bob",)) for number in range(2)], "host-jobs")
        queue = HostJobsDispatcher(parts.pool, parts.host, parts.ledger, parts.settings)
        deliveries = Deliveries(parts.ledger, parts.breakers, {queue.name: queue}, parts.settings)
        rooms = [await queue.room()]
        with host.connection.transaction():
            host.connection.execute("LOCK TABLE public.generation_jobs IN EXCLUSIVE MODE")
            await deliveries.step()
            async with asyncio.timeout(WAIT_SECONDS):
                while host.count(blocked) < 2:  # noqa: ASYNC110 - only the database tells
                    await asyncio.sleep(0.02)
            rooms.append(await queue.room())
        async with asyncio.timeout(WAIT_SECONDS):
            while host.count("SELECT count(*) FROM public.generation_jobs") < 2:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.02)
        rooms.append(await queue.room())
        await deliveries.stop()
        return rooms

    assert run(settings, script) == [2, 0, 0]
