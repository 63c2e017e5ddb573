"""Identifiers: ordered by time, or named by what they stand for."""

from __future__ import annotations

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from features.identifiers import named_id, new_id

PARTS = st.tuples(st.text(max_size=6), st.text(max_size=6))


def test_new_ids_are_version_7_and_grow_with_time() -> None:
    """RFC 9562: the first 48 bits are milliseconds since 1970."""
    before = time.time_ns() // 1_000_000
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    after = time.time_ns() // 1_000_000
    assert first.version == second.version == 7
    assert first.variant == uuid.RFC_4122
    assert first < second
    assert before <= first.int >> 80 <= after


def test_new_ids_do_not_repeat() -> None:
    """Also many within one millisecond."""
    assert len({new_id() for _ in range(20_000)}) == 20_000


@given(PARTS, PARTS)
def test_a_named_id_is_equal_for_equal_parts_only(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Parts are kept apart: ("ab", "c") is not ("a", "bc")."""
    assert (named_id(*one) == named_id(*other)) == (one == other)
    assert named_id(*one).version == 8
    assert named_id(*one).variant == uuid.RFC_4122


def test_a_named_id_stays_what_it_is() -> None:
    """Stored event keys depend on it: this value must never change."""
    assert str(named_id("ada", "displayed:tab:a-1")) == "fdee430d-40bd-86aa-b5b1-b01a03c1caf4"


@given(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6))
def test_the_named_ids_of_an_owner_lie_together(owner: str, one: str, other: str) -> None:
    """They share their first 48 bits, so that a batch of them touches a few pages of an index instead of one each."""
    assert named_id(owner, one).bytes[:6] == named_id(owner, other).bytes[:6]
    assert named_id(owner, one).bytes[:6] != named_id(f"{owner}'s", one).bytes[:6]


def test_a_separator_cannot_be_forged() -> None:
    """Lengths are part of what is hashed."""
    assert named_id("1:a", "b") != named_id("1:a1:b", "")
    assert named_id("", "a") != named_id("a", "")
