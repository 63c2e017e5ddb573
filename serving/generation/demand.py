"""How many artworks each user will ask for in the next t seconds: a forecast as plain arrays and pure functions.

Three parts. Within a session, a beta-geometric hazard (Fader & Hardie, "How to project customer retention", Journal of
Interactive Marketing 21(1), 2007). Between sessions, BG/NBD: how often a user comes, and whether for ever less (Fader,
Hardie & Lee, "Counting your customers the easy way", Marketing Science 24(2), 2005). Where more artworks are at stake
than the table of sums holds, a negative binomial by moments. Fitting is training's; nothing here learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammainc, gammaln

from features.settings import Settings

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

DAY = 86_400.0  # seconds; BG/NBD counts in days
LONGEST = 2_048  # artworks that the table of sums holds: at a minute each, more than a day without a pause
MOST_SESSIONS = 128  # in one window
NEGLIGIBLE = 1e-7  # what further sessions can add: no need to look at them
STORED = "forecast/"  # before the names of its arrays in a bundle
PARAMETERS = {"hazard": 2, "returns": 4}  # how many numbers each law has


@dataclass(frozen=True)
class Hazard:
    """Beta-geometric law of a session's length: the chance to stop after each artwork is Beta(alpha, beta)."""

    alpha: float
    beta: float

    def more(self, shown: ArrayLike, j: ArrayLike) -> Numbers:
        """P(at least ``j`` more | ``shown`` so far, the one on display included), for j >= 0; broadcasts."""
        stayed = self.beta + np.maximum(np.asarray(shown, dtype=float) - 1, 0)
        return self._odds(stayed, np.asarray(j, dtype=float))

    def expected(self, shown: ArrayLike, most: ArrayLike) -> Numbers:
        """E[min(more artworks, ``most``)] given ``shown`` so far: the sum of `more` over 1..most, in closed form."""
        stayed = self.beta + np.maximum(np.asarray(shown, dtype=float) - 1, 0)
        excess = self.alpha - 1 if abs(self.alpha - 1) > 1e-6 else 1e-6  # noqa: PLR2004 - the sum has no pole there, its closed form has
        most = np.asarray(np.maximum(np.asarray(most, dtype=float), 0))
        last = self._odds(stayed, most)
        return np.asarray((stayed - (stayed + most) * last) / excess)

    def _odds(self, stayed: Numbers, j: Numbers) -> Numbers:
        whole = self.alpha + stayed
        return np.asarray(np.exp(gammaln(stayed + j) - gammaln(stayed) + gammaln(whole) - gammaln(whole + j)))


@dataclass(frozen=True)
class Returns:
    """BG/NBD: rates are Gamma(r, alpha) per day, the chance to leave after a session is Beta(a, b)."""

    r: float
    alpha: float  # days
    a: float
    b: float

    def alive(self, users: Users) -> Numbers:
        """P(the user has not left) given the sessions so far, shape (n,); equation 7 of Fader, Hardie & Lee."""
        x = users.repeats
        silence = (self.r + x) * (np.log(self.alpha + users.age) - np.log(self.alpha + users.recency))
        left = np.log(self.a) - np.log(self.b + np.maximum(x, 1) - 1) + silence
        return np.asarray(np.where(x > 0, 1 / (1 + np.exp(np.minimum(left, 700.0))), 1.0))

    def mean_and_square(self, users: Users, days: ArrayLike) -> tuple[Numbers, Numbers]:
        """E[N] and E[N^2] of the sessions that begin in the next ``days``, at the mean chance to leave."""
        shape, rate = self.r + users.repeats, self.alpha + users.age
        p = self.a / (self.a + self.b + users.repeats)
        share = np.asarray(days) / rate
        stay = (1 + p * share) ** -shape  # E[exp(-p rate t)] over the user's rate
        slope = shape * share * (1 + p * share) ** (-shape - 1)  # E[rate t exp(-p rate t)]
        mean = (1 - stay) / p
        square = 2 * (1 - stay - (1 - p) * p * slope) / p**2 - mean
        alive = self.alive(users)
        return alive * mean, alive * np.maximum(square, mean)


@dataclass(frozen=True)
class Users:
    """What the forecast knows of n users; all arrays have shape (n,). A new user is all zeros: the prior."""

    repeats: Numbers  # sessions after the first
    recency: Numbers  # days from the first session to the last
    age: Numbers  # days from the first session to now
    shown: Numbers  # artworks displayed in the session that runs, 0 where none runs
    tabs: Numbers  # open tabs of the session that runs, 0 where none runs
    gap: Numbers  # seconds per artwork

    def __len__(self) -> int:
        return len(self.repeats)

    def take(self, rows: ArrayLike) -> Users:
        """The users of these rows."""
        rows = np.asarray(rows)
        parts = (self.repeats, self.recency, self.age, self.shown, self.tabs, self.gap)
        return Users(*(part[rows] for part in parts))

    @cached_property
    def in_session(self) -> NDArray[np.bool_]:
        """Whose session runs."""
        return np.asarray(self.tabs > 0)


@dataclass(frozen=True)
class Forecast:
    """The six numbers of demand and the map that calibrates its probabilities (knots, increasing; 0 and 1 stay)."""

    hazard: Hazard
    returns: Returns
    said: Numbers = field(default_factory=lambda: np.array([0.0, 1.0]))
    meant: Numbers = field(default_factory=lambda: np.array([0.0, 1.0]))

    @cached_property
    def sums(self) -> Numbers:
        """P(k sessions hold at least n artworks) at [k, n], shape (MOST_SESSIONS + 1, LONGEST + 1)."""
        lengths = np.zeros(LONGEST)  # lengths[i]: P(a session holds exactly i)
        odds = self.hazard.more(1, np.arange(LONGEST))
        lengths[1:] = odds[: LONGEST - 1] - odds[1:]
        wave, total = np.fft.rfft(lengths, 2 * LONGEST), np.zeros((MOST_SESSIONS + 1, LONGEST + 1))
        law = np.zeros(LONGEST)
        law[0] = 1.0
        for k in range(MOST_SESSIONS + 1):
            total[k, 0] = 1.0
            total[k, 1:] = np.clip(1 - np.cumsum(law), 0, 1)
            law = np.fft.irfft(np.fft.rfft(law, 2 * LONGEST) * wave)[:LONGEST]
        return np.maximum.accumulate(total, axis=0)  # rounding must not make a longer sum less probable

    @cached_property
    def length(self) -> tuple[float, float]:
        """Mean and variance of a session's length, cut at LONGEST."""
        lengths = np.arange(1, LONGEST + 1)
        odds = self.hazard.more(1, lengths - 1)
        mean = float(odds.sum())
        return mean, float(((2 * lengths - 1) * odds).sum()) - mean**2

    def at_least(self, users: Users, seconds: ArrayLike, wanted: ArrayLike) -> Numbers:
        """P(D(seconds) >= wanted) of each user, shape (n,), within 0 and 1; not calibrated.

        ``seconds`` and ``wanted`` broadcast against n. Falls in ``wanted``, rises in ``seconds``. A user draws at
        most floor(t / gap) + 1 artworks per open tab, and one who comes later must come in time to draw them all.
        """
        t = np.broadcast_to(np.asarray(seconds, dtype=float), len(users))
        n = np.broadcast_to(np.asarray(wanted, dtype=float), len(users))
        tabs = np.maximum(users.tabs, 1)
        most = tabs * (np.floor(t / users.gap) + 1)
        chances = np.where(n <= 0, 1.0, 0.0)
        rows = np.flatnonzero((n >= 1) & (n <= most) & (t > 0))
        if len(rows):
            chances[rows] = self._possible(users.take(rows), t[rows], n[rows], most[rows])
        return chances

    def calibrated(self, chances: Numbers) -> Numbers:
        """Probabilities after the map that was learned from what came of earlier ones."""
        return np.interp(chances, self.said, self.meant)

    def arrays(self) -> dict[str, Numbers]:
        """The forecast as named arrays, as a bundle stores it."""
        hazard, returns = self.hazard, self.returns
        return {
            "hazard": np.array([hazard.alpha, hazard.beta]),
            "returns": np.array([returns.r, returns.alpha, returns.a, returns.b]),
            "said": self.said,
            "meant": self.meant,
        }

    def _possible(self, users: Users, t: Numbers, n: Numbers, most: Numbers) -> Numbers:
        """`at_least` where the pace allows ``n``."""
        now = np.zeros(len(users))
        left = n.copy()  # what later sessions must ask for, the present one having asked for what it is likely to
        rows = np.flatnonzero(users.in_session)
        if len(rows):
            shown, wanted = users.shown[rows], n[rows]
            now[rows] = self.hazard.more(shown, wanted)
            left[rows] -= np.floor(self.hazard.expected(shown, np.minimum(wanted - 1, most[rows])))
        spare = t - (n - 1) * users.gap / np.maximum(users.tabs, 1)
        later = self._later(users, np.maximum(spare, 0) / DAY, np.maximum(left, 1))
        return np.clip(1 - (1 - now) * (1 - later), 0, 1)

    def _later(self, users: Users, days: Numbers, n: Numbers) -> Numbers:
        """P(the sessions that begin within ``days`` ask for at least ``n``): a sum over how many of them there are.

        Given that the user is there, the rate is Gamma(r + x, alpha + T) and the chance to leave Beta(a, b + x), apart.
        """
        returns, x = self.returns, users.repeats
        shape, rate = returns.r + x, returns.alpha + users.age
        step = days / (rate + days)
        exactly = np.exp(shape * np.log1p(-step))  # P(no visit)
        beyond = -np.expm1(shape * np.log1p(-step))  # P(one visit or more)
        stays = returns.alive(users)
        columns = np.minimum(n, LONGEST).astype(np.int64)
        before, total = np.zeros(len(users)), np.zeros(len(users))
        for k in range(1, MOST_SESSIONS + 1):
            chance = stays * beyond
            if np.max(chance * (1 - before)) < NEGLIGIBLE:
                break
            reached = self.sums[k, columns]
            total += chance * (reached - before)
            before = reached
            exactly *= (shape + k - 1) / k * step
            beyond = np.maximum(beyond - exactly, 0)
            stays = stays * (returns.b + x + k - 1) / (returns.a + returns.b + x + k - 1)
        rows = np.flatnonzero(n > LONGEST)
        if len(rows):
            total[rows] = np.minimum(total[rows], self._by_moments(users.take(rows), days[rows], n[rows]))
        return total

    def _by_moments(self, users: Users, days: Numbers, n: Numbers) -> Numbers:
        """The same for very many artworks: negative binomial with the mean and the variance of the sum."""
        sessions, squared = self.returns.mean_and_square(users, days)
        mean, variance = self.length
        expected = np.maximum(sessions * mean, 1e-12)
        spread = sessions * variance + np.maximum(squared - sessions**2, 0) * mean**2
        return negative_binomial(expected, spread, n)


def negative_binomial(mean: Numbers, variance: Numbers, n: Numbers) -> Numbers:
    """P(X >= n) of the negative binomial with these moments, n >= 1; Poisson where the variance is no more."""
    excess = variance - mean
    wide = excess > 1e-9 * mean
    shape = np.where(wide, mean**2 / np.where(wide, excess, 1.0), 1.0)
    return np.asarray(np.where(wide, betainc(n, shape, mean / (mean + shape)), gammainc(n, mean)))


def make_forecast(arrays: Mapping[str, Numbers]) -> Forecast:
    """The forecast that `Forecast.arrays` told."""
    return Forecast(
        Hazard(*map(float, arrays["hazard"])), Returns(*map(float, arrays["returns"])), arrays["said"], arrays["meant"]
    )


def forecast_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The forecast's arrays among a bundle's, by their plain names; empty where it has no forecast."""
    return {name.removeprefix(STORED): array for name, array in arrays.items() if name.startswith(STORED)}


def wrong_forecast(arrays: Mapping[str, np.ndarray]) -> str:
    """What is wrong with a forecast's arrays; empty when nothing is, and when there are none."""
    if not arrays:
        return ""
    if missing := {*PARAMETERS, "said", "meant"} - set(arrays):
        return f"the forecast lacks {' and '.join(sorted(missing))}"
    if any(array.dtype.kind != "f" for array in arrays.values()):
        return "the forecast must be of floating point numbers"
    for name, count in PARAMETERS.items():
        if arrays[name].shape != (count,) or not (arrays[name] > 0).all():
            return f"{STORED}{name} must be {count} positive numbers"
    return _wrong_map(arrays["said"], arrays["meant"])


def _wrong_map(said: np.ndarray, meant: np.ndarray) -> str:
    """What is wrong with the map that calibrates; empty when nothing is."""
    if said.ndim != 1 or said.shape != meant.shape or len(said) < 2:  # noqa: PLR2004 - 0 and 1 stay
        return f"{STORED}said and {STORED}meant must be rows of one length"
    if not (said[0] == 0 and said[-1] == 1 and (np.diff(said) > 0).all()):
        return f"{STORED}said must rise from 0 to 1"
    if not (meant.min() >= 0 and meant.max() <= 1 and (np.diff(meant) >= 0).all()):
        return f"{STORED}meant must not fall and lie within 0 and 1"
    return ""


def prior_forecast(settings: Settings) -> Forecast:
    """The forecast before anything is fitted: what the settings say of everybody."""
    returns = Returns(settings.return_shape, settings.return_scale_days, settings.leave_alpha, settings.leave_beta)
    return Forecast(Hazard(settings.session_alpha, settings.session_beta), returns)


def new_users(count: int, gap: float) -> Users:
    """Users of whom nothing is known yet."""
    nothing = np.zeros(count)
    return Users(nothing, nothing, nothing, nothing, nothing, np.full(count, gap))
