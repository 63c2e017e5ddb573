"""`next` in pools of other sizes, beside itself at 10,000: the same users' share seen, one connection per user."""

from __future__ import annotations

import contextlib
import time
from functools import partial

from tests.benchmarks.crowd import again, drive, get
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import ARTWORKS, Gallery, gallery
from tests.service import Service

POOLS = {1_000: (32, ">= 0.9"), 100_000: (32, ">= 0.7")}  # users, and what is to be reached
LARGE, FEW, LARGE_REACH = 1_000_000, 8, ">= 0.4"
SECONDS = 3.0
READY_SECONDS = 600.0
IDLE_TIMES, BYTES_EACH = 1.4, 1_000  # what a worker may take: so many times an idle one, and so much per artwork


def run() -> list[Figure]:
    """Requests a second in each pool; the services run side by side and are asked in turns."""
    with contextlib.ExitStack() as stack:
        sizes = (ARTWORKS, *POOLS)
        most = max(users for users, _ in POOLS.values())
        places = {size: stack.enter_context(gallery(watchers=most, artworks=size)) for size in sizes}
        services = {
            size: stack.enter_context(Service(place.url, place.settings.home_path)) for size, place in places.items()
        }
        rates = in_turns({str(size): partial(_rate, services[size], places[size], most) for size in sizes})
        found = [_compare(size, users, reach, rates) for size, (users, reach) in POOLS.items()]
        return found + _large(services[ARTWORKS], places[ARTWORKS])


def _large(service: Service, place: Gallery) -> list[Figure]:
    """The largest pool, with few users, beside 10,000 with as few; how long a worker reads it and what it takes."""
    with gallery(watchers=FEW, artworks=LARGE) as whole, gallery(artworks=1) as nothing:
        with Service(nothing.url, nothing.settings.home_path) as idle:
            least = _memory(idle)
        started = time.monotonic()
        large = Service(whole.url, whole.settings.home_path)
        try:
            large.start(wait=False)
            large.wait_until_ready(READY_SECONDS)
            seconds = time.monotonic() - started
            rates = in_turns(
                {str(ARTWORKS): partial(_rate, service, place, FEW), str(LARGE): partial(_rate, large, whole, FEW)}
            )
            memory = _memory(large)
        finally:
            large.stop()
    allowed = IDLE_TIMES * least + LARGE * BYTES_EACH
    return [
        _compare(LARGE, FEW, LARGE_REACH, rates),
        Figure(f"start to ready, {LARGE:,} artworks", seconds, "s"),
        Figure(
            f"memory of a worker, {LARGE:,} artworks",
            memory / 1e6,
            "MB",
            f"{IDLE_TIMES} of an idle one and 1 KB each",
            allowed / 1e6,
            "<= 1",
        ),
    ]


def _compare(size: int, users: int, reach: str, rates: dict[str, list[float]]) -> Figure:
    """One pool beside 10,000."""
    return compare(
        f"next in a pool of {size:,}, {users} users",
        "requests/s",
        rates[str(size)],
        f"a pool of {ARTWORKS:,}",
        rates[str(ARTWORKS)],
        reach=reach,
    )


def _memory(service: Service) -> int:
    """Bytes that its worker holds."""
    return sum(process.memory_info().rss for process in service.worker_processes())


def _rate(service: Service, place: Gallery, users: int) -> float:
    """Lists of 20 a second."""
    path = "/v1/users/{}/next?limit=20&session_id=tab"
    lines = [again(get(path.format(user), service.key)) for user in place.watchers[:users]]
    return drive(service.port, lines, SECONDS).rate
