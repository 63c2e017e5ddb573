"""One training run: snapshot, split, fit and judge, fit again on everything, register. Publishing is training.publish.

The judged model saw the training side of the split only; the registered one is fitted on all signals with the same
settings. With too few users nothing is learnt, and the bundle says so: content and heuristics only.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import psycopg

from features.catalogue import Catalogue
from features.errors import TooFewSessionsError, TooLittleDataError
from features.settings import Settings
from serving import bundle as bundles
from serving.bundle import Bundle
from training import content, tracking
from training.dataset import Snapshot, split, take_snapshot
from training.evaluate import Judged
from training.habits import Habits, learn_habits
from training.judging import judge_on, require_enough, rules_of
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
    """Signals and pool as they are now."""
    return Given(take_snapshot(connection, settings.half_life_days), take_pool(connection))


def train_on(learner: Learner, given: Given, settings: Settings, *, seed: int = 0, on_step: Step = print) -> Trained:
    """Train, judge and register on what was read before, so that several learners can share it."""
    snapshot = given.snapshot
    try:
        require_enough(learner, snapshot, settings.min_training_users)
    except TooLittleDataError as error:
        bundle = make_bundle(content.make_learner(), given, "none", {}, habits=_habits(given, settings, seed, on_step))
        return _register(bundle, snapshot, settings, {}, Judged(), too_little=str(error))
    started = time.monotonic()
    halves = split(snapshot, seed)
    on_step(f"judging {learner.name} on {halves.test_users:,} users")
    rules = rules_of(settings, seed)
    judged = judge_on(learner, halves, given.pool, rules)
    on_step(f"fitting {learner.name} on {snapshot.users:,} users and {snapshot.artworks:,} artworks")
    habits = _habits(given, settings, seed, on_step)
    bundle = make_bundle(learner, given, halves.kind, judged.metrics, str(rules), habits=habits)
    on_step("registering")
    return _register(bundle, snapshot, settings, {"training_seconds": time.monotonic() - started}, judged)


def make_bundle(
    learner: Learner,
    given: Given,
    split_kind: str,
    metrics: dict[str, float],
    judged_by: str = "",
    *,
    habits: Habits | None = None,
) -> Bundle:
    """Fit on the whole snapshot and say in the manifest what it is made of; only `created_at` depends on the clock.

    ``habits``: the forecast of demand that travels with it. Split, pool and ``judged_by`` (the rules) tell whether the
    metrics of two bundles can be compared.
    """
    fitted, snapshot = learn(learner, given), given.snapshot
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


def _habits(given: Given, settings: Settings, seed: int, on_step: Step) -> Habits | None:
    """The forecast of demand, or None, said, where there were too few visits to learn from."""
    on_step("fitting the forecast of demand")
    try:
        return learn_habits(given.snapshot.events, settings, seed)
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
