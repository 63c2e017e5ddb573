"""Fit a learner on the earlier side of a split and judge it on the later one: here, or in a process of its own.

A process of its own is for models on files of a fixed split, so that the seconds and the memory of one do not hide
another's.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from features.errors import TooLittleDataError, TooManyArtworksError, UnknownModelError
from features.settings import Settings
from serving.bundle import Manifest
from training.dataset import Snapshot, split
from training.evaluate import Judged, Rules, judge, split_of_files
from training.learner import Given, Learner, learn
from training.recipes import make_learner, remake_learner

EVERYBODY = 2**31
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Outcome:
    """How one model did; ``refused`` says why it was not judged.

    Memory is measured in a process of its own alone: resident before the fit, with packages and data, and at most.
    """

    model: str
    judged: Judged = field(default_factory=Judged)
    train_seconds: float = 0.0
    judge_seconds: float = 0.0
    peak_mb: float | None = None
    start_mb: float | None = None
    refused: str = ""


def judge_learner(
    learner: Learner, given: Given, settings: Settings, seed: int, on_step: Callable[[str], None]
) -> Outcome:
    """Fit on the training side of the split of what is given, and judge as requests are answered."""
    try:
        require_enough(learner, given.snapshot, settings.min_training_users)
        halves = split(given.snapshot, seed)
        on_step(f"fitting {learner.name} on {halves.train.users:,} users")
        started = time.monotonic()
        bundle = learn(learner, Given(halves.train, given.pool))
    except (TooLittleDataError, TooManyArtworksError) as error:
        return Outcome(learner.name, refused=str(error))
    fitted = time.monotonic()
    on_step(f"judging {learner.name} on {halves.test_users:,} users")
    judged = judge(bundle, halves, given.pool, rules_of(settings, seed))
    if not judged.metrics:
        return Outcome(learner.name, refused="nobody liked a thing on the later side of the split")
    return Outcome(learner.name, judged, fitted - started, time.monotonic() - fitted)


def judge_recipe(
    manifest: Manifest, given: Given, settings: Settings, on_step: Callable[[str], None], seed: int = 0
) -> Outcome:
    """The same for what made a bundle: the bundle itself may have seen what it would be judged on."""
    try:
        learner = remake_learner(manifest, on_step)
    except UnknownModelError as error:
        return Outcome(manifest.model, refused=str(error))
    return judge_learner(learner, given, settings, seed, on_step)


def require_enough(learner: Learner, snapshot: Snapshot, least_users: int) -> None:
    """Raise TooLittleDataError where a model would learn one person's history by heart, or nobody liked a thing."""
    if snapshot.users < least_users or not (snapshot.signals["weight"] > 0).any():
        raise TooLittleDataError(
            model=learner.name, users=snapshot.users, interactions=snapshot.signals.height, min_users=least_users
        )


def rules_of(settings: Settings, seed: int) -> Rules:
    """Judge as requests are answered."""
    return Rules(most_users=settings.judged_users, signals_per_user=settings.signals_per_user, seed=seed)


def judge_alone(name: str, train: Path, test: Path, seed: int = 0) -> Outcome:
    """Fit and judge a model of the roster on all test users, with all their signals folded in, in a new process."""
    apart = multiprocessing.get_context("spawn")  # a forked one would begin with our memory
    try:
        with ProcessPoolExecutor(1, mp_context=apart) as process:
            return process.submit(_judge_files, name, train, test, seed).result()
    except BrokenProcessPool:
        return Outcome(name, refused="its process ended without an answer, as when memory runs out")


def _judge_files(name: str, train: Path, test: Path, seed: int) -> Outcome:
    """The same in this process."""
    halves, pool = split_of_files(train, test)
    given = Given(halves.train, pool)
    _forget_peak()
    before = _peak_mb()
    started = time.monotonic()
    try:
        bundle = learn(make_learner(name, seed=seed), given)
    except TooManyArtworksError as error:
        return Outcome(name, refused=str(error))
    fitted, peak = time.monotonic(), _peak_mb()
    judged = judge(bundle, halves, pool, Rules(most_users=EVERYBODY, signals_per_user=EVERYBODY, seed=seed))
    return Outcome(name, judged, fitted - started, time.monotonic() - fitted, peak, before)


def _forget_peak() -> None:
    """Let the kernel count the highest memory anew from here; where it cannot, reading the files counts too."""
    if _RESET.exists():
        _RESET.write_text("5")


def _peak_mb() -> float:
    """The highest resident memory of this process so far, in units of 2^20 bytes."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
