"""The demand side of the simulation: who asks when, drawn once, so that every policy meets the same people.

Not drawn from the forecast's own laws: lengths are log-normal, hours peak in the evening, some binge, some come once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from serving.generation.demand import DAY, Counts, Numbers
from training.regimes import Regime

HISTORY_DAYS = 14
LONGEST = 400  # artworks in one session
PAUSE = 1_800.0  # seconds at least between two sessions of a user
ORDERS = 200_000  # lead times drawn


@dataclass(frozen=True)
class Sessions:
    """Sessions in order of time; arrays of shape (m,). The first day that is simulated begins at 0 seconds."""

    users: Counts
    started: Numbers
    lengths: Counts

    def before(self, at: float) -> Sessions:
        """Those that started before."""
        kept = self.started < at
        return Sessions(self.users[kept], self.started[kept], self.lengths[kept])


@dataclass(frozen=True)
class Scene:
    """What every policy of one run meets."""

    regime: Regime
    days: int
    likes: NDArray[np.bool_]  # (users, tastes)
    sessions: Sessions  # those of the history, at negative times, included
    leads: Numbers  # seconds, of the first order, the second and so on
    outages: list[tuple[float, float]]  # begin and end, seconds
    seen: Counts  # (users, tastes): at the start

    @property
    def requests(self) -> tuple[Counts, Numbers, Counts]:
        """User, time and number within its session of every artwork asked for from 0 on, in order of time."""
        sessions = self.sessions
        place = np.concatenate([np.arange(length) for length in sessions.lengths])
        users = np.repeat(sessions.users, sessions.lengths)
        times = np.repeat(sessions.started, sessions.lengths) + place * self.regime.gap
        inside = (times >= 0) & (times < self.days * DAY)
        order = np.argsort(times[inside], kind="stable")
        return users[inside][order], times[inside][order], place[inside][order] + 1


def make_scene(regime: Regime, seed: int, days: int) -> Scene:
    """Draw one run."""
    rngs = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4)]
    likes = _likes(regime, rngs[0])
    sessions = _sessions(regime, rngs[1], days)
    sigma = np.log(regime.lead_p95 / regime.lead_p50) / 1.645
    leads = regime.lead_p50 * np.exp(sigma * rngs[2].normal(size=ORDERS))
    return Scene(regime, days, likes, sessions, leads, _outages(regime, rngs[3], days), _seen(regime, likes, sessions))


def _likes(regime: Regime, rng: Generator) -> NDArray[np.bool_]:
    """One taste each, a second for some; popular ones are more popular."""
    weights = 1 / np.arange(1, regime.tastes + 1) ** 0.7
    likes = np.zeros((regime.users, regime.tastes), dtype=bool)
    for user, second in enumerate(rng.random(regime.users) < regime.two_tastes):
        likes[user, rng.choice(regime.tastes, 1 + second, replace=False, p=weights / weights.sum())] = True
    return likes


def _sessions(regime: Regime, rng: Generator, days: int) -> Sessions:
    """Every user's sessions, one after the other and never overlapping, sorted by time."""
    users, starts, lengths = [], [], []
    rates = rng.gamma(regime.unevenness, regime.visits / regime.unevenness, regime.users)
    for user in range(regime.users):
        free = -HISTORY_DAYS * DAY
        for start in _starts(regime, rng, rates[user], days):
            at = max(start, free)
            length = regime.length * np.exp(regime.spread * rng.normal()) * (6 if rng.random() < regime.binges else 1)
            length = int(np.clip(np.round(length), 1, LONGEST))
            users.append(user)
            starts.append(at)
            lengths.append(length)
            free = at + length * regime.gap + PAUSE
            if rng.random() < regime.leaving:
                break
    order = np.argsort(starts)
    return Sessions(*(np.array(part)[order] for part in (users, starts, lengths)))


def _starts(regime: Regime, rng: Generator, rate: float, days: int) -> Numbers:
    """When a user would come, seconds, sorted; joined before the history or during the run."""
    if rng.random() < regime.once:
        return np.array([rng.uniform(-HISTORY_DAYS, days) * DAY])
    joined = rng.uniform(-HISTORY_DAYS, days / 2)
    day = np.floor(rng.uniform(joined, days, rng.poisson(rate * (days - joined)) + 1))
    evening = rng.random(len(day)) < regime.evening
    hour = np.where(evening, rng.normal(20.2, 1.4, len(day)), rng.uniform(0, 24, len(day)))
    return np.sort((day + hour / 24) * DAY)


def _outages(regime: Regime, rng: Generator, days: int) -> list[tuple[float, float]]:
    """When nothing is generated: exponential ups and downs in the regime's share."""
    found: list[tuple[float, float]] = []
    if not regime.outage_share:
        return found
    up = regime.outage_seconds * (1 - regime.outage_share) / regime.outage_share
    at = rng.exponential(up)
    while at < days * DAY:
        end = at + rng.exponential(regime.outage_seconds)
        found.append((at, end))
        at = end + rng.exponential(up)
    return found


def _seen(regime: Regime, likes: NDArray[np.bool_], sessions: Sessions) -> Counts:
    """What the history took of the pool: spread over the user's tastes, and no more than there is."""
    past = sessions.before(0.0)
    shown = np.bincount(past.users, past.lengths, len(likes))
    each = np.ceil(shown / likes.sum(axis=1))[:, None] * likes
    return np.asarray(np.minimum(each, regime.pool), dtype=np.int64)
