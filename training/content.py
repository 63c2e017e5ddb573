"""Content: nothing is learnt of artworks; of people, what is to be expected of anybody's taste before they say it.

A user's taste itself is solved per request (`serving.rankers.ContentRanker`); with too few people to learn from, it is
solved from no expectation at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats
from features.content import LENGTH, Space
from serving.rankers import PLAIN
from training.learner import Fitted, Given, Learner
from training.replay import Known, what_is_known

LEAST_USERS = 30  # with signals; fewer say nothing of people in general
MOST_USERS = 1_000  # drawn by the seed: more change little and cost in proportion
SIGNALS_PER_USER = 200
ITERATIONS = 12
HESITATION = 20.0  # in users: as firmly as so many would, the prior keeps to the plain one
FIRST_NOISE = 0.2  # variance of a signal's weight about the user's taste, where the search begins

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What m users' signals say, in d numbers: X'X (m, d, d), X'y (m, d), y'y (m,) and their counts (m,)."""

    squares: Doubles
    pulls: Doubles
    weights: Doubles
    counts: Doubles


def make_learner(seed: int = 0) -> Learner:
    """Content as a learner."""
    return Learner("content", "content", "none", lambda given: Fitted(fit(given, seed)))


def fit(given: Given, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays taste_mean (129,) and taste_ridge (129, 129) of `serving.rankers.TastePrior`; none for few users.

    Linear mixed model by expectation-maximisation (Laird & Ware, Biometrics 38(4), 1982): every user's taste is drawn
    from one normal distribution, whose mean and covariance are searched for.
    """
    moments = _moments(_draw(given, seed), given.pool.space)
    if len(moments.counts) < LEAST_USERS:
        return {}
    plain = np.asarray(np.linalg.inv(PLAIN.ridge), np.float64)
    mean, covariance, noise = PLAIN.mean.astype(np.float64), FIRST_NOISE * plain, FIRST_NOISE
    for _ in range(ITERATIONS):
        mean, covariance, noise = _step(moments, mean, covariance, noise, plain)
    ridge = noise * np.linalg.inv(covariance)
    return {"taste_mean": mean.astype(np.float32), "taste_ridge": ((ridge + ridge.T) / 2).astype(np.float32)}


def _step(
    moments: Moments, mean: Doubles, covariance: Doubles, noise: float, plain: Doubles
) -> tuple[Doubles, Doubles, float]:
    """What is expected of each user's taste, and from that the mean, covariance and noise that fit best."""
    ridge = noise * np.linalg.inv(covariance)
    tastes, spread, error = [], HESITATION * noise * plain, 0.0
    for squares, pulls, weights in zip(moments.squares, moments.pulls, moments.weights, strict=True):
        inverse = np.linalg.inv(ridge + squares)
        taste = mean + inverse @ (pulls - squares @ mean)
        tastes.append(taste)
        spread = spread + noise * inverse
        error += weights - 2 * taste @ pulls + taste @ squares @ taste + noise * float((inverse * squares).sum())
    count = len(tastes)
    centre = np.sum(tastes, axis=0) / (count + HESITATION)
    apart = np.array(tastes) - centre
    spread = spread + apart.T @ apart
    return centre, np.asarray(spread / (count + HESITATION)), float(error / moments.counts.sum())


def _draw(given: Given, seed: int) -> list[Known]:
    """What is known of the users to learn from."""
    users = given.snapshot.signals["user_id"].unique().sort().to_list()
    if len(users) > MOST_USERS:
        chosen = np.random.default_rng(seed).choice(len(users), MOST_USERS, replace=False)
        users = [users[place] for place in sorted(chosen)]
    known = what_is_known(given.snapshot.signals, users, given.pool, SIGNALS_PER_USER)
    return [user for user in known if len(user.signal_rows)]


def _moments(users: list[Known], space: Space) -> Moments:
    """The users' signals, as far as the artworks' content says anything."""
    told = [_taken_in(space, user) for user in users]
    told = [(found, weights) for found, weights in told if len(weights)]
    return Moments(
        np.array([found.T @ found for found, _ in told], np.float64).reshape(-1, LENGTH + 1, LENGTH + 1),
        np.array([found.T @ weights for found, weights in told], np.float64).reshape(-1, LENGTH + 1),
        np.array([weights @ weights for _, weights in told], np.float64),
        np.array([len(weights) for _, weights in told], np.float64),
    )


def _taken_in(space: Space, user: Known) -> tuple[Floats, Floats]:
    """A user's signals: how the artworks differ, with a one at the end (n, 129), and the weights (n,)."""
    told = space.vectors[user.signal_rows].any(axis=1)
    found = space.differences(user.signal_rows[told])
    return np.hstack([found, np.ones((len(found), 1), np.float32)]), user.weights[told]
