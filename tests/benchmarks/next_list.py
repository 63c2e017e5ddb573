"""`next` beside the framework's empty endpoint and beside a bare route that only does the database's part.

The users have seen 97.7% of 10,000 artworks; lists of 20, durable, each user in one session that asks again and again.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import httpx

from tests.benchmarks.bare import DATABASE_URL
from tests.benchmarks.crowd import Load, again, drive, get
from tests.benchmarks.figures import REPEATS, Figure, compare
from tests.benchmarks.world import Gallery, gallery
from tests.service import REPOSITORY, Service, free_port

CROWDS = (16, 64)
SECONDS = 2.0
START_SECONDS = 30.0
NAMES = {
    "empty": "stock BentoML, empty handler",
    "statements": "bare route, our two statements",
    "least": "bare route, least statements",
}
REACH = {"empty": ">= 0.5", "statements": ">= 0.6", "least": ">= 0.6"}


def run() -> list[Figure]:
    """Requests a second and p99 of `next`, against three references in turns."""
    with gallery(watchers=max(CROWDS)) as place, contextlib.ExitStack() as stack:
        ours = stack.enter_context(Service(place.url, place.settings.home_path))
        stock = stack.enter_context(
            Service(place.url, place.settings.home_path / "stock", application="tests.benchmarks.stock:Stock")
        )
        bare = stack.enter_context(_bare(place))
        ways = {
            "next": partial(_ask, ours.port, "/v1/users/{user}/next?limit=20&session_id=tab", ours.key),
            "empty": partial(_ask, stock.port, "/empty", ""),
            "statements": partial(_ask, bare, "/statements/{user}", ""),
            "least": partial(_ask, bare, "/least/{user}", ""),
        }
        return [figure for size in CROWDS for figure in _compare(ways, place.watchers[:size])]


def _ask(port: int, path: str, key: str, users: list[str], seconds: float) -> Load:
    """One connection per user."""
    return drive(port, [again(get(path.format(user=user), key)) for user in users], seconds)


def _compare(ways: dict[str, Callable[[list[str], float], Load]], users: list[str]) -> list[Figure]:
    """All ways in turns, the first as ours."""
    loads: dict[str, list[Load]] = {name: [] for name in ways}
    for turn in range(REPEATS + 1):
        for name, way in ways.items():
            load = way(users, SECONDS if turn else 1.0)
            if turn:  # the first is to warm up
                loads[name].append(load)
    rates = {name: [load.rate for load in given] for name, given in loads.items()}
    slowest = {name: [load.milliseconds(0.99) for load in given] for name, given in loads.items()}
    found = [
        compare(f"next, {len(users)} connections", "requests/s", rates["next"], label, rates[name], reach=REACH[name])
        for name, label in NAMES.items()
    ]
    found += [
        compare(
            f"p99 of next, {len(users)} connections", "ms", slowest["next"], NAMES[name], slowest[name], reach="<= 2"
        )
        for name in ("statements", "least")
    ]
    return found


@contextlib.contextmanager
def _bare(place: Gallery) -> Iterator[int]:
    """The bare routes on a port of their own, stopped in the end."""
    port = free_port()
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools", "--log-level", "error"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "tests.benchmarks.bare:app", *options],
        cwd=REPOSITORY,
        env=os.environ | {DATABASE_URL: place.url},
    )
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait(port: int) -> None:
    """Until the server answers. Raises RuntimeError when it does not."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        time.sleep(0.05)
    raise RuntimeError("the bare server did not start")
