"""What another policy would have come to, from the log of the one that served and its known chances. Pure.

Every estimate is a mean over slots, its interval over units (users), for the slots of one user belong together. A slot
further down a list counts with the product of the ratios of all slots before it (per-decision importance sampling:
Precup, Sutton & Singh, "Eligibility traces for off-policy policy evaluation", ICML 2000; for lists: McInerney et al.,
"Counterfactual evaluation of slate recommendations with sequential reward interactions", KDD 2020).

A log that says too little of a policy gives no number at all: see `check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from features.errors import WeakEvidenceError
from training.experiments.estimates import LEVEL, Values, scores_of_ratio
from training.intervals import Interval

LEAST_SIZE = 200  # effective slots, below which nothing is reported
MOST_SHARE = 0.05  # of all weight, that one slot may hold
FOLDS = 5
RIDGE = 10.0  # of the direct model, in slots: it is pulled to the mean reward as if by so many


@dataclass(frozen=True)
class Logged:
    """Slots that were served, shape (n,) each, with what a target policy says of them."""

    rewards: Values
    weights: Values  # target's chance over the log's, of this slot and all before it
    before: Values  # the same of those before it alone: 1 for the first
    units: NDArray[np.int64]  # who is drawn as a whole
    features: Values  # (n, d): of what was served, for the direct model
    expected: Values  # (n, d): the mean of these over what the target would have served here


class Judged(NamedTuple):
    """What a policy is worth, by three estimators, and what that rests on."""

    ips: Interval
    snips: Interval
    dr: Interval
    logged: Interval  # the policy that served
    effective: float  # slots
    heaviest: float  # share of all weight
    slots: int
    units: int


def judge(logged: Logged, policy: str, level: float = LEVEL) -> Judged:
    """All estimates of a target. Raises WeakEvidenceError, naming the ``policy``, where `check` does."""
    check(logged.weights, policy)
    return Judged(
        ips=ips(logged, level),
        snips=snips(logged, level),
        dr=dr(logged, level),
        logged=on_policy(logged.rewards, logged.units, level),
        effective=effective_size(logged.weights),
        heaviest=heaviest(logged.weights),
        slots=len(logged.rewards),
        units=len(np.unique(logged.units)),
    )


def check(weights: Values, policy: str) -> None:
    """Raise WeakEvidenceError unless enough of the log is about what the target would do.

    >>> check(np.ones(200), "the same")
    """
    if len(weights) == 0 or weights.sum() == 0:
        raise WeakEvidenceError(policy=policy, reason="it holds nothing that the policy would do", rule="log more")
    size, share = effective_size(weights), heaviest(weights)
    if size < LEAST_SIZE:
        reason = f"its {len(weights):,} slots are worth {size:,.1f} of the policy's own"
        raise WeakEvidenceError(policy=policy, reason=reason, rule=f"at least {LEAST_SIZE} are needed")
    if share > MOST_SHARE:
        reason = f"one slot holds {share:.1%} of all weight"
        raise WeakEvidenceError(policy=policy, reason=reason, rule=f"{MOST_SHARE:.0%} at most may hang on one")


def effective_size(weights: Values) -> float:
    """How many equally weighted slots would say as much: (sum w)^2 / sum w^2.

    Kish, "Survey Sampling" (1965), section 11.7.

    >>> effective_size(np.array([1.0, 1.0, 1.0, 0.0])), round(effective_size(np.array([100.0, 1.0, 1.0])), 2)
    (3.0, 1.04)
    """
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def heaviest(weights: Values) -> float:
    """The share of all weight that one slot holds.

    >>> heaviest(np.array([3.0, 1.0]))
    0.75
    """
    total = float(weights.sum())
    return float(weights.max()) / total if total else 1.0


def ips(logged: Logged, level: float = LEVEL) -> Interval:
    """Inverse propensity scores: the mean of weight x reward; unbiased.

    Horvitz & Thompson, "A generalization of sampling without replacement from a finite universe" (JASA 47, 1952);
    Strehl, Langford, Li & Kakade, "Learning from logged implicit exploration data" (NIPS 2010).

    >>> round(ips(_example()).mean, 3)
    0.75
    """
    return _ratio(logged.weights * logged.rewards, np.ones(len(logged.rewards)), logged.units, level)


def snips(logged: Logged, level: float = LEVEL) -> Interval:
    """The same over the sum of the weights: a little bias for less spread, and never beyond the rewards.

    Swaminathan & Joachims, "The self-normalized estimator for counterfactual learning" (NIPS 2015).

    >>> round(snips(_example()).mean, 3)
    0.75
    """
    return _ratio(logged.weights * logged.rewards, logged.weights, logged.units, level)


def dr(logged: Logged, level: float = LEVEL, folds: int = FOLDS) -> Interval:
    """Doubly robust: what a direct model expects of the target, corrected by the weighted errors that it makes.

    Dudik, Langford & Li, "Doubly robust policy evaluation and learning" (ICML 2011); slot by slot: Jiang & Li, "Doubly
    robust off-policy value evaluation for reinforcement learning" (ICML 2016). The direct model of a unit is fitted on
    other units (cross-fitting: Chernozhukov et al., The Econometrics Journal 21(1), 2018).

    >>> round(dr(_example()).mean, 3)
    0.75
    """
    served, expected = _direct(logged, folds)
    values = logged.before * expected + logged.weights * (logged.rewards - served)
    return _ratio(values, np.ones(len(values)), logged.units, level)


def on_policy(rewards: Values, units: NDArray[np.int64], level: float = LEVEL) -> Interval:
    """The mean reward of the policy that served.

    >>> on_policy(np.array([1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 1, 1]))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    return _ratio(rewards, np.ones(len(rewards)), units, level)


def _direct(logged: Logged, folds: int) -> tuple[Values, Values]:
    """What the direct model gives to what was served and to what the target would serve, shape (n,) each."""
    served, expected = np.zeros(len(logged.rewards)), np.zeros(len(logged.rewards))
    _, places = np.unique(logged.units, return_inverse=True)
    fold = np.random.default_rng(0).permutation(places.max() + 1)[places] % folds
    for number in range(folds):
        inside = fold == number
        mean, slope = _ridge(logged.features[~inside], logged.rewards[~inside])
        centre = logged.features[~inside].mean(axis=0) if (~inside).any() else 0.0
        served[inside] = mean + (logged.features[inside] - centre) @ slope
        expected[inside] = mean + (logged.expected[inside] - centre) @ slope
    return served, expected


def _ridge(features: Values, rewards: Values) -> tuple[float, Values]:
    """Mean and slopes of a regularised regression: Hoerl & Kennard, Technometrics 12(1), 1970."""
    if len(rewards) == 0:
        return 0.0, np.zeros(features.shape[1])
    centred = features - features.mean(axis=0)
    mean = float(rewards.mean())
    normal = centred.T @ centred + RIDGE * np.eye(features.shape[1])
    return mean, np.linalg.solve(normal, centred.T @ (rewards - mean))


def _ratio(tops: Values, bottoms: Values, units: NDArray[np.int64], level: float) -> Interval:
    """The ratio of two sums and its interval over units, by the delta method."""
    _, places = np.unique(units, return_inverse=True)
    scores = scores_of_ratio(*(np.bincount(places, each).astype(np.float64) for each in (tops, bottoms)))
    mean = float(scores.mean())
    if len(scores) < 2:  # noqa: PLR2004 - a spread
        return Interval(mean, np.nan, np.nan)
    half = float(stats.t.ppf(1 - level / 2, len(scores) - 1) * scores.std(ddof=1)) / len(scores) ** 0.5
    return Interval(mean, mean - half, mean + half)


def _example() -> Logged:
    """Two artworks served alike, where the target serves the liked one three times in four."""
    rewards = np.tile([1.0, 0.0], 100)
    weights = np.tile([1.5, 0.5], 100)
    kinds = np.tile(np.eye(2), (100, 1))
    target = np.tile([0.75, 0.25], (200, 1))
    return Logged(rewards, weights, np.ones(200), np.arange(200), kinds, target)
