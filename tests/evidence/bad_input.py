"""Bad input of every kind against a real service: what each is answered, on every route and for every field.

make evidence NAME=bad-input
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from features.database import connect
from tests.bad_input_table import CASES, ODD_ARTWORKS, Case
from tests.host import Host
from tests.service import Service
from tests.stage import conclude, stage

console = Console(width=120)


@dataclass(frozen=True)
class Outcome:
    """What one request was answered, and what it should have been."""

    kind: str
    status: int
    code: str
    expected: tuple[int, str]

    @property
    def right(self) -> bool:
        """Whether status and code are the expected ones."""
        return (self.status, self.code) == self.expected


def main() -> None:
    """Ask everything and print the figures."""
    with stage() as settings, Service(settings.database_url, settings.home_path) as service:
        outcomes = [*_refused(service), *_served(service)]
    _show(outcomes)
    figures = {
        "kinds": len({outcome.kind for outcome in outcomes}),
        "requests": len(outcomes),
        "server_errors": sum(outcome.status >= 500 for outcome in outcomes),
        "wrong_code": sum(not outcome.right for outcome in outcomes),
    }
    conclude("bad-input", figures, met=not figures["server_errors"] and not figures["wrong_code"])


def _refused(service: Service) -> Iterator[Outcome]:
    """The cases that must be refused, each with its code."""
    keys = {"admin": service.key} | {scope: service.make_key(scope) for scope in ("planner", "frontend")}
    for case in CASES:
        answer = _send(service, case, keys)
        problem = answer.headers["content-type"] == "application/problem+json"
        code = answer.json()["code"] if problem else "(no problem+json)"
        yield Outcome(case.kind, answer.status_code, code, (case.status, case.code))


def _send(service: Service, case: Case, keys: Mapping[str, str]) -> httpx.Response:
    """One case with the key that it names."""
    header = f"Bearer {keys[case.key]}" if case.key in keys else case.key or ""
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    return service.stranger.request(case.method, case.url, content=case.content, headers=headers)


def _served(service: Service) -> Iterator[Outcome]:
    """An empty pool, and artworks that are out of the ordinary: they are served, one by one and all together."""
    empty = service.client.get("/v1/users/ada/next")
    code = str(empty.json()["reason"])
    yield Outcome("an empty pool", empty.status_code, code, (200, "exhausted"))
    with connect(service.database_url, autocommit=True) as connection:
        host = Host(connection)
        artwork_ids = host.fill(service, [columns for columns, _ in ODD_ARTWORKS.values()])
    answer = service.client.get("/v1/users/ada/next", params={"limit": 200})
    items = {item["artwork_id"]: item for item in answer.json()["items"]}
    for artwork_id, (kind, (columns, has_dna)) in zip(artwork_ids, ODD_ARTWORKS.items(), strict=True):
        expected = "served" if has_dna else "served, DNA null"
        yield Outcome(kind, answer.status_code, _how_served(items.get(artwork_id), columns), (200, expected))


def _how_served(item: Mapping[str, Any] | None, columns: Mapping[str, Any]) -> str:
    """What became of one artwork."""
    if item is None:
        return "missing"
    if item["prompt"] != columns.get("prompt", item["prompt"]):
        return "prompt changed"
    return "served" if item["dna_vector"] is not None else "served, DNA null"


def _show(outcomes: list[Outcome]) -> None:
    """One line for each kind and what it was answered."""
    lines: dict[tuple[str, int, str, bool], int] = defaultdict(int)
    for outcome in outcomes:
        lines[outcome.kind, outcome.status, outcome.code, outcome.right] += 1
    table = Table("kind", "status", "code", "requests", "as it should be")
    for (kind, status, code, right), count in lines.items():
        table.add_row(kind, str(status), code, str(count), "yes" if right else "NO")
    console.print(table)


if __name__ == "__main__":
    main()
