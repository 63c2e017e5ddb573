"""Generation policies for the simulation: each says, once a minute, how many images of which taste to order.

The newsvendor and the floor are the code that serves; the others are what they are compared with.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from scipy.sparse import csr_matrix

from features.settings import Settings
from serving.generation.demand import DAY, Counts, Forecast, Numbers, Users
from serving.generation.need import LeadTime, floor_orders
from serving.generation.planner import Prices, Wanted, levels_of, plan
from training.sim_demand import Scene

#: Artworks to order from these shares of coverage on: the host's plan.
STEPS = ((0.95, 50), (0.90, 20), (0.85, 10))
HOUR = 3_600.0
COOLDOWN = 60.0  # seconds between two orders for one user, the host's
RECENT = 10  # displays in the last hour that make a user active, in the host's plan
MOST_AT_ONCE = 200


@dataclass
class State:
    """What a policy may know at one moment."""

    scene: Scene
    now: float  # seconds
    made: Counts  # (tastes,): images that exist
    flying: Counts  # (tastes,): ordered
    seen: Counts  # (users, tastes)
    shown: Counts  # (users,): artworks in the session that runs
    displayed: Numbers  # (users,): artworks since the history began
    repeats: Numbers  # (users,)
    first: Numbers  # (users,): start of the first session, inf before it
    last: Numbers  # (users,): start of the latest
    hours: list[list[float]]  # when each user displayed something

    def recent(self, user: int) -> int:
        """Displays of the user in the last hour."""
        return len(self.hours[user]) - bisect_left(self.hours[user], self.now - HOUR)

    def unseen(self, user: int) -> int:
        """S of the user."""
        likes = self.scene.likes[user]
        return int(self.made[likes].sum() - self.seen[user, likes].sum())

    def in_flight(self, user: int) -> int:
        """O of the user."""
        return int(self.flying[self.scene.likes[user]].sum())

    def poorest_taste(self, user: int) -> int:
        """The taste of the user of which least is left."""
        tastes = np.flatnonzero(self.scene.likes[user])
        return int(tastes[np.argmin((self.made + self.flying - self.seen[user])[tastes])])

    def users(self, rows: Counts, active: Counts) -> Users:
        """The forecast's view of these users; ``active`` ones are in session."""
        here = np.isin(rows, active).astype(float)
        known = np.isfinite(self.first[rows])
        since = np.where(known, self.first[rows], self.now)
        age = np.where(known, np.maximum(self.now - since, 0), 0.0) / DAY
        recency = np.where(known, np.where(known, self.last[rows], 0) - since, 0.0) / DAY
        gap = np.full(len(rows), self.scene.regime.gap)
        return Users(self.repeats[rows], np.minimum(recency, age), age, self.shown[rows] * here, here, gap)


#: From the state and who displayed something in the last minute to the tastes to order, one entry per image.
Policy = Callable[[State, Counts], list[int]]


def _each(wish: Callable[[State, int], int]) -> Policy:
    """A policy that looks at one user after the other; what was ordered for one counts for the next."""

    def decide(state: State, active: Counts) -> list[int]:
        ordered: list[int] = []
        flying = state.flying.copy()
        for user in active.tolist():
            for _ in range(wish(state, user)):
                taste = state.poorest_taste(user)
                ordered.append(taste)
                state.flying[taste] += 1
        state.flying = flying
        return ordered

    return decide


def on_demand() -> Policy:
    """One image when there is nothing left and nothing on its way."""
    return _each(lambda state, user: int(state.unseen(user) + state.in_flight(user) <= 0))


def by_coverage(*, least: float = 0.85, literal: bool = False, only_recent: bool = False) -> Policy:
    """10, 20, 50 artworks at 85, 90, 95% coverage.

    Literal: of the whole pool, whatever is on its way, after the cooldown. Else charitable: of what is relevant to the
    user, orders included. ``only_recent``: for who displayed ten artworks in the last hour.
    """
    latest: dict[int, float] = {}

    def wish(state: State, user: int) -> int:
        likes = state.scene.likes[user]
        pool = state.made.sum() if literal else (state.made + state.flying)[likes].sum()
        covered = state.seen[user].sum() / max(pool, 1)
        waits = literal and state.now - latest.get(user, -np.inf) < COOLDOWN
        if covered < least or waits or (only_recent and state.recent(user) < RECENT):
            return 0
        latest[user] = state.now
        return next(count for share, count in STEPS if covered >= share)

    return _each(wish)


def days_of_stock(days: float = 1.0) -> Policy:
    """As many as the user displays on average in so many days."""

    def wish(state: State, user: int) -> int:
        age = max((state.now - state.first[user]) / DAY, 1.0)
        target = int(np.ceil(days * state.displayed[user] / age))
        return max(target - state.unseen(user) - state.in_flight(user), 0)

    return _each(wish)


def floor(lead: LeadTime, settings: Settings) -> Policy:
    """The model-free fallback: a floor of stock for who is in session."""

    def decide(state: State, active: Counts) -> list[int]:
        def wish(state: State, user: int) -> int:
            row = np.array([user])
            level = np.array([state.unseen(user) + state.in_flight(user)])
            return int(floor_orders(state.users(row, active), level, lead, settings)[0])

        return _each(wish)(state, active)

    return decide


def newsvendor(forecast: Forecast, lead: LeadTime, settings: Settings) -> Policy:
    """Order while p B >= c w, by the forecast; the medoids of a taste are one candidate."""

    def decide(state: State, active: Counts) -> list[int]:
        likes = state.scene.likes
        level = ((state.made + state.flying - state.seen) * likes).sum(axis=1)
        longest = max(seconds for seconds, _ in lead.points) + settings.planning_seconds
        at_risk = active[level[active] <= np.floor(longest / state.scene.regime.gap)]
        if not len(at_risk):
            return []
        tastes = np.flatnonzero(likes[at_risk].any(axis=0))
        rows = np.flatnonzero(likes[:, tastes].any(axis=1) & np.isfinite(state.first))
        levels = levels_of(
            forecast,
            state.users(rows, active),
            level[rows],
            lead,
            planning_seconds=settings.planning_seconds,
            horizon_days=settings.horizon_days,
        )
        wanted = Wanted(tastes, csr_matrix(likes[rows][:, tastes].T.astype(float)))
        prices = Prices(settings.image_cost, np.full(len(rows), settings.stockout_cost))
        found = plan(levels, wanted, prices, budget=np.inf, most=MOST_AT_ONCE)
        return [pick.artwork_row for pick in found.orders]

    return decide


def policies(forecast: Forecast, lead: LeadTime, settings: Settings) -> dict[str, Callable[[], Policy]]:
    """Every policy by name, each made anew for a run."""
    return {
        "on demand": on_demand,
        "85/90/95 literal": lambda: by_coverage(literal=True),
        "85/90/95 charitable": by_coverage,
        "85/90/95, 10 in the last hour": lambda: by_coverage(only_recent=True),
        "95 only": lambda: by_coverage(least=0.95),
        "days of stock": days_of_stock,
        "a quarter day of stock": lambda: days_of_stock(0.25),
        "floor": lambda: floor(lead, settings),
        "floor of 4": lambda: floor(lead, msgspec.structs.replace(settings, floor_artworks=4, floor_batch=1)),
        "newsvendor": lambda: newsvendor(forecast, lead, settings),
    }
