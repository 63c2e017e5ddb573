"""Tries generation policies on simulated people: images, stock-outs, waste, cost, and the clairvoyant minimum.

Every policy of a run meets the same requests, lead times and outages. Images are seen oldest first within a taste, and
a user with two tastes sees of the one of which more is left.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, hstack, identity

from features.settings import Settings
from features.visits import session_counts
from serving.generation.demand import DAY, Counts, Forecast
from serving.generation.need import LeadTime
from training.forecast import fit_forecast
from training.policies import Policy, State, policies
from training.regimes import Regime
from training.sim_demand import Scene, make_scene

CLAIRVOYANT = "clairvoyant"
PRICED = ("newsvendor", CLAIRVOYANT)  # the only ones that look at the price of a stock-out


@dataclass(frozen=True)
class Outcome:
    """What one policy came to in one run."""

    policy: str
    images: float
    stockouts: float
    requests: int
    wasted: float  # images that nobody had displayed at the end

    def cost(self, image: float, stockout: float) -> float:
        """Dollars in all."""
        return image * self.images + stockout * self.stockouts

    def per_impression(self, image: float) -> float:
        """Dollars of images per artwork displayed."""
        return image * self.images / max(self.requests - self.stockouts, 1)


def run_all(
    regime: Regime, seed: int, days: int, settings: Settings, only: Sequence[str] | None = None
) -> list[Outcome]:
    """Every policy (or ``only`` these) on one drawn run, at the prices of the settings; the clairvoyant comes last."""
    scene = make_scene(regime, seed, days)
    forecast = fitted(scene)
    lead = LeadTime(regime.lead_p50, regime.lead_p95, regime.outage_share, regime.outage_seconds)
    horizon = msgspec.structs.replace(settings, horizon_days=min(settings.horizon_days, float(days)))
    known = policies(forecast, lead, horizon)
    names = [name for name in known if only is None or name in only]
    outcomes = [run(name, known[name], scene, settings.planning_seconds) for name in names]
    return outcomes if only and CLAIRVOYANT not in only else [*outcomes, clairvoyant(scene, settings)]


def sweep(
    regime: Regime, seed: int, days: int, settings: Settings, prices: Sequence[float]
) -> dict[float, list[Outcome]]:
    """Every policy on one drawn run at each price of a stock-out; what ignores prices is run once."""
    found: dict[float, list[Outcome]] = {}
    for price in prices:
        priced = msgspec.structs.replace(settings, stockout_cost=price)
        fresh = run_all(regime, seed, days, priced, PRICED if found else None)
        known = [outcome for outcome in found.get(prices[0], []) if outcome.policy not in PRICED]
        found[price] = [*known, *fresh]
    return found


def fitted(scene: Scene) -> Forecast:
    """The forecast from the sessions of the history alone."""
    past = scene.sessions.before(0.0)
    return fit_forecast(past.users, past.started, past.lengths, 0.0)


def run(name: str, make: Callable[[], Policy], scene: Scene, planning_seconds: float) -> Outcome:
    """Let time pass under one policy, planning run by planning run; those in which nobody asks are skipped."""
    policy, state, supply = make(), _start(scene), _Supply(scene)
    users, times, places = scene.requests
    stockouts = 0
    for window, rows in _windows(times, planning_seconds):
        active = np.unique(users[rows])
        for row in rows:
            supply.deliver(state, float(times[row]))
            stockouts += _ask(state, int(users[row]), float(times[row]), int(places[row]))
        state.now = (window + 1) * planning_seconds
        supply.deliver(state, state.now)
        for taste in policy(state, active):
            supply.order(state, taste)
    frontier = np.maximum(state.seen.max(axis=0), scene.regime.pool)  # what the pool held at first is nobody's order
    wasted = int((state.made + state.flying - frontier).clip(0).sum())
    return Outcome(name, supply.ordered, stockouts, len(users), wasted)


def clairvoyant(scene: Scene, settings: Settings) -> Outcome:
    """The least cost with all requests known: a linear program over images per taste and stock-outs per user.

    Every request of a user is met from the user's tastes or is a stock-out; lead times cannot hurt who knows all.
    """
    likes = csr_matrix(scene.likes.astype(float))
    users, _, _ = scene.requests
    asked = np.bincount(users, minlength=len(scene.likes))
    stock = (scene.likes * (scene.regime.pool - scene.seen)).sum(axis=1)
    prices = [settings.image_cost] * scene.likes.shape[1] + [settings.stockout_cost] * len(asked)
    reached = hstack([likes, identity(len(asked))])
    found = linprog(prices, A_ub=-reached, b_ub=-(asked - stock), method="highs")
    images, missed = found.x[: scene.likes.shape[1]].sum(), found.x[scene.likes.shape[1] :].sum()
    return Outcome(CLAIRVOYANT, float(images), float(missed), len(users), 0)


class _Supply:
    """Orders on their way: each takes its own lead time, and none gets through an outage."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._begins = [begin for begin, _ in scene.outages]
        self._coming: list[tuple[float, int]] = []
        self.ordered = 0

    def order(self, state: State, taste: int) -> None:
        """Place one."""
        lead = float(self._scene.leads[self.ordered % len(self._scene.leads)])
        heapq.heappush(self._coming, (self._arrival(state.now, lead), taste))
        state.flying[taste] += 1
        self.ordered += 1

    def deliver(self, state: State, until: float) -> None:
        """Move what has arrived into the pool."""
        while self._coming and self._coming[0][0] <= until:
            _, taste = heapq.heappop(self._coming)
            state.flying[taste] -= 1
            state.made[taste] += 1

    def _arrival(self, placed: float, lead: float) -> float:
        """When an order of this moment arrives: after the outage that it meets, from its start again."""
        place = bisect_left(self._begins, placed + lead)
        if place and self._scene.outages[place - 1][1] > placed:
            return self._scene.outages[place - 1][1] + lead
        return placed + lead


def _start(scene: Scene) -> State:
    """The state at the first moment, with what the history taught."""
    past = scene.sessions.before(0.0)
    count = len(scene.likes)
    repeats, recency, age = session_counts(past.users, past.started, 0.0, count)
    known = np.bincount(past.users, minlength=count) > 0
    return State(
        scene=scene,
        now=0.0,
        made=np.full(scene.likes.shape[1], scene.regime.pool),
        flying=np.zeros(scene.likes.shape[1], dtype=np.int64),
        seen=scene.seen.copy(),
        shown=np.zeros(count, dtype=np.int64),
        displayed=np.bincount(past.users, past.lengths, count).astype(float),
        repeats=repeats,
        first=np.where(known, -age * DAY, np.inf),
        last=np.where(known, (recency - age) * DAY, -np.inf),
        hours=[[] for _ in range(count)],
    )


def _ask(state: State, user: int, at: float, place: int) -> int:
    """One request: displays the user's next artwork, or returns 1 for a stock-out."""
    if place == 1:
        state.repeats[user] += np.isfinite(state.first[user])
        state.first[user] = min(state.first[user], at)
        state.last[user] = at
    state.shown[user] = place
    tastes = np.flatnonzero(state.scene.likes[user])
    left = state.made[tastes] - state.seen[user, tastes]
    best = int(np.argmax(left))
    if left[best] <= 0:
        return 1
    state.seen[user, tastes[best]] += 1
    state.displayed[user] += 1
    state.hours[user].append(at)
    return 0


def _windows(times: np.ndarray, seconds: float) -> Iterator[tuple[int, Counts]]:
    """Planning windows in which somebody asks, each with the rows of its requests."""
    numbers = np.floor(times / seconds).astype(np.int64)
    edges = np.flatnonzero(np.diff(numbers)) + 1
    for rows in np.split(np.arange(len(times)), edges):
        yield int(numbers[rows[0]]), rows
