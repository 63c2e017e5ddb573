"""The closed loop: a user drains the pool, the loop orders, paints and delivers; then the painter breaks, and mends.

make evidence NAME=loop

A service and a planning loop as real processes on one database, the pictures in a folder that both see. Time runs
twenty times as fast as on a wall: an artwork every three seconds. The painter is broken by taking away the folder that
it writes into; nothing of our own is replaced.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from PIL import Image
from rich.console import Console
from rich.table import Table

from features.database import connect
from features.settings import Settings
from tests.host import Host
from tests.loops import Loop, dna_text
from tests.service import Service
from tests.stage import conclude, stage

GAP = 3.0  # seconds between artworks
STOCK = 12  # artworks in the pool at first
FINE_SECONDS, BROKEN_SECONDS, MENDING_SECONDS, MENDED_SECONDS = 90.0, 120.0, 30.0, 45.0
HOUR_DOLLARS, DAY_DOLLARS, IMAGE = 4.0, 2.0, 0.02
PACE = {
    "VERNISSAGE_SECONDS_PER_ARTWORK": str(GAP),
    "VERNISSAGE_PLANNING_SECONDS": "4",
    "VERNISSAGE_LEAD_P50_SECONDS": "4",
    "VERNISSAGE_LEAD_P95_SECONDS": "12",
    "VERNISSAGE_LEADER_SECONDS": "5",
    "VERNISSAGE_PAINTED_PIXELS": "480",  # since time runs so fast
    "VERNISSAGE_FLOOR_ARTWORKS": "10",
    "VERNISSAGE_BUDGET_HOUR_IMAGES": "200",
    "VERNISSAGE_BUDGET_HOUR_DOLLARS": str(HOUR_DOLLARS),
    "VERNISSAGE_BUDGET_DAY_DOLLARS": str(DAY_DOLLARS),
    "VERNISSAGE_BREAKER_FAILURES": "4",
    "VERNISSAGE_BREAKER_OPEN_SECONDS": "8",
    "VERNISSAGE_BREAKER_PROBE_SHARE": "0.5",
    "VERNISSAGE_BREAKER_SUCCESSES": "2",
}
console = Console(width=150)


@dataclass
class Watched:
    """What one stretch of time was like for the user."""

    draws: int = 0
    stock_outs: int = 0
    new_shown: int = 0  # artworks that were painted to order
    least_stock: int = 10**9
    failed_requests: int = 0


@dataclass
class Visitor:
    """A user who looks at one artwork after another, and likes every third."""

    service: Service
    shown: list[str] = field(default_factory=list)

    def watch(self, seconds: float) -> Watched:
        """Draw for so long."""
        found = Watched()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            due = time.monotonic() + GAP
            self._draw(found)
            time.sleep(max(due - time.monotonic(), 0))
        return found

    def _draw(self, found: Watched) -> None:
        """The next artwork, or none."""
        client = self.service.client
        answer = client.get("/v1/users/ada/next", params={"session_id": "tab", "limit": 3})
        need = client.get("/v1/users/ada/need")
        found.failed_requests += (not answer.is_success) + (not need.is_success)
        found.draws += 1
        found.least_stock = min(found.least_stock, need.json()["stock"])
        items = answer.json()["items"]
        if not items:
            found.stock_outs += 1
            return
        artwork_id = items[0]["artwork_id"]
        found.new_shown += items[0]["image_url"].startswith("/artworks/")
        self.service.display("ada", [artwork_id], "tab")
        self.shown.append(artwork_id)
        if len(self.shown) % 3 == 1:
            like = {"event_id": f"like-{artwork_id}", "user_id": "ada", "artwork_id": artwork_id, "kind": "like"}
            self.service.record(like | {"session_id": "tab"})


def main() -> None:
    """Run the stretches and judge them."""
    with stage() as settings:
        pictures = settings.home_path / "pictures"
        homes = [settings.home_path / name for name in ("service", "loop")]
        pictures.mkdir(parents=True)
        for home in homes:
            home.mkdir()
            (home / "artworks").symlink_to(pictures)
        environment = PACE | {"VERNISSAGE_CATALOGUE_POLL_SECONDS": "0.2"}
        with (
            connect(settings.database_url, autocommit=True) as connection,
            Service(settings.database_url, homes[0], environment=environment) as service,
        ):
            figures = _run(settings, connection, service, homes[1], pictures)
    conclude("loop", figures, met=_met(figures))


def _run(
    settings: Settings, connection: psycopg.Connection, service: Service, home: Path, pictures: Path
) -> dict[str, Any]:
    """Everything, from the first artwork to the figures."""
    host = Host(connection)
    host.add_user("ada")
    host.fill(service, [{"dna_vector": dna_text(number), "styles": ["cubism"]} for number in range(STOCK)])
    visitor = Visitor(service)
    with Loop(settings.database_url, home, home / "loop.log", PACE):
        fine = visitor.watch(FINE_SECONDS)
        console.print(f"fine: {fine}")
        (home / "artworks").unlink()
        (home / "artworks").write_text("no folder", "utf-8")
        broken = visitor.watch(BROKEN_SECONDS)
        console.print(f"broken: {broken}")
        (home / "artworks").unlink()
        (home / "artworks").symlink_to(pictures)
        mended_at = time.time()
        mending = visitor.watch(MENDING_SECONDS)
        console.print(f"mending: {mending}")
        mended = visitor.watch(MENDED_SECONDS)
        console.print(f"mended: {mended}")
    stretches = {"fine": fine, "broken": broken, "mending": mending, "mended": mended}
    _show(stretches)
    told = {name: vars(stretch) for name, stretch in stretches.items()}
    return told | _of_orders(connection, mended_at) | _of_pictures(service, connection, visitor, pictures)


def _of_orders(connection: psycopg.Connection, mended_at: float) -> dict[str, Any]:
    """What became of the orders, what they cost, and how the breaker did."""
    rows = connection.execute(
        "SELECT v.state, extract(epoch FROM v.at - o.ordered_at)::float8, v.detail ? 'refunded', o.cost::float8"
        " FROM vernissage.orders AS o CROSS JOIN LATERAL (SELECT * FROM vernissage.order_versions AS n"
        " WHERE n.order_id = o.order_id ORDER BY n.version DESC LIMIT 1) AS v"
    ).fetchall()
    seconds = sorted(row[1] for row in rows if row[0] == "delivered")
    day = connection.execute("SELECT day_dollars::float8 FROM vernissage.budget").fetchone()
    phases = connection.execute(
        "SELECT phase, extract(epoch FROM at)::float8 FROM vernissage.breaker_changes ORDER BY entry"
    ).fetchall()
    closed = [at - mended_at for phase, at in phases if phase == "closed" and at > mended_at]
    twice = connection.execute(
        "SELECT count(*) FROM vernissage.planning_epochs AS e WHERE e.placed <>"
        " (SELECT count(*) FROM vernissage.orders AS o WHERE o.epoch = e.epoch)"
    ).fetchone()
    return {
        "orders": dict(Counter(row[0] for row in rows)),
        "epochs_ordered_twice": twice[0] if twice else None,
        "order_to_artwork_p50_seconds": round(statistics.median(seconds), 1) if seconds else None,
        "order_to_artwork_max_seconds": round(seconds[-1], 1) if seconds else None,
        "breaker_closed_after_seconds": round(closed[0], 1) if closed else None,
        "breaker": [phase for phase, _ in phases],
        "dollars_ordered": round(sum(row[3] for row in rows if not row[2]), 2),
        "dollars_of_the_budget": round(day[0], 2) if day else None,
        "cap_hour": HOUR_DOLLARS,
        "cap_day": DAY_DOLLARS,
    }


def _of_pictures(service: Service, connection: psycopg.Connection, visitor: Visitor, pictures: Path) -> dict[str, Any]:
    """Whether each picture is there once, and to be had."""
    urls = [
        url for (url,) in connection.execute("SELECT image_url FROM public.art_sessions WHERE image_url LIKE '/art%'")
    ]
    hashes = []
    for path in pictures.glob("*.webp"):
        with Image.open(path) as picture:
            hashes.append(hashlib.sha256(picture.tobytes()).hexdigest())
    return {
        "images": len(urls),
        "pictures_alike": len(hashes) - len(set(hashes)),
        "pictures_not_served": sum(not service.stranger.get(url).is_success for url in urls),
        "shown": len(visitor.shown),
        "shown_twice": len(visitor.shown) - len(set(visitor.shown)),
    }


def _met(figures: dict[str, Any]) -> bool:
    """Whether the loop closed, survived and mended."""
    fine, *between, mended = (figures[name] for name in ("fine", "broken", "mending", "mended"))
    breaker = figures["breaker"]
    spent = max(figures["dollars_ordered"], figures["dollars_of_the_budget"])
    return bool(
        fine["stock_outs"] == mended["stock_outs"] == 0
        and fine["new_shown"] > 0
        and mended["new_shown"] > 0
        and not any(stretch["failed_requests"] for stretch in (fine, *between, mended))
        and figures["orders"].get("failed", 0) > 0
        and breaker[:2] == ["open", "half_open"]
        and breaker[-1] == "closed"
        and figures["breaker_closed_after_seconds"] is not None
        and not any(figures[name] for name in ("epochs_ordered_twice", "pictures_alike", "pictures_not_served"))
        and figures["shown_twice"] == 0
        and spent <= min(HOUR_DOLLARS, DAY_DOLLARS)
    )


def _show(stretches: dict[str, Watched]) -> None:
    """The table."""
    table = Table("painter", "draws", "stock-outs", "painted ones shown", "least stock", "failed requests")
    for name, found in stretches.items():
        row = (found.draws, found.stock_outs, found.new_shown, found.least_stock, found.failed_requests)
        table.add_row(name, *map(str, row))
    console.print(table)


if __name__ == "__main__":
    main()
