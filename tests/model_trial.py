"""Two trained models in the arms of an experiment on the running service, and one of them away in the middle of it.

People of a synthetic world, who like by its truth, are served the default blend or NMF. NMF's bundle is taken away and
every worker is killed; some are served meanwhile; it comes back. What the report says is laid beside what the clients
wrote down themselves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from features.database import connect
from features.settings import Settings
from serving.experiments.assignment import arm_of, held_out
from serving.experiments.definitions import Definition, make_definition
from tests.experiments import definition, give_past
from tests.service import Service
from training import roster
from training.experiments.reading import read_exposed
from training.experiments.report import Report, make_report
from training.publish import deliver_for_experiment, publish
from training.run import read_given, train_on
from training.synth import World, make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

ARTWORKS, DAYS, SHOWN = 500, 45, 10
SPARE_USERS = 200  # more people in the world than visit
WAIT_SECONDS = 120.0
PROBE = "nobody-in-particular"  # whose arm is chosen by hand, so that asking as this one exposes nobody
HOLDOUT = 0.05
CLOSE = 1e-9


@dataclass
class Visits:
    """What clients wrote down: of each visit the user, whether the model was away, the model, displays and likes."""

    rows: list[tuple[str, bool, str, int, int]] = field(default_factory=list)
    shown: dict[str, set[str]] = field(default_factory=dict)
    repeats: int = 0


@dataclass(frozen=True)
class Tried:
    """The report, and what it should say."""

    made: Definition
    report: Report
    visits: Visits
    marked: int  # lists of the log that say that a model was away
    labels: dict[str, str]  # what the service calls the model of each arm

    def inside(self, *, away: bool) -> list[tuple[str, bool, str, int, int]]:
        """The visits of users who are not held out."""
        return [row for row in self.visits.rows if row[1] == away and not held_out(row[0], HOLDOUT)]

    def arm(self, user: str) -> str:
        """By the hash."""
        return arm_of(self.made, user).name

    def wrong(self) -> dict[str, bool]:
        """What is not as the clients have it."""
        away, there = self.inside(away=True), self.inside(away=False)
        counts = Counter(self.arm(user) for user in {row[0] for row in there})
        (compared,) = self.report.primary
        sums = {arm.name: self._sums(arm.name) for arm in self.made.arms}
        means = {name: float(likes.sum() / shown.sum()) for name, (likes, shown) in sums.items()}
        control, treated = (arm.name for arm in self.made.arms)
        half = 1.96 * float(np.sqrt(sum(_variance(*sums[name]) for name in sums)))
        found = (compared.plain.high - compared.plain.low) / 2
        return {
            "users": self.report.counts != {arm.name: counts[arm.name] for arm in self.made.arms},
            "left out": self.report.lacking != {"lists": len(away), "users": len({row[0] for row in away})},
            "marked": self.marked != len(away),
            "control": abs(compared.control_mean - means[control]) > CLOSE,
            "treated": abs(compared.mean - means[treated]) > CLOSE,
            "interval": not 0.97 < found / half < 1.03,
            "models": any(row[2] != self.labels[self.arm(row[0])] for row in there),
            "models while away": any(row[2] != self.labels[control] for row in away),
            "ratio": self.report.ratio_is_wrong,
            "repeats": self.visits.repeats > 0,
        }

    def figures(self) -> dict[str, Any]:
        """For people."""
        (compared,) = self.report.primary
        change = [round(value / compared.control_mean, 4) for value in compared.estimate[:3]]
        return {
            "verdict": self.report.verdict,
            "remarks": self.report.remarks,
            "users_by_arm": self.report.counts,
            "likes_per_display": {"control": round(compared.control_mean, 4), "nmf": round(compared.mean, 4)},
            "nmf_against_blend": change,
            "p95_ms": {arm: round(value, 2) for arm, value in self.report.p95_ms.items()},
            "lists_without_the_model": self.report.lacking,
            "wrong": [name for name, is_wrong in self.wrong().items() if is_wrong],
        }

    def _sums(self, arm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Likes and displays of each user of an arm while the models were there."""
        likes: Counter[str] = Counter()
        shown: Counter[str] = Counter()
        for user, _, _, displays, liked in self.inside(away=False):
            if self.arm(user) == arm:
                likes[user] += liked
                shown[user] += displays
        return np.array([likes[user] for user in shown], float), np.array(list(shown.values()), float)


def _variance(likes: NDArray[np.float64], shown: NDArray[np.float64]) -> float:
    """Of a ratio of sums over users, by linearisation."""
    rest = likes - likes.sum() / shown.sum() * shown
    return float((rest**2).sum() / (len(rest) - 1) * len(rest) / shown.sum() ** 2)


def try_models(settings: Settings, users: int, environment: dict[str, str], seed: int = 5) -> Tried:
    """Train, start, live through it, and report."""
    recipe = Recipe(
        seed=seed,
        users=users + SPARE_USERS,
        artworks=ARTWORKS,
        days=DAYS,
        until=datetime.now(UTC).replace(microsecond=0),
    )
    world = make_world(recipe)
    with connect(settings.database_url, autocommit=True) as connection:
        write_world(connection, world)
        versions, bundle = _train(settings, connection)
        give_past(connection, 2_000)
        with Service(settings.database_url, settings.home_path, environment=environment) as service:
            made = _start(service, connection, versions["nmf"])
            visits = _live(service, world, users, bundle)
        marked = _count(connection, "experiments -> 'models' ? 'fallback'")
        labels = {"control": f"blend:{versions[roster.DEFAULT]}", "nmf": f"nmf:{versions['nmf']}"}
        put_back(connection)
        return Tried(made, make_report(read_exposed(connection, "models")), visits, marked, labels)


def _train(settings: Settings, connection: psycopg.Connection) -> tuple[dict[str, str], Path]:
    """The default goes live, NMF is delivered beside it; their versions, and where NMF's bundle lies."""
    given = read_given(settings, connection)
    names = (roster.DEFAULT, "nmf")
    versions = {
        name: train_on(roster.make_learner(name), given, settings, on_step=lambda _: None).version for name in names
    }
    publish(versions[roster.DEFAULT], settings, connection)
    return versions, deliver_for_experiment(versions["nmf"], settings, connection).folder


def _start(service: Service, connection: psycopg.Connection, version: str) -> Definition:
    """Start it, with the probe in NMF's arm by hand."""
    arms = [{"name": "control"}, {"name": "nmf", "policy": {"model": version}}]
    fields = definition("models", arms=arms)
    connection.execute(
        "INSERT INTO vernissage.experiment_overrides (name, user_id, arm) VALUES ('models', %s, 'nmf')", (PROBE,)
    )
    service.client.post("/v1/experiments", json=fields).raise_for_status()
    service.client.post("/v1/experiments/models/start", json={}).raise_for_status()
    _until(service, f"nmf:{version}")
    return make_definition(fields)


def _live(service: Service, world: World, users: int, bundle: Path) -> Visits:
    """Three fifths visit; the model goes, and two fifths visit, half of them for the first time; it comes back."""
    visits, rng = Visits(), np.random.default_rng(world.recipe.seed)
    rows = range(users)
    label = _model(service)
    _visit(service, world, rows[: users * 3 // 5], visits, rng, away=False)
    aside = bundle.with_name("aside")
    bundle.rename(aside)
    started = service.started_workers()
    for process in service.worker_processes():
        process.kill()
    end = time.monotonic() + WAIT_SECONDS
    while not (service.started_workers() > started and service.is_ready()):
        _must_be_before(end, "no worker came back")
    _until(service, None, other_than=label)
    _visit(service, world, rows[users * 2 // 5 : users * 4 // 5], visits, rng, away=True)
    aside.rename(bundle)
    _until(service, label)
    _visit(service, world, rows, visits, rng, away=False)
    return visits


def _visit(
    service: Service, world: World, rows: Iterable[int], visits: Visits, rng: np.random.Generator, *, away: bool
) -> None:
    """Each is served a list, is shown it, and likes by the world's truth."""
    row_of = {artwork_id: row for row, artwork_id in enumerate(world.artworks.ids)}
    for row in rows:
        user = world.users.ids[row]
        answer = service.next(user, "tab", limit=SHOWN)
        shown = [item["artwork_id"] for item in answer["items"]]
        seen = visits.shown.setdefault(user, set())
        visits.repeats += len(seen & set(shown)) + len(shown) - len(set(shown))
        seen |= set(shown)
        chances = world.preference(np.array([row]), np.array([row_of[each] for each in shown], dtype=np.intp))
        fond = [each for each, chance in zip(shown, chances, strict=True) if rng.random() < chance]
        stamp = f"{user}-{len(visits.rows)}"
        events = [
            {
                "event_id": f"{stamp}-{each}-{kind}",
                "user_id": user,
                "artwork_id": each,
                "kind": kind,
                "session_id": "tab",
            }
            for kind, chosen in (("displayed", shown), ("like", fond))
            for each in chosen
        ]
        service.record(*events)
        visits.rows.append((user, away, answer["model"], len(shown), len(fond)))


def _model(service: Service) -> str | None:
    """What ranks the probe's lists."""
    model: str | None = service.next(PROBE, "tab", limit=1)["model"]
    return model


def _until(service: Service, label: str | None, other_than: str | None = None) -> None:
    """Until the probe is served by this model, or by any but the other one, and the experiment is followed."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        model = _model(service)
        right = model == label if other_than is None else model != other_than
        if right and service.metrics().get("vernissage_experiments_running") == 1:
            return
        _must_be_before(end, f"the probe is served by {model}")


def _must_be_before(end: float, reason: str) -> None:
    """Sleep a little. Raises RuntimeError with the reason when it is too late."""
    if time.monotonic() > end:
        raise RuntimeError(reason)
    time.sleep(0.1)


def _count(connection: psycopg.Connection, which: str) -> int:
    """Lists of the log but the probe's."""
    statement = f"SELECT count(*) FROM vernissage.served_lists WHERE user_id <> %s AND {which}"
    row = connection.execute(statement, (PROBE,)).fetchone()
    return int(row[0]) if row else 0


BACK = """
SET session_replication_role = replica;
UPDATE vernissage.served_lists SET served_at = served_at - %(back)s;
UPDATE vernissage.events SET at = at - %(back)s, received_at = received_at - %(back)s;
UPDATE vernissage.seen SET seen_at = seen_at - %(back)s;
UPDATE vernissage.experiment_states SET at = at - %(back)s;
SET session_replication_role = DEFAULT;
"""


def put_back(connection: psycopg.Connection) -> None:
    """Let the horizon have passed."""
    row = connection.execute("SELECT max(horizon_days) FROM vernissage.experiment_states").fetchone()
    days = int(row[0]) if row else 0
    for statement in BACK.strip().split("\n"):
        connection.execute(statement.replace("%(back)s", f"make_interval(days => {days}, mins => 1)"))
