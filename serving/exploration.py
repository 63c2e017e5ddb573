"""Exploration: the head of a list drawn by chance, best ones most often, with the chance of each pick known. Pure.

Plackett-Luce by Gumbel-top-k: Luce, "Individual choice behavior" (1959); Plackett, "The analysis of permutations"
(Applied Statistics 24, 1975); Kool, van Hoof & Welling, "Stochastic beams and where to find them" (ICML 2019). At each
slot a coin of chance epsilon has all that remains draw alike instead.

The draw takes the place of the order: neither variety nor smoothness touch it, for then a slot's chance would not be
known. It is of the model's relevant artworks alone, so that no rung is crossed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats

HEAD = 256  # of the relevant candidates, best first: what a list is drawn from; chances are exact in regard to these
STEP = 1e6  # between neighbours without a temperature: no Gumbel number makes up for it
SEED_BITS = 63  # so that PostgreSQL's bigint holds a seed

Places = NDArray[np.intp]
Logits = NDArray[np.float64]


@dataclass(frozen=True)
class Sampler:
    """How a list is drawn; off where both are 0."""

    temperature: float = 0.0  # in deviations of the head's scores: 0 is by rank, at 1 a deviation is worth a factor e
    epsilon: float = 0.0  # chance that a slot is drawn from all that remain alike

    @property
    def on(self) -> bool:
        """Whether anything is left to chance."""
        return self.temperature > 0 or self.epsilon > 0


class Draw(NamedTuple):
    """Places in the head, in the order drawn, and the chance of each given those before it; both of shape (k,)."""

    places: Places
    propensities: Floats


def draw(scores: Floats, count: int, sampler: Sampler, seed: int) -> Draw:
    """Draw ``count`` of a head (fewer where it is shorter); ``scores`` (n,), falling. The same seed draws the same.

    The random numbers are raw ones of PCG64, which numpy promises never to change. A Gumbel order that loses artworks
    to the coins stays Plackett-Luce over what remains (its races have no memory), so that the chances are exact.
    """
    logits = make_logits(scores, sampler.temperature)
    n, count = len(logits), min(count, len(logits))
    raw = np.random.PCG64(seed).random_raw(2 * n + count)
    gumbel = -np.log(-np.log(_uniform(raw[:n])))
    ranked = np.argsort(-(logits + gumbel), kind="stable")
    coins = _uniform(raw[2 * n :]) < sampler.epsilon
    picked = _merge(ranked, np.argsort(raw[n : 2 * n], kind="stable"), coins) if coins.any() else ranked[:count]
    return Draw(picked, propensities(logits, picked, sampler.epsilon))


def make_logits(scores: Floats, temperature: float) -> Logits:
    """Standard scores over the temperature, shape (n,); without one, steps that chance cannot climb.

    >>> make_logits(np.array([3.0, 1.0], np.float32), 0.5).tolist()
    [2.0, -2.0]
    >>> make_logits(np.array([1.0, 3.0, 1.0], np.float32), 0.0).tolist()
    [-1000000.0, -0.0, -2000000.0]
    """
    if temperature == 0:
        ranks = np.argsort(np.argsort(-scores, kind="stable"), kind="stable")
        return -STEP * ranks.astype(np.float64)
    exact = scores.astype(np.float64)
    spread = float(exact.std()) if len(exact) else 0.0
    return np.asarray((exact - exact.mean()) / (spread * temperature) if spread > 0 else np.zeros(len(exact)))


def propensities(logits: Logits, picked: Places, epsilon: float) -> Floats:
    """The chance of each pick given those before it, shape (k,): (1 - epsilon) softmax + epsilon / remaining.

    >>> propensities(np.zeros(4), np.array([2, 0]), 0.0).tolist()
    [0.25, 0.3333333432674408]
    """
    if len(picked) == 0:
        return np.zeros(0, np.float32)
    left = np.delete(logits, picked)
    rest = np.logaddexp.reduce(left) if len(left) else -np.inf
    totals = np.logaddexp.accumulate(np.concatenate([[rest], logits[picked][::-1]]))[:0:-1]
    remaining = len(logits) - np.arange(len(picked))
    return np.asarray((1 - epsilon) * np.exp(logits[picked] - totals) + epsilon / remaining, dtype=np.float32)


def _merge(ranked: Places, shuffled: Places, coins: NDArray[np.bool_]) -> Places:
    """One pick for each coin: the first of ``shuffled`` that is not taken where it fell so, else of ``ranked``."""
    orders = iter(ranked.tolist()), iter(shuffled.tolist())  # what an order has passed, is taken
    taken: dict[int, None] = {}  # in order
    for coin in coins.tolist():
        taken[next(place for place in orders[coin] if place not in taken)] = None
    return np.fromiter(taken, np.intp)


def _uniform(raw: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers within 0 and 1, neither of them among these, from 64 random bits each."""
    return np.asarray(((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)
