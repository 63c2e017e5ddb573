"""How much at once a worker takes on: heavy questions one by one, streams by number, and none that outlives it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from features.database import connect
from features.settings import Settings
from tests.generation import parts_of, wish
from tests.integration.conftest import Start
from tests.service import Service

WAIT_SECONDS = 60.0
QUIET = {
    "VERNISSAGE_STREAMS_AT_ONCE": "2",
    "VERNISSAGE_STREAM_SECONDS": "120",
    "VERNISSAGE_STATEMENT_TIMEOUT_MS": "60000",
    "VERNISSAGE_TRANSACTION_SECONDS": "60",
}
LISTENING = 'vernissage_requests_total{method="GET",route="/v1/generation/orders/{order_id}/events",status="200"}'
BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'vernissage.orders'::regclass"


@pytest.fixture
def order_id(database_url: str) -> str:
    """An order that nobody will make."""

    async def script() -> str:
        async with parts_of(Settings(database_url=database_url)) as parts:
            return str((await parts.ledger.place(1, [wish(seconds=3_600)], "local")).order_ids[0])

    return asyncio.run(script())


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    """Until it holds."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def begun(service: Service, order_id: str, stack: ExitStack) -> Iterator[str]:
    """The lines of a stream that has told its first event."""
    path = f"/v1/generation/orders/{order_id}/events"
    lines = stack.enter_context(service.client.stream("GET", path, timeout=WAIT_SECONDS)).iter_lines()
    while not next(lines).startswith("data: "):
        pass
    return lines


def test_one_stream_too_many_is_refused_until_another_ends(start: Start, order_id: str) -> None:
    """With the time to wait, and counted."""
    service = start(environment=QUIET)
    path = f"/v1/generation/orders/{order_id}/events"
    with ExitStack() as second, ExitStack() as first:
        open_ones = [begun(service, order_id, stack) for stack in (first, second)]
        refused = service.client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (429, "busy")
        assert int(refused.headers["retry-after"]) > 0
        assert service.metrics()['vernissage_busy_total{kind="stream"}'] == 1
        assert len(open_ones) == 2  # a reader that nobody holds would hang up
        first.close()

        def is_taken() -> bool:
            with service.client.stream("GET", path, timeout=WAIT_SECONDS) as answer:
                return answer.status_code == 200

        wait_for("room again", is_taken)


def test_a_stream_ends_after_its_time_and_the_next_one_goes_on(start: Start, order_id: str) -> None:
    """So that a revoked key does not listen for ever; nothing is told twice."""
    service = start(environment=QUIET | {"VERNISSAGE_STREAM_SECONDS": "0.5"})
    path = f"/v1/generation/orders/{order_id}/events"
    told = service.client.get(path, timeout=WAIT_SECONDS).text
    assert told.count("data: ") == 1
    last = next(line.removeprefix("id: ") for line in told.splitlines() if line.startswith("id: "))
    again = service.client.get(path, headers={"Last-Event-ID": last}, timeout=WAIT_SECONDS)
    assert (again.status_code, again.text.count("data: ")) == (200, 0)
    with connect(service.database_url, autocommit=True) as connection:
        connection.execute("UPDATE vernissage.api_keys SET revoked_at = now()")
    wait_for("the key is refused", lambda: service.client.get(path, timeout=WAIT_SECONDS).status_code == 401)


def test_streams_end_by_themselves_when_the_service_stops(start: Start, order_id: str) -> None:
    """Their readers see an end and no broken line, and the log shows no traceback."""
    service = start(environment=QUIET)
    url, headers = f"{service.url}/v1/generation/orders/{order_id}/events", {"Authorization": f"Bearer {service.key}"}
    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(lambda: httpx.get(url, headers=headers, timeout=WAIT_SECONDS)) for _ in range(2)]
        wait_for("both listen", lambda: service.metrics().get(LISTENING) == 2)
        service.stop()
        answers = [reader.result(WAIT_SECONDS) for reader in readers]
    assert [(answer.status_code, answer.text[:6]) for answer in answers] == [(200, "retry:")] * 2
    assert "Traceback" not in service.read_log()


def test_heavy_questions_are_answered_one_by_one(start: Start) -> None:
    """While one is computed the next one is refused, and lists are not; afterwards there is room again."""
    service = start(environment=QUIET)
    body = {"user_ids": ["ada", "bob"]}
    with connect(service.database_url) as holder, ThreadPoolExecutor(1) as threads:
        holder.execute("LOCK TABLE vernissage.orders IN ACCESS EXCLUSIVE MODE")
        client = service.client
        first = threads.submit(lambda: client.post("/v1/need", json=body, timeout=WAIT_SECONDS))
        with connect(service.database_url, autocommit=True) as watcher:
            wait_for("the first waits", lambda: (watcher.execute(BLOCKED).fetchone() or (0,))[0] > 0)
        for answer in (client.post("/v1/need", json=body), client.get("/v1/pool")):
            assert (answer.status_code, answer.json()["code"]) == (429, "busy")
        assert client.get("/v1/users/ada/next").status_code == 200
        holder.rollback()
        assert first.result(WAIT_SECONDS).status_code == 200
    assert client.get("/v1/pool").status_code == 200
