"""A million interactions from a database to judged models on two cores, and how the time grows from a tenth of them.

python tests/evidence/training_scale.py [--users N] [--artworks N]
"""

from __future__ import annotations

import argparse
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from features.database import connect
from tests.stage import conclude, stage
from training import roster
from training.dataset import make_snapshot, split
from training.evaluate import Rules, judge
from training.learner import Given, learn
from training.run import read_given
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

WANTED, TENTH = 1_000_000, 100_000
MODELS = ("nmf", "als", "content")
MINUTES = 10.0  # for the million, from reading to judging
STEEPEST = 1.3  # exponent of the growth of the whole
UNTIL = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
console = Console(width=120)


def main() -> None:
    """Fill the database, train on a tenth and on all, conclude."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=11_500)
    parser.add_argument("--artworks", type=int, default=5_000)
    asked = parser.parse_args()
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        world = make_world(Recipe(seed=5, users=asked.users, artworks=asked.artworks, days=90, until=UNTIL))
        console.log(f"writing {len(world.exposures):,} exposures")
        write_world(connection, world)
        del world
        console.log("reading")
        _forget_peak()
        given, reading = _timed(lambda: read_given(settings, connection))
    pairs = given.snapshot.signals.height
    console.log(f"{pairs:,} pairs of {given.snapshot.users:,} users and {given.snapshot.artworks:,} artworks")
    few = _steps(_part(given, TENTH / pairs))
    many = {"read": reading, **_steps(_part(given, min(WANTED / pairs, 1.0)))}
    grown = min(WANTED, pairs) / TENTH
    exponents = {name: math.log(many[name] / few[name], grown) for name in few}
    _show(few, many, exponents)
    totals = sum(few.values()), sum(seconds for name, seconds in many.items() if name != "read")
    figures = {
        "interactions": min(WANTED, pairs),
        "seconds": {name: round(seconds, 2) for name, seconds in many.items()},
        "seconds_at_a_tenth": {name: round(seconds, 2) for name, seconds in few.items()},
        "total_seconds": round(sum(many.values()), 1),
        "peak_mb": round(_peak_mb()),
        "dense_matrix_would_take_mb": round(given.snapshot.users * given.snapshot.artworks * 4 / 2**20),
        "growth": round(totals[1] / totals[0], 2),
        "exponent": round(math.log(totals[1] / totals[0], grown), 3),
        "exponents": {name: round(value, 2) for name, value in exponents.items()},
    }
    enough = min(WANTED, pairs) >= 0.99 * WANTED
    fine = figures["total_seconds"] < MINUTES * 60 and figures["exponent"] < STEEPEST
    conclude("training-scale", figures, met=bool(enough and fine))


def _part(given: Given, share: float) -> Given:
    """The same pool with the signals of a share of the users."""
    users = given.snapshot.signals["user_id"].unique().sort().sample(fraction=share, seed=0, shuffle=True)
    events = given.snapshot.events.filter(pl.col("user_id").is_in(users.to_list()))
    return Given(make_snapshot(events, given.snapshot.half_life_days), given.pool)


def _steps(given: Given) -> dict[str, float]:
    """Seconds of each step."""
    console.log(f"{given.snapshot.signals.height:,} pairs")
    seconds = {}
    halves, seconds["split"] = _timed(lambda: split(given.snapshot))
    train = Given(halves.train, given.pool)
    _, seconds["matrix"] = _timed(lambda: train.interactions)
    bundles = {}
    for name in MODELS:
        bundles[name], seconds[name] = _timed(lambda name=name: learn(roster.make_learner(name), train))
        console.log(f"{name} after {seconds[name]:.1f} s")
    rules = Rules(most_users=1_000)
    _, seconds["evaluate als"] = _timed(lambda: judge(bundles["als"], halves, given.pool, rules))
    return seconds


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its seconds."""
    started = time.monotonic()
    return work(), time.monotonic() - started


def _show(few: dict[str, float], many: dict[str, float], exponents: dict[str, float]) -> None:
    """Steps by size."""
    table = Table("step", f"{TENTH:,}", f"{WANTED:,}", "exponent", title="seconds")
    for name, seconds in many.items():
        cells = (f"{few[name]:.2f}", f"{exponents[name]:.2f}") if name in few else ("", "")
        table.add_row(name, cells[0], f"{seconds:.2f}", cells[1])
    console.print(table)


def _forget_peak() -> None:
    """Begin the high-water mark of memory anew: what made the world is not training."""
    Path("/proc/self/clear_refs").write_text("5", "utf-8")


def _peak_mb() -> float:
    """The highest resident memory since then, in MB."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(float(line.split()[1]) / 1_024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
