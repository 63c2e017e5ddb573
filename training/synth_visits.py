"""What people of a synthetic world were shown and what they did: exposure by policy, signals by taste."""

# ruff: noqa: PLR2004 - the numbers are the shape of an invented world

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from training.synth_people import READABLE_USERS, Users, preference
from training.synth_pool import Artworks
from training.synth_recipe import (
    DAY,
    HOUR,
    HOUR_OF_UNTIL,
    SECOND,
    Flags,
    Floats,
    Recipe,
    Rows,
    Times,
    at_rate,
    logistic,
    uuids,
)

RANDOM_SHARE = 0.3  # of exposures; the others are newest first, as the host does it
LONGEST_SESSION = 60
#: How much of the pool the readable users have been shown, up to a number; the regulars, emil first, nearly all.
READABLE_COVERAGE = (0.11, 0.09, 0.15, 0.07)
READABLE_MOST = 320
NEAR_EXHAUSTION = 0.97  # of the active pool: nobody is shown more artworks than that
REGULAR_VISITS = 1.3  # slots per active artwork, for a regular often comes when nothing is new
REGULAR_PER_DAY = 100
LONGEST_SLOT = 400 * SECOND  # more than any artwork can take, the pause after a session included
SKIP_RATE, VOTE_RATE, FAVOURITE_RATE = 0.08, 0.04, 0.015
IDLE_RATE = 0.01


@dataclass(frozen=True, eq=False)
class Sessions:
    """Visits, grouped by user, in order of time; they never overlap for one user."""

    ids: tuple[str, ...]
    user_rows: Rows
    started_at: Times
    ended_at: Times
    by_host_client: Flags  # votes and favourites of these went into the host's tables, else into our events


@dataclass(frozen=True, eq=False)
class Exposures:
    """One row per artwork shown, grouped by user, in order of time."""

    user_rows: Rows
    artwork_rows: Rows
    session_rows: Rows
    shown_at: Times
    dwell: Floats  # seconds
    vote: NDArray[np.int8]  # -1, 0, 1
    favourite: Flags
    skip: Flags

    def __len__(self) -> int:
        return len(self.user_rows)


@dataclass(frozen=True, eq=False)
class _Visits:
    """Sessions as planned, grouped by user, and the longest time each slot may take."""

    user_rows: Rows
    started_at: Times
    lengths: Rows
    frames: Times  # (slots,): microseconds on screen if not skipped
    idle: Flags  # (slots,): nobody was looking any more

    @property
    def first_slots(self) -> Rows:
        return np.asarray(np.cumsum(self.lengths) - self.lengths)


@dataclass(frozen=True, eq=False)
class _Shown:
    """Sessions as they went: the artworks in each slot, and nothing where the pool held too little."""

    visits: _Visits
    artwork_rows: Rows  # (slots,)


def live(recipe: Recipe, parts: dict[str, Generator], users: Users, artworks: Artworks) -> tuple[Sessions, Exposures]:
    """Let the world's time pass: people come, see what the policy shows, and react."""
    visits = _plan_visits(recipe, parts["visits"], users, artworks)
    shown = _show(parts["policy"], visits, artworks)
    return _react(recipe, parts["signals"], users, artworks, shown)


def _plan_visits(recipe: Recipe, rng: Generator, users: Users, artworks: Artworks) -> _Visits:
    """When each user comes and for how many artworks."""
    wanted = _wanted(recipe, rng, users, artworks)
    owners: list[Rows] = [np.empty(0, dtype=np.int64)]
    starts: list[Times] = [np.empty(0, dtype=np.int64)]
    lengths: list[Rows] = [np.empty(0, dtype=np.int64)]
    slots: list[Times] = [np.empty(0, dtype=np.int64)]
    idles: list[Flags] = [np.empty(0, dtype=bool)]
    for user in np.flatnonzero(wanted):
        # A regular comes twice a day rather than for ever longer.
        mean = max(float(users.habits.session_length[user]), min(wanted[user] / (2 * recipe.days), 40.0))
        length = _session_lengths(rng, int(wanted[user]), mean)
        frames, idle = _frames(rng, int(length.sum()))
        durations = np.add.reduceat(frames, np.cumsum(length) - length) + 30 * SECOND
        first, last = max(int(users.joined_at[user]), recipe.begin), int(users.left_at[user])
        evenings = _times_of_day(rng, len(length), float(users.habits.peak_hour[user]))
        owners.append(np.full(len(length), user))
        starts.append(_keep_apart(_start_times(recipe, rng, evenings, first, last), durations, first, last))
        lengths.append(length)
        slots.append(frames)
        idles.append(idle)
    return _Visits(
        user_rows=np.concatenate(owners),
        started_at=np.concatenate(starts),
        lengths=np.concatenate(lengths),
        frames=np.concatenate(slots),
        idle=np.concatenate(idles),
    )


def _wanted(recipe: Recipe, rng: Generator, users: Users, artworks: Artworks) -> Rows:
    """How many artworks each user comes for: heavy-tailed."""
    active = artworks.active_at_end
    stay = users.left_at - np.maximum(users.joined_at, recipe.begin)
    wanted = np.minimum(np.ceil(users.habits.per_day * (stay / DAY)), int(0.6 * active))
    regulars = np.append(rng.integers(0, recipe.users, recipe.users // 1_000), READABLE_USERS.index("emil"))
    regulars = regulars[regulars < recipe.users]
    wanted[regulars[users.left_at[regulars] == recipe.end]] = min(
        int(REGULAR_VISITS * active), REGULAR_PER_DAY * recipe.days
    )
    readable = [min(int(share * active), READABLE_MOST) for share in READABLE_COVERAGE][: recipe.users]
    wanted[: len(readable)] = readable
    return np.minimum(wanted, stay // LONGEST_SLOT).astype(np.int64)


def _session_lengths(rng: Generator, wanted: int, mean: float) -> Rows:
    """Geometric session lengths that add up to ``wanted`` artworks."""
    lengths = np.minimum(rng.geometric(1 / mean, size=int(3 * wanted / mean) + 8), LONGEST_SESSION)
    ends = np.cumsum(lengths)
    sessions = min(int(np.searchsorted(ends, wanted)) + 1, len(lengths))
    lengths[sessions - 1] -= max(int(ends[sessions - 1]) - wanted, 0)
    return lengths[:sessions]


def _frames(rng: Generator, slots: int) -> tuple[Times, Flags]:
    """About a minute for each artwork; now and then longer, for an empty room."""
    idle = rng.random(slots) < IDLE_RATE
    seconds = np.clip(rng.lognormal(np.log(60), 0.12, slots), 35, 110) + idle * rng.uniform(40, 240, slots)
    return (seconds * SECOND).astype(np.int64), idle


def _times_of_day(rng: Generator, sessions: int, peak: float) -> Times:
    """Microseconds since the world's day began (at the hour of `until`), two thirds of them in the user's evening."""
    hours = np.where(rng.random(sessions) < 0.65, rng.normal(peak, 1.4, sessions), rng.uniform(7, 23.5, sessions))
    return ((hours - HOUR_OF_UNTIL) % 24 * HOUR).astype(np.int64)


def _start_times(recipe: Recipe, rng: Generator, times_of_day: Times, first: int, last: int) -> Times:
    """Sorted start times on random days between ``first`` and ``last``."""
    first_day, last_day = (first - recipe.begin) // DAY, (last - 1 - recipe.begin) // DAY
    days = rng.integers(first_day, max(first_day, last_day), len(times_of_day), endpoint=True)
    starts = recipe.begin + days * DAY + times_of_day
    starts += DAY * (starts < first)
    return np.sort(starts - DAY * (starts > last))


def _keep_apart(starts: Times, durations: Times, first: int, last: int) -> Times:
    """Move starts so that no session overlaps the next and all lie between ``first`` and ``last``."""
    before = np.cumsum(durations) - durations
    slack = np.maximum.accumulate(np.maximum(starts, first) - before)
    return np.asarray(np.minimum(slack, last - int(durations.sum())) + before)


def _show(rng: Generator, visits: _Visits, artworks: Artworks) -> _Shown:
    """Fill every slot by the policy; sessions end early where too little is unseen.

    Nobody is shown as many artworks as are active at the end, so something is left for everybody.
    """
    starts, firsts = visits.started_at, visits.first_slots
    ends = starts + np.add.reduceat(visits.frames, firsts) if len(starts) else starts
    alive = np.searchsorted(artworks.created_at, starts, side="right")
    unseen = np.ones(len(artworks.created_at), dtype=bool)
    artwork_rows = np.full(len(visits.frames), -1, dtype=np.int64)
    most, left, previous = int(NEAR_EXHAUSTION * artworks.active_at_end), 0, -1
    for visit, user in enumerate(visits.user_rows):
        if user != previous:
            unseen[:] = True
            left, previous = most, user
        candidates = np.flatnonzero(unseen[: alive[visit]])
        candidates = candidates[artworks.retired_at[candidates] > ends[visit]]
        rows = _choose(rng, candidates, min(int(visits.lengths[visit]), left))
        left -= len(rows)
        unseen[rows] = False
        artwork_rows[firsts[visit] : firsts[visit] + len(rows)] = rows
    return _Shown(visits, artwork_rows)


def _choose(rng: Generator, candidates: Rows, length: int) -> Rows:
    """At most ``length`` of the candidates (oldest first): newest first, with random ones strewn in."""
    count = min(length, len(candidates))
    at_random = rng.random(count) < RANDOM_SHARE
    strewn = int(at_random.sum())
    split = len(candidates) - (count - strewn)
    rows = np.empty(count, dtype=np.int64)
    rows[~at_random] = candidates[split:][::-1]
    rows[at_random] = rng.choice(candidates[:split], strewn, replace=False)
    return rows


def _react(
    recipe: Recipe, rng: Generator, users: Users, artworks: Artworks, shown: _Shown
) -> tuple[Sessions, Exposures]:
    """Signals that follow the preference of that moment, and the times that follow from the skips."""
    visits = shown.visits
    filled = shown.artwork_rows >= 0
    sessions = np.repeat(np.arange(len(visits.lengths)), visits.lengths)[filled]
    used, session_rows = np.unique(sessions, return_inverse=True)
    user_rows, artwork_rows = visits.user_rows[sessions], shown.artwork_rows[filled]
    started_at = visits.started_at[used]
    progress = (started_at[session_rows] - recipe.begin) / (recipe.end - recipe.begin)
    liking = preference(users.tastes, artworks, user_rows, artwork_rows, progress)

    frames, idle = visits.frames[filled], visits.idle[filled]
    bored = at_rate(users.habits.impatience[user_rows] * (1 - liking) ** 2, SKIP_RATE)
    skip = ~idle & (rng.random(len(liking)) < bored)
    dwell = _dwell(rng, users.habits.pace[user_rows], liking, frames / SECOND, idle=idle, skip=skip)
    taken = np.where(skip, np.minimum(frames, (dwell * SECOND).astype(np.int64) + SECOND), frames)
    shown_at, ended_at = _clock(started_at, session_rows, taken)
    vote = _votes(rng, users.habits.voting[user_rows], liking, skip)
    fond = users.habits.favouring[user_rows] * liking**2 * ~skip * (vote >= 0)
    favourite = rng.random(len(liking)) < at_rate(fond, FAVOURITE_RATE)
    exposures = Exposures(user_rows, artwork_rows, session_rows, shown_at, dwell, vote, favourite, skip)
    by_host_client = rng.random(len(used)) < 1 / 3
    return Sessions(uuids(rng, len(used)), visits.user_rows[used], started_at, ended_at, by_host_client), exposures


def _dwell(rng: Generator, pace: Floats, liking: Floats, frames: ArrayLike, *, idle: Flags, skip: Flags) -> Floats:
    """Seconds of looking: log-normal about the user's pace and longer for what is liked; a skip cuts it short."""
    count = len(liking)
    looked = np.minimum(np.exp(pace + 1.5 * (liking - 0.3) + rng.normal(0, 0.6, count)), frames)
    cut = np.where(skip, np.minimum(looked, rng.uniform(0.6, 4.0, count)), looked)
    return np.where(idle, frames, cut).astype(np.float32)


def _votes(rng: Generator, readiness: Floats, liking: Floats, skip: Flags) -> NDArray[np.int8]:
    """Votes where the feeling is strong: 1 for likes, -1 for dislikes, 0 for none; nobody likes what they skip."""
    strength = 0.1 + np.abs(liking - 0.35) * 2
    voted = rng.random(len(liking)) < at_rate(readiness * strength, VOTE_RATE)
    up = (rng.random(len(liking)) < logistic(7 * (liking - 0.4))) & ~skip
    return (voted * np.where(up, 1, -1)).astype(np.int8)


def _clock(started_at: Times, session_rows: Rows, taken: Times) -> tuple[Times, Times]:
    """When each artwork was shown and when each session ended."""
    after = np.cumsum(taken)
    before = after - taken
    firsts = np.searchsorted(session_rows, np.arange(len(started_at)))
    lasts = np.searchsorted(session_rows, np.arange(len(started_at)), side="right") - 1
    return started_at[session_rows] + before - before[firsts][session_rows], started_at + after[lasts] - before[firsts]
