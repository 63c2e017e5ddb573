"""A service elsewhere as a provider: asked again with the same key, checked, and taken in once."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest

from features.settings import Settings
from serving.generation.dispatch import webhook
from serving.generation.dispatch.run import Deliveries
from serving.generation.dispatch.webhook import WebhookDispatcher
from serving.generation.orders import Order, State
from tests.generation import parts_of, wish

Answer = tuple[int, Any]


class Provider(http.server.ThreadingHTTPServer):
    """Answers what it was told to, in order, the last one for ever; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.drip_seconds = 0.0  # between two bytes of an answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []  # idempotency key, authorization, body

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}/orders"


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Provider

    def do_POST(self) -> None:
        """As told."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.headers["Idempotency-Key"], self.headers["Authorization"], body))
        status, told = self.server.answers[min(len(self.server.asked), len(self.server.answers)) - 1]
        content = told.encode() if isinstance(told, str) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not self.server.drip_seconds:
            self.wfile.write(content)
            return
        with contextlib.suppress(OSError):  # nobody waits any more
            for byte in content:
                time.sleep(self.server.drip_seconds)
                self.wfile.write(bytes([byte]))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A service that listens."""
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once."""
    monkeypatch.setattr(webhook, "PAUSE_SECONDS", 0.01)


def deliver(settings: Settings, url: str, count: int = 1, epoch: int = 1, **changed: Any) -> tuple[list[Order], float]:
    """The orders after one round of deliveries, and what the day has spent."""
    settings = msgspec.structs.replace(settings, webhook_url=url, webhook_token="open sesame", **changed)  # noqa: S106 - a test's

    async def script() -> tuple[list[Order], float]:
        async with parts_of(settings) as parts:
            await parts.ledger.place(epoch, [wish(number) for number in range(count)], "webhook")
            dispatcher = WebhookDispatcher(parts.pool, parts.host, parts.ledger, parts.settings)
            deliveries = Deliveries(parts.ledger, parts.breakers, {"webhook": dispatcher}, parts.settings)
            for _ in range(count):
                await deliveries.step()
                await deliveries.wait()
            orders = [order for order in await parts.ledger.orders() if order.epoch == epoch]
            orders.sort(key=lambda order: order.place)
            return orders, (await parts.budget.look(parts.pool)).day_spent

    return asyncio.run(script())


def test_an_order_is_sent_with_its_key_and_becomes_an_artwork(
    settings: Settings, provider: Provider, connection: psycopg.Connection
) -> None:
    """What it shall look like is told, for whom it is is not."""
    provider.answers = [(200, {"image_url": "https://images.example/1.webp", "width": 640, "height": 400})]
    (order,), spent = deliver(settings, provider.url)
    assert (order.state, spent) == (State.DELIVERED, pytest.approx(0.02))
    ((key, authorization, body),) = provider.asked
    assert (key, authorization) == (str(order.order_id), "Bearer open sesame")
    assert len(body["dna_vector"]) == 50
    assert not {"ada", "bob"} & set(json.dumps(body).replace('"', " ").split())
    row = connection.execute("SELECT id, image_url, width, aspect_ratio FROM public.art_sessions").fetchone()
    assert row == (order.artwork_id, "https://images.example/1.webp", 640, "8:5")


def test_a_service_in_trouble_is_asked_again_with_the_same_key(settings: Settings, provider: Provider) -> None:
    """Twice."""
    provider.answers = [(503, {}), (429, {}), (200, {"image_url": "/made/1.webp"})]
    (order,), _ = deliver(settings, provider.url)
    assert order.state == State.DELIVERED
    assert [key for key, _, _ in provider.asked] == [str(order.order_id)] * 3


UNUSABLE = [  # answer, how often it is asked for, what it costs, what the reason names
    ((500, {}), 3, 0.0, "answers 500"),
    ((400, {}), 1, 0.0, "answers 400"),
    ((302, {}), 1, 0.0, "answers 302"),
    ((200, "no JSON"), 1, 0.02, "of another form"),
    ((200, {"image_url": "ftp://x/1.webp"}), 1, 0.02, "image_url"),
    ((200, {"image_url": "/x.webp", "width": 0}), 1, 0.02, "width"),
    ((200, {"image_url": "/Placeholder.webp"}), 1, 0.02, "placeholder"),
    ((200, {"image_url": "/" + "x" * 70_000}), 1, 0.02, "bytes"),
    ((200, {"image_url": "/taken.webp"}), 1, 0.02, "another artwork's"),
]


def test_what_cannot_be_used_fails_the_order_and_says_why(
    settings: Settings, provider: Provider, connection: psycopg.Connection
) -> None:
    """Dollars come back only where nothing can have been made."""
    connection.execute(
        "INSERT INTO public.art_sessions (id, session_id, image_url, prompt) VALUES ('a-1', 's', '/taken.webp', 'p')"
    )
    before = 0.0
    for epoch, (answer, asked, cost, reason) in enumerate(UNUSABLE, 2):
        provider.answers, provider.asked = [answer], []
        (order,), spent = deliver(settings, provider.url, epoch=epoch, breaker_failures=99, breaker_least=99)
        assert (order.state, len(provider.asked)) == (State.FAILED, asked), reason
        assert reason in order.detail["reason"]
        assert spent - before == pytest.approx(cost)
        before = spent
    assert connection.execute("SELECT count(*) FROM public.art_sessions").fetchone() == (1,)


def test_a_service_that_is_not_there_costs_nothing(settings: Settings) -> None:
    """Nobody listens."""
    (order,), spent = deliver(settings, "http://127.0.0.1:9/orders")
    assert (order.state, spent) == (State.FAILED, 0.0)
    assert "ConnectError" in order.detail["reason"]


def test_a_service_that_drips_its_answer_is_given_up(
    settings: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte comes late, and the whole would take ten seconds: it may have been made, so it is paid for."""
    monkeypatch.setattr(webhook, "CONNECT_SECONDS", 0.5)
    provider.answers, provider.drip_seconds = [(200, {"image_url": "/" + "x" * 400})], 0.025
    (order,), spent = deliver(settings, provider.url, webhook_seconds=0.5)
    assert (order.state, spent) == (State.FAILED, pytest.approx(0.02))
    assert order.detail["reason"] == "no answer: TimeoutError"


def test_no_more_are_sent_in_a_minute_than_allowed(settings: Settings, provider: Provider) -> None:
    """The rest waits."""
    provider.answers = [(200, {"image_url": f"/made/{number}.webp"}) for number in range(6)]
    orders, _ = deliver(settings, provider.url, 6, webhook_per_minute=2)
    assert [order.state for order in orders] == [State.DELIVERED] * 2 + [State.PLANNED] * 4
