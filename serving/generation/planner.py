"""What to order now, how many and for whom: the greedy newsvendor. Pure; it neither reads nor places anything.

One image serves every user who has not seen it, so need adds over users for one image and image counts are never
added over users. An image at z is worth an order while p B_z >= c w_z: what its stock-outs would cost against what is
lost when nobody reaches it. Both only fall for z as others are picked, so old values bound new ones and few need to be
computed again (Minoux, "Accelerated greedy algorithms", 1978).
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from features.arrays import Floats
from features.settings import Settings
from serving.generation.demand import DAY, Counts, Forecast, Numbers, Users
from serving.generation.need import LeadTime, floor_of, floor_orders, short

MOST_EACH = 32  # images for one user in one plan: the next plan is a minute away
ALIKE = 0.97  # cosine from which two liked artworks ask for the same image


class Stopped(StrEnum):
    """Why a plan ends where it ends."""

    WORTHLESS = "worthless"  # no further image is worth its cost
    BUDGET = "budget"
    COUNT = "count"  # as many as one plan may hold
    NO_DNA = "no_dna"  # no artwork of the pool has DNA that another could be made from


@dataclass(frozen=True)
class Levels:
    """How urgent and how useful the next images are to each user, shape (n, MOST_EACH): column j for the j-th more.

    Both fall along a row.
    """

    need: Numbers  # P(D(L + R) >= level + j + 1)
    reach: Numbers  # P(D(H) >= level + j + 1)


@dataclass(frozen=True)
class Wanted:
    """What could be ordered: a real artwork that at-risk users liked, and who would find another like it relevant."""

    artwork_rows: NDArray[np.int64]  # (z,): medoids, rows of the caller's catalogue
    users: csr_matrix  # (z, n): a_uz, 1 where relevant


@dataclass(frozen=True)
class Reusable:
    """Artworks that exist and could be given back to users who have not seen them, each at most once."""

    artwork_rows: NDArray[np.int64]  # (e,)
    users: csr_matrix  # (e, n): 1 where relevant, unseen and not in stock
    near: csr_matrix  # (z, e): 1 where the artwork is near the medoid


@dataclass(frozen=True)
class Prices:
    """What an image and a stock-out cost."""

    image: float  # dollars
    stockout: Numbers  # dollars, (n,): by tier
    least_reach: float = 0.0  # shadow price of a budget that binds: expected users who reach the image


@dataclass(frozen=True)
class Pick:
    """One image of a plan."""

    artwork_row: int  # the medoid to order another like, or the existing artwork to give back
    user_rows: NDArray[np.int64]  # for whom
    benefit: float  # dollars of stock-outs avoided, expected
    reach: float  # users who get to it within the horizon, expected
    priority: float  # the highest need among its users
    reused: bool = False


@dataclass(frozen=True)
class Plan:
    """Images in order of worth."""

    orders: list[Pick]
    reused: list[Pick]  # each one an order avoided
    stopped: Stopped
    shadow_price: float = 0.0  # net benefit per dollar of the best image that the budget turned away

    @property
    def avoided(self) -> int:
        """Orders that an existing artwork made unnecessary."""
        return len(self.reused)


@dataclass
class _State:
    """Who got how many so far."""

    levels: Levels
    prices: Prices
    given: Counts
    taken: set[int] = field(default_factory=set)

    def pick(self, users: NDArray[np.int64], artwork_row: int, *, reused: bool = False) -> Pick:
        """What one more image is worth to these users."""
        at = np.minimum(self.given[users], self.levels.need.shape[1] - 1)
        inside = self.given[users] < self.levels.need.shape[1]
        need, reach = self.levels.need[users, at] * inside, self.levels.reach[users, at] * inside
        return Pick(
            artwork_row,
            users,
            benefit=float(self.prices.stockout[users] @ need),
            reach=float(reach.sum()),
            priority=float(need.max(initial=0.0)),
            reused=reused,
        )

    def lost(self, users: NDArray[np.int64]) -> float:
        """P(nobody among these users gets to one more image within the horizon): w_z."""
        at = np.minimum(self.given[users], self.levels.reach.shape[1] - 1)
        inside = self.given[users] < self.levels.reach.shape[1]
        return float(np.prod(1 - self.levels.reach[users, at] * inside))

    def net(self, pick: Pick) -> float:
        """Net worth p B_z - c w_z in dollars; never worth an order where nobody needs it or too few reach it."""
        if pick.benefit <= 0 or pick.reach < self.prices.least_reach:
            return -np.inf
        return pick.benefit - self.prices.image * self.lost(pick.user_rows)


def levels_of(
    forecast: Forecast, users: Users, level: Counts, lead: LeadTime, *, planning_seconds: float, horizon_days: float
) -> Levels:
    """Need and reach of the next images of every user, from stock and orders together (``level``, (n,))."""
    shape = (len(users), MOST_EACH)
    rows = np.repeat(np.arange(len(users)), MOST_EACH)
    wanted = (level[:, None] + np.arange(MOST_EACH)).ravel()
    need = np.zeros(len(rows))
    soon = wanted < _most_soon(users, lead, planning_seconds)[rows]
    need[soon] = forecast.calibrated(short(forecast, users.take(rows[soon]), wanted[soon], lead, planning_seconds))
    reach = np.zeros(len(rows))
    # Whoever needs nothing soon counts for the first image that others order, not for a row of them.
    matters = (need.reshape(shape).max(axis=1) > 0)[rows] | (np.arange(len(rows)) % MOST_EACH == 0)
    reach[matters] = forecast.at_least(users.take(rows[matters]), horizon_days * DAY, wanted[matters] + 1)
    return Levels(need.reshape(shape), reach.reshape(shape))


def floor_levels(users: Users, level: Counts, lead: LeadTime, settings: Settings) -> Levels:
    """The same without a forecast: as many images as bring who is in session to the floor, the emptier the sooner.

    All of them are reached, so that each is worth an order; need is how far below the floor it leaves its user.
    """
    wanted = floor_orders(users, level, lead, settings)
    step = np.arange(MOST_EACH)
    inside = step < wanted[:, None]
    target = floor_of(users.gap, lead, settings)[:, None] + settings.floor_batch
    need = np.clip((target - level[:, None] - step) / target, 0.0, 1.0)
    return Levels(need * inside, inside.astype(float))


def plan(
    levels: Levels,
    wanted: Wanted,
    prices: Prices,
    *,
    budget: float,
    most: int,
    most_alike: int | None = None,
    reusable: Reusable | None = None,
) -> Plan:
    """The images worth their cost, best first: at most ``most`` and for at most ``budget`` dollars.

    ``most_alike``: so many at most like one medoid, so that the others have their turn.

    Greedy for a monotone submodular function: at least 1 - 1/e of the best set. What exists near a medoid and is
    itself worth an order is given back instead of ordered; it costs nothing.
    """
    state = _State(levels, prices, np.zeros(len(levels.need), dtype=np.int64))
    times = Counter[int]()  # images like each medoid; of equal worth, the one with the fewest comes first
    heap = [(-state.net(pick), 0, z) for z, pick in enumerate(_all_picks(state, wanted))]
    heapq.heapify(heap)
    orders: list[Pick] = []
    reused: list[Pick] = []
    left, too_much = budget, 0.0
    while heap and len(orders) + len(reused) < most:
        _, _, z = heapq.heappop(heap)
        pick = state.pick(_users(wanted.users, z), int(wanted.artwork_rows[z]))
        net = state.net(pick)
        if net < 0:
            continue  # worth only falls: not in this plan any more
        if heap and -net > heap[0][0]:
            heapq.heappush(heap, (-net, times[z], z))
            continue
        existing = _existing(state, reusable, z)
        if existing is None and left < prices.image:
            too_much = too_much or net / prices.image
            continue  # others may have something to give back still
        if existing is None:
            left -= prices.image
        (orders if existing is None else reused).append(existing or pick)
        state.given[(existing or pick).user_rows] += 1
        times[z] += 1
        if most_alike is None or times[z] < most_alike:
            heapq.heappush(heap, (-net, times[z], z))
    if too_much:
        return Plan(orders, reused, Stopped.BUDGET, too_much)
    return Plan(orders, reused, Stopped.COUNT if heap and len(orders) + len(reused) >= most else Stopped.WORTHLESS)


def medoids(vectors: Floats, liked: csr_matrix, need: Numbers, most: int) -> NDArray[np.int64]:
    """Columns of ``liked`` (n users x m artworks) to order more of, at most ``most``: real artworks, never a mean.

    Those whose users need most come first; one that is nearly the same as an earlier one is left out. ``vectors``:
    (m, d), directions from the pool's mean (`Space.directions`), of length 1 or zeros.
    """
    weight = np.asarray(liked.T @ need).ravel()
    chosen: list[int] = []
    for column in np.argsort(-weight, kind="stable"):
        if weight[column] <= 0 or len(chosen) >= most:
            break
        if not chosen or float(np.max(vectors[chosen] @ vectors[column])) < ALIKE:
            chosen.append(int(column))
    return np.array(chosen, dtype=np.int64)


def relevant_users(vectors: Floats, columns: NDArray[np.int64], liked: csr_matrix, least: float) -> csr_matrix:
    """a_uz, shape (z, n): who liked an artwork at least so near (cosine) to each of the medoids."""
    near = vectors[columns] @ vectors.T >= least
    near[np.arange(len(columns)), columns] = True  # also where nothing is known of the artwork but who liked it
    near = csr_matrix(near, dtype=np.float64)
    return csr_matrix((near @ liked.T) > 0, dtype=np.float64)


@dataclass(frozen=True)
class Bucket:
    """A rolling budget: dollars that flow in at a rate, up to a burst."""

    rate: float  # dollars per hour
    burst: float  # dollars at most
    level: float
    at: float  # seconds since 1970

    def now(self, at: float) -> Bucket:
        """The bucket at a later time."""
        hours = max(at - self.at, 0.0) / 3_600
        return replace(self, level=min(self.level + hours * self.rate, self.burst), at=max(at, self.at))

    def spend(self, dollars: float) -> Bucket:
        """What is left; never below nothing."""
        return replace(self, level=max(self.level - dollars, 0.0))


def _most_soon(users: Users, lead: LeadTime, planning_seconds: float) -> Numbers:
    """How many artworks each user can draw until an order arrives, at the longest lead time that counts, shape (n,)."""
    longest = max(seconds for seconds, _ in lead.points) + planning_seconds
    return np.asarray(np.maximum(users.tabs, 1) * (np.floor(longest / users.gap) + 1))


def _all_picks(state: _State, wanted: Wanted) -> list[Pick]:
    return [state.pick(_users(wanted.users, z), int(row)) for z, row in enumerate(wanted.artwork_rows)]


def _users(matrix: csr_matrix, row: int) -> NDArray[np.int64]:
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]], dtype=np.int64)


def _existing(state: _State, reusable: Reusable | None, z: int) -> Pick | None:
    """The best unused artwork near the medoid that is itself worth an order; None where there is none."""
    if reusable is None:
        return None
    free = [e for e in _users(reusable.near, z).tolist() if e not in state.taken]
    picks = [(state.pick(_users(reusable.users, e), int(reusable.artwork_rows[e]), reused=True), e) for e in free]
    worth = [(state.net(pick), e, pick) for pick, e in picks if state.net(pick) >= 0]
    if not worth:
        return None
    _, e, pick = max(worth, key=lambda found: found[0])
    state.taken.add(e)
    return pick
