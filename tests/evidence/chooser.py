"""How few people are enough? The default, its parts and simple rules replayed against the truth, by number of users.

Worlds of 1, 10, 100 and 1,000 users. Each policy is trained on what happened in the world and then fills lists of 20
that follow each other: what was listed is seen, and what the user likes by the truth becomes a signal at once.

python tests/evidence/chooser.py [--sizes 1,10]
"""

from __future__ import annotations

import argparse
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from features.errors import TooLittleDataError
from features.settings import Settings
from tests.stage import conclude
from tests.worlds import synthetic
from training import content, roster
from training.dataset import make_snapshot
from training.learner import Given, learn
from training.replay import Known, Replay, what_is_known
from training.run import require_enough
from training.synth import World, make_world
from training.synth_recipe import Recipe

WORLDS = {1: 30, 10: 8, 100: 2, 1_000: 1}  # worlds by number of users: few users need several worlds for an interval
ARTWORKS, DAYS, UNTIL = 800, 60, datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
LISTS, PLACES, EARLY = 10, 20, 3
MOST_REPLAYED = 120  # users of one world
RECENT = 5
LIKE, DISPLAY = 1.05, 0.05  # weights of one liked and of one merely displayed, as features.weights has them
LEARNT = ("nmf", "als", roster.DEFAULT)
SIMPLE = ("near recently liked", "newest first", "popularity", "random")
RESAMPLES = 2_000
console = Console(width=150)

Lists = list[NDArray[np.int32]]
Policy = Callable[[list[Known]], Lists]


@dataclass(frozen=True)
class Ground:
    """One world as training and truth see it; the users who are replayed."""

    world: World
    given: Given
    user_rows: NDArray[np.intp]
    known: list[Known]
    preference: NDArray[np.float32]  # (users, artworks), as of the end
    likes: NDArray[np.bool_]  # drawn from it once, the same for every policy


def main() -> None:
    """Replay all and conclude."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", default=",".join(map(str, WORLDS)))
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    figures: dict[str, Any] = {}
    for size in sizes:
        figures[str(size)] = _replay_size(size)
    fine = all(found["default_lead_early"][1] >= 0 and found["default_lead_life"][1] >= 0 for found in figures.values())
    told = all(bool(found["too_little"]) == (found["chosen_by"] is None) for found in figures.values())
    conclude("chooser", figures, met=fine and told and bool(figures[str(sizes[0])]["too_little"] or sizes[0] > 10))


def _replay_size(size: int) -> dict[str, Any]:
    """All policies over the worlds of one size."""
    grounds = _grounds(size)
    gains: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (*LEARNT, *SIMPLE)}
    said: dict[str, Any] = {}
    for number, ground in enumerate(grounds):
        for name, policy in _policies(ground, said).items():
            gains[name].append(_replay(ground, policy))
        if number % 10 == 0:
            console.log(
                f"{size} users, world {number + 1} of {len(grounds)}: {said.get('too_little') or said.get('of')}"
            )
    by_user = {name: np.concatenate(found) for name, found in gains.items()}  # (users, lists)
    early = {name: found[:, :EARLY].mean(axis=1) for name, found in by_user.items()}
    life = {name: found.mean(axis=1) for name, found in by_user.items()}
    _show(size, early, life)
    best = {
        "early": max(SIMPLE, key=lambda name: early[name].mean()),
        "life": max(SIMPLE, key=lambda name: life[name].mean()),
    }
    return {
        "users_replayed": len(early[roster.DEFAULT]),
        "early": {name: round(float(found.mean()), 4) for name, found in early.items()},
        "life": {name: round(float(found.mean()), 4) for name, found in life.items()},
        "best_simple": best,
        "default_lead_early": _interval(early[roster.DEFAULT] - early[best["early"]]),
        "default_lead_life": _interval(life[roster.DEFAULT] - life[best["life"]]),
        "too_little": said.get("too_little", ""),
        "chosen_by": said.get("chosen_by"),
        "default_is": said.get("of", ""),
    }


def _grounds(size: int) -> list[Ground]:
    """Worlds in which somebody has liked something."""
    found: list[Ground] = []
    seed = 100
    while len(found) < WORLDS[size]:
        seed += 1
        ground = _ground(Recipe(seed=seed, users=size, artworks=ARTWORKS, days=DAYS, until=UNTIL))
        if (ground.given.snapshot.signals["weight"] > 0).any() and len(ground.known):
            found.append(ground)
    return found


def _ground(recipe: Recipe) -> Ground:
    """A world after its last event; everybody who has seen something, and not too much, may be replayed."""
    world, stage = make_world(recipe), synthetic(recipe)
    given = Given(make_snapshot(stage.events, Settings().half_life_days), stage.pool)
    left = recipe.artworks - LISTS * PLACES  # whoever has seen more runs dry, whatever the policy
    counts = dict(given.snapshot.signals.group_by("user_id").len().iter_rows())
    rows = np.array([r for r, user_id in enumerate(world.users.ids) if 0 < counts.get(user_id, 0) <= left], np.intp)
    draw = np.random.default_rng(recipe.seed)
    rows = np.sort(draw.permutation(rows)[:MOST_REPLAYED])
    known = what_is_known(given.snapshot.signals, [world.users.ids[row] for row in rows], stage.pool, 200)
    preference = world.preference(rows[:, None], np.arange(recipe.artworks)[None, :])
    return Ground(world, given, rows, known, preference, draw.random(preference.shape) < preference)


def _policies(ground: Ground, said: dict[str, Any]) -> dict[str, Policy]:
    """Every policy of one world; ``said`` takes what the default's bundle says of itself."""
    pool = ground.given.pool
    draw = np.random.default_rng(ground.world.recipe.seed)
    newest = np.argsort(-pool.created, kind="stable")
    popular = np.argsort(-_appeal(ground.given), kind="stable")
    rules: dict[str, Policy] = {
        "near recently liked": lambda known: [_near(pool.vectors, newest, user) for user in known],
        "newest first": lambda known: [_first(newest, user) for user in known],
        "popularity": lambda known: [_first(popular, user) for user in known],
        "random": lambda known: [_first(draw.permutation(len(pool.ids)), user) for user in known],
    }
    for name in LEARNT:
        rules[name] = _served(ground.given, name, said)
    return rules


def _served(given: Given, name: str, said: dict[str, Any]) -> Policy:
    """What would be served after training this learner as `training.run` does."""
    learner = roster.make_learner(name)
    if name == roster.DEFAULT:
        said.clear()
        try:
            require_enough(learner, given.snapshot, Settings().min_training_users)
        except TooLittleDataError as error:
            said["too_little"] = str(error)
            learner = content.make_learner()
    bundle = learn(learner, given)
    if name == roster.DEFAULT:
        params = bundle.manifest.params
        said |= {key: params[key] for key in ("too_little", "chosen_by") if key in params}
        said["of"] = ", ".join(f"{part.name or learner.name} {part.weight:g}" for part in bundle.parts)
    replay = Replay(bundle, given.pool)
    return lambda known: replay.lists(known, PLACES)


def _appeal(given: Given) -> NDArray[np.float64]:
    """What all signals on each artwork of the pool add up to, shape (n,)."""
    totals = dict(given.snapshot.signals.group_by("artwork_id").agg(pl.col("weight").sum()).iter_rows())
    return np.array([totals.get(artwork_id, 0.0) for artwork_id in given.pool.ids])


def _near(vectors: NDArray[np.float32], newest: NDArray[np.intp], user: Known) -> NDArray[np.int32]:
    """Cosine to the mean of the latest liked; newest first for who has liked nothing. Latest come first in `Known`."""
    liked = user.signal_rows[user.weights > DISPLAY * 2][:RECENT]
    if not len(liked):
        return _first(newest, user)
    return _first(np.argsort(-(vectors @ vectors[liked].mean(axis=0)), kind="stable"), user)


def _first(order: NDArray[np.intp], user: Known) -> NDArray[np.int32]:
    """The first places of an order that the user has not seen."""
    return order[~np.isin(order, user.seen)][:PLACES].astype(np.int32)


def _replay(ground: Ground, policy: Policy) -> NDArray[np.float32]:
    """Mean true preference of each list of each user, shape (users, lists)."""
    known = list(ground.known)
    gains = np.zeros((len(known), LISTS), dtype=np.float32)
    for step in range(LISTS):
        lists = policy(known)
        for place, rows in enumerate(lists):
            gains[place, step] = ground.preference[place, rows].mean()
            weights = np.where(ground.likes[place, rows], LIKE, DISPLAY).astype(np.float32)
            before = known[place]
            known[place] = Known(
                np.concatenate([before.seen, rows]),
                np.concatenate([rows[::-1], before.signal_rows]),
                np.concatenate([weights[::-1], before.weights]),
            )
    return gains


def _interval(values: NDArray[np.float32]) -> list[float]:
    """The 95% bootstrap interval of a mean over users."""
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return [round(float(low), 4), round(float(high), 4)]


def _show(size: int, early: dict[str, NDArray[np.float32]], life: dict[str, NDArray[np.float32]]) -> None:
    """One table of a size."""
    table = Table(
        "policy", f"lists 1-{EARLY}", f"lists 1-{LISTS}", title=f"{size} users: mean true preference of a slot"
    )
    for name in sorted(early, key=lambda name: -life[name].mean()):
        cells = [f"{found[name].mean():.4f} ({'-'.join(map(str, _interval(found[name])))})" for found in (early, life)]
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
