"""A world where the worth of every policy is known: heads, true chances of a like, logs by the sampler that serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from serving.exploration import Sampler, draw, make_logits
from training.experiments.estimates import Values
from training.experiments.logged import Drawn, Target

SLOTS = 3
FADE = np.array([1.0, 0.8, 0.6])  # a like is less likely further down
PER_USER = 2  # lists
FONDNESS = (0.5, 1.5)  # users differ: one half likes a third as often as the other
SERVED = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """So many heads, which requests meet alike; shape (heads, n) each, best score first."""

    scores: np.ndarray
    likes: Values  # chance of a like in the first slot, by a mean user

    def log(self, sampler: Sampler, users: int, rng: np.random.Generator) -> list[Drawn]:
        """What so many users were served and liked."""
        lists = []
        for unit in range(users):
            fondness = FONDNESS[rng.integers(2)]
            lists += [self._list(unit, fondness, sampler, rng) for _ in range(PER_USER)]
        return lists

    def worth(self, target: Target) -> float:
        """Likes per slot under a target, exactly: over all that it could serve in every head."""
        return float(np.mean([self._worth(head, target) for head in range(len(self.scores))]))

    def _list(self, unit: int, fondness: float, sampler: Sampler, rng: np.random.Generator) -> Drawn:
        """One list."""
        head, seed = int(rng.integers(len(self.scores))), int(rng.integers(2**62))
        places = draw(self.scores[head], SLOTS, sampler, seed).places
        liked = rng.random(SLOTS) < self.likes[head][places] * FADE * fondness
        keys = np.arange(self.scores.shape[1], dtype=np.int32)
        rewards = dict(zip(places.tolist(), liked.astype(float).tolist(), strict=True))
        return Drawn(f"user-{unit}", SERVED, unit, sampler, seed, SLOTS, keys, self.scores[head], rewards)

    def _worth(self, head: int, target: Target) -> float:
        """Of one head, by the definition of the draw and not by its code."""
        logits = make_logits(self.scores[head], target.sampler.temperature)
        count = len(logits)
        here, left = np.arange(count), np.ones((count, count, count), bool)  # by first, second and third pick
        left[here, :, here] = left[:, here, here] = left[here, here, :] = False
        masks = np.ones(count, bool), ~np.eye(count, dtype=bool), left
        first, second, third = (_chances(logits, mask, target.sampler.epsilon) for mask in masks)
        pairs = first[:, None] * second
        marginals = first, pairs.sum(axis=0), np.einsum("ab,abc->c", pairs, third)
        return float(np.mean([fade * chance @ self.likes[head] for fade, chance in zip(FADE, marginals, strict=True)]))


def make_bandit_world(seed: int = 1, heads: int = 30, artworks: int = 40) -> World:
    """Scores that foretell likes, though not all of them."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.standard_normal((heads, artworks)), axis=1)
    felt = 0.7 * scores + 0.7 * rng.standard_normal(scores.shape)
    return World(scores.astype(np.float32), 1 / (1 + np.exp(1.6 - 0.9 * felt)) / 1.5)


def _chances(logits: Values, left: NDArray[np.bool_], epsilon: float) -> Values:
    """The chance of each that is left, over the last axis; all 0 where nothing is."""
    some = left.any(axis=-1, keepdims=True)
    tops = np.where(some, np.where(left, logits, -np.inf).max(axis=-1, keepdims=True), 0.0)
    parts = np.where(left, np.exp(np.minimum(logits - tops, 0.0)), 0.0)
    by_score, alike = (each / np.where(some, each.sum(axis=-1, keepdims=True), 1.0) for each in (parts, left))
    return (1 - epsilon) * by_score + epsilon * alike
