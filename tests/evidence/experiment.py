"""Experiments end to end on the real service: what is planted is found, what is not is not, a broken log is called one.

python tests/evidence/experiment.py [--users N] [--people N] [--seed N]

Three experiments run at once: one whose arm changes nothing, one whose users like more (planted in their behaviour, for
no ranking has a known effect), one that interleaves a drawn model with none. Users come, are served, shown and like
over HTTP. Then the clock of the database's rows is put back by the horizon, since nobody waits a week for an evidence.
A fourth, on a world of its own: 500 people who like by that world's truth are served NMF or the default blend, both
trained on it; midway NMF's bundle is taken away and every worker killed; later it comes back (tests/model_trial.py).
What the report says of them must be what their clients wrote down, without the lists of the time between.

The times of a list are told and not judged: two rankings cost what two rankings cost. What is a matter of luck is
judged at 0.1%; how often an interval of 95% is wrong, is the evidence aa's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table

from features.database import connect, query
from serving import bundle as bundles
from serving.experiments.assignment import Plan, Running
from serving.experiments.definitions import Definition, make_definition
from tests.benchmarks.world import factor_arrays, manifest
from tests.experiments import definition, give_past
from tests.host import Host
from tests.model_trial import Tried, put_back, try_models
from tests.service import Service
from tests.stage import conclude, stage
from training.experiments.reading import read_exposed
from training.experiments.report import Report, make_report

POOL, SHOWN = 300, 10
LIKING, PLANTED = 0.20, 0.5  # likes per display, and how much more the treated like (relative)
PREFERRED = 0.15  # how much likelier the second team's artworks are liked (absolute)
TRUTH = PLANTED * LIKING / (LIKING + PREFERRED / 2)  # relative; half of each list is the second team's
LOST = 0.4  # of the treated users whose lists the broken log has lost
MOST_US = 200.0  # microseconds for an assignment
TIMED = 150
LUCK = 0.001
WIDER = NormalDist().inv_cdf(1 - LUCK / 2) / NormalDist().inv_cdf(0.975)  # an interval of 99.9% than one of 95%
BRISK = {"VERNISSAGE_EXPERIMENT_POLL_SECONDS": "0.1", "VERNISSAGE_RANK_DEADLINE_MS": "5000"}
DEFINED: dict[str, dict[str, Any]] = {
    "nothing": {
        "layer": "client",
        "arms": [{"name": "control"}, {"name": "same", "policy": {"batch": 200}}],
        "smallest_effect": 0.3,
    },
    "planted": {
        "layer": "delays",
        "arms": [{"name": "control"}, {"name": "treated", "policy": {"flush_delay_s": 1}}],
        "smallest_effect": 0.3,
    },
    "rankers": {
        "layer": "lists",
        "arms": [{"name": "bare", "policy": {"model": "none"}}, {"name": "drawn", "policy": {"model": "7"}}],
        "smallest_effect": 0.3,
        "design": "interleaved",
    },
}
console = Console()


def main() -> None:
    """Live through everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_200)
    parser.add_argument("--people", type=int, default=500, help="who are served one of two trained models")
    parser.add_argument("--seed", type=int, default=11, help="of names and tastes")
    given = parser.parse_args()
    users = [f"visitor-{given.seed}-{number}" for number in range(given.users)]
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        give_past(connection, 2_000)
        host = Host(connection)
        with Service(settings.database_url, settings.home_path, environment=BRISK) as service:
            pool = host.fill(service, POOL)
            before = _median_ms(service, "before")
            _start(service, connection, settings.home_path, pool)
            during = _median_ms(service, "during")
            repeated = _live(service, connection, users, given.seed)
        put_back(connection)
        reports = {name: make_report(read_exposed(connection, name)) for name in DEFINED}
        broken = _broken(connection)
    with stage() as settings:
        tried = try_models(settings, given.people, BRISK)
    _show(reports, broken, tried)
    microseconds = _assignment_us(users)
    figures = _figures(reports, broken) | {
        "users": len(users),
        "repeats": repeated,
        "assignment_us": round(microseconds, 1),
        "list_ms_without_experiments": round(before, 2),
        "list_ms_with_three": round(during, 2),
        "trained_models": {"people": given.people} | tried.figures(),
    }
    met = _right(reports, broken) and repeated == 0 and microseconds <= MOST_US and not any(tried.wrong().values())
    conclude("experiment", figures, met=met)


def _start(service: Service, connection: psycopg.Connection, home: Path, pool: list[str]) -> None:
    """Deliver the drawn model, start all three, wait until the worker follows."""
    bundle = bundles.save(home / "drawn", manifest("7"), factor_arrays(np.array(sorted(pool)), 1))
    row = {"alias": "version-7", "version": "7", "bundle_path": str(home / "drawn"), "digest": bundle.digest}
    connection.execute(query("set_live_model"), row)
    for name, fields in DEFINED.items():
        service.client.post("/v1/experiments", json=definition(name, **fields)).raise_for_status()
        service.client.post(f"/v1/experiments/{name}/start", json={}).raise_for_status()
    end = time.monotonic() + 60
    while service.metrics().get("vernissage_experiments_running") != len(DEFINED):
        if time.monotonic() > end:
            raise RuntimeError("the worker does not follow the experiments")
        time.sleep(0.1)


def _live(service: Service, connection: psycopg.Connection, users: list[str], seed: int) -> int:
    """Everybody is served, shown and likes; how often a user was offered what had been shown."""
    rng = np.random.default_rng(seed)
    repeated = 0
    for user in track(users, description="users", console=console, transient=True):
        items = service.next(user, "tab", limit=SHOWN)["items"]
        shown = [item["artwork_id"] for item in items]
        repeated += len(shown) - len(set(shown))
        said = connection.execute(
            "SELECT experiments FROM vernissage.served_lists WHERE user_id = %s ORDER BY served_at LIMIT 1", (user,)
        ).fetchone()
        picked = _picked_by_second(connection, (said[0] if said else None) or {})
        treated = ((said[0] if said else None) or {}).get("planted", {}).get("arm") == "treated"
        person = rng.beta(6, 6) * 2 * (1 + PLANTED * treated)
        liked = [each for each in shown if rng.random() < LIKING * person + PREFERRED * (each in picked)]
        events = [{"event_id": f"{user}-{each}", "user_id": user, "artwork_id": each, "kind": "displayed",
                   "session_id": "tab"} for each in shown]  # fmt: skip
        events += [
            {"event_id": f"{user}-{each}-like", "user_id": user, "artwork_id": each, "kind": "like"} for each in liked
        ]
        service.record(*events)
        again = {item["artwork_id"] for item in service.next(user, "tab", limit=SHOWN)["items"]}
        repeated += len(again & set(shown))
    return repeated


def _picked_by_second(connection: psycopg.Connection, said: dict[str, Any]) -> set[str]:
    """The artworks of a list that the drawn model's team picked."""
    keys = said.get("rankers", {}).get("teams", {}).get("drawn", [])
    rows = connection.execute("SELECT artwork_id FROM vernissage.artwork_keys WHERE artwork_key = ANY (%s)", (keys,))
    return {artwork_id for (artwork_id,) in rows.fetchall()}


def _broken(connection: psycopg.Connection) -> Report:
    """The planted experiment after a share of its treated users' lists was lost."""
    lost = """
        DELETE FROM vernissage.served_lists WHERE experiments -> 'planted' ->> 'arm' = 'treated'
        AND vernissage.place('lost', user_id, 100) < %s"""
    connection.execute(lost, (round(100 * LOST),))
    return make_report(read_exposed(connection, "planted"))


def _median_ms(service: Service, name: str) -> float:
    """Milliseconds of a list, the median over users nobody has served yet."""
    times = []
    for number in range(TIMED):
        started = time.perf_counter()
        service.next(f"{name}-{number}", limit=SHOWN)
        times.append(1_000 * (time.perf_counter() - started))
    return statistics.median(times)


def _assignment_us(users: list[str]) -> float:
    """Microseconds of one assignment to three experiments."""
    made: list[Definition] = [make_definition(definition(name, **fields)) for name, fields in DEFINED.items()]
    plan = Plan(tuple(Running(each, each.slots.count) for each in made), holdout=0.05)
    started = time.perf_counter()
    for user in users:
        plan.assign(user)
    return 1e6 * (time.perf_counter() - started) / len(users)


def _right(reports: dict[str, Report], broken: Report) -> bool:
    """Whether each report says what is true."""
    (nothing,), (planted,) = reports["nothing"].primary, reports["planted"].primary
    off = abs(planted.estimate.difference / planted.control_mean - TRUTH)
    half = (planted.estimate.high - planted.estimate.low) / 2 / planted.control_mean
    preferred = reports["rankers"].preference
    return (
        nothing.p_value > LUCK
        and reports["planted"].verdict.startswith("treated is better")
        and off < WIDER * half
        and preferred is not None
        and preferred.low > 0
        and broken.ratio_is_wrong
        and not any(report.ratio_is_wrong for report in reports.values())
    )


def _figures(reports: dict[str, Report], broken: Report) -> dict[str, Any]:
    """What the reports say."""
    (nothing,), (planted,) = reports["nothing"].primary, reports["planted"].primary
    preferred = reports["rankers"].preference
    return {
        "verdicts": {name: report.verdict for name, report in reports.items()} | {"broken log": broken.verdict},
        "users_by_arm": {name: report.counts for name, report in reports.items()},
        "truth_planted": round(TRUTH, 4),
        "planted": [round(value / planted.control_mean, 4) for value in planted.estimate[:3]],
        "planted_without_cuped": [round(value / planted.control_mean, 4) for value in planted.plain[:3]],
        "nothing_p_value": round(nothing.p_value, 4),
        "nothing": [round(value / nothing.control_mean, 4) for value in nothing.estimate[:3]],
        "preference": [round(value, 4) for value in preferred[:3]] if preferred else None,
    }


def _show(reports: dict[str, Report], broken: Report, tried: Tried) -> None:
    """The verdicts."""
    table = Table("experiment", "users", "verdict", box=None)
    several = (*reports.items(), ("planted, with a broken log", broken), ("NMF for the blend", tried.report))
    for name, report in several:
        table.add_row(name, ", ".join(f"{arm} {count}" for arm, count in report.counts.items()), report.verdict)
    console.print(table)


if __name__ == "__main__":
    main()
