"""Plans: no statement of a request scans the impressions or the pool, and what a `next` costs at 97.7% coverage.

python tests/evidence/plans.py [--requests N] [--pools N,N,N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from features.database import connect
from tests.crowd import DEVOTED, ORDINARY, crowd, statements, verdict
from tests.service import Service
from tests.stage import conclude, stage

COVERAGE = 0.977
LIMIT = 20
WARM_UP = 30  # prepared statements, caches
console = Console()


def main() -> None:
    """Look at all plans, time the requests and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200, help="timed requests per pool")
    parser.add_argument("--pools", default="1000,10000,100000", help="sizes of the pools, comma separated")
    given = parser.parse_args()
    figures: dict[str, Any] = {"faults": _faults()}
    table = Table("artworks", "median ms", "p95 ms", "floor ms", "returned")
    for artworks in map(int, given.pools.split(",")):
        timed = _timed(artworks, given.requests)
        figures |= {f"next_ms_{name}_{artworks}": value for name, value in timed.items()}
        table.add_row(f"{artworks:,}", *[str(value) for value in timed.values()])
    console.print(table)
    conclude("plans", figures, met=not figures["faults"])


def _faults() -> list[str]:
    """What any statement's plan does that it must not, in a database with 220,000 impressions."""
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        crowd(connection)
        found = {
            (statement.name, fault)
            for user in (ORDINARY, DEVOTED, "stranger")
            for statement in statements(connection, user)
            for generic in (False, True)
            for fault in verdict(connection, statement, generic=generic).faults
        }
    return [f"{name}: {fault}" for name, fault in sorted(found)]


def _timed(artworks: int, requests: int) -> dict[str, Any]:
    """Milliseconds of a `next` over HTTP for a user who has seen 97.7% of the pool.

    The floor is a request that asks the database for nothing, taken in turns with it: what the machine's noise is.
    """
    with stage() as settings:
        with connect(settings.database_url, autocommit=True) as connection:
            crowd(connection, artworks=artworks, users=200, each=min(artworks // 2, 500), coverage=COVERAGE)
        with Service(settings.database_url, Path(settings.home)) as service:
            times, floor = [], []
            for _ in range(WARM_UP + requests):
                started = time.perf_counter()
                answer = service.next(DEVOTED, "timed", limit=LIMIT)
                asked = time.perf_counter()
                service.client.get("/v1/models/live").raise_for_status()
                times.append((asked - started) * 1000)
                floor.append((time.perf_counter() - asked) * 1000)
    last = times[WARM_UP:]
    return {
        "p50": round(statistics.median(last), 2),
        "p95": round(statistics.quantiles(last, n=20)[-1], 2),
        "floor": round(statistics.median(floor[WARM_UP:]), 2),
        "returned": answer["returned"],
    }


if __name__ == "__main__":
    main()
