"""From start to ready with 10,000 artworks, beside a stock BentoML service; and models swapped under load."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

from features.database import connect
from tests.benchmarks.crowd import Load, again, drive_apart, get
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.benchmarks.world import Gallery, gallery, make_model, show_model
from tests.service import APPLICATION, Service

WATCHERS = 4
SECONDS = 5.0
SWAP_EVERY = 1.2  # workers look once a second
PROBE = "/v1/nothing"  # the lightest answer there is: it waits for the event loop alone
NOT_FOUND = 404


def run() -> list[Figure]:
    """Seconds to ready, failed requests and the longest stall while models are swapped."""
    with gallery(watchers=WATCHERS) as place:
        homes = {"ours": (APPLICATION, place.settings.home_path), "stock": _stock(place)}
        found = in_turns({name: lambda given=given: _start(place, *given) for name, given in homes.items()}, warm=False)
        with Service(place.url, place.settings.home_path) as service:
            calm = _load(service, place)
            models_before = service.metrics()['vernissage_bundle_loads_total{outcome="loaded"}']
            swapped = _load_while_swapping(service, place)
            swaps = service.metrics()['vernissage_bundle_loads_total{outcome="loaded"}'] - models_before
    return [
        compare("start to ready, 10,000 artworks", "s", found["ours"], "stock BentoML, empty", found["stock"]),
        Figure("start to ready, slowest of 3", max(found["ours"]), "s", reach="<= 5"),
        Figure(f"failed requests, {swaps:.0f} swaps under load", float(_failed(swapped)), "", reach="<= 0"),
        Figure(
            "longest stall of the event loop while swapping", swapped["probe"].milliseconds(1.0), "ms", reach="<= 20"
        ),
        _slowest("longest stall of the event loop", swapped["probe"], calm["probe"]),
        _slowest("slowest next", swapped["next"], calm["next"]),
    ]


def _stock(place: Gallery) -> tuple[str, Path]:
    """The empty service and a home of its own."""
    return "tests.benchmarks.stock:Stock", place.settings.home_path / "stock"


def _start(place: Gallery, application: str, home: Path) -> float:
    """Seconds from start to ready."""
    service = Service(place.url, home, application=application)
    started = time.monotonic()
    try:
        service.start()
        return time.monotonic() - started
    finally:
        service.stop()


def _load(service: Service, place: Gallery) -> dict[str, Load]:
    """Lists for some users, and beside them one who only waits for the event loop."""
    lists = [again(get(f"/v1/users/{user}/next?session_id=tab", service.key)) for user in place.watchers]
    return drive_apart(service.port, {"next": lists, "probe": [again(get(PROBE))]}, SECONDS)


def _load_while_swapping(service: Service, place: Gallery) -> dict[str, Load]:
    """The same while the live model changes all the time."""
    over = threading.Event()
    with connect(place.url, autocommit=True) as connection:
        rows = [make_model(place.settings, connection, version) for version in ("2", "3")]

        def swap() -> None:
            for row in itertools.cycle(rows):
                if over.wait(SWAP_EVERY):
                    return
                show_model(connection, row)

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            return _load(service, place)
        finally:
            over.set()
            swapper.join()


def _failed(loads: dict[str, Load]) -> int:
    """Answers that are not what they should be."""
    return loads["next"].failures() + loads["probe"].failures(NOT_FOUND)


def _slowest(what: str, swapped: Load, calm: Load) -> Figure:
    """The slowest answer while swapping, beside the slowest without."""
    return Figure(what, swapped.milliseconds(1.0), "ms", "without swaps", calm.milliseconds(1.0))
