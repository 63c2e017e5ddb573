"""A blend of several models, weighed on a validation split: what is live by default, for no model wins everywhere.

Which model is best changes with how dense the data are, so nothing is decided by rule of thumb: every part is fitted
on an inner training side, weights are searched for the best NDCG on the inner test side, and what ends without weight
is left out. A single model can win.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from features.arrays import Floats, Mask, Rows
from features.catalogue import Catalogue
from features.errors import TooManyArtworksError
from serving.bundle import SHARED, Part
from serving.model import mix
from training.dataset import split
from training.evaluate import PLACES, Rules, draw_users, rows_by_user
from training.learner import Fitted, Given, Learner, learn
from training.popularity import appeal
from training.replay import Known, Replay, what_is_known

STEPS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)  # weights that are tried beside the best single's 1
ROUNDS = 3
LEAST_GAIN = 0.002  # relative, in NDCG: a part that brings less than that costs more than it gives
GAINS = 1.0 / np.log2(np.arange(PLACES) + 2.0)
SHORTLIST = 200  # best artworks of each part that a blend is searched over, per validation user


class BlendConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the search."""

    judged_users: int = 500
    signals_per_user: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """One validation user: standard scores by part of a shortlist (p, m), what of it was liked, and how many in all."""

    scores: Floats
    liked: Mask
    likes: int


def make_learner(learners: Sequence[Learner], config: BlendConfig, on_step: Callable[[str], None]) -> Learner:
    """A blend of these learners, whose names must differ."""
    params = {"of": ", ".join(learner.name for learner in learners), **msgspec.structs.asdict(config)}
    return Learner("blend", "blend", "none", lambda given: fit(given, learners, config, on_step), params)


def fit(given: Given, learners: Sequence[Learner], config: BlendConfig, on_step: Callable[[str], None]) -> Fitted:
    """Weigh the learners on an inner split, then fit those that count on all that is given."""
    weights = weigh(given, learners, config, on_step)
    arrays: dict[str, np.ndarray] = {
        "artwork_ids": given.interactions.artwork_ids,
        "prior": appeal(given.interactions),
    }
    parts: list[Part] = []
    for learner, weight in zip(learners, weights, strict=True):
        if weight == 0:
            continue
        on_step(f"fitting {learner.name}")
        own = {name: array for name, array in learner.fit(given).arrays.items() if name not in SHARED}
        arrays |= {f"{learner.name}/{name}": array for name, array in own.items()}
        parts.append(Part(name=learner.name, kind=learner.kind, fold_in=learner.fold_in, weight=weight))  # type: ignore[arg-type] # no blend of blends
    return Fitted(arrays, tuple(parts), {f"weight_{part.name}": part.weight for part in parts})


def weigh(
    given: Given, learners: Sequence[Learner], config: BlendConfig, on_step: Callable[[str], None]
) -> list[float]:
    """The weight of each learner, the best single's at least as tried first; equal ones where nothing can be judged."""
    halves = split(given.snapshot, config.seed)
    liked = halves.test.filter("liked")
    if liked.is_empty():
        return [1.0] * len(learners)
    rules = Rules(most_users=config.judged_users, seed=config.seed)
    users = draw_users(liked, rules)
    known = what_is_known(halves.train.signals, users, given.pool, config.signals_per_user)
    wanted = rows_by_user(liked, users, given.pool)
    inner = Given(halves.train, given.pool)
    scored: list[list[Floats | None]] = []
    for learner in learners:
        on_step(f"weighing {learner.name} on {len(users):,} users")
        try:
            replay = Replay(learn(learner, inner), given.pool)
        except TooManyArtworksError as error:
            on_step(str(error))
            scored.append([None] * len(known))
            continue
        scored.append([replay.scores(user, _unseen(given.pool, user)) for user in known])
    cases = []
    for place, user in enumerate(known):
        liked_here = np.isin(_unseen(given.pool, user), wanted[place])
        cases.append(_case([scores[place] for scores in scored], liked_here, len(wanted[place])))
    return search([case for case in cases if case.likes], len(learners))


def search(cases: Sequence[Case], parts: int) -> list[float]:
    """Weights by coordinate ascent from the best single part, in NDCG at 20; plain, and the same every time."""
    alone = [_quality(cases, one) for one in np.eye(parts, dtype=np.float32)]
    weights, best = np.eye(parts, dtype=np.float32)[int(np.argmax(alone))], max(alone)
    for _ in range(ROUNDS):
        before = best
        for part in range(parts):
            for step in STEPS:
                trial = weights.copy()
                trial[part] = step
                quality = _quality(cases, trial) if trial.any() else 0.0
                if quality > best * (1 + LEAST_GAIN):
                    best, weights = quality, trial
        if best == before:
            break
    return [float(weight) for weight in weights]


def _unseen(pool: Catalogue, user: Known) -> Rows:
    """The active artworks that the user has not seen."""
    unseen = pool.active.copy()
    unseen[user.seen] = False
    return np.flatnonzero(unseen).astype(np.int32)


def _case(scores: Sequence[Floats | None], liked: Mask, likes: int) -> Case:
    """Standard scores by part, as `serving.model.mix` adds them, of what any part has among its best."""
    standard = np.stack([np.zeros(len(liked), np.float32) if one is None else mix([(1.0, one)]) for one in scores])
    standard = np.nan_to_num(standard)
    most = min(SHORTLIST, len(liked))
    kept = np.unique(np.argpartition(-standard, most - 1, axis=1)[:, :most]) if most else np.zeros(0, np.intp)
    return Case(standard[:, kept], liked[kept], likes)


def _quality(cases: Sequence[Case], weights: Floats) -> float:
    """Mean NDCG of the lists that these weights give."""
    return float(np.mean([_ndcg(case, weights) for case in cases])) if cases else 0.0


def _ndcg(case: Case, weights: Floats) -> float:
    """One user's, as `training.metrics.ndcg` has it."""
    best = np.argsort(-(weights @ case.scores), kind="stable")[:PLACES]
    return float((case.liked[best] * GAINS[: len(best)]).sum() / GAINS[: min(PLACES, case.likes)].sum())
