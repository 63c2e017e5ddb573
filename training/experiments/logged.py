"""Logs as what training.experiments.off_policy takes: our own lists that were drawn, and files of other bandits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.arrays import Floats, Keys
from features.errors import BadImportError
from serving.exploration import Logits, Places, Sampler, draw, make_logits
from training.experiments.estimates import Values
from training.experiments.off_policy import Logged, on_policy
from training.intervals import Interval

#: What a file may call its columns; the latter are the Open Bandit Dataset's.
NAMES = {
    "action": ("action", "item_id"),
    "position": ("position",),
    "reward": ("reward", "click"),
    "pscore": ("pscore", "propensity_score", "action_prob"),
}


@dataclass(frozen=True)
class Drawn:
    """One list that was drawn, and what became of it; ``head_…`` of shape (n,), best first."""

    user_id: str
    served_at: datetime
    unit: int  # its user, by number
    sampler: Sampler
    seed: int
    drawn: int
    head_keys: Keys
    head_scores: Floats
    rewards: dict[int, float]  # by key, of the drawn artworks that it offered


class Target(NamedTuple):
    """A policy to be judged: how it draws from the same heads, by which scores."""

    sampler: Sampler
    scores: Sequence[Floats] | None = None  # of each list's head, by another model; None: the logged ones


class Bandit(NamedTuple):
    """A file's rows, shape (n,) each."""

    actions: NDArray[np.int64]
    positions: NDArray[np.int64]
    rewards: Values
    pscores: Values


def of_lists(lists: Sequence[Drawn], target: Target, slots: int) -> Logged:
    """The first ``slots`` drawn slots of each list, under a target that serves nothing beyond the logged heads."""
    parts = []
    for place, each in enumerate(lists):
        scores = each.head_scores if target.scores is None else target.scores[place]
        parts.append(_of_list(each, make_logits(scores, target.sampler.temperature), target.sampler.epsilon, slots))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else _nothing()
    return Logged(*columns)


def uniform_over(bandit: Bandit) -> Logged:
    """A file's rows under the policy that serves each of its actions alike; every row is a unit.

    The direct model knows action and position; an action that was never logged is not among them.
    """
    actions, codes = np.unique(bandit.actions, return_inverse=True)
    places = np.eye(int(bandit.positions.max()) + 1)[bandit.positions]
    kinds = np.concatenate([np.eye(len(actions))[codes], places], axis=1)
    ones = np.ones(len(codes))
    weights = ones / len(actions) / bandit.pscores
    target = np.concatenate([np.full((len(codes), len(actions)), 1 / len(actions)), places], axis=1)
    return Logged(bandit.rewards, weights, ones, np.arange(len(codes)), kinds, target)


def value_of(bandit: Bandit) -> Interval:
    """What the policy that wrote a file came to, every row a unit."""
    return on_policy(bandit.rewards, np.arange(len(bandit.rewards)))


def read_bandit(folder: Path) -> Bandit:
    """The log in a folder: the one CSV file with the columns `NAMES`. Raises BadImportError naming what is wrong."""
    for path in sorted(folder.glob("*.csv")):
        frame = pl.read_csv(path)
        found = {
            name: next((each for each in aliases if each in frame.columns), None) for name, aliases in NAMES.items()
        }
        if None not in found.values():
            return _checked(path, frame.select(**{name: pl.col(str(column)) for name, column in found.items()}))
    wanted = ", ".join("/".join(aliases) for aliases in NAMES.values())
    raise BadImportError(path=folder, reason=f"it holds no CSV file with the columns {wanted}")


def chances(logits: Logits, picked: Places, epsilon: float) -> Values:
    """The chance of every artwork at every slot, given what was picked before; shape (k, n), each row adds up to 1."""
    left = np.ones((len(picked), len(logits)), bool)
    for slot, place in enumerate(picked[:-1]):
        left[slot + 1 :, place] = False
    tops = np.where(left, logits, -np.inf).max(axis=1, keepdims=True)
    parts = np.where(left, np.exp(np.where(left, logits, tops) - tops), 0.0)
    by_score, alike = (each / each.sum(axis=1, keepdims=True) for each in (parts, left))
    return np.asarray((1 - epsilon) * by_score + epsilon * alike)


def _of_list(each: Drawn, logits: Logits, epsilon: float, slots: int) -> tuple[np.ndarray, ...]:
    """One list's columns of `Logged`."""
    drawn = draw(each.head_scores, each.drawn, each.sampler, each.seed)
    picked = drawn.places[: _reach(each, drawn.places, slots)]
    asked = chances(logits, picked, epsilon)
    ratios = asked[np.arange(len(picked)), picked] / drawn.propensities[: len(picked)]
    products = np.cumprod(ratios)
    kinds = _features(each.head_scores)
    mean = asked @ kinds
    offered = np.array([key in each.rewards for key in each.head_keys[picked].tolist()], bool)
    rewards = np.array([each.rewards.get(key, 0.0) for key in each.head_keys[picked].tolist()])
    before = np.concatenate([[1.0], products[:-1]])[: len(picked)]
    units = np.full(len(picked), each.unit)
    return tuple(column[offered] for column in (rewards, products, before, units, kinds[picked], mean))


def _reach(each: Drawn, places: Places, slots: int) -> int:
    """How far to follow the draw until so many of it were offered; what had left the pool by then was not."""
    offered = np.array([key in each.rewards for key in each.head_keys[places].tolist()], bool)
    return int(np.searchsorted(np.cumsum(offered), slots)) + 1 if offered.sum() >= slots else len(places)


def _features(scores: Floats) -> Values:
    """What the direct model knows of a head's artworks: their standard score and its square, shape (n, 2)."""
    standard = make_logits(scores, 1.0)
    return np.stack([standard, standard**2], axis=1)


def _nothing() -> Iterable[np.ndarray]:
    """The columns of no list at all."""
    none = np.zeros(0)
    return none, none, none, np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros((0, 2))


def _checked(path: Path, frame: pl.DataFrame) -> Bandit:
    """The rows of a file. Raises BadImportError for chances that are none."""
    if frame.null_count().sum_horizontal()[0]:
        raise BadImportError(path=path, reason="a row lacks a value")
    pscores = frame["pscore"].cast(pl.Float64).to_numpy()
    if not ((pscores > 0) & (pscores <= 1)).all():
        raise BadImportError(path=path, reason="a propensity is not above 0 and up to 1")
    actions, positions = (frame[name].cast(pl.Int64).to_numpy() for name in ("action", "position"))
    return Bandit(actions, positions, frame["reward"].cast(pl.Float64).to_numpy(), pscores)
