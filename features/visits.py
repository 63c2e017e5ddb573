"""Visits: runs of one user's displays without a long pause between them, and what they say of the user's habits.

Found in the times of the displays alone: a browser's session id may live for weeks, or change with every page. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]

PAUSE = 1_800.0  # seconds without a display that end a visit: web analytics' usual half hour
DAY = 86_400.0


@dataclass(frozen=True)
class Visits:
    """Visits by user and in order of time; arrays of shape (m,), times in seconds."""

    user_rows: Counts
    started: Numbers
    ended: Numbers  # the last display's time
    lengths: Counts  # displays


def find_visits(user_rows: Counts, at: Numbers) -> Visits:
    """The visits in displays: whose each is, and when it was, both (d,), in any order."""
    order = np.lexsort((at, user_rows))
    rows, times = user_rows[order], at[order]
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = (rows[1:] != rows[:-1]) | (np.diff(times) >= PAUSE)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(rows)) - 1
    return Visits(rows[first], times[first], times[last] if len(first) else times[:0], last - first + 1)


def session_counts(user_rows: Counts, started: Numbers, now: float, users: int) -> tuple[Numbers, Numbers, Numbers]:
    """Repeats, recency and age in days of each of ``users``, from the sessions' users and starts (seconds).

    Sessions that start after ``now`` are left out; a user without one gets zeros.
    """
    known = started <= now
    rows, starts = user_rows[known], started[known]
    count = np.bincount(rows, minlength=users)
    first, last = np.full(users, np.inf), np.full(users, -np.inf)
    np.minimum.at(first, rows, starts)
    np.maximum.at(last, rows, starts)
    some = count > 0
    recency = np.where(some, np.where(some, last, 0) - np.where(some, first, 0), 0.0)
    age = np.where(some, now - np.where(some, first, now), 0.0)
    return np.maximum(count - 1, 0).astype(float), recency / DAY, age / DAY
