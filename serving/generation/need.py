"""Who is about to ask for an artwork that does not exist: the need score, and the rule where there is no forecast.

Pure arithmetic on arrays with one entry per user. What is ordered for whom is `planner`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.settings import Settings
from serving.generation.demand import DAY, Counts, Forecast, Numbers, Users

Z95 = 1.6448536269514722  # 95% quantile of the normal law
#: The normal law in three points (z, weight), exact to its fifth moment (Gauss & Hermite).
NORMAL = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))
TIMES = np.geomspace(10.0, 30 * DAY, 28)  # seconds at which the time to exhaustion is looked up


class Basis(StrEnum):
    """What a need score rests on."""

    POSTERIOR = "posterior"  # the forecast and the user's own sessions
    PRIOR = "prior"  # the forecast of a user who came only once, or never
    HEURISTIC = "heuristic"  # no forecast


@dataclass(frozen=True)
class LeadTime:
    """From order to artwork: log-normal with these quantiles, or an outage that begins while the artwork is wanted.

    The share of the time that generation is away would say too much: what an order buys is to have the artwork before
    an outage begins, and whoever wants it is there for a session, not for ever.
    """

    p50: float  # seconds
    p95: float
    outage_share: float = 0.0  # of the time that generation is away
    outage_seconds: float = 1_800.0  # how long it is away when it is, mean
    wanted_seconds: float = 600.0  # a session of ten artworks, a minute each

    @property
    def outage_chance(self) -> float:
        """P(an outage begins while the artwork is wanted), outages being as rare as their share and length tell."""
        if self.outage_share >= 1:
            return 1.0
        up = self.outage_seconds * (1 - self.outage_share) / max(self.outage_share, 1e-12)
        return -math.expm1(-self.wanted_seconds / up)

    @property
    def points(self) -> list[tuple[float, float]]:
        """(seconds, weight): the law in a few points; the weights sum to 1."""
        sigma = math.log(max(self.p95 / self.p50, 1.0)) / Z95
        away = self.outage_chance if self.outage_share > 0 else 0.0
        found = [(self.p50 * math.exp(sigma * z), (1 - away) * weight) for z, weight in NORMAL]
        return [*found, (self.outage_seconds + self.p50, away)] if away else found


def expected_lead(settings: Settings, outage_share: float = 0.0) -> LeadTime:
    """The lead time that the settings tell, until enough orders were timed."""
    return LeadTime(settings.lead_p50_seconds, settings.lead_p95_seconds, outage_share, settings.outage_seconds)


@dataclass(frozen=True)
class Stock:
    """What n users have to see; arrays of shape (n,)."""

    unseen: Counts  # relevant and unseen, leased ones included
    in_flight: Counts  # relevant and ordered
    arriving: Counts  # of those in flight, what will be there before an order placed now

    @property
    def level(self) -> Counts:
        """Stock and orders together."""
        return self.unseen + self.in_flight


@dataclass(frozen=True)
class Need:
    """The need of n users; arrays of shape (n,)."""

    need: Numbers  # P(asks for an artwork that does not exist before an order of the next run could arrive)
    unavoidable: Numbers  # P(asks for one before an order placed now could arrive)
    minutes_p10: Numbers  # in one case of ten the stock lasts no longer; inf: longer than is looked ahead
    minutes_p50: Numbers
    p_alive: Numbers
    in_session: NDArray[np.bool_]
    basis: NDArray[np.str_]


def need_of(forecast: Forecast, users: Users, stock: Stock, lead: LeadTime, planning_seconds: float) -> Need:
    """The need of every user by the forecast."""
    times = to_exhaustion(forecast, users, stock.unseen, np.array([0.1, 0.5]))
    return Need(
        need=forecast.calibrated(short(forecast, users, stock.level, lead, planning_seconds)),
        unavoidable=forecast.calibrated(short(forecast, users, stock.unseen + stock.arriving, lead, 0.0)),
        minutes_p10=times[0] / 60,
        minutes_p50=times[1] / 60,
        p_alive=forecast.returns.alive(users),
        in_session=users.in_session,
        basis=np.where(users.repeats > 0, Basis.POSTERIOR, Basis.PRIOR),
    )


def short(forecast: Forecast, users: Users, level: ArrayLike, lead: LeadTime, wait: float) -> Numbers:
    """P(D(L + wait) >= level + 1), the mean over the lead time, shape (n,); not calibrated."""
    wanted = np.asarray(level) + 1
    chances = [weight * forecast.at_least(users, seconds + wait, wanted) for seconds, weight in lead.points]
    return np.asarray(np.minimum(np.sum(chances, axis=0), 1.0))


def to_exhaustion(forecast: Forecast, users: Users, unseen: Counts, shares: Numbers) -> Numbers:
    """Seconds after which the stock is used up with these chances, shape (shares, n); inf beyond `TIMES`.

    The first of `TIMES` at which P(D(t) >= unseen + 1) is at least the share; whoever is certain by then is left out
    of the later ones.
    """
    found = np.full((len(shares), len(users)), np.inf)
    rows = np.arange(len(users))
    for seconds in TIMES:
        chances = forecast.at_least(users.take(rows), seconds, unseen[rows] + 1)
        for share, times in zip(shares, found, strict=True):
            times[rows] = np.where((chances >= share) & np.isinf(times[rows]), seconds, times[rows])
        rows = rows[chances < shares.max()]
    return found


def heuristic_need(users: Users, stock: Stock, lead: LeadTime, settings: Settings) -> Need:
    """The need of every user without a forecast: how far under the floor who is in session is, 0 to 1."""
    floor = floor_of(users.gap, lead, settings)
    lacking = np.clip((floor - stock.level) / floor, 0.0, 1.0) * users.in_session
    minutes = np.where(users.in_session, stock.unseen * users.gap / 60, np.inf)
    unavoidable = users.in_session & (stock.unseen + stock.arriving < np.ceil(lead.p50 / users.gap))
    return Need(
        need=lacking,
        unavoidable=unavoidable.astype(float),
        minutes_p10=minutes,
        minutes_p50=minutes,
        p_alive=np.ones(len(users)),
        in_session=users.in_session,
        basis=np.full(len(users), Basis.HEURISTIC),
    )


def floor_of(gap: Numbers, lead: LeadTime, settings: Settings) -> Numbers:
    """The level under which who is in session gets more, without a forecast, shape (n,)."""
    return np.asarray(np.ceil((lead.p95 + settings.planning_seconds) / gap) + settings.floor_artworks)


def floor_orders(users: Users, level: Counts, lead: LeadTime, settings: Settings) -> Counts:
    """How many artworks each user lacks without a forecast, shape (n,).

    Who is in session and under the floor is brought to the floor and a few more, so that not every display orders.
    """
    floor = floor_of(users.gap, lead, settings)
    lacking = np.maximum(floor + settings.floor_batch - level, 0)
    return np.where(users.in_session & (level < floor), lacking, 0).astype(np.int64)
