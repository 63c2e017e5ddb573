"""`next` in pools of other sizes, beside itself at 10,000: the same users' share seen, one connection per user."""

from __future__ import annotations

import contextlib
from functools import partial

from tests.benchmarks.crowd import again, drive, get
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import ARTWORKS, Gallery, gallery
from tests.service import Service

POOLS = {1_000: (32, ">= 0.9"), 100_000: (32, ">= 0.7")}  # users, and what is to be reached
SECONDS = 3.0


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
    reference = f"a pool of {ARTWORKS:,}"
    return [
        compare(
            f"next in a pool of {size:,}, {users} users",
            "requests/s",
            rates[str(size)],
            reference,
            rates[str(ARTWORKS)],
            reach=reach,
        )
        for size, (users, reach) in POOLS.items()
    ]


def _rate(service: Service, place: Gallery, users: int) -> float:
    """Lists of 20 a second."""
    path = "/v1/users/{}/next?limit=20&session_id=tab"
    lines = [again(get(path.format(user), service.key)) for user in place.watchers[:users]]
    return drive(service.port, lines, SECONDS).rate
