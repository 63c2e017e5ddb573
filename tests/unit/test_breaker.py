"""The circuit breaker: when it opens, what it lets through, when it closes; and what holds whatever happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.settings import Settings
from serving.generation.breaker import Breaker, Phase, Rules, rules_of

RULES = rules_of(Settings())
FINE, BAD = True, False


def after(outcomes: list[bool], breaker: Breaker | None = None, now: float = 0.0) -> Breaker:
    """The breaker after calls with these outcomes, all at one time."""
    breaker = breaker or Breaker()
    for ok in outcomes:
        breaker = breaker.record(RULES, now, ok=ok)
    return breaker


def half_open(now: float = 1_000.0) -> Breaker:
    """An open breaker whose time is over and that has let its first probe through."""
    breaker, allowed = after([BAD] * 5).allow(RULES, now)
    assert allowed
    return breaker


def test_the_numbers_are_the_hosts() -> None:
    """By default."""
    assert Rules(5, 25, 10, 0.5, 300.0, 10, 3) == RULES


@pytest.mark.parametrize(
    ("outcomes", "phase"),
    [
        ([BAD] * 4, Phase.CLOSED),
        ([BAD] * 5, Phase.OPEN),
        ([BAD] * 4 + [FINE] + [BAD] * 4, Phase.CLOSED),
        ([FINE, BAD] * 4, Phase.CLOSED),
        ([FINE, BAD] * 5, Phase.OPEN),
        ([FINE] * 25 + [FINE, BAD] * 12, Phase.CLOSED),
        ([FINE] * 25 + [FINE, BAD] * 13, Phase.OPEN),
    ],
)
def test_it_opens_by_failures_in_a_row_or_by_their_share(outcomes: list[bool], phase: Phase) -> None:
    """Five in a row; half of the last twenty-five, when there were ten at least."""
    assert after(outcomes).phase == phase


def test_an_open_one_lets_nothing_through_until_its_time_is_over() -> None:
    """Five minutes."""
    breaker = after([BAD] * 5)
    assert breaker.allow(RULES, 299.9) == (breaker, False)
    assert breaker.allow(RULES, 300.0)[1]


def test_half_open_lets_every_tenth_call_through() -> None:
    """The first one at once."""
    breaker, allowed = half_open(), []
    for _ in range(20):
        breaker, one = breaker.allow(RULES, 1_000.0)
        allowed.append(one)
    assert [place for place, one in enumerate(allowed, 2) if one] == [11, 21]


def test_three_good_probes_close_it_and_one_bad_one_opens_it_again() -> None:
    """With a fresh slate, and for the whole time."""
    assert after([FINE] * 2, half_open()).phase == Phase.HALF_OPEN
    assert after([FINE] * 3, half_open(), 1_001.0) == Breaker(Phase.CLOSED, 1_001.0)
    assert after([FINE, FINE, BAD], half_open(), 1_001.0) == Breaker(Phase.OPEN, 1_001.0)


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "fine", "bad"]), st.floats(0, 200)), max_size=120)


@given(STEPS)
def test_whatever_happens_it_lives_by_its_rules(steps: list[tuple[str, float]]) -> None:
    """Nothing passes while it is open; it is never open for longer than its time once somebody asks; no way around."""
    rules = replace(RULES, every=3)
    breaker, now = Breaker(), 0.0
    for what, seconds in steps:
        now += seconds
        old = breaker
        if what == "ask":
            breaker, allowed = breaker.allow(rules, now)
            if old.phase == Phase.CLOSED:
                assert allowed
            if breaker.phase == Phase.OPEN:
                assert not allowed
                assert now - breaker.since < rules.open_seconds
        else:
            breaker = breaker.record(rules, now, ok=what == "fine")
        allowed_ways = {
            (Phase.CLOSED, Phase.OPEN),
            (Phase.OPEN, Phase.HALF_OPEN),
            (Phase.HALF_OPEN, Phase.OPEN),
            (Phase.HALF_OPEN, Phase.CLOSED),
        }
        assert old.phase == breaker.phase or (old.phase, breaker.phase) in allowed_ways
        assert len(breaker.outcomes) <= rules.window
        assert breaker.successes < rules.successes
