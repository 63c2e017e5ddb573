"""The pool burn: the host's client loads, records and asks again; what is marked as seen stays what it holds and shows.

python tests/evidence/burn.py [--minutes 10] [--speed 30]

A client minute is 60 / speed seconds here, for the client and for the service's leases alike. The control asks each
time as another session, which is what a service without leases amounts to: it shows that the imitation can burn.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from features.database import connect
from tests.host import Host
from tests.host_client import MOST_FRAMES, Clock, HostClient
from tests.service import Service
from tests.stage import conclude, stage

POOL = 3_000
HOST_BURNED = 315  # marked by the host's own service in 30 s, with one artwork shown
CONTROL_SECONDS = 30.0
MINUTE = 60.0
console = Console()


def main() -> None:
    """Run each case against one service and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10, help="client minutes of each case")
    parser.add_argument("--speed", type=float, default=30.0, help="how many times as fast as in the browser")
    given = parser.parse_args()
    second = 1 / given.speed
    environment = {
        "VERNISSAGE_SECONDS_PER_ARTWORK": str(60 * second),
        "VERNISSAGE_LEASE_FIRST_SECONDS": str(60 * second),
        "VERNISSAGE_LEASE_GRACE_SECONDS": str(60 * second),
    }
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        host = Host(connection)
        host.add_artworks(POOL - 5, styles=["fauvism"])
        host.add_artworks(5, styles=["cubism"])
        with Service(settings.database_url, settings.home_path, environment=environment) as service:
            host.wait(service)
            cases = {name: _run(service, host, given, **options) for name, options in CASES.items()}
    _show(cases)
    control = cases.pop("control: no re-offering")
    worst = max(cases.values(), key=lambda case: case["over"])
    figures = {
        "client_minutes": given.minutes,
        "marked_in_first_minute": {name: case["marked"][0] for name, case in cases.items()},
        "marked_per_later_minute": {name: _mean(case["marked"][1:]) for name, case in cases.items()},
        "displayed": {name: sum(case["displayed"]) for name, case in cases.items()},
        "most_over_bound": worst["over"],  # marked - (20 + displayed), over all minutes and cases; at most 0
        "marked_by_control_in_30_s": control["first_seconds"],
        "marked_by_host_in_30_s": HOST_BURNED,
        "repeats": sum(case["repeats"] for case in cases.values()),
        "paid_generations": sum(case["paid"] for case in cases.values()),
    }
    fine = worst["over"] <= 0 and figures["repeats"] == 0 and figures["paid_generations"] == 0
    conclude("burn", figures, met=bool(fine and control["first_seconds"] > HOST_BURNED / 2))


def _run(
    service: Service,
    host: Host,
    given: argparse.Namespace,
    *,
    styles: tuple[str, ...] = (),
    each_minute: Callable[[HostClient, Service, str], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """One page of one user for some minutes; per client minute what was marked and what was displayed."""
    user = host.add_user()
    began = _now(host.connection)
    clock = Clock(given.speed)
    client = HostClient(service.client, user, clock, **options)
    client.styles = list(styles)
    client.open()
    for minute in range(given.minutes):
        clock.run(until=MINUTE * (minute + 1) - MINUTE / 4)
        if each_minute is not None:
            each_minute(client, service, user)
    client.close()
    marked = _minutes(given, began, _times(host.connection, MARKED, user))
    displayed = _minutes(given, began, _times(host.connection, DISPLAYED, user))
    seconds = [(at - began).total_seconds() * given.speed for at in _times(host.connection, MARKED, user)]
    return {
        "marked": marked,
        "displayed": displayed,
        "over": max(seen - MOST_FRAMES - shown for seen, shown in zip(marked, displayed, strict=True)),
        "first_seconds": sum(at <= CONTROL_SECONDS for at in seconds),
        "repeats": len(client.drawn) - len(set(client.drawn)),
        "paid": client.paid_generations,
    }


def _like(client: HostClient, service: Service, user: str) -> None:
    """The user likes what is on the screen, so that the ranking moves."""
    artwork = client.drawn[-1]
    service.record({"event_id": f"like-{artwork}", "user_id": user, "artwork_id": artwork, "kind": "like"})


def _hide(client: HostClient, _: Service, __: str) -> None:
    """The tab goes to the background and comes back."""
    client.hide()


CASES: dict[str, dict[str, Any]] = {
    "one tab": {},
    "reports without a session": {"named_sessions": False},
    "a scarce style, and likes": {"styles": ("cubism",), "each_minute": _like},
    "hidden each minute": {"each_minute": _hide},
    "control: no re-offering": {"forgetful": True},
}
MARKED = "SELECT viewed_at AT TIME ZONE 'UTC' FROM public.user_art_impressions WHERE user_id = %s"
DISPLAYED = "SELECT received_at FROM vernissage.events WHERE user_id = %s AND kind = 'displayed'"


def _now(connection: psycopg.Connection) -> datetime:
    """The database's clock."""
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def _times(connection: psycopg.Connection, statement: str, user: str) -> list[datetime]:
    """When something happened to a user."""
    return [row[0] for row in connection.execute(statement, (user,)).fetchall()]


def _minutes(given: argparse.Namespace, began: datetime, times: list[datetime]) -> list[int]:
    """How many of the moments lie in each client minute."""
    counts = Counter(int((at - began).total_seconds() * given.speed // MINUTE) for at in times)
    return [counts[minute] for minute in range(given.minutes)]


def _mean(counts: list[int]) -> float:
    """The mean of some counts."""
    return round(sum(counts) / max(len(counts), 1), 2)


def _show(cases: dict[str, dict[str, Any]]) -> None:
    """The cases as a table."""
    table = Table(title="Artworks marked as seen in each client minute (displayed)")
    table.add_column("case")
    for minute in range(len(next(iter(cases.values()))["marked"])):
        table.add_column(str(minute + 1), justify="right")
    for name, case in cases.items():
        cells = [f"{seen} ({shown})" for seen, shown in zip(case["marked"], case["displayed"], strict=True)]
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
