"""The host's routes: keys, types, headers and errors of each, on today's columns of the host and on the older ones.

python tests/evidence/drop_in.py
"""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.table import Table

from features.database import connect
from features.migrate import migrate
from features.settings import Settings
from tests import drop_in_contract as contract
from tests.host import Host
from tests.host_client import USER_HEADER
from tests.service import Service
from tests.stage import conclude, stage

SETS = ("today", "older")
ASPECTS = ("keys and types", "headers", "errors")
BATCH, RENDERED, BRIDGE = "/api/artworks/batch-impressions", "/api/impressions/rendered", "/api/catalogue-bridge"
NEXT, ASYNC, JOB, VIEWED = (
    "/api/artworks/next",
    "/api/artworks/next/async",
    "/api/artworks/job/",
    "/api/artworks/a/viewed",
)
POOL, CONFIG = "/api/monitoring/pool", "/api/client-config"
ROUTES = (NEXT, ASYNC, JOB, BATCH, VIEWED, RENDERED, BRIDGE, POOL, CONFIG)
console = Console()


@dataclass
class Checks:
    """Of one set of columns: per route and aspect how many answers were checked, and what was wrong with them."""

    done: dict[tuple[str, str], int] = field(default_factory=dict)
    wrong: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def note(self, route: str, aspect: str, faults: list[str]) -> None:
        """One more answer."""
        self.done[route, aspect] = self.done.get((route, aspect), 0) + 1
        self.wrong.setdefault((route, aspect), []).extend(faults)

    def good(self, route: str, answer: httpx.Response, schema: Any, headers: dict[str, str]) -> Any:
        """Check an answer as it should be; returns its body."""
        self.note(route, "keys and types", contract.faults(answer, 200, schema, {}))
        self.note(route, "headers", contract.faults(answer, 200, {}, headers))
        return answer.json()

    def bad(self, route: str, answer: httpx.Response, status: int, schema: Any) -> None:
        """Check a refusal."""
        self.note(route, "errors", contract.faults(answer, status, schema, contract.NO_STORE))

    def cell(self, route: str, aspect: str) -> str:
        """How it went, for the table."""
        count = self.done.get((route, aspect), 0)
        wrong = self.wrong.get((route, aspect), [])
        return "[red]" + "; ".join(wrong)[:80] if wrong else f"{count} fine" if count else "-"


class Asker:
    """Asks one service in one user's name."""

    def __init__(self, service: Service, user: str) -> None:
        self.service = service
        self.headers = {USER_HEADER: user}

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """GET in the user's name."""
        return self.service.client.get(path, params=parameters, headers=self.headers)

    def post(self, path: str, body: Any) -> httpx.Response:
        """POST JSON in the user's name; bytes are sent as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.service.client.post(path, content=content, headers=self.headers)


def main() -> None:
    """Check everything on both sets of columns and print the table."""
    found: dict[str, Checks] = {}
    with stage() as settings:
        for columns in SETS:
            with _database(settings, columns) as url, connect(url, autocommit=True) as connection:
                host = Host(connection)
                if columns == "older":
                    contract.make_older(host)
                home = Path(settings.home) / columns
                with Service(url, home, environment={"VERNISSAGE_CATALOGUE_POLL_SECONDS": "0.05"}) as service:
                    found[columns] = _check(service, host)
    _show(found)
    checks = [(checks, key) for checks in found.values() for key in checks.done]
    wrong = [line for checks, key in checks for line in checks.wrong[key]]
    figures = {
        "routes": len(ROUTES),
        "column_sets": len(found),
        "answers_checked": sum(checks.done[key] for checks, key in checks if key[1] != "headers"),
        "wrong": len(wrong),
        "wrong_lines": wrong[:5],
    }
    conclude(
        "drop-in",
        figures,
        met=not wrong and all((route, "keys and types") in c.done for route in ROUTES for c in found.values()),
    )


def _check(service: Service, host: Host) -> Checks:
    """All routes once or more, good and bad."""
    checks = Checks()
    ask = Asker(service, host.add_user(subscription_tier="premium"))
    _lists(checks, ask, host)
    _reports(checks, ask, host)
    _bridges(checks, ask, host)
    _others(checks, ask, host)
    _refusals(checks, ask)
    return checks


def _lists(checks: Checks, ask: Asker, host: Host) -> None:
    """The plain list, the display's first request, and jobs."""
    full = {
        "user_id": "system", "dna_vector": json.dumps([0.5] * 50), "audio_features": '{"tempo": 120}',
        "motifs": ["baroque"], "quality_score": 75, "last_used_at": "2025-06-01 12:30:15.25",
    }  # fmt: skip
    host.fill(ask.service, [full, {"motifs": None, "quality_score": None, "pool_status": None}, *[{}] * 30])
    body = checks.good(NEXT, ask.get(NEXT, sessionId="a"), contract.NEXT, contract.NO_CACHE)
    ids = [artwork["id"] for artwork in body["artworks"]]
    checks.note(NEXT, "keys and types", [] if len(ids) == len(set(ids)) == 20 else ["artworks twice"])
    checks.good(ASYNC, ask.get(ASYNC, sessionId="a"), contract.IMMEDIATE, contract.NO_CACHE)
    filters = {"styles": '["cubism"]', "artists": '["Ada"]', "orientation": "landscape", "limit": 5}
    checks.good(ASYNC, ask.get(ASYNC, sessionId="b", **filters), contract.IMMEDIATE, contract.NO_CACHE)

    host.fill(ask.service, 0)
    checks.good(NEXT, ask.get(NEXT, sessionId="a"), contract.NEXT, contract.NO_CACHE)
    queued = checks.good(ASYNC, ask.get(ASYNC, sessionId="c"), contract.QUEUED, contract.NO_CACHE)
    path = JOB + queued["jobId"]
    checks.good(JOB, ask.get(path), contract.PENDING, contract.NO_CACHE)
    stranger = Asker(ask.service, "somebody-else")
    checks.bad(JOB, stranger.get(path), 403, contract.ERROR)
    checks.bad(JOB, ask.get(JOB + str(uuid.uuid4())), 404, contract.ERROR)
    host.fill(ask.service, 3)
    checks.good(JOB, ask.get(path), contract.COMPLETED, contract.NO_CACHE)
    host.fill(ask.service, 1)
    host.connection.execute("UPDATE vernissage.list_jobs SET created_at = created_at - interval '13 s'")
    checks.good(JOB, ask.get(path), contract.FAILED, contract.NO_CACHE)


def _reports(checks: Checks, ask: Asker, host: Host) -> None:
    """Loaded, viewed, rendered."""
    pool = host.fill(ask.service, 30)
    sent = {"artworkIds": [*pool[:3], pool[0], "unknown"], "sessionId": "a"}
    checks.good(BATCH, ask.post(BATCH, sent), contract.LOADED, contract.NO_STORE)
    beacon = {"artworkIds": [*pool, *(str(uuid.uuid4()) for _ in range(1_670))]}
    checks.good(BATCH, ask.post(BATCH, beacon), contract.LOADED, contract.NO_STORE)
    packed = gzip.compress(json.dumps(beacon).encode())
    checks.good(BATCH, ask.post(BATCH, packed), contract.LOADED, contract.NO_STORE)
    bomb = gzip.compress(b'{"artworkIds": ["' + b"a" * 50_000_000 + b'"]}')
    checks.bad(BATCH, ask.post(BATCH, bomb), 413, contract.ERROR)
    checks.bad(BATCH, ask.post(BATCH, {"artworkIds": []}), 400, contract.ERROR)
    for wrong in ({"artworkIds": "a"}, {"artworkIds": [1]}, {}, []):
        checks.bad(BATCH, ask.post(BATCH, wrong), 400, contract.INVALID)
    checks.bad(BATCH, ask.post(BATCH, b"{"), 400, contract.ERROR)

    checks.good(VIEWED, ask.post(f"/api/artworks/{pool[0]}/viewed", b""), contract.VIEWED, contract.NO_STORE)
    checks.good(VIEWED, ask.post("/api/artworks/unknown/viewed", {}), contract.VIEWED, contract.NO_STORE)
    sent = {"artworkIds": [pool[1], "unknown"], "source": "bridge", "sessionId": "a"}
    checks.good(RENDERED, ask.post(RENDERED, sent), contract.RENDERED, contract.NO_STORE)
    checks.good(RENDERED, ask.post(RENDERED, {"artworkIds": pool[:1]}), contract.RENDERED, contract.NO_STORE)
    for count in (0, 11):
        checks.bad(RENDERED, ask.post(RENDERED, {"artworkIds": ["a"] * count}), 400, contract.INVALID)


def _bridges(checks: Checks, ask: Asker, host: Host) -> None:
    """With artworks, and with none left."""
    host.fill(ask.service, 4)
    wishes = {"sessionId": "a", "styleTags": ["cubism"], "artistTags": ["Ada"], "orientation": "any"}
    checks.good(BRIDGE, ask.post(BRIDGE, wishes), contract.BRIDGE, contract.NO_STORE)
    host.fill(ask.service, 0)
    checks.good(BRIDGE, ask.post(BRIDGE, {"sessionId": "a"}), contract.PROCEDURAL, contract.NO_STORE)
    for wrong in ({}, {"sessionId": "a", "styleTags": "cubism"}, {"sessionId": "a", "orientation": "askew"}):
        checks.bad(BRIDGE, ask.post(BRIDGE, wrong), 400, contract.INVALID)


def _others(checks: Checks, ask: Asker, host: Host) -> None:
    """The pool's picture, empty and not, and the client's configuration."""
    checks.good(POOL, ask.get(POOL), contract.POOL, contract.NO_STORE)
    host.fill(ask.service, 4)
    ask.get(NEXT, sessionId="p")
    checks.good(POOL, ask.get(POOL), contract.POOL, contract.NO_STORE)
    checks.bad(POOL, ask.service.stranger.get(POOL), 401, contract.MESSAGE)
    checks.good(CONFIG, ask.get(CONFIG), contract.CONFIG, contract.NO_STORE)


def _refusals(checks: Checks, ask: Asker) -> None:
    """Nobody is named, or the parameters are wrong."""
    for route in ROUTES:
        method = "POST" if route in {BATCH, VIEWED, RENDERED, BRIDGE} else "GET"
        path = route + "1" if route == JOB else route
        if route != POOL:
            checks.bad(route, ask.service.client.request(method, path), 401, contract.MESSAGE)
        other = ask.service.client.request("PUT", path, headers=ask.headers)
        checks.bad(route, other, 405, contract.ERROR)
    for wrong in ({"limit": "many"}, {"limit": 0}):
        checks.bad(NEXT, ask.get(NEXT, **wrong), 400, contract.INVALID)
    for wrong in ({"styles": "cubism"}, {"artists": "[1]"}, {"orientation": "askew"}):
        checks.bad(ASYNC, ask.get(ASYNC, **wrong), 400, contract.INVALID)


@contextmanager
def _database(settings: Settings, name: str) -> Iterator[str]:
    """A fresh migrated database of that name on the stage's server."""
    with connect(settings.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE columns_{name}")
    url = urlsplit(settings.database_url)._replace(path=f"/columns_{name}").geturl()
    with connect(url) as connection:
        migrate(connection, standalone=True)
    yield url


def _show(found: dict[str, Checks]) -> None:
    """Routes by aspects, for each set of columns."""
    table = Table(title="The host's routes on today's columns and on the older ones")
    table.add_column("route", no_wrap=True)
    for columns in found:
        for aspect in ASPECTS:
            table.add_column(f"{columns}: {aspect}")
    for route in ROUTES:
        cells = [checks.cell(route, aspect) for checks in found.values() for aspect in ASPECTS]
        table.add_row(route.replace("/a/", "/:artworkId/") + (":jobId" if route == JOB else ""), *cells)
    console.print(table)


if __name__ == "__main__":
    main()
