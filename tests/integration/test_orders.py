"""The ledger of orders and its budget on a real database: nothing twice, nothing overspent, nothing forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from features.errors import BadSettingError, BudgetTooSmallError
from features.settings import Settings
from serving.erasure import erase_departed
from serving.generation.budget import Budget, switch
from serving.generation.leadership import Leadership
from serving.generation.orders import Placed, State
from tests.generation import Parts, parts_of, wish
from tests.host import Host


def run(settings: Settings, script: Callable[[Parts], Coroutine[Any, Any, Any]], **changed: Any) -> Any:
    """What a script on the parts comes to, under these settings."""

    async def whole() -> Any:
        async with parts_of(msgspec.structs.replace(settings, **changed)) as parts:
            return await script(parts)

    return asyncio.run(whole())


class TestPlacing:
    """Wishes become orders."""

    def test_an_epoch_is_placed_once_however_many_plan_it(self, settings: Settings) -> None:
        """Six planners at once, each with wishes of its own: one of them places all of its, the others nothing."""

        def plan(number: int) -> Placed:
            return run(settings, lambda parts: parts.ledger.place(7, [wish(number)] * (1 + number), "local"))

        with ThreadPoolExecutor(6) as threads:
            placed = list(threads.map(plan, range(6)))
        assert sum(each.first for each in placed) == 1
        (number,) = (number for number, each in enumerate(placed) if each.first)
        assert [len(each.order_ids) for each in placed] == [1 + number if at == number else 0 for at in range(6)]

    def test_an_epoch_in_which_nothing_was_placed_stays_free(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """Neither a plan of nothing nor the switch takes it from those who order later; orders do."""

        def place(count: int) -> int:
            wishes = [wish(number) for number in range(count)]
            return len(run(settings, lambda parts: parts.ledger.place(7, wishes, "local")).order_ids)

        switch(connection, "eve", stopped=True)
        stopped = place(2)
        switch(connection, "eve", stopped=False)
        assert (stopped, place(0), place(2), place(2)) == (0, 0, 2, 0)

    def test_what_was_placed_is_read_back_as_it_was_wished(self, settings: Settings) -> None:
        """All of it, in flight from the first moment."""

        async def script(parts: Parts) -> None:
            asked = wish(3)
            placed = await parts.ledger.place(1, [asked], "local")
            order = await parts.ledger.find(placed.order_ids[0])
            assert order is not None
            assert (order.state, order.epoch, order.place, order.dispatcher) == (State.PLANNED, 1, 0, "local")
            assert (order.wish.dna == asked.dna).all()
            for name in ("user_ids", "near", "styles", "prompt", "cost", "deadline"):
                assert getattr(order.wish, name) == getattr(asked, name)
            (one,) = await parts.ledger.in_flight()
            assert (one.order_id, one.user_ids, one.near) == (str(order.order_id), asked.user_ids, asked.near)

        run(settings, script)

    def test_nothing_is_placed_for_a_leader_whose_lease_is_over(self, settings: Settings) -> None:
        """It was asleep; another one leads, or nobody."""

        async def script(parts: Parts) -> None:
            first, second = Leadership(parts.pool, 60), Leadership(parts.pool, 60)
            old = await first.take()
            assert old is not None
            assert await second.take() is None
            assert (await parts.ledger.place(1, [wish()], "local", lead=old)).first
            await first.leave()
            new = await second.take()
            assert new is not None
            assert new.fence > old.fence
            assert not (await parts.ledger.place(2, [wish()], "local", lead=old)).first
            assert (await parts.ledger.place(2, [wish()], "local", lead=new)).first

        run(settings, script)


class TestStates:
    """Orders move on."""

    def test_of_many_workers_one_moves_an_order_on(self, settings: Settings) -> None:
        """Eight at once."""

        async def script(parts: Parts) -> None:
            (order_id,) = (await parts.ledger.place(1, [wish()], "local")).order_ids
            moved = await asyncio.gather(*(parts.ledger.advance(order_id, State.SENT) for _ in range(8)))
            assert sum(moved) == 1
            assert [version.state for version in await parts.ledger.history(order_id)] == ["planned", "sent"]

        run(settings, script)

    @pytest.mark.parametrize(
        ("path", "refused"),
        [
            ([], ["running", "delivered", "failed", "planned"]),
            (["sent"], ["planned", "sent"]),
            (["sent", "running"], ["planned", "sent", "running"]),
            (["sent", "delivered"], ["failed", "expired", "cancelled", "delivered", "running"]),
            (["sent", "failed"], ["delivered", "expired", "sent"]),
            (["cancelled"], ["sent", "delivered", "expired"]),
            (["expired"], ["delivered", "failed", "cancelled"]),
            (["sent", "expired"], ["failed", "cancelled", "expired", "running"]),
        ],
    )
    def test_only_what_may_follow_follows(self, settings: Settings, path: list[str], refused: list[str]) -> None:
        """Whatever was never sent is never delivered, and what is over stays over."""

        async def script(parts: Parts) -> None:
            (order_id,) = (await parts.ledger.place(1, [wish()], "local")).order_ids
            for state in path:
                assert await parts.ledger.advance(order_id, State(state))
            for state in refused:
                assert not await parts.ledger.advance(order_id, State(state)), state

        run(settings, script)

    def test_an_order_is_told_as_it_was_at_any_time(self, settings: Settings) -> None:
        """Before it was ordered there was none; afterwards each version in turn."""

        async def script(parts: Parts) -> None:
            before = datetime.now(UTC) - timedelta(seconds=5)
            (order_id,) = (await parts.ledger.place(1, [wish()], "local")).order_ids
            for state in (State.SENT, State.RUNNING, State.DELIVERED):
                assert await parts.ledger.advance(order_id, state, {"artwork_id": "a-1"})
            for version in await parts.ledger.history(order_id):
                then = await parts.ledger.find(order_id, at=version.at)
                assert then is not None
                assert then.state == version.state
                assert [order.order_id for order in await parts.ledger.orders(state=version.state, at=version.at)]
            assert await parts.ledger.find(order_id, at=before) is None
            assert await parts.ledger.orders(at=before) == []
            assert await parts.ledger.in_flight() == []

        run(settings, script)

    def test_a_late_order_expires_and_what_was_sent_may_still_come(self, settings: Settings) -> None:
        """What was never sent costs nothing; what was sent and comes late is taken, and not paid for again."""

        async def script(parts: Parts) -> None:
            asked = [wish(0, seconds=-10), wish(1, seconds=-10), wish(2, seconds=600)]
            unsent, sent, timely = (await parts.ledger.place(1, asked, "local")).order_ids
            await parts.ledger.advance(sent, State.SENT)
            assert [order.order_id for order in await parts.ledger.in_flight()] == [str(timely)]
            assert await parts.ledger.expire() == 2
            assert await parts.ledger.expire() == 0
            assert (await parts.budget.look(parts.pool)).day_spent == pytest.approx(0.04)
            assert not await parts.ledger.advance(unsent, State.DELIVERED)
            assert await parts.ledger.advance(sent, State.DELIVERED, {"artwork_id": "a-1"})
            assert (await parts.budget.look(parts.pool)).day_spent == pytest.approx(0.04)

        run(settings, script, order_grace_seconds=1.0)

    def test_what_was_due_long_ago_is_ended_when_all_is_gone_through(self, settings: Settings) -> None:
        """A loop that was away for days ends it at first, and looks at a day's orders from then on."""

        async def script(parts: Parts) -> None:
            day = 86_400.0
            await parts.ledger.place(1, [wish(0, seconds=-60), wish(1, seconds=-2 * day)], "local")
            assert await parts.ledger.expire(lately=True) == 1
            assert await parts.ledger.expire() == 1
            assert {order.state for order in await parts.ledger.orders()} == {State.EXPIRED}

        run(settings, script, order_grace_seconds=1.0)

    def test_what_was_sent_meanwhile_gets_no_dollars_back(self, settings: Settings) -> None:
        """Whoever found it unsent, and cancels or expires it for that, comes too late."""

        async def script(parts: Parts) -> None:
            (order_id,) = (await parts.ledger.place(1, [wish()], "local")).order_ids
            await parts.ledger.advance(order_id, State.SENT)
            for state in (State.CANCELLED, State.EXPIRED):
                assert not await parts.ledger.advance(order_id, state, charged=False, only_from=State.PLANNED)
            late = (await parts.ledger.place(2, [wish(n, seconds=-10) for n in range(8)], "local")).order_ids
            sending = (parts.ledger.advance(order_id, State.SENT) for order_id in late)
            await asyncio.gather(*sending, parts.ledger.expire())
            histories = [await parts.ledger.history(order_id) for order_id in (order_id, *late)]
            sent = sum(any(version.state == State.SENT for version in history) for history in histories)
            assert (await parts.budget.look(parts.pool)).day_spent >= sent * 0.02 - 1e-9

        run(settings, script, order_grace_seconds=1.0)

    def test_nothing_is_sent_while_generation_is_stopped(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """Also by a loop that has looked at the switch before it was turned."""

        async def script(parts: Parts) -> None:
            (order_id,) = (await parts.ledger.place(1, [wish()], "local")).order_ids
            switch(connection, "eve", stopped=True)
            assert not await parts.ledger.advance(order_id, State.SENT)
            switch(connection, "eve", stopped=False)
            assert await parts.ledger.advance(order_id, State.SENT)
            switch(connection, "eve", stopped=True)
            assert await parts.ledger.advance(order_id, State.DELIVERED, {"artwork_id": "a-1"})

        run(settings, script)

    def test_orders_and_versions_cannot_be_rewritten(self, settings: Settings, connection: psycopg.Connection) -> None:
        """Not even by hand; only a user who is erased may leave."""
        run(settings, lambda parts: parts.ledger.place(1, [wish()], "local"))
        for forbidden in (
            "UPDATE vernissage.orders SET cost = 0",
            "UPDATE vernissage.orders SET user_ids = '{ada,bob,eve}'",
            "UPDATE vernissage.orders SET user_ids = '{ada}', near = 'else'",
            "UPDATE vernissage.order_versions SET state = 'failed'",
        ):
            with pytest.raises(psycopg.errors.RaiseException):
                connection.execute(forbidden)
        connection.execute("UPDATE vernissage.orders SET user_ids = '{bob}'")

    def test_a_user_who_is_erased_leaves_the_orders(self, settings: Settings, connection: psycopg.Connection) -> None:
        """And the others stay, and so do the orders."""
        connection.execute("INSERT INTO vernissage.hosted_users VALUES ('ada')")  # whom the host no longer holds

        async def script(parts: Parts) -> list[tuple[str, ...]]:
            await parts.ledger.place(1, [wish(0), wish(1, user_ids=("ada",)), wish(2, user_ids=("bob",))], "local")
            await erase_departed(parts.pool)
            return sorted(order.wish.user_ids for order in await parts.ledger.orders())

        assert run(settings, script) == [(), ("bob",), ("bob",)]

    def test_who_was_erased_since_the_plan_does_not_come_back_by_its_orders(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """An image that was for nobody else is not ordered."""
        Host(connection).add_user("ada")
        wishes = [wish(0, user_ids=("gone",)), wish(1, user_ids=("gone", "ada"))]

        async def script(parts: Parts) -> list[tuple[str, ...]]:
            await parts.ledger.place(1, wishes, "local", planned=True)
            assert (await parts.budget.look(parts.pool)).day_spent == pytest.approx(0.02)
            return [order.wish.user_ids for order in await parts.ledger.orders()]

        assert run(settings, script) == [("ada",)]


class TestBudget:
    """Dollars."""

    def test_planners_at_once_never_overspend_the_hour(self, settings: Settings) -> None:
        """Eight plans of ten images each, and twenty-five may go at once."""

        def plan(epoch: int) -> int:
            asked = [wish(number) for number in range(10)]
            return len(run(settings, lambda parts: parts.ledger.place(epoch, asked, "local")).order_ids)

        with ThreadPoolExecutor(8) as threads:
            placed = sum(threads.map(plan, range(8)))
        assert 25 <= placed <= 27  # in the time that this takes one or two more have flowed in
        assert run(settings, lambda parts: parts.budget.look(parts.pool)).day_spent == pytest.approx(placed * 0.02)

    def test_the_day_ends_a_plan_too_and_rings_at_four_fifths(self, settings: Settings) -> None:
        """A day of a dime holds five images of two cents; from the fourth on the alert is on."""

        async def script(parts: Parts) -> None:
            alerts = []
            for epoch in range(4):
                assert len((await parts.ledger.place(epoch, [wish()], "local")).order_ids) == 1
                alerts.append((await parts.budget.look(parts.pool)).alert)
            assert alerts == [False, False, False, True]
            assert len((await parts.ledger.place(9, [wish(), wish(1)], "local")).order_ids) == 1
            assert (await parts.budget.look(parts.pool)).dollars == 0.0

        run(settings, script, budget_day_dollars=0.1)

    def test_a_new_day_has_its_own_budget(self, settings: Settings, connection: psycopg.Connection) -> None:
        """The day is the local one."""

        async def script(parts: Parts) -> None:
            assert len((await parts.ledger.place(1, [wish()] * 9, "local")).order_ids) == 5
            connection.execute("UPDATE vernissage.budget SET day = day - 1")
            assert (await parts.budget.look(parts.pool)).day_spent == 0.0
            assert len((await parts.ledger.place(2, [wish()] * 9, "local")).order_ids) == 5

        run(settings, script, budget_day_dollars=0.1, budget_zone="Pacific/Kiritimati")

    def test_what_was_never_charged_comes_back_once(self, settings: Settings) -> None:
        """A failed order that cost nothing; four workers say so at once."""

        async def script(parts: Parts) -> None:
            free, paid = (await parts.ledger.place(1, [wish(0), wish(1)], "local")).order_ids
            for order_id in (free, paid):
                await parts.ledger.advance(order_id, State.SENT)
            await asyncio.gather(*(parts.ledger.advance(free, State.FAILED, charged=False) for _ in range(4)))
            await parts.ledger.advance(paid, State.FAILED, charged=True)
            left = await parts.budget.look(parts.pool)
            assert left.day_spent == pytest.approx(0.02)
            assert left.hour_images == pytest.approx(24, abs=0.5)

        run(settings, script)

    def test_what_comes_back_after_the_zone_has_changed_makes_no_day_longer(self, settings: Settings) -> None:
        """It was paid on a day that is over there; the new one has its own budget and no more."""

        async def place(parts: Parts, epoch: int) -> int:
            return len((await parts.ledger.place(epoch, [wish(number) for number in range(9)], "local")).order_ids)

        async def moved(parts: Parts) -> None:
            assert await place(parts, 2) == 5
            assert await parts.ledger.cancel_planned("moved") == 10
            assert (await parts.budget.look(parts.pool)).day_spent == 0.0
            assert await place(parts, 3) == 5

        west, east = "Etc/GMT+12", "Pacific/Kiritimati"  # 26 hours apart: never on one day
        assert run(settings, lambda parts: place(parts, 1), budget_day_dollars=0.1, budget_zone=west) == 5
        run(settings, moved, budget_day_dollars=0.1, budget_zone=east)

    def test_the_switch_stops_orders_until_it_is_turned(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """And the audit log tells who did it."""

        async def place(parts: Parts, epoch: int) -> int:
            return len((await parts.ledger.place(epoch, [wish()], "local")).order_ids)

        assert switch(connection, "eve", stopped=True)
        assert not switch(connection, "eve", stopped=True)
        state = run(settings, lambda parts: parts.budget.look(parts.pool))
        assert (state.stopped, state.stopped_by, state.dollars) == (True, "eve", 0.0)
        assert run(settings, lambda parts: place(parts, 1)) == 0
        assert switch(connection, "eve", stopped=False)
        assert run(settings, lambda parts: place(parts, 2)) == 1
        rows = connection.execute("SELECT action FROM vernissage.audit_log ORDER BY entry_id").fetchall()
        assert rows == [("generation stop",), ("generation start",)]

    @pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../Europe/Vienna", "V" * 300])
    def test_a_zone_that_is_none_is_refused(self, zone: str) -> None:
        """At the start, with the setting's name; a folder of zones is none either."""
        with pytest.raises(BadSettingError, match="VERNISSAGE_BUDGET_ZONE"):
            Budget(Settings(budget_zone=zone))

    def test_a_budget_below_one_image_is_refused(self) -> None:
        """At the start, with the setting's name."""
        with pytest.raises(BudgetTooSmallError, match="budget_hour_images"):
            Budget(Settings(budget_hour_images=1))
