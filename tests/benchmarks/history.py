"""`next` and impressions when the past is long: 10 million impressions, and 50, beside the same at 1 million.

    python -m tests.benchmarks.history 1 10 50

Each request is another person's, so that no page is asked for again and again. There is one database per size, all of
them up and asked in turns. Bytes per impression say when a disk is full, and the rates when to partition.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.benchmarks.crowd import drive, get, post
from tests.benchmarks.figures import Figure, as_data, compare, in_turns, keep, machine, table
from tests.benchmarks.past import Past, fill
from tests.benchmarks.world import gallery
from tests.service import Service

MILLIONS = (1, 10)  # 50 take half an hour and the room of a small disk
REACH = {10: ">= 0.9", 50: ">= 0.8"}
BATCHES = (50, 200)
ASKERS, WRITERS = 16, 8  # connections
SECONDS, REPEATS = 2.0, 5
ROOM = 1.6  # times what tables and indexes take: the log, and what is sorted for an index


@dataclass(frozen=True)
class Place:
    """One size: a past, and the service on it."""

    name: str
    past: Past
    service: Service


def main() -> None:
    """Measure the sizes that are named; the first is what the others are compared with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("millions", nargs="*", type=int, default=list(MILLIONS), help="impressions, in millions")
    millions = parser.parse_args().millions
    started, on, summary = time.monotonic(), machine(), f"{', '.join(map(str, millions))} million impressions"
    figures = run(millions)
    seconds = time.monotonic() - started
    console = Console()
    console.print(table("history", summary, figures, seconds))
    data = {"summary": summary, "seconds": round(seconds, 1), "figures": as_data(figures)}
    console.print(f"kept in {keep({'history': data}, on)}")


def run(millions: Sequence[int] = MILLIONS) -> list[Figure]:
    """Requests and rows a second of each size beside the first, and what the tables take.

    Raises RuntimeError before a size that the disk has no room for.
    """
    with contextlib.ExitStack() as stack:
        first = _open(stack, millions[0], None)
        others = {size: _open(stack, size, first) for size in millions[1:]}
        places = [first, *others.values()]
        found = {("next", "requests/s"): _in_turns(places, _lists)}
        for size in BATCHES:
            found[f"impressions by {size}", "rows/s"] = _in_turns(places, partial(_rows, size=size))
    figures = [
        compare(
            f"{what}, {place.name}", unit, rates[place.name], first.name, rates[first.name], reach=REACH.get(size, "")
        )
        for (what, unit), rates in found.items()
        for size, place in others.items()
    ]
    return figures + [figure for place in places for figure in _sizes(place)]


def _open(stack: contextlib.ExitStack, millions: int, first: Place | None) -> Place:
    """A database of one size, and the service on it."""
    here = stack.enter_context(gallery())
    if first is not None:
        _check_room(here.settings.home_path.parent, round(millions * 1_000_000 * first.past.bytes_per_row))
    past = fill(here.url, millions * 1_000_000)
    service = stack.enter_context(Service(here.url, here.settings.home_path))
    return Place(f"{millions} million", past, service)


def _check_room(folder: Path, needed: int) -> None:
    """Raise RuntimeError where the disk has no room for tables of so many bytes."""
    room = shutil.disk_usage(folder).free
    if room < ROOM * needed:
        raise RuntimeError(
            f"{needed / 1e9:.0f} GB of tables want {ROOM * needed / 1e9:.0f} GB free, not {room / 1e9:.0f}"
        )


def _in_turns(places: Sequence[Place], measure: Callable[[Place], float]) -> dict[str, list[float]]:
    """A rate of each size, in turns."""
    return in_turns({place.name: partial(measure, place) for place in places}, REPEATS)


def _lists(place: Place) -> float:
    """Lists of 20 a second; each connection asks for people of its own, in an order drawn at random."""
    shares = [place.past.watchers[start::ASKERS] for start in range(ASKERS)]
    return drive(place.service.port, [_asked(share, place.service.key) for share in shares], SECONDS).rate


def _asked(users: list[str], key: str) -> Iterator[bytes]:
    """Requests for lists of some of them, for ever."""
    chance = random.Random(0)  # noqa: S311 - a benchmark's draw
    requests = [get(f"/v1/users/{user}/next?limit=20&session_id=tab", key) for user in users]
    while True:
        yield chance.choice(requests)


def _rows(place: Place, size: int) -> float:
    """Impressions a second, in batches of so many."""
    given = place.past.draw(size, seed=size)
    lines = [_reported(given, place.service.key) for _ in range(WRITERS)]
    return drive(place.service.port, lines, SECONDS).rate * size


def _reported(given: Iterator[tuple[str, list[str]]], key: str) -> Iterator[bytes]:
    """One connection's batches, of those that all share."""
    for user, ids in given:
        yield post("/v1/impressions", {"user_id": user, "session_id": "tab", "artwork_ids": ids}, key)


def _sizes(place: Place) -> list[Figure]:
    """What the tables of one size take."""
    past = place.past
    found = [Figure(f"{place.name}: filled in", past.seconds, "s")]
    for name, (rows, indexes) in past.sizes.items():
        found += [
            Figure(f"{place.name}: {name}", rows / past.rows, "MB per million"),
            Figure(f"{place.name}: {name}, indexes", indexes / past.rows, "MB per million"),
        ]
    return [*found, Figure(f"{place.name}: all of it", past.bytes_per_row * past.rows / 1e9, "GB")]


if __name__ == "__main__":
    main()
