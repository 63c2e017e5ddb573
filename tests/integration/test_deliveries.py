"""Orders are brought to their providers on a real database: one by one, few at once, and never twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
from PIL import Image

from features.errors import GenerationFailedError
from features.settings import Settings
from serving.generation.breaker import Phase
from serving.generation.dispatch.interface import Dispatcher
from serving.generation.dispatch.local import LocalDispatcher
from serving.generation.dispatch.run import Deliveries
from serving.generation.orders import Order, State
from tests.generation import Parts, Scripted, parts_of, wish

ROOMY = {"budget_hour_images": 1_000, "budget_hour_dollars": 100.0, "budget_day_dollars": 100.0, "painted_pixels": 320}
WAIT_SECONDS = 60.0


def run(settings: Settings, script: Callable[[Parts], Coroutine[Any, Any, Any]], **changed: Any) -> Any:
    """What a script on the parts comes to, with a budget that does not matter."""

    async def whole() -> Any:
        async with parts_of(msgspec.structs.replace(settings, **(ROOMY | changed))) as parts:
            return await script(parts)

    return asyncio.run(whole())


async def deliver_all(parts: Parts, dispatcher: Dispatcher) -> list[Order]:
    """Rounds until nothing is in flight; the orders as they ended, in order of their places."""
    deliveries = Deliveries(parts.ledger, parts.breakers, {dispatcher.name: dispatcher}, parts.settings)
    async with asyncio.timeout(WAIT_SECONDS):
        while await parts.ledger.open_orders():
            await deliveries.step()
            await deliveries.wait()
    return sorted(await parts.ledger.orders(limit=500), key=lambda order: (order.epoch, order.place))


def local(parts: Parts) -> LocalDispatcher:
    """The painter."""
    return LocalDispatcher(parts.pool, parts.host, parts.ledger, parts.settings)


async def fine(order: Order) -> str:
    """A provider that always delivers."""
    return f"artwork {order.order_id}"


class TestRunning:
    """Whatever the provider is."""

    def test_a_hundred_orders_of_which_some_fail_end_one_by_one(self, settings: Settings) -> None:
        """Each with its own reason, and the dollars of those that cost nothing come back."""

        async def answer(order: Order) -> str:
            if order.place % 10 == 3:
                raise GenerationFailedError(order_id=order.order_id, reason="out of paint")
            return await fine(order)

        async def script(parts: Parts) -> None:
            await parts.ledger.place(1, [wish(number, seconds=600) for number in range(100)], "scripted")
            ended = await deliver_all(parts, Scripted(answer))
            failed = [order for order in ended if order.state == State.FAILED]
            assert [order.place for order in failed] == list(range(3, 100, 10))
            assert {order.detail["reason"] for order in failed} == {"out of paint"}
            delivered = [order for order in ended if order.state == State.DELIVERED]
            assert [order.artwork_id for order in delivered] == [f"artwork {order.order_id}" for order in delivered]
            assert len(ended) == len(failed) + len(delivered) == 100
            assert (await parts.budget.look(parts.pool)).day_spent == pytest.approx(90 * 0.02)

        run(settings, script)

    def test_no_more_than_four_are_with_a_provider_at_once(self, settings: Settings) -> None:
        """And no more than it has room for."""

        async def script(parts: Parts) -> None:
            gate, seen = asyncio.Event(), []

            async def waiting(order: Order) -> str:
                seen.append(order.order_id)
                await gate.wait()
                return await fine(order)

            await parts.ledger.place(1, [wish(number) for number in range(9)], "scripted")
            for room, expected in ((2, 2), (100, 4)):
                seen.clear()
                gate.clear()
                dispatcher = Scripted(waiting, room)
                deliveries = Deliveries(parts.ledger, parts.breakers, {"scripted": dispatcher}, parts.settings)
                await deliveries.step()
                await asyncio.sleep(0)
                assert len(seen) == expected
                gate.set()
                await deliveries.wait()

        run(settings, script)

    def test_what_a_dead_process_had_begun_is_taken_up(self, settings: Settings) -> None:
        """It is given to the provider again, in the state that it was left in."""

        async def script(parts: Parts) -> None:
            (order_id,) = (await parts.ledger.place(1, [wish()], "scripted")).order_ids
            await parts.ledger.advance(order_id, State.SENT)
            await parts.ledger.advance(order_id, State.RUNNING)
            dispatcher = Scripted(fine)
            (order,) = await deliver_all(parts, dispatcher)
            assert [given.state for given in dispatcher.orders] == [State.RUNNING]
            assert order.state == State.DELIVERED

        run(settings, script)

    def test_a_provider_that_only_fails_is_left_alone_and_probed(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """Five failures open its breaker, for every process; later a probe goes, and three good ones close it."""

        async def broken(order: Order) -> str:
            raise GenerationFailedError(order_id=order.order_id, reason="away")

        async def script(parts: Parts) -> None:
            await parts.ledger.place(1, [wish(number, seconds=600) for number in range(30)], "scripted")
            dispatcher = Scripted(broken)
            for _ in range(4):
                deliveries = Deliveries(parts.ledger, parts.breakers, {"scripted": dispatcher}, parts.settings)
                await deliveries.step()
                await deliveries.wait()
            asked = len(dispatcher.orders)
            assert 5 <= asked <= 8  # those under way when it opened
            assert (await parts.breakers.states())["scripted"].phase == Phase.OPEN
            connection.execute(
                "UPDATE vernissage.breakers SET state = jsonb_set(state, '{since}', to_jsonb("
                "(state->>'since')::float8 - 300))"
            )
            connection.execute("UPDATE vernissage.breaker_changes SET at = at - interval '300 seconds'")
            assert await parts.breakers.open_share("scripted", 600.0) == pytest.approx(0.5, abs=0.05)
            assert await parts.breakers.open_share("scripted", 60.0) == pytest.approx(1.0)
            mended = Scripted(fine)
            ended = await deliver_all(parts, mended)
            assert (await parts.breakers.states())["scripted"].phase == Phase.CLOSED
            assert sum(order.state == State.DELIVERED for order in ended) == 30 - asked

        run(settings, script)


class TestPainting:
    """The provider that needs nothing."""

    def test_an_order_becomes_a_picture_and_a_row(self, settings: Settings, connection: psycopg.Connection) -> None:
        """In the orientation of the artwork that it is like, with the DNA that was ordered, and styles."""
        connection.execute(
            "INSERT INTO public.art_sessions (id, session_id, image_url, prompt, orientation, motifs)"
            " VALUES ('model', 's', '/x', 'p', 'portrait', '{cubism,jazz}')"
        )

        async def script(parts: Parts) -> Order:
            await parts.ledger.place(1, [wish(near="model")], "local")
            (order,) = await deliver_all(parts, local(parts))
            versions = await parts.ledger.history(order.order_id)
            assert [version.state for version in versions] == ["planned", "sent", "running", "delivered"]
            return order

        order = run(settings, script)
        row = connection.execute(
            "SELECT image_url, dna_vector, orientation, width, height, styles, motifs, session_id, is_library, prompt"
            " FROM public.art_sessions WHERE id = %s",
            (order.artwork_id,),
        ).fetchone()
        assert row is not None
        url, dna, *rest = row
        expected = ["portrait", 200, 320, ["cubism"], ["cubism", "jazz"], f"job_{order.order_id}", False]
        assert rest == [*expected, order.wish.prompt]
        assert np.allclose(json.loads(dna), order.wish.dna, atol=1e-6)
        path = settings.artworks_path / Path(url).name
        assert url == f"/artworks/{order.order_id}.webp"
        with Image.open(path) as picture:
            assert picture.size == (200, 320)

    def test_no_picture_is_there_twice(self, settings: Settings, connection: psycopg.Connection) -> None:
        """The same wish twice gives two pictures, as far from each other as they must be."""

        async def script(parts: Parts) -> list[Order]:
            await parts.ledger.place(1, [wish(5), wish(5)], "local")
            return await deliver_all(parts, local(parts))

        ended = run(settings, script)
        assert {order.state for order in ended} == {State.DELIVERED}
        bodies = {path.read_bytes() for path in settings.artworks_path.iterdir()}
        assert len(bodies) == 2
        rows = connection.execute("SELECT content_hash, looks::text FROM vernissage.painted").fetchall()
        assert len({content for content, _ in rows}) == 2
        looks = [text for _, text in rows]
        apart = [
            sum(a != b for a, b in zip(one, other, strict=True)) for one in looks for other in looks if one < other
        ]
        assert min(apart) >= 4

    def test_an_order_that_was_painted_before_is_not_painted_anew(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """The process died between the row and the ledger; the next one finds the same artwork."""

        async def script(parts: Parts) -> list[Order]:
            await parts.ledger.place(1, [wish()], "local")
            (order,) = await parts.ledger.open_orders()
            await parts.ledger.advance(order.order_id, State.SENT)
            (sent,) = await parts.ledger.open_orders()
            await local(parts).deliver(sent)
            return await deliver_all(parts, local(parts))

        (order,) = run(settings, script)
        assert order.artwork_id == str(order.order_id)
        assert connection.execute("SELECT count(*) FROM public.art_sessions").fetchone() == (1,)

    def test_a_folder_that_cannot_be_written_fails_the_order_and_leaves_no_row(
        self, settings: Settings, connection: psycopg.Connection
    ) -> None:
        """And its dollars come back."""
        settings.home_path.mkdir(parents=True)
        settings.artworks_path.write_text("a file where a folder should be", "utf-8")

        async def script(parts: Parts) -> None:
            await parts.ledger.place(1, [wish()], "local")
            (order,) = await deliver_all(parts, local(parts))
            assert order.state == State.FAILED
            assert "cannot be written" in order.detail["reason"]
            assert (await parts.budget.look(parts.pool)).day_spent == 0.0

        run(settings, script)
        for table in ("public.art_sessions", "vernissage.painted"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
