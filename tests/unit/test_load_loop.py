"""The load generator by itself: an open loop, whose latencies hold what kept a request waiting; and its connections."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop
from rich.console import Console
from typer.testing import CliRunner

from features.errors import LoadFailedError
from training.cli import app
from training.cli.load import _check_answers
from training.load.checks import Account
from training.load.crowd import Load, Run, Seen, _steps, drive
from training.load.lines import Lines
from training.load.report import figures, table
from training.load.tab import KINDS, Tab, Wire

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serving(serve: Serve, job: Callable[[int], Coroutine[Any, Any, Any]]) -> Any:
    """What ``job`` returns beside a server on the port that it is given."""

    async def both() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await job(server.sockets[0].getsockname()[1])

    return uvloop.run(both())


async def read_request(reader: asyncio.StreamReader) -> str:
    """The first line of the next request. Raises IncompleteReadError when there is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next((line.split(":")[1] for line in head.splitlines() if line.startswith("Content-Length")), "0")
    await reader.readexactly(int(length))
    return head.splitlines()[0]


def answer(body: bytes, status: int = 200) -> bytes:
    """An answer as it is on the wire."""
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def asked(lines: Lines, path: str) -> tuple[int, bytes]:
    """The answer to a GET request."""
    got: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
    lines.send(Wire("host").get(path), lambda status, body: got.set_result((status, body)))
    return await got


def test_an_answer_in_pieces_is_put_together() -> None:
    """Head and body arrive byte by byte, and the next answer on the same connection is told apart."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await read_request(reader)
            for byte in answer(line.encode()):
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

    async def job(port: int) -> list[tuple[int, bytes]]:
        lines = Lines("127.0.0.1", port, 1, 30)
        await lines.open()
        found = await asyncio.gather(*(asked(lines, f"/{number}") for number in range(3)))
        await lines.close()
        return found

    assert serving(serve, job) == [(200, f"GET /{number} HTTP/1.1".encode()) for number in range(3)]


def test_a_lost_connection_is_replaced_and_its_request_gets_nothing() -> None:
    """The first request of a connection that ends is answered 0; the next one goes over a new connection."""
    lines_seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines_seen.append(await read_request(reader))
        if len(lines_seen) > 1:
            writer.write(answer(b"here"))
        writer.close()

    async def job(port: int) -> list[tuple[int, bytes]]:
        lines = Lines("127.0.0.1", port, 1, 30)
        await lines.open()
        found = [await asked(lines, "/one"), await asked(lines, "/two")]
        await lines.close()
        return found

    assert serving(serve, job) == [(0, b""), (200, b"here")]


def test_what_waits_too_long_for_its_answer_gets_nothing() -> None:
    """The connection is ended; what waited in line goes over the next one, and has all of its own time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def job(port: int) -> list[tuple[int, bytes]]:
        lines = Lines("127.0.0.1", port, 1, 0.2)
        await lines.open()
        found = await asyncio.gather(asked(lines, "/one"), asked(lines, "/two"))
        await lines.close()
        return found

    assert serving(serve, job) == [(0, b""), (0, b"")]


def test_a_tab_sends_what_the_artworks_it_shows_need() -> None:
    """Ten displays need one list, and as many claims and flushes as there are batches, in this order."""
    load = Load(sessions=1, seconds_per_artwork=6, seconds=60)
    assert Counter(kind for _, kind in _steps(load)) == {"next": 1, "impressions": 1, "claims": 1}
    steps = _steps(Load(sessions=1, seconds_per_artwork=6, seconds=60, batch=5))
    assert [kind for _, kind in steps] == ["next", "impressions", "claims", "impressions", "claims"]
    assert steps[3][0] - steps[1][0] == 5 * 6


def test_latencies_hold_the_queue_behind_a_service_that_stalls() -> None:
    """Requests go on falling due while nothing is answered, and each is late by what was left of the stall."""
    before = 150  # lists answered at once: about one and a half seconds' worth
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await read_request(reader):
                answered += 1
                if answered == before:
                    await asyncio.sleep(1.0)
                writer.write(answer(b'{"items": []}'))
        writer.close()

    async def job(port: int) -> Run:
        load = Load(sessions=50, seconds_per_artwork=0.05, seconds=1, connections=1)
        url = f"http://127.0.0.1:{port}"
        return await asyncio.to_thread(drive, load, url, "", people="ada", visit="tab")

    took = serving(serve, job).seen["next"].took
    assert 99 <= len(took) <= 101
    assert sum(seconds > 0.3 for seconds in took) > 20  # a closed loop would have met the stall once


def test_a_run_that_is_hardly_answered_with_success_fails_and_names_the_status() -> None:
    """A table of noughts would look like a run without a fault."""
    refused, slow = (Seen(statuses=Counter(told)) for told in ({200: 4, 503: 5, 401: 99}, {200: 40, 503: 99}))
    with pytest.raises(LoadFailedError, match=r"12 were answered with success, 297 with status 401: give a key"):
        _check_answers(found_of(refused)["all"])
    _check_answers(found_of(slow)["all"])  # how slow it is is what a load is for


def test_the_table_fits_80_columns_whatever_came_of_it() -> None:
    """Large figures and several kinds of failure too: nothing is cut."""
    seen = Seen(array("d", [0.0123] * 99_999 + [31.0] * 99_999), 199_998, 99_999, Counter({503: 123_456, 0: 99_999}))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(found_of(seen)))
    text = console.export_text()
    assert "…" not in text
    for whole in ("impressions", "settled", "599,994", "31,000", "66.67%", "503: 370,368"):
        assert whole in text


def found_of(seen: Seen) -> dict[str, Any]:
    """The figures of a run that saw the same of every kind of request, and lost nothing."""
    load = Load(sessions=10_000, seconds_per_artwork=6, seconds=600)
    run = Run(load, [], [], dict.fromkeys(KINDS, seen), array("d"), 0, 0)
    return figures(run, Account(displays=0, signals=0, lost=0, lost_signals=0, repeated=0))


def test_a_repeat_and_a_refusal_are_counted() -> None:
    """An artwork that is granted to a person twice is a repeat; one that is refused is not shown."""
    tab = Tab("ada", "tab", {})
    offer = json.dumps({"items": [{"artwork_id": name, "lease_id": "lease"} for name in "abc"]}).encode()

    def claimed(*verdicts: tuple[str, str]) -> bytes:
        return json.dumps({"claims": [{"artwork_id": name, "status": status} for name, status in verdicts]}).encode()

    tab.listed(offer)
    assert tab.claim(Wire("host"), 2) is not None
    tab.granted(claimed(("a", "claimed"), ("b", "lease_lost")))
    assert (len(tab.shown), tab.refused, tab.repeated) == (1, 1, 0)
    tab.listed(offer)  # without a, which was shown
    assert tab.claim(Wire("host"), 3) is not None
    tab.granted(claimed(("b", "claimed"), ("c", "claimed")))
    assert (len(tab.shown), tab.repeated, tab.dry) == (3, 0, 1)
    tab._held = [item for item in tab._drawn if item.artwork_id == "a"]
    assert tab.claim(Wire("host"), 1) is not None
    tab.granted(claimed(("a", "claimed")))
    assert tab.repeated == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://203.0.113.7:3000"], "is not on this machine"),
        (["https://127.0.0.1:3000"], "must be http://HOST:PORT"),
        (["http://127.0.0.1:3000", "--batch", "3"], "must divide 10"),
        (["http://127.0.0.1:3000", "--minutes", "1000"], "--minutes"),
    ],
)
def test_the_command_refuses_what_it_should_not_load(arguments: list[str], words: str) -> None:
    """Other machines, what is no such address, and loads without an end."""
    done = CliRunner().invoke(app, ["load", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert words in done.output
