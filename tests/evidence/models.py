"""Every learner on four sets of interactions, beside its own library and beside published figures.

python tests/evidence/models.py [--sets ml1m,lastfm] [--models als,blend]
"""

from __future__ import annotations

import argparse
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: least squares are many small products

import multiprocessing
import pickle
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from features.errors import TooManyArtworksError
from tests.libraries import LIBRARIES
from tests.real_sets import SETS
from tests.stage import conclude
from training import metrics, roster
from training.dataset import Split
from training.evaluate import PLACES, Judged, Rules, judge
from training.learner import Given, learn

PUBLISHED = {"ml1m": ("UltraGCN (Mao et al., CIKM 2021)", 0.2787, 0.2642)}
QUALITY, TIME = 0.99, 1.15  # of the library's
MOST_USERS = {"ml1m": 10_000, "lastfm": 10_000}  # all, for the published figures; 2,000 elsewhere
RESAMPLES = 1_000
RANDOM, SEEDS = ("plain-als", "bpr"), 3  # what starts at random is compared with its library over several starts
PATIENCE = 4.0  # seconds of repeated fits, a learner's and its library's in turns
console = Console(width=150)


@dataclass(frozen=True)
class Measured:
    """One learner on one set; figures by user, and a library's lists of the same users."""

    name: str
    refused: str = ""
    recall: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    ndcg: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    auc: float = float("nan")
    seconds: float = 0.0
    peak_mb: float = 0.0
    parts: str = ""
    library_recall: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    library_ndcg: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    time_ratio: float = float("nan")


def main() -> None:
    """Measure, show, conclude."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--models", default=",".join(roster.NAMES))
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    shortfalls: list[str] = []
    above: list[str] = []
    for name in asked.sets.split(","):
        found = _measure_set(name, asked.models.split(","))
        _show(name, found)
        figures[name] = _figures(name, found)
        shortfalls += [f"{name}: {line}" for line in _shortfalls(found)]
        above += [name] if _lead(found)[0] > 0 else []
    for line in shortfalls:
        console.print(f"[red]{line}")
    conclude(
        "models",
        {**figures, "blend_above_best_single": above, "shortfalls": shortfalls},
        met=not shortfalls and bool(above),
    )


def measure(path: Path, name: str, most_users: int) -> Measured:
    """One learner, in a process of its own: fit, judge, and take turns with the library."""
    halves, pool = pickle.loads(path.read_bytes())  # noqa: S301 - our own file of a moment ago
    given = Given(halves.train, pool)
    given.interactions, given.vectors  # noqa: B018 - read once, before the clock starts
    rules = Rules(most_users=most_users, signals_per_user=10_000)
    learner = roster.make_learner(name)
    _forget_peak()
    before = _memory("VmRSS")
    started = time.monotonic()
    try:
        bundle = learn(learner, given)
    except TooManyArtworksError as error:
        return Measured(name, refused=str(error))
    seconds, peak = time.monotonic() - started, _memory("VmHWM") - before
    judged = judge(bundle, halves, pool, rules)
    parts = ", ".join(f"{part.name} {part.weight:g}" for part in bundle.manifest.parts)
    about = {"auc": judged.metrics.get("auc_shown", float("nan")), "peak_mb": peak, "parts": parts}
    recall, ndcg = _each(judged)
    if name not in LIBRARIES:
        return Measured(name, recall=recall, ndcg=ndcg, seconds=seconds, **about)
    library = LIBRARIES[name](given.interactions, learner.params)
    ours, theirs = _in_turns(lambda: learner.fit(given), library.fit, seconds)
    users = judged.users["user_id"].to_list()
    figures = [(recall, ndcg, *_judge_library(library, halves, users))]
    for seed in range(1, SEEDS if name in RANDOM else 1):
        again = roster.make_learner(name, seed)
        other = LIBRARIES[name](given.interactions, again.params)
        other.fit()
        own = _each(judge(learn(again, given), halves, pool, rules))
        figures.append((*own, *_judge_library(other, halves, users)))
    recall, ndcg, library_recall, library_ndcg = np.mean(figures, axis=0)
    return Measured(
        name,
        recall=recall,
        ndcg=ndcg,
        seconds=statistics.median(ours),
        library_recall=library_recall,
        library_ndcg=library_ndcg,
        time_ratio=min(ours) / min(theirs),  # what is above the least is the machine's other work
        **about,
    )


def _each(judged: Judged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and NDCG of each user, in the order of the users."""
    return judged.users["recall"].to_numpy(), judged.users["ndcg"].to_numpy()


def _measure_set(name: str, models: list[str]) -> list[Measured]:
    """All learners on one set, each in a fresh process."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.pickle"
        halves, pool = SETS[name]()
        path.write_bytes(pickle.dumps((halves, pool)))
        train = halves.train
        console.log(
            f"{name}: {train.users:,} users, {train.artworks:,} artworks, {train.signals.height:,} signals, "
            f"{halves.kind} split, {halves.test_users:,} users to judge, pool of {pool.size:,}"
        )
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as child:
            for model in models:
                one = child.submit(measure, path, model, MOST_USERS.get(name, 2_000)).result()
                found.append(one)
                told = one.refused or f"NDCG {one.ndcg.mean():.4f} after {one.seconds:.1f} s {one.parts}"
                console.log(f"{name} {model}: {told}")
    return found


def _in_turns(ours: Any, theirs: Any, first: float) -> tuple[list[float], list[float]]:
    """Seconds of repeated fits, one after the other, so that a busy moment meets both."""
    rounds = int(np.clip(PATIENCE / max(first, 0.1), 3, 25))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, kept in zip((ours, theirs), seconds, strict=True):
            started = time.monotonic()
            work()
            kept.append(time.monotonic() - started)
    return seconds


def _judge_library(library: Any, halves: Split, users: list[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and NDCG of the library's own lists, by our metrics."""
    groups = halves.test.filter("liked").group_by("user_id").agg("artwork_id")
    relevant = {user: set(ids) for user, ids in groups.iter_rows()}
    lists = library.lists(users, PLACES)
    pairs = [(lists[user], relevant[user]) for user in users]
    return (
        np.array([metrics.recall(one, wanted) for one, wanted in pairs]),
        np.array([metrics.ndcg(one, wanted, PLACES) for one, wanted in pairs]),
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% bootstrap interval of a mean over users."""
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _best_single(found: list[Measured]) -> Measured:
    """The single model with the best NDCG."""
    return max((one for one in found if len(one.ndcg) and one.name != roster.DEFAULT), key=lambda one: one.ndcg.mean())


def _lead(found: list[Measured]) -> tuple[float, float]:
    """The paired interval of the blend's NDCG over the best single model's."""
    blends = [one for one in found if one.name == roster.DEFAULT]
    if not blends or len(found) == 1:
        return float("nan"), float("nan")
    return _interval(blends[0].ndcg - _best_single(found).ndcg)


def _shortfalls(found: list[Measured]) -> list[str]:
    """Every way in which what was promised does not hold."""
    said = []
    for one in found:
        for kind, own, other in (
            ("recall", one.recall, one.library_recall),
            ("NDCG", one.ndcg, one.library_ndcg),
        ):
            if len(other) and own.mean() < QUALITY * other.mean() and _interval(own - other)[1] < 0:
                said.append(f"{one.name} has {kind} {own.mean():.4f}, its library {other.mean():.4f}")
        if one.time_ratio > TIME:
            said.append(f"{one.name} takes {one.time_ratio:.2f} times as long as its library")
    if _lead(found)[1] < 0:
        said.append(f"the blend is below {_best_single(found).name}")
    return said


def _show(name: str, found: list[Measured]) -> None:
    """One table of a set."""
    table = Table(
        "model", "recall@20", "NDCG@20", "AUC shown", "s", "MB", "library recall, NDCG", "time ratio", title=name
    )
    for one in found:
        if one.refused:
            table.add_row(one.name, one.refused)
            continue
        library = f"{one.library_recall.mean():.4f} {one.library_ndcg.mean():.4f}" if len(one.library_recall) else ""
        table.add_row(
            one.name,
            _with_interval(one.recall),
            _with_interval(one.ndcg),
            "" if np.isnan(one.auc) else f"{one.auc:.3f}",
            f"{one.seconds:.2f}",
            f"{one.peak_mb:.0f}",
            library,
            "" if np.isnan(one.time_ratio) else f"{one.time_ratio:.2f}",
        )
    if name in PUBLISHED:
        source, recall, ndcg = PUBLISHED[name]
        table.add_row(f"published: {source}", f"{recall:.4f}", f"{ndcg:.4f}")
    console.print(table)
    low, high = _lead(found)
    console.print(f"blend over {_best_single(found).name}: NDCG {low:+.4f} to {high:+.4f}")


def _with_interval(values: NDArray[np.float64]) -> str:
    """A mean with its interval."""
    low, high = _interval(values)
    return f"{values.mean():.4f} ({low:.4f}-{high:.4f})"


def _figures(name: str, found: list[Measured]) -> dict[str, Any]:
    """What the last line says of a set."""
    rows = {
        one.name: {
            "recall": round(float(one.recall.mean()), 4),
            "ndcg": round(float(one.ndcg.mean()), 4),
            "seconds": round(one.seconds, 2),
            "peak_mb": round(one.peak_mb),
            **({} if np.isnan(one.auc) else {"auc_shown": round(one.auc, 3)}),
            **({"parts": one.parts} if one.parts else {}),
            **(
                {
                    "library_recall": round(float(one.library_recall.mean()), 4),
                    "library_ndcg": round(float(one.library_ndcg.mean()), 4),
                    "time_ratio": round(one.time_ratio, 2),
                }
                if len(one.library_recall)
                else {}
            ),
        }
        for one in found
        if not one.refused
    }
    published = {"published": PUBLISHED[name]} if name in PUBLISHED else {}
    low, high = _lead(found)
    return {
        "users": len(found[0].recall),
        "models": rows,
        "refused": [one.name for one in found if one.refused],
        "best_single": _best_single(found).name,
        "blend_lead_ndcg": [round(low, 5), round(high, 5)],
        **published,
    }


def _forget_peak() -> None:
    """Begin the high-water mark of memory anew."""
    Path("/proc/self/clear_refs").write_text("5", "utf-8")


def _memory(name: str) -> float:
    """A figure of this process' memory in MB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(float(line.split()[1]) / 1_024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
