"""One training run: snapshot, split, fit and judge, fit again on everything, register. Publishing is training.publish.

The judged model saw the training side of the split only; the registered one is fitted on all signals with the same
settings, meanwhile. With too few users nothing is learnt, and the bundle says so: content and heuristics only.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import psycopg
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from features import postgres
from features.catalogue import Catalogue
from features.database import connect
from features.errors import TooFewSessionsError, TooLittleDataError
from features.settings import Settings
from features.signals import join, read_host, read_own
from serving import bundle as bundles
from serving.bundle import Bundle
from training import content, tracking
from training.dataset import Snapshot, make_snapshot, split
from training.evaluate import Judged, judge
from training.habits import Habits, learn_habits
from training.judging import require_enough, rules_of
from training.learner import Given, Learner, learn
from training.pool import take_pool
from training.probes import make_probes
from training.report import write_report

Step = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A registered version; ``too_little`` says why nothing was learnt, where nothing was."""

    version: str
    model: str
    snapshot: Snapshot
    split: str
    metrics: dict[str, float] = field(default_factory=dict)
    too_little: str = ""


def train(
    learner: Learner, settings: Settings, connection: psycopg.Connection, *, seed: int = 0, on_step: Step = print
) -> Trained:
    """Train, judge and register. ``on_step`` is told what happens. Raises TrackingError when the registry is away."""
    on_step("reading signals and pool")
    return train_on(learner, read_given(settings, connection), settings, seed=seed, on_step=on_step)


def read_given(settings: Settings, connection: psycopg.Connection) -> Given:
    """Signals and pool as they are now; over a second connection as well, so that PostgreSQL works with two cores."""
    with connect(postgres.database_url(settings), autocommit=True) as other, ThreadPoolExecutor(1) as beside:
        hosts = beside.submit(read_host, other)
        pool = beside.submit(take_pool, other)
        events = join(read_own(connection), *hosts.result())
        snapshot = make_snapshot(events.frame, settings.half_life_days, events.votes_left_out)
        return Given(snapshot, pool.result())


def train_on(learner: Learner, given: Given, settings: Settings, *, seed: int = 0, on_step: Step = print) -> Trained:
    """Train, judge and register on what was read before, so that several learners can share it."""
    snapshot = given.snapshot
    try:
        require_enough(learner, snapshot, settings.min_training_users)
    except TooLittleDataError as error:
        habits = _habits(lambda: learn_habits(snapshot.events, settings, seed), on_step)
        bundle = make_bundle(learn(content.make_learner(), given), given, "none", {}, habits=habits)
        return _register(bundle, snapshot, settings, {}, Judged(), too_little=str(error))
    started = time.monotonic()
    halves, rules = split(snapshot, seed), rules_of(settings, seed)
    on_step(
        f"fitting {learner.name} on {snapshot.users:,} users and {snapshot.artworks:,} artworks, "
        f"and judging it on {halves.test_users:,} users"
    )
    with _at_once(learner) as beside:
        early = beside.submit(learn, learner, Given(halves.train, given.pool))
        judging = beside.submit(lambda: judge(early.result(), halves, given.pool, rules))
        forecast = beside.submit(learn_habits, snapshot.events, settings, seed)
        if learner.beside != "fit":
            (early if learner.beside == "judging" else judging).result()
        fitted = learn(learner, given)
        judged, habits = judging.result(), _habits(forecast.result, on_step)
    bundle = make_bundle(fitted, given, halves.kind, judged.metrics, str(rules), habits=habits)
    on_step("registering")
    return _register(bundle, snapshot, settings, {"training_seconds": time.monotonic() - started}, judged)


@contextlib.contextmanager
def _at_once(learner: Learner) -> Iterator[ThreadPoolExecutor]:
    """Two threads beside this one.

    How many threads libraries use and which warnings are shown is the process's: what one fit sets must not end with
    another's.
    """
    limits = {"fit": (1, None), "judging": (1, "blas"), "nothing": (None, None)}
    with threadpool_limits(*limits[learner.beside]), warnings.catch_warnings(), ThreadPoolExecutor(2) as beside:
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield beside


def make_bundle(
    fitted: Bundle,
    given: Given,
    split_kind: str,
    metrics: dict[str, float],
    judged_by: str = "",
    *,
    habits: Habits | None = None,
) -> Bundle:
    """Say in the manifest of what was ``fitted`` on the whole snapshot what it is made of, and give it its probes.

    ``habits``: the forecast of demand that travels with it. Split, pool and ``judged_by`` (the rules) tell whether the
    metrics of two bundles can be compared.
    """
    snapshot = given.snapshot
    about = {
        "users": snapshot.users,
        "artworks": snapshot.artworks,
        "signals": snapshot.signals.height,
        "votes_left_out": snapshot.votes_left_out,
        "data_until": snapshot.newest,
        "split": split_kind,
        "pool": f"{given.pool.size} artworks, {_digest(given.pool)}",
        "judged_by": judged_by,
    }
    told = {**metrics, **(habits.metrics if habits else {})}
    manifest = msgspec.structs.replace(fitted.manifest, params={**fitted.manifest.params, **about}, metrics=told)
    arrays = {**fitted.arrays, **make_probes(fitted), **(habits.arrays if habits else {})}
    return replace(fitted, manifest=manifest, arrays=arrays)


def _habits(learnt: Callable[[], Habits], on_step: Step) -> Habits | None:
    """The forecast of demand, or None, said, where there were too few visits to learn from."""
    try:
        return learnt()
    except TooFewSessionsError as error:
        on_step(f"no forecast of demand: {error}")
        return None


def _digest(pool: Catalogue) -> str:
    """What tells one set of active artworks from another."""
    active = sorted(pool.ids[row] for row in np.flatnonzero(pool.active).tolist())
    return hashlib.sha256("\n".join(active).encode()).hexdigest()[:12]


def _register(
    bundle: Bundle,
    snapshot: Snapshot,
    settings: Settings,
    timings: dict[str, float],
    judged: Judged,
    *,
    too_little: str = "",
) -> Trained:
    """Save the bundle and make it a version, in one MLflow run, with how it was judged beside it."""
    manifest = bundle.manifest
    with tempfile.TemporaryDirectory(prefix="vernissage-") as scratch:
        kept, report = Path(scratch) / "bundle", Path(scratch) / "report"
        bundles.save(kept, manifest, bundle.arrays)
        write_report(judged, report)
        version = tracking.log_run(
            settings,
            name=manifest.model,
            params={**manifest.params, "half_life_days": manifest.half_life_days},
            metrics={**manifest.metrics, **timings},
            tags={"model": manifest.model, "snapshot": manifest.snapshot, "split": manifest.params["split"]},
            bundle_folder=kept,
            report_folder=report,
        )
    return Trained(version, manifest.model, snapshot, manifest.params["split"], manifest.metrics, too_little)
