"""The routes about orders on the real service: as they are, as they were, as it happens; and the pictures."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from features.settings import Settings
from serving.generation.budget import switch
from serving.generation.dispatch.local import LocalDispatcher
from serving.generation.dispatch.run import Deliveries
from serving.generation.orders import Placed, State
from tests.generation import Parts, parts_of, wish
from tests.host import Host
from tests.service import Service

PATH = "/v1/generation/orders"
EPOCHS = iter(range(1, 1_000))
WAIT_SECONDS = 60.0


@pytest.fixture
def settings(service: Service) -> Settings:
    """The settings of the module's service, as the loop beside it would have them."""
    return Settings(
        database_url=service.database_url, home=str(service.home), budget_hour_images=1_000, painted_pixels=320
    )


def run(settings: Settings, script: Callable[[Parts], Coroutine[Any, Any, Any]]) -> Any:
    """What a script on the parts comes to."""

    async def whole() -> Any:
        async with parts_of(settings) as parts:
            return await script(parts)

    return asyncio.run(whole())


def place(settings: Settings, count: int = 1) -> list[str]:
    """The ids of new orders."""
    placed: Placed = run(
        settings, lambda parts: parts.ledger.place(next(EPOCHS), [wish(n) for n in range(count)], "local")
    )
    return [str(order_id) for order_id in placed.order_ids]


def advance(settings: Settings, order_id: str, state: State, **detail: Any) -> None:
    """Move an order on."""

    async def script(parts: Parts) -> None:
        (order,) = [order for order in await parts.ledger.orders() if str(order.order_id) == order_id]
        assert await parts.ledger.advance(order.order_id, state, detail)

    run(settings, script)


def read_events(client: httpx.Client, order_id: str, **headers: str) -> Iterator[dict[str, Any]]:
    """The events of a stream as they come, each with its id."""
    with client.stream("GET", f"{PATH}/{order_id}/events", headers=headers, timeout=WAIT_SECONDS) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        found: dict[str, Any] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line:
                found[name] = value
            elif "data" in found:
                yield json.loads(found["data"]) | {"id": found["id"], "kind": found["event"]}
                found = {}


def test_orders_are_listed_by_state_and_time(service: Service, settings: Settings) -> None:
    """As they are, and as they were before the last of them moved."""
    first, second = place(settings, 2)
    then = datetime.now(UTC).isoformat()
    advance(settings, first, State.SENT)

    def ids(**query: Any) -> set[str]:
        answer = service.client.get(PATH, params={"limit": 500} | query).raise_for_status()
        return {order["order_id"] for order in answer.json()["orders"]}

    assert {first, second} <= ids()
    assert (first in ids(state="sent"), second in ids(state="sent")) == (True, False)
    assert (first in ids(state="planned"), second in ids(state="planned")) == (False, True)
    assert {first, second} <= ids(state="planned", at=then)
    assert not {first, second} & ids(at="2026-01-01T00:00:00Z")


def test_an_order_is_told_with_its_history_now_and_then(service: Service, settings: Settings) -> None:
    """What it is for, what it costs, and every change."""
    (order_id,) = place(settings)
    then = datetime.now(UTC).isoformat()
    advance(settings, order_id, State.SENT)
    advance(settings, order_id, State.DELIVERED, artwork_id="a-1")
    now = service.client.get(f"{PATH}/{order_id}").raise_for_status().json()
    assert (now["order"]["state"], now["order"]["artwork_id"]) == ("delivered", "a-1")
    assert (now["order"]["user_ids"], now["order"]["cost"]) == (["ada", "bob"], 0.02)
    assert len(now["order"]["dna_vector"]) == 50
    assert [event["state"] for event in now["events"]] == ["planned", "sent", "delivered"]
    before = service.client.get(f"{PATH}/{order_id}", params={"at": then}).raise_for_status().json()
    assert (before["order"]["state"], [event["state"] for event in before["events"]]) == ("planned", ["planned"])


def test_a_stream_tells_each_change_and_ends_with_the_order(service: Service, settings: Settings) -> None:
    """While it happens."""
    (order_id,) = place(settings)
    told: list[dict[str, Any]] = []

    def listen() -> None:
        told.extend(read_events(service.client, order_id))

    listener = threading.Thread(target=listen)
    listener.start()
    for state in (State.SENT, State.RUNNING, State.DELIVERED):
        advance(settings, order_id, state)
    listener.join(WAIT_SECONDS)
    assert not listener.is_alive()
    assert [event["kind"] for event in told] == ["planned", "sent", "running", "delivered"]
    assert [event["version"] for event in told] == [1, 2, 3, 4]


def test_a_stream_goes_on_after_the_last_event_known(service: Service, settings: Settings) -> None:
    """Nothing twice and nothing lost, by the header or by the query."""
    (order_id,) = place(settings)
    advance(settings, order_id, State.SENT)
    advance(settings, order_id, State.FAILED, reason="out of paint")
    whole = list(read_events(service.client, order_id))
    rest = list(read_events(service.client, order_id, **{"Last-Event-ID": whole[0]["id"]}))
    assert [event["id"] for event in whole[1:]] == [event["id"] for event in rest]
    asked = service.client.get(f"{PATH}/{order_id}/events", params={"after": whole[1]["id"]})
    assert asked.text.count("data:") == 1
    odd = service.client.get(f"{PATH}/{order_id}/events", headers={"Last-Event-ID": "the last one"})
    assert (odd.status_code, odd.json()["code"]) == (400, "bad_last_event_id")


def test_the_budget_tells_what_is_left_and_whether_it_is_stopped(
    service: Service, settings: Settings, host: Host
) -> None:
    """As the switch and the orders have it."""
    before = service.client.get("/v1/generation/budget").raise_for_status().json()
    place(settings)
    after = service.client.get("/v1/generation/budget").raise_for_status().json()
    assert after["day_spent"] == pytest.approx(before["day_spent"] + 0.02)
    assert after["in_flight"] == before["in_flight"] + 1
    switch(host.connection, "eve", stopped=True)
    stopped = service.client.get("/v1/generation/budget").raise_for_status().json()
    switch(host.connection, "eve", stopped=False)
    assert (stopped["stopped"], stopped["stopped_by"]) == (True, "eve")


def test_the_metrics_tell_of_orders_and_budget(service: Service, settings: Settings) -> None:
    """As of a moment ago: an earlier test's switch may still be told of until the next look."""
    place(settings)
    end = time.monotonic() + WAIT_SECONDS
    while not (found := service.metrics()).get('vernissage_orders{state="planned"}') or (
        found["vernissage_generation_stopped"] != 0
    ):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    assert 0 < found["vernissage_generation_day_share"] < 1
    assert found["vernissage_planner_live"] == 0


class TestPictures:
    """What lies under /artworks."""

    def test_what_was_painted_is_offered_and_served_for_good(
        self, service: Service, settings: Settings, host: Host, user: str
    ) -> None:
        """The service finds the new artwork, and its picture needs no key and never changes."""
        host.fill(service, 0)

        async def script(parts: Parts) -> None:
            await parts.ledger.place(next(EPOCHS), [wish(99)], "local")
            dispatcher = LocalDispatcher(parts.pool, parts.host, parts.ledger, parts.settings)
            deliveries = Deliveries(parts.ledger, parts.breakers, {"local": dispatcher}, parts.settings)
            await deliveries.step()
            await deliveries.wait()

        run(settings, script)
        host.wait(service)
        items = service.next(user, "tab", limit=200)["items"]
        assert items
        for item in items:
            answer = service.stranger.get(item["image_url"])
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
            assert "immutable" in answer.headers["cache-control"]
            assert answer.content[8:12] == b"WEBP"

    @pytest.mark.parametrize(
        "name",
        [
            "..%2f..%2fservice.log", "%2e%2e/service.log", "service.log", ".webp", "a.webp", "%00.webp",
            "..%5cservice.log", "01890a5d-ac96-774b-bcce-b302099a8057.webp", "01890a5d-ac96-774b-bcce-b302099a8057.png",
        ],
    )  # fmt: skip
    def test_nothing_else_is_to_be_had(self, service: Service, name: str) -> None:
        """No way out of the folder, and nothing in it but pictures."""
        assert service.stranger.get(f"/artworks/{name}").status_code == 404

    def test_a_picture_is_only_read(self, service: Service) -> None:
        """Not written, not deleted."""
        answer = service.stranger.delete("/artworks/01890a5d-ac96-774b-bcce-b302099a8057.webp")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
