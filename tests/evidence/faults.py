"""Models missing, broken and asleep, the database cut, silent and killed, a worker killed, rude clients: who got what.

make evidence NAME=faults
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from features.settings import Settings
from tests.faults import cases
from tests.faults.clients import Report
from tests.proxy import Proxy
from tests.service import Service
from tests.stage import conclude, stage

Found = tuple[str, str, Report]  # case, what else is to be said of it, report

LIMIT_SECONDS = 10.0  # for any request, for a recovery, and for a published bundle to be live
ADDED_MS = 500.0
console = Console(width=170)


def main() -> None:
    """Break everything and print the figures."""
    found: list[Found] = []
    with stage() as settings:
        home = settings.home_path
        home.mkdir()
        cases.stock(settings.database_url)
        for part in (_models_and_clients, _bundles, _database, _processes):
            for each in part(settings, home):
                console.print(f"{each[0]}: done")
                found.append(each)
    _show(found)
    reports = {case: report for case, _, report in found}
    totals = _totals(list(reports.values()))
    by_case = {case: _figures(report) for case, report in reports.items()}
    conclude("faults", totals | {"cases": by_case}, met=_met(totals, reports))


def _models_and_clients(settings: Settings, home: Path) -> Iterator[Found]:
    """One service whose rankers can be troubled."""
    faults = home / "faults"
    faults.write_text("", "utf-8")
    environment = {cases.FAULTS: str(faults), "VERNISSAGE_BODY_WAIT_SECONDS": str(cases.BODY_SECONDS)}
    url = settings.database_url
    with Service(url, home / "first", application=cases.FAULTY, environment=environment) as service:
        none = cases.no_bundle(service)
        yield "no bundle", f"rungs {none.facts['rungs']}, health: bundle {none.facts['bundle']}", none
        cases.publish(url, home, "good")
        cases.wait_for("the bundle", lambda: cases.live_version(service) == "good")
        raising = cases.raising_rankers(service, faults)
        rungs = [raising.facts[name] for name in ("model_broken_rungs", "both_broken_rungs", "after_rungs")]
        yield "ranker raises", f"rungs {rungs[0]}, both rankers {rungs[1]}, afterwards {rungs[2]}", raising
        asleep = cases.sleeping_ranker(service, faults)
        added = f"added {asleep.facts['late_added_ms']:.0f} ms while late, {asleep.facts['busy_added_ms']:.0f} ms busy"
        yield "ranker sleeps", f"{added}; always ready: {asleep.facts['ready']}", asleep
        leaving = cases.clients_that_leave(service, faults)
        yield "clients hang up", f"{leaving.facts['gone']:.0f} counted, {leaving.facts['traces']} traces", leaving
        slow = cases.clients_that_dawdle(service)
        yield "half a body", f"{slow.facts['refused']} refused: 408 body_too_slow", slow


def _bundles(settings: Settings, home: Path) -> Iterator[Found]:
    """One service that starts with a broken bundle."""
    found = cases.corrupt_bundles(settings.database_url, home / "bundles")
    said = f"{found.facts['refusals']:.0f} refused, {len(found.facts['lines'])} lines"
    yield "corrupt bundles", f"{said}, a good one live after {found.facts['load_seconds']:.1f} s", found


def _database(settings: Settings, home: Path) -> Iterator[Found]:
    """One service behind a line that breaks."""
    faults = home / "faults"
    faults.write_text("content sleep 0.03", "utf-8")  # so that requests are always in the middle
    url = settings.database_url
    with Proxy(url) as proxy:
        environment = {"VERNISSAGE_DATABASE_URL": proxy.url, cases.FAULTS: str(faults)}
        service = Service(url, home / "second", application=cases.FAULTY, environment=environment)
        try:
            early = cases.start_without_database(service, proxy)
            said = f"/readyz {early.facts['readiness_before']}, ready {early.facts['ready_after']:.1f} s after it came"
            yield "started without database", said, early
            reset = cases.outage(service, proxy, url, "reset", "reset")
            yield "connections reset for 5 s", _recovery(reset), reset
            stalled = cases.outage(service, proxy, url, "stalled", "stalled")
            yield "black hole for 5 s", _recovery(stalled), stalled
        finally:
            service.stop()


def _processes(settings: Settings, home: Path) -> Iterator[Found]:
    """A service of two workers, and the server itself."""
    cluster = Settings(home=str(home.parent / "cluster"))
    with Service(settings.database_url, home / "third", workers=2) as service:
        worker = cases.worker_killed(service, settings.database_url)
        said = (
            f"longest gap {worker.facts['longest_gap']:.2f} s, replaced after {worker.facts['respawned_after']:.1f} s"
        )
        yield "worker killed (-9)", said, worker
        server = cases.database_killed(service, cluster)
        yield "PostgreSQL killed (-9)", f"up after {server.facts['restart_seconds']:.1f} s; {_recovery(server)}", server


def _recovery(found: Report) -> str:
    """How it went on after an outage."""
    met, after = found.facts["in_outage"], max(found.facts["recovered_after"], 0.0)
    return f"{met} requests met it; last failure {after:.1f} s after its end"


def _figures(found: Report) -> dict[str, Any]:
    """One case in numbers."""
    figures: dict[str, Any] = {"answers": dict(sorted(found.answers.items())), "slowest": round(found.slowest, 2)}
    if found.acknowledged:
        figures |= {"acknowledged": found.acknowledged, "lost": found.lost}
    if "recovered_after" in found.facts:
        figures["recovered_seconds"] = round(max(found.facts["recovered_after"], 0.0), 1)
    return figures


def _totals(reports: list[Report]) -> dict[str, Any]:
    """All cases together."""
    return {
        "requests": sum(report.answers.total() for report in reports),
        "acknowledged": sum(report.acknowledged for report in reports),
        "lost_acknowledged": sum(report.lost for report in reports),
        "seen_offered": sum(report.seen_offered for report in reports),
        "repeated_in_list": sum(report.repeated_in_list for report in reports),
        "drawn_twice": sum(report.drawn_twice for report in reports),
        "uncoded_500": sum(report.uncoded for report in reports),
        "slowest_seconds": round(max(report.slowest for report in reports), 2),
        "recovered_seconds": round(max(report.facts.get("recovered_after", 0.0) for report in reports), 1),
    }


def _met(totals: dict[str, Any], reports: dict[str, Report]) -> bool:
    """Whether every promise was kept."""
    broken = ("lost_acknowledged", "seen_offered", "repeated_in_list", "drawn_twice", "uncoded_500")
    limited = ("slowest_seconds", "recovered_seconds")
    bundles, asleep = reports["corrupt bundles"].facts, reports["ranker sleeps"].facts
    undisturbed = (
        "no bundle",
        "ranker raises",
        "ranker sleeps",
        "clients hang up",
        "half a body",
        "corrupt bundles",
    )
    return (
        not any(totals[name] for name in broken)
        and all(totals[name] < LIMIT_SECONDS for name in limited)
        and not any(reports[case].failures for case in undisturbed)
        and bundles["refusals"] == len(bundles["lines"]) == 2 * len(cases.DAMAGES)
        and bundles["load_seconds"] < LIMIT_SECONDS
        and asleep["ready"]
        and max(asleep["late_added_ms"], asleep["busy_added_ms"]) < ADDED_MS
    )


def _show(found: list[Found]) -> None:
    """The table."""
    table = Table("case", "what clients got", "slowest s", "acknowledged", "lost", "seen offered", "uncoded", "besides")
    for case, said, report in found:
        answers = "\n".join(f"{count} x {label}" for label, count in sorted(report.answers.items()))
        counts = (report.acknowledged, report.lost, report.seen_offered, report.uncoded)
        table.add_row(case, answers, f"{report.slowest:.2f}", *map(str, counts), said, end_section=True)
    console.print(table)


if __name__ == "__main__":
    main()
