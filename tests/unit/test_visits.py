"""Visits and paces: told from the times of displays alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.visits import PAUSE, find_visits, session_counts
from serving.generation.situation import FASTEST, paces

GAP = 60.0


@st.composite
def displays(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Displays of a few users over some hours, in any order."""
    count = draw(st.integers(0, 40))
    users = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    times = draw(st.lists(st.integers(0, 40_000), min_size=count, max_size=count))
    return np.array(users, dtype=np.int64), np.array(times, dtype=float)


@given(displays())
def test_visits_hold_every_display_once_and_lie_a_pause_apart(given_displays: tuple[np.ndarray, np.ndarray]) -> None:
    """Whatever the order of the displays; within a visit no pause is that long."""
    users, at = given_displays
    found = find_visits(users, at)
    assert found.lengths.sum() == len(at)
    for user in np.unique(users):
        times, mine = np.sort(at[users == user]), found.user_rows == user
        starts, ends = found.started[mine], found.ended[mine]
        assert (starts[1:] - ends[:-1] >= PAUSE).all()
        for start, end, length in zip(starts, ends, found.lengths[mine], strict=True):
            inside = times[(times >= start) & (times <= end)]
            assert len(inside) == length
            assert (np.diff(inside) < PAUSE).all()


def test_a_user_without_visits_is_new() -> None:
    """Zeros, as the prior has it; the one beside has come twice, ten days apart."""
    day = 86_400.0
    found = find_visits(np.array([1, 1]), np.array([0.0, 10 * day]))
    repeats, recency, age = session_counts(found.user_rows, found.started, 12 * day, 2)
    assert (repeats.tolist(), recency.tolist(), age.tolist()) == ([0, 1], [0, 10], [0, 12])


def test_who_skips_draws_faster_and_nobody_slower_than_the_display() -> None:
    """Twenty seconds each; four minutes each; all at one moment; too few to tell; in two tabs by turns."""
    at = [-20.0 * np.arange(8), -240.0 * np.arange(8), np.zeros(8), -20.0 * np.arange(3), -30.0 * np.arange(8)]
    owners = np.repeat(np.arange(5), [len(part) for part in at])
    found = paces(owners, np.concatenate(at), np.array([1.0, 1, 1, 1, 2]), GAP)
    assert found.tolist() == [20, GAP, GAP, GAP, GAP]


def test_no_pace_is_faster_than_can_be_looked_at() -> None:
    """A second each counts as the least."""
    found = paces(np.zeros(9, dtype=int), -np.arange(9.0), np.ones(1), GAP)
    assert found.tolist() == [GAP * FASTEST]
