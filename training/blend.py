"""A blend of several models, weighed on a validation split: what is live by default, for no model wins everywhere.

Which model is best, and with which settings, changes with how dense the data are, so nothing is decided by rule of
thumb: every part is fitted on an inner training side, and settings and weights are those that do best on the inner test
side. What ends without weight is left out; a single model can win. With too few people to choose by, it is content
alone, which generalises from one user's few likes, and the bundle says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import msgspec
import numpy as np
import polars as pl

from features.arrays import Floats, Mask, Rows
from features.catalogue import Catalogue
from features.errors import TooManyArtworksError
from serving.bundle import SHARED, Part
from serving.model import mix
from training.dataset import Split, split
from training.evaluate import PLACES, Rules, draw_users, rows_by_user
from training.learner import Fitted, Given, Learner, learn
from training.popularity import appeal
from training.replay import Known, Replay, what_is_known

STEPS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)  # weights that are tried beside the best single's 1
ROUNDS = 3
LEAST_GAIN = 0.002  # relative: a part that brings less than that costs more than it gives
CERTAINTY = 2.0  # standard errors by which a model must beat content alone
GAINS = 1.0 / np.log2(np.arange(PLACES) + 2.0)
SHORTLIST = 200  # best artworks of each part that a blend is searched over, per validation user
MOST_SHOWN = 100  # of the artworks that a validation user was shown, for pairs grow with the square


class BlendConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the search."""

    judged_users: int = 500
    signals_per_user: int = 200
    least_judged: int = 20  # validation users; fewer cannot choose
    most_tried: int = 300_000  # signals; with more, each part is fitted with its first settings only
    seed: int = 0


class Case(Protocol):
    """One validation user."""

    def quality(self, weights: Floats) -> float:
        """How good the order is that these weights of the parts (p,) give, from 0 to 1."""


@dataclass(frozen=True)
class Listed:
    """Standard scores by part of a shortlist (p, m), what of it was liked (m,), and how many were liked in all."""

    scores: Floats
    liked: Mask
    likes: int

    def quality(self, weights: Floats) -> float:
        """NDCG, as `training.metrics.ndcg` has it."""
        best = np.argsort(-(weights @ self.scores), kind="stable")[:PLACES]
        return float((self.liked[best] * GAINS[: len(best)]).sum() / GAINS[: min(PLACES, self.likes)].sum())

    def of(self, parts: Sequence[int]) -> Listed:
        """The same with some of the parts."""
        return Listed(self.scores[list(parts)], self.liked, self.likes)


@dataclass(frozen=True)
class Shown:
    """How far each liked artwork's standard score is above each other's that the user was shown, by part (p, pairs)."""

    leads: Floats

    def quality(self, weights: Floats) -> float:
        """Area under the curve, as `training.metrics.auc` has it: whoever chose what was shown has no part in it."""
        leads = weights @ self.leads
        return float((leads > 0).mean() + 0.5 * (leads == 0).mean())

    def of(self, parts: Sequence[int]) -> Shown:
        """The same with some of the parts."""
        return Shown(self.leads[list(parts)])


@dataclass(frozen=True)
class Choice:
    """The learners that count with their weights, and what the bundle says of how they were found."""

    weighed: tuple[tuple[Learner, float], ...]
    params: dict[str, Any] = field(default_factory=dict)


def make_learner(learners: Sequence[Learner], config: BlendConfig, on_step: Callable[[str], None]) -> Learner:
    """A blend of these learners; those of one name, next to each other, are settings of one part."""
    params = {"of": ", ".join(_names(learners)), **msgspec.structs.asdict(config)}
    return Learner("blend", "blend", "none", lambda given: fit(given, learners, config, on_step), params)


def fit(given: Given, learners: Sequence[Learner], config: BlendConfig, on_step: Callable[[str], None]) -> Fitted:
    """Choose on an inner split, then fit those that count on all that is given."""
    choice = choose(given, learners, config, on_step)
    arrays: dict[str, np.ndarray] = {
        "artwork_ids": given.interactions.artwork_ids,
        "prior": appeal(given.interactions),
    }
    parts: list[Part] = []
    for learner, weight in choice.weighed:
        on_step(f"fitting {learner.name} ({weight:g})")
        own = {name: array for name, array in learner.fit(given).arrays.items() if name not in SHARED}
        arrays |= {f"{learner.name}/{name}": array for name, array in own.items()}
        parts.append(Part(name=learner.name, kind=learner.kind, fold_in=learner.fold_in, weight=weight))  # type: ignore[arg-type] # no blend of blends
    return Fitted(arrays, tuple(parts), choice.params)


def choose(given: Given, learners: Sequence[Learner], config: BlendConfig, on_step: Callable[[str], None]) -> Choice:
    """Settings and weights by validation: by what was liked of what was shown where the data tell, else by the list."""
    halves = split(given.snapshot, config.seed)
    users, told = _judges(halves, given.pool, config)
    if len(users) < config.least_judged:
        return _without_choice(given, learners, len(users), config, on_step)
    if given.snapshot.signals.height > config.most_tried:
        learners = [next(same) for _, same in groupby(learners, lambda learner: learner.name)]
    on_step(f"choosing by {'what was shown' if told else 'lists'} to {len(users):,} users")
    tried, cases = _cases(learners, halves, given.pool, users, told=told, config=config, on_step=on_step)
    if not tried:
        return _without_choice(given, learners, 0, config, on_step)
    alone = [float(_qualities(cases, one).mean()) for one in np.eye(len(tried), dtype=np.float32)]
    best = _best_settings(tried, alone)
    safe = next((place for place, one in enumerate(best) if tried[one].kind == "content"), None)
    weights = search([case.of(best) for case in cases], len(best), safe)
    weighed = tuple((tried[place], weight) for place, weight in zip(best, weights, strict=True) if weight > 0)
    for learner, quality in zip(tried, alone, strict=True):
        on_step(f"{learner.name} alone {quality:.4f}")
    settings = {f"{one.name}_{key}": value for one, _ in weighed for key, value in one.params.items()}
    said = f"{'AUC of what was shown' if told else f'NDCG@{PLACES}'} on {len(users)} validation users"
    return Choice(weighed, {"chosen_by": said, **{f"weight_{one.name}": weight for one, weight in weighed}, **settings})


def search(cases: Sequence[Case], parts: int, safe: int | None = None) -> list[float]:
    """Weights by coordinate ascent from the best single part; plain, and the same every time.

    What the few cases say by chance is not followed: a step must bring more than its standard error, and where one
    part is ``safe``, being right without anything learnt from others, another must beat it by twice that.
    """
    alone = [_qualities(cases, one) for one in np.eye(parts, dtype=np.float32)]
    start = int(np.argmax([values.mean() for values in alone]))
    if safe is not None and not _better(alone[start], alone[safe], CERTAINTY):
        start = safe
    weights, best = np.eye(parts, dtype=np.float32)[start], alone[start]
    for _ in range(ROUNDS):
        before = best
        for part in range(parts):
            for step in STEPS:
                trial = weights.copy()
                trial[part] = step
                if not trial.any():
                    continue
                values = _qualities(cases, trial)
                if _better(values, best, 1.0):
                    best, weights = values, trial
        if best is before:
            break
    return [round(float(weight), 3) for weight in weights]


def _better(one: Floats, other: Floats, errors: float) -> bool:
    """Whether the first is above the second over users, by enough to count and by so many standard errors."""
    gains = one - other
    error = float(gains.std()) / np.sqrt(len(gains))
    return bool(gains.mean() > max(LEAST_GAIN * float(other.mean()), errors * error))


def _judges(halves: Split, pool: Catalogue, config: BlendConfig) -> tuple[list[str], bool]:
    """The users to choose by, and whether they tell of what was shown and not liked; by lists where too few do."""
    test = halves.test.filter(pl.col("artwork_id").is_in(pool.ids))
    liked = test.filter("liked")
    both = liked.join(test.filter(~pl.col("liked")), on="user_id", how="semi", maintain_order="left")
    told = both["user_id"].n_unique() >= config.least_judged
    chosen = both if told else liked
    rules = Rules(most_users=config.judged_users, seed=config.seed)
    return (draw_users(chosen, rules) if chosen.height else []), told


def _without_choice(
    given: Given, learners: Sequence[Learner], users: int, config: BlendConfig, on_step: Callable[[str], None]
) -> Choice:
    """Content alone; the first settings of every other part in equal shares where the pool has none."""
    content = [learner for learner in learners if learner.kind == "content"]
    if not (content and given.pool.vectors.any()):
        content = [next(same) for _, same in groupby(learners, lambda learner: learner.name)]
        content = [learner for learner in content if learner.kind != "content"]
    said = (
        f"{users} validation users are too few to choose by, {config.least_judged} are needed: "
        f"{', '.join(_names(content))}{' in equal shares' if len(content) > 1 else ' alone'}"
    )
    on_step(said)
    return Choice(tuple((learner, 1.0) for learner in content), {"too_little": said})


def _cases(
    learners: Sequence[Learner],
    halves: Split,
    pool: Catalogue,
    users: list[str],
    *,
    told: bool,
    config: BlendConfig,
    on_step: Callable[[str], None],
) -> tuple[list[Learner], list[Listed | Shown]]:
    """The learners that could be fitted on the training side, and what their scores are for each user."""
    inner = Given(halves.train, pool)
    known = what_is_known(halves.train.signals, users, pool, config.signals_per_user)
    tried: list[Learner] = []
    scored: list[list[Floats]] = []
    for learner in learners:
        on_step(f"weighing {learner.name}")
        try:
            replay = Replay(learn(learner, inner), pool)
        except TooManyArtworksError as error:
            on_step(str(error))
            continue
        tried.append(learner)
        scored.append([_standard(replay, pool, user) for user in known])
    liked = rows_by_user(halves.test.filter("liked"), users, pool)
    shown = rows_by_user(halves.test, users, pool) if told else liked
    return tried, [
        _case(scores, _unseen(pool, user), mine, met, told=told)
        for scores, user, mine, met in zip(zip(*scored, strict=True), known, liked, shown, strict=True)
    ]


def _case(scores: Sequence[Floats], unseen: Rows, liked: Rows, shown: Rows, *, told: bool) -> Listed | Shown:
    """One user's, from standard scores by part of the unseen."""
    standard = np.stack(scores)
    if not told:
        most = min(SHORTLIST, len(unseen))
        kept = np.unique(np.argpartition(-standard, most - 1, axis=1)[:, :most]) if most else np.zeros(0, np.intp)
        return Listed(standard[:, kept], np.isin(unseen[kept], liked), len(liked))
    ours = standard[:, np.isin(unseen, liked)][:, :MOST_SHOWN]
    others = standard[:, np.isin(unseen, np.setdiff1d(shown, liked))][:, :MOST_SHOWN]
    return Shown((ours[:, :, None] - others[:, None, :]).reshape(len(standard), -1))


def _standard(replay: Replay, pool: Catalogue, user: Known) -> Floats:
    """Scores of what the user has not seen as `serving.model.mix` adds them; 0 for what cannot be scored."""
    unseen = _unseen(pool, user)
    scores = replay.scores(user, unseen)
    return np.zeros(len(unseen), np.float32) if scores is None else np.nan_to_num(mix([(1.0, scores)]))


def _unseen(pool: Catalogue, user: Known) -> Rows:
    """The active artworks that the user has not seen."""
    unseen = pool.active.copy()
    unseen[user.seen] = False
    return np.flatnonzero(unseen).astype(np.int32)


def _best_settings(tried: Sequence[Learner], alone: Sequence[float]) -> list[int]:
    """The place of each part's best settings; the first of equals."""
    by_part = (list(places) for _, places in groupby(range(len(tried)), lambda place: tried[place].name))
    return [max(places, key=lambda place: alone[place]) for places in by_part]


def _names(learners: Sequence[Learner]) -> list[str]:
    """The parts' names, each once."""
    return list(dict.fromkeys(learner.name for learner in learners))


def _qualities(cases: Sequence[Case], weights: Floats) -> Floats:
    """The quality for each user, shape (n,)."""
    return np.array([case.quality(weights) for case in cases], dtype=np.float32)
