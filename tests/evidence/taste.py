"""Which way to a user's taste serves best: compared on our own synthetic worlds, by a cut in time.

Everybody's signals before the cut are folded in and every unseen artwork is ranked. A list of 20 is judged by the true
preference at the end: how much it has over a random list, as a share of what the best list has. Light users, with 20
signals at most, are shown apart. The worlds' taste is linear in style, artist and look, which suits a linear ranker.

python tests/evidence/taste.py [--seeds 1 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from scipy.cluster.vq import kmeans2

from features.arrays import Floats, Rows
from features.catalogue import Catalogue
from serving.rankers import PLAIN, ContentRanker, TastePrior, make_taste_prior
from serving.variety import HEAD, vary
from tests.stage import conclude
from tests.worlds import synthetic
from training import content
from training.dataset import make_snapshot, split
from training.learner import Given
from training.metrics import diversity
from training.replay import Known, what_is_known
from training.synth import World, make_world
from training.synth_recipe import Recipe

UNTIL = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
PLACES, LIGHT, SIGNALS_PER_USER = 20, 20, 200
NO_HALF_LIFE = 1e6
HALF_LIVES = {"7 days": 7.0, "30 days": 30.0, "90 days": 90.0, "none": NO_HALF_LIFE}
SERVED, PLAIN_NAME = "ridge towards what people share (served)", "ridge"
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)

Score = Callable[[Known, Rows], Floats]
console = Console(width=150)


@dataclass(frozen=True)
class Case:
    """One world at its cut, with one half-life."""

    pool: Catalogue
    given: Given
    known: list[Known]
    true: list[Floats]  # of every artwork, per user


def main() -> None:
    """Compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    recipes = [
        Recipe(seed=seed, users=1_500, artworks=6_000, days=90, until=UNTIL) for seed in parser.parse_args().seeds
    ]
    cases = {name: [_case(recipe, days) for recipe in recipes] for name, days in HALF_LIVES.items()}
    usual = cases["90 days"]
    found = {
        SERVED: _over(usual, lambda case: _ranker(case, _learnt(case))),
        PLAIN_NAME: _over(usual, lambda case: _ranker(case, PLAIN)),
        **{
            f"ridge, half-life {name}": _over(each, lambda case: _ranker(case, PLAIN))
            for name, each in cases.items()
            if name != "90 days"
        },
        "ridge, the latest 10 signals twice": _over(usual, lambda case: _latest(_ranker(case, PLAIN))),
        "kernel ridge": _over(usual, _kernel),
        "one average of what was liked": _over(usual, lambda case: _clusters(case, 1)),
        "the nearest of 3 tastes": _over(usual, lambda case: _clusters(case, 3)),
        "the nearest of 5 tastes": _over(usual, lambda case: _clusters(case, 5)),
    }
    table = Table("taste", "share of possible", f"of users with {LIGHT} signals at most")
    for name, (every, light) in found.items():
        table.add_row(name, f"{every:.3f}", f"{light:.3f}")
    console.print(table)
    varied = _variety(usual[0])
    best = max(every for every, _ in found.values())
    figures = {
        "share_of_possible": {name: round(every, 4) for name, (every, _) in found.items()},
        "light_users": {name: round(light, 4) for name, (_, light) in found.items()},
        "variety": varied,
    }
    conclude("taste", figures, met=found[SERVED][0] == best)


def _case(recipe: Recipe, half_life_days: float) -> Case:
    """Users of whom something is known at the cut, and what they truly like."""
    world, stage = make_world(recipe), synthetic(recipe)
    train = split(make_snapshot(stage.events, half_life_days)).train
    users = train.signals.filter(pl.col("weight") > 0)["user_id"].unique().sort().to_list()[::2]
    known = what_is_known(train.signals, users, stage.pool, SIGNALS_PER_USER)
    return Case(stage.pool, Given(train, stage.pool), known, _true(world, users))


def _true(world: World, users: list[str]) -> list[Floats]:
    """What each user likes at the end."""
    row_of = {user_id: row for row, user_id in enumerate(world.users.ids)}
    return [world.preference(row_of[user], np.arange(len(world.artworks.ids))) for user in users]


def _learnt(case: Case) -> TastePrior:
    """What a training would have learnt."""
    return make_taste_prior(content.fit(case.given))


def _ranker(case: Case, prior: TastePrior) -> Score:
    """The ranker that serves."""
    ranker = ContentRanker(case.pool.space, prior)
    return lambda user, rows: ranker.score(user.signal_rows, user.weights, rows)


def _latest(score: Score) -> Score:
    """The latest signals (they come first) count twice."""
    double = np.where(np.arange(2 * SIGNALS_PER_USER) < 10, 2.0, 1.0).astype(np.float32)
    return lambda user, rows: score(replace(user, weights=user.weights * double[: len(user.weights)]), rows)


def _kernel(case: Case) -> Score:
    """Ridge regression with a Gaussian kernel: tastes of any shape."""
    every = 1.5 * case.pool.space.differences(np.arange(len(case.pool.ids), dtype=np.int32))

    def score(user: Known, rows: Rows) -> Floats:
        known = every[user.signal_rows]
        dual = np.linalg.solve(_gauss(known, known) + 2.0 * np.eye(len(known)), user.weights)
        return np.asarray(_gauss(every[rows], known) @ dual, dtype=np.float32)

    return score


def _gauss(one: Floats, other: Floats) -> Floats:
    """exp(-distance squared)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.exp(-squares), dtype=np.float32)


def _clusters(case: Case, count: int) -> Score:
    """What was liked more than usual in so many clusters; an artwork scores by the cosine to the nearest."""
    every = case.pool.space.differences(np.arange(len(case.pool.ids), dtype=np.int32))
    unit = every / np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 1e-9)

    def score(user: Known, rows: Rows) -> Floats:
        liked = user.weights >= max(float(np.median(user.weights)), 1e-6)
        vectors, weights = unit[user.signal_rows[liked]], user.weights[liked]
        _, label = kmeans2(vectors.astype(float), min(count, len(vectors)), minit="++", seed=1)
        tastes = np.stack([weights[label == one] @ vectors[label == one] for one in np.unique(label)])
        tastes /= np.maximum(np.linalg.norm(tastes, axis=1, keepdims=True), 1e-9)
        return np.asarray((unit[rows] @ tastes.T).max(axis=1), dtype=np.float32)

    return score


def _over(cases: list[Case], way: Callable[[Case], Score]) -> tuple[float, float]:
    """Mean share of what was possible, over all users and over light ones."""
    every, light = [], []
    for case in cases:
        score = way(case)
        for user, true in zip(case.known, case.true, strict=True):
            rows = _unseen(case, user)
            gain = _gain(true[rows], np.argsort(-score(user, rows), kind="stable")[:PLACES])
            every.append(gain)
            if len(user.signal_rows) <= LIGHT:
                light.append(gain)
    return float(np.mean(every)), float(np.mean(light))


def _unseen(case: Case, user: Known) -> Rows:
    """What the user has not seen."""
    unseen = case.pool.active.copy()
    unseen[user.seen] = False
    return np.flatnonzero(unseen).astype(np.int32)


def _gain(true: Floats, best: np.ndarray) -> float:
    """What a list has over a random one, as a share of what the best one has."""
    possible = float(np.sort(true)[-PLACES:].mean() - true.mean())
    return float(true[best].mean() - true.mean()) / possible


def _variety(case: Case) -> dict[str, dict[str, float]]:
    """What variety costs and brings, on lists of the taste that serves."""
    score, figures = _ranker(case, _learnt(case)), {}
    table = Table("variety", "share of possible", "diversity within a list (1 - cosine)")
    for share in SHARES:
        gains, diverse = [], []
        for user, true in zip(case.known, case.true, strict=True):
            rows = _unseen(case, user)
            scores = score(user, rows)
            head = np.argsort(-scores, kind="stable")[: HEAD * PLACES]
            differences = case.pool.space.differences(rows[head])
            order = vary(differences, scores[head], share, PLACES)[:PLACES]
            gains.append(_gain(true[rows], head[order]))
            diverse.append(diversity(differences[order]) or 0.0)
        figures[f"{share:g}"] = {
            "share_of_possible": round(float(np.mean(gains)), 4),
            "diversity": round(float(np.mean(diverse)), 4),
        }
        table.add_row(f"{share:g}", f"{np.mean(gains):.3f}", f"{np.mean(diverse):.3f}")
    console.print(table)
    return figures


if __name__ == "__main__":
    main()
