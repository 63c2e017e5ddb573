"""Half an hour of moderate load: the memory of a worker is flat, and near what an idle one has.

python tests/evidence/soak.py [--minutes 30] [--rate 200] [--workers 1]   (or MINUTES=3 make evidence NAME=soak)

Resident memory of the largest worker every 10 s. The slope is Theil and Sen's, with the 95% interval of its ranks,
over what comes after the first sixth: caches fill there. The limit is 1.4 times what an idle worker without any
artworks has, measured in the same run, and 1 KB per artwork.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from scipy.stats import theilslopes

from features.database import connect
from tests.benchmarks.figures import machine
from tests.benchmarks.world import ARTWORKS, gallery
from tests.loads import Watch, cpu_table, give_past, resources
from tests.service import Service
from tests.stage import conclude, stage
from training.load.checks import settle
from training.load.crowd import Load, drive
from training.load.report import figures, table

SECONDS_PER_ARTWORK = 6.0
EVERY_SECONDS = 10.0
FILLING = 1 / 6  # of the time, in which caches fill
MOST_GROWTH = 0.05  # over the run, at the upper end of the slope's interval: flat
MOST_OF_IDLE, KB_PER_ARTWORK = 1.4, 1.0
SETTLE_SECONDS = 5.0
console = Console(width=None if sys.stdout.isatty() else 170)


def main() -> None:
    """Load, look every 10 s, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES", "30")))
    parser.add_argument("--rate", type=float, default=200.0, help="displays a second")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    load = Load(
        sessions=round(given.rate * SECONDS_PER_ARTWORK),
        seconds_per_artwork=SECONDS_PER_ARTWORK,
        seconds=given.minutes * 60,
    )
    empty = _empty_mb()
    with gallery() as place, connect(place.url, autocommit=True) as connection:
        give_past(connection, "person", load.sessions)
        environment = {"VERNISSAGE_SECONDS_PER_ARTWORK": f"{SECONDS_PER_ARTWORK:g}"}
        with Service(place.url, place.settings.home_path, workers=given.workers, environment=environment) as service:
            time.sleep(SETTLE_SECONDS)
            idle = _largest(service)
            watch, over = Watch(service, load.warm_seconds, load.seconds), threading.Event()
            series: list[tuple[float, float]] = []
            looking = threading.Thread(target=_look, args=(service, load.warm_seconds, over, series))
            looking.start()
            with watch.going_on():
                run = drive(load, service.url, service.key, people="person", visit="soak")
            over.set()
            looking.join()
        found = figures(run, settle(connection, run))
    displays = found["displays_per_second"] * load.seconds
    console.print(table(found), cpu_table(watch.measured, displays))
    judged = _judge(series, given.minutes, empty)
    _show(judged, idle)
    met = judged["flat"] and judged["within_limit"] and given.minutes >= 30 and not (found["lost"] or found["repeated"])
    conclude(
        "soak",
        {"minutes": given.minutes, "idle_mb": idle, **judged, "run": found, "machine": machine()}
        | resources(watch.measured, displays),
        met=met,
    )


def _empty_mb() -> float:
    """What an idle worker has on a database without artworks, in MB."""
    with stage() as settings, Service(settings.database_url, settings.home_path) as service:
        time.sleep(SETTLE_SECONDS)
        return _largest(service)


def _look(service: Service, after: float, over: threading.Event, series: list[tuple[float, float]]) -> None:
    """Note seconds and MB until it is over."""
    if over.wait(after):
        return
    start = time.monotonic()
    while not over.is_set():
        series.append((time.monotonic() - start, _largest(service)))
        over.wait(EVERY_SECONDS)


def _largest(service: Service) -> float:
    """Resident MB of the largest worker. Raises RuntimeError when there is none."""
    sizes = [psutil.Process(worker.pid).memory_info().rss / 1e6 for worker in service.worker_processes()]
    if not sizes:
        raise RuntimeError("the service has no worker")
    return round(max(sizes), 1)


def _judge(series: list[tuple[float, float]], minutes: float, empty: float) -> dict[str, Any]:
    """Slope with its interval, in MB an hour, and what it is judged by."""
    kept = [(at, size) for at, size in series if at >= minutes * 60 * FILLING]
    slope, _, low, high = (float(value) for value in theilslopes([size for _, size in kept], [at for at, _ in kept]))
    first, largest = kept[0][1], max(size for _, size in series)
    limit = MOST_OF_IDLE * empty + KB_PER_ARTWORK * ARTWORKS / 1000
    return {
        "empty_idle_mb": empty,
        "limit_mb": round(limit, 1),
        "largest_mb": largest,
        "first_mb": first,
        "last_mb": series[-1][1],
        "looks": len(series),
        "slope_mb_per_hour": round(slope * 3_600, 3),
        "slope_interval_mb_per_hour": [round(low * 3_600, 3), round(high * 3_600, 3)],
        "flat": bool(high * minutes * 60 < MOST_GROWTH * first),
        "within_limit": largest <= limit,
        "series_mb": [size for _, size in series],
    }


def _show(judged: dict[str, Any], idle: float) -> None:
    """The memory as a table."""
    shown = Table("memory of the largest worker", "MB", title="Soak", title_justify="left")
    low, high = judged["slope_interval_mb_per_hour"]
    rows = {
        "idle, without artworks": judged["empty_idle_mb"],
        f"idle, {ARTWORKS:,} artworks": idle,
        "after caches have filled": judged["first_mb"],
        "at the end": judged["last_mb"],
        "largest": judged["largest_mb"],
        f"limit: {MOST_OF_IDLE} x without artworks + 1 KB per artwork": judged["limit_mb"],
        "slope per hour": f"{judged['slope_mb_per_hour']} ({low} to {high})",
    }
    for name, value in rows.items():
        shown.add_row(name, str(value))
    console.print(shown)


if __name__ == "__main__":
    main()
