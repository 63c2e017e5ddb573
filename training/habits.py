"""The demand forecast of a training run: fitted from the displays in its snapshot, mapped and judged on later slices.

The displays are cut in time: the first part teaches the laws, the second the map that calibrates them, the third tells
how far the mapped probabilities are from what came. What is kept is fitted on everything by the same steps, so that
the error is the procedure's. Visits are told as serving tells them (features.visits).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.errors import TooFewSessionsError
from features.event_frames import number
from features.settings import Settings
from features.visits import PAUSE, Visits, find_visits
from serving.generation.demand import DAY, STORED, Counts, Forecast, Numbers, Users
from serving.generation.foresight import ERROR
from training.forecast import calibrate, fit_forecast
from training.reliability import reliability

LEARNT, MAPPED = 0.6, 0.8  # shares of the displays before the two cuts
CASES = 2_000  # questions on each slice
LEAST_CASES = 200
MOST_ASKED = 20  # artworks


@dataclass(frozen=True)
class Habits:
    """A forecast, and how far it was from what came."""

    forecast: Forecast
    ece: float
    brier: float

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """As a bundle stores them."""
        return {STORED + name: array for name, array in self.forecast.arrays().items()}

    @property
    def metrics(self) -> dict[str, float]:
        """As a manifest tells them."""
        return {ERROR: self.ece, "forecast_brier": self.brier}


@dataclass(frozen=True)
class Displays:
    """Displays by user and in order of time: whose and when (seconds), both (d,)."""

    user_rows: Counts
    at: Numbers

    @cached_property
    def visits(self) -> Visits:
        """The visits in them."""
        return find_visits(self.user_rows, self.at)

    @cached_property
    def gap(self) -> float:
        """Seconds per artwork: the median within visits; 0 where all are of one moment."""
        between = np.diff(self.at)[(np.diff(self.user_rows) == 0) & (np.diff(self.at) < PAUSE)]
        return float(np.median(between)) if len(between) else 0.0

    def before(self, moment: float) -> Displays:
        """Those until then."""
        kept = self.at <= moment
        return Displays(self.user_rows[kept], self.at[kept])


@dataclass(frozen=True)
class Cases:
    """Questions about users in session: P(at least so many more within so long), and whether they came; (c,) each."""

    users: Users
    seconds: Numbers
    wanted: Counts
    came: np.ndarray


def learn_habits(events: pl.DataFrame, settings: Settings, seed: int = 0) -> Habits:
    """The forecast from a snapshot's events. Raises TooFewSessionsError where they tell too little."""
    displays = displays_of(events)
    if not len(displays.at):
        raise TooFewSessionsError(what="displays", found=0, least=LEAST_CASES)
    first, second = np.quantile(displays.at, (LEARNT, MAPPED))
    rng = np.random.default_rng(seed)
    gap = float(np.clip(displays.gap, settings.seconds_per_artwork / 12, settings.seconds_per_artwork))
    lead = settings.lead_p50_seconds + settings.planning_seconds
    taught, judged = (
        draw_cases(displays, span, gap, (lead, settings.outage_seconds), rng)
        for span in ((first, second), (second, float(displays.at.max())))
    )
    fitted = _fit(displays.before(first), first)
    mapped = calibrate(fitted, _said(fitted, taught), taught.came)
    found = reliability(mapped.calibrated(_said(mapped, judged)), judged.came)
    whole = _fit(displays, float(displays.at.max()))
    said = np.concatenate([_said(fitted, cases) for cases in (taught, judged)])
    came = np.concatenate([taught.came, judged.came])
    final = calibrate(whole, said, came)
    return Habits(final, found.ece, found.brier)


def displays_of(events: pl.DataFrame) -> Displays:
    """The displays among a snapshot's events."""
    shown = events.filter(pl.col("kind") == "displayed").select("user_id", pl.col("at").dt.epoch("us") / 1e6)
    _, rows = number(shown["user_id"])
    at = shown["at"].to_numpy()
    order = np.lexsort((at, rows))
    return Displays(rows[order].astype(np.int64), at[order])


def draw_cases(
    displays: Displays, span: tuple[float, float], gap: float, windows: tuple[float, float], rng: np.random.Generator
) -> Cases:
    """Questions at moments just after displays within ``span``, not in step with them; windows in seconds.

    Raises TooFewSessionsError where the span holds too few displays whose window ends within it.
    """
    shown = np.flatnonzero((displays.at > span[0]) & (displays.at < span[1] - max(windows) - gap))
    if len(shown) < LEAST_CASES:
        raise TooFewSessionsError(what="displays in a slice of the time", found=len(shown), least=LEAST_CASES)
    drawn = rng.choice(shown, CASES)
    whose, moments = displays.user_rows[drawn], displays.at[drawn] + rng.uniform(0, gap, CASES)
    seconds = rng.choice(windows, CASES)
    most = np.minimum(np.floor(seconds / gap) + 1, MOST_ASKED)
    wanted = rng.integers(1, most.astype(np.int64) + 1)
    until, then = _count(displays, whose, moments), _count(displays, whose, moments + seconds)
    return Cases(_users_at(displays, whose, moments, until, gap), seconds, wanted, then - until >= wanted)


def _users_at(displays: Displays, whose: Counts, moments: Numbers, until: Counts, gap: float) -> Users:
    """The users as the forecast would have seen them; ``until``: how many displays of each there had been."""
    visits = displays.visits
    place = np.searchsorted(_keys(visits.user_rows, visits.started), _keys(whose, moments), side="right") - 1
    first = np.searchsorted(visits.user_rows, whose)
    began = _count(displays, whose, visits.started[place], side="left")
    here = np.ones(len(whose))
    return Users(
        repeats=(place - first).astype(float),
        recency=(visits.started[place] - visits.started[first]) / DAY,
        age=(moments - visits.started[first]) / DAY,
        shown=(until - began).astype(float),
        tabs=here,
        gap=np.full(len(whose), gap),
    )


def _count(displays: Displays, whose: Counts, moments: Numbers, side: str = "right") -> Counts:
    """How many displays these users had had at these moments, those of others before them counted too."""
    keys = _keys(displays.user_rows, displays.at)
    return np.searchsorted(keys, _keys(whose, moments), side="left" if side == "left" else "right")


def _keys(user_rows: Counts, at: Numbers) -> np.ndarray:
    """Numbers that sort by user and then by time; complex numbers sort so."""
    return user_rows + 1j * at


def _fit(displays: Displays, now: float) -> Forecast:
    """The laws from the visits so far."""
    visits = displays.visits
    return fit_forecast(visits.user_rows, visits.started, visits.lengths, now)


def _said(forecast: Forecast, cases: Cases) -> Numbers:
    """What the laws alone say."""
    return forecast.at_least(cases.users, cases.seconds, cases.wanted)
