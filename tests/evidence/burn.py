"""The pool burn: the host's client loads, records and asks again; what is marked as seen stays what it holds and shows.

python tests/evidence/burn.py [--minutes 30] [--speed 60]

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
CONTROL_SPEED = 10.0  # slow, so that the time our requests take does not spoil the imitation
MINUTE = 60.0
console = Console()


def main() -> None:
    """Run each case against one service and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=30, help="client minutes of each case")
    parser.add_argument("--speed", type=float, default=60.0, help="how many times as fast as in the browser")
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
            cases = {
                name: _run(service, host, given.minutes, given.speed, **options) for name, options in CASES.items()
            }
            control = _run(service, host, 1, CONTROL_SPEED, forgetful=True)
    _show(cases, control)
    worst = max(cases.values(), key=lambda case: case["over"])
    figures = {
        "client_minutes": given.minutes,
        "marked_in_first_minute": {name: case["marked"][0] for name, case in cases.items()},
        "marked_per_later_minute": {name: _mean(case["marked"][1:]) for name, case in cases.items()},
        "marked_most_in_a_minute": max(max(case["marked"]) for case in cases.values()),
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
    minutes: int,
    speed: float,
    *,
    styles: tuple[str, ...] = (),
    each_minute: Callable[[HostClient, Service, str], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """One page of one user for some minutes; per client minute what was marked and what was displayed."""
    user = host.add_user()
    began = _now(host.connection)
    clock = Clock(speed)
    client = HostClient(service.client, user, clock, **options)
    client.styles = list(styles)
    client.open()
    for minute in range(minutes):
        clock.run(until=MINUTE * (minute + 1) - MINUTE / 4)
        if each_minute is not None:
            each_minute(client, service, user)
    client.close()
    seen = [(at - began).total_seconds() * speed for at in _times(host.connection, MARKED, user)]
    shown = [(at - began).total_seconds() * speed for at in _times(host.connection, DISPLAYED, user)]
    marked, displayed = _by_minute(seen, minutes), _by_minute(shown, minutes)
    return {
        "marked": marked,
        "displayed": displayed,
        "over": max(each - MOST_FRAMES - drawn for each, drawn in zip(marked, displayed, strict=True)),
        "first_seconds": sum(at <= CONTROL_SECONDS for at in seen),
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


def _by_minute(seconds: list[float], minutes: int) -> list[int]:
    """How many of the moments lie in each client minute."""
    counts = Counter(int(at // MINUTE) for at in seconds)
    return [counts[minute] for minute in range(minutes)]


def _mean(counts: list[int]) -> float:
    """The mean of some counts."""
    return round(sum(counts) / max(len(counts), 1), 2)


def _show(cases: dict[str, dict[str, Any]], control: dict[str, Any]) -> None:
    """The cases as a table."""
    table = Table(title="Artworks marked as seen")
    for name in ("case", "first minute", "each later minute", "displayed", "minutes with marks: marked (displayed)"):
        table.add_column(name, justify="left" if name == "case" or "marks" in name else "right")
    for name, case in (cases | {"control: no re-offering": control}).items():
        both = enumerate(zip(case["marked"], case["displayed"], strict=True), start=1)
        cells = [f"{minute}: {seen} ({shown})" for minute, (seen, shown) in both if seen]
        total = sum(case["displayed"])
        table.add_row(name, str(case["marked"][0]), str(_mean(case["marked"][1:])), str(total), ", ".join(cells))
    console.print(table)


if __name__ == "__main__":
    main()
