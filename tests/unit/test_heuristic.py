"""The fallback that must never fail: finite, bounded, and choosy while there is much to choose from."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import Catalogue, empty
from features.pool_reading import append
from features.scramble import scramble
from serving import heuristic

ODD_TIMES = st.floats(-6.3e10, 2.6e11) | st.just(float("inf")) | st.just(float("-inf"))


def make_catalogue(created: list[float], quality: list[float]) -> Catalogue:
    """A pool of artworks of which nothing but age and quality is known."""
    count = len(created)
    return dataclasses.replace(
        empty(),
        keys=np.arange(1, count + 1, dtype=np.int32),
        created=np.array(created, np.float64),
        quality=np.array(quality, np.float32),
        active=np.ones(count, bool),
    )


@given(data=st.data(), coverage=st.floats(0, 1), user_id=st.text(max_size=8))
def test_scores_are_finite_and_within_0_and_1_for_any_pool(data: st.DataObject, coverage: float, user_id: str) -> None:
    """From no artwork to fifty, of any age and quality, chosen or not."""
    count = data.draw(st.integers(0, 50))
    created = data.draw(st.lists(ODD_TIMES, min_size=count, max_size=count))
    quality = data.draw(st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count))
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    rows = np.arange(count, dtype=np.int32)
    scores = heuristic.score(make_catalogue(created, quality), rows, chosen, coverage=coverage, user_id=user_id)
    assert scores.shape == (count,)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()


@pytest.mark.parametrize("coverage", [0.0, 0.5, 1.0])
def test_a_single_artwork_has_a_score(coverage: float) -> None:
    """No division by the number of the others."""
    catalogue = make_catalogue([0.0], [0.5])
    (score,) = heuristic.score(catalogue, np.array([0], np.int32), np.array([True]), coverage=coverage, user_id="ada")
    assert 0 <= score <= 1


def test_while_much_is_unseen_chosen_styles_come_first_and_later_the_newest() -> None:
    """The old artwork in a chosen style against the new one in another."""
    catalogue = make_catalogue([0.0, 1.0], [0.5, 0.5])
    rows, chosen = np.array([0, 1], np.int32), np.array([True, False])
    early = heuristic.score(catalogue, rows, chosen, coverage=0.0, user_id="ada")
    late = heuristic.score(catalogue, rows, chosen, coverage=1.0, user_id="ada")
    assert early[0] > early[1]
    assert late[1] > late[0]


def test_quality_decides_between_equals() -> None:
    """Same age, same style."""
    catalogue = make_catalogue([5.0, 5.0], [0.1, 0.9])
    rows = np.array([0, 1], np.int32)
    users = [f"user-{number}" for number in range(50)]
    wins = sum(
        bool(np.diff(heuristic.score(catalogue, rows, np.array([False, False]), coverage=0.0, user_id=user))[0] > 0)
        for user in users
    )
    assert wins == 50


def test_not_everybody_is_shown_the_same_and_everybody_the_same_again() -> None:
    """A small share depends on the user alone."""
    catalogue = make_catalogue([0.0] * 20, [0.5] * 20)
    rows, chosen = np.arange(20, dtype=np.int32), np.zeros(20, bool)
    orders = {
        tuple(np.argsort(-heuristic.score(catalogue, rows, chosen, coverage=0.0, user_id=f"user-{n}"), kind="stable"))
        for n in range(10)
    }
    assert len(orders) > 5
    first, again = (heuristic.score(catalogue, rows, chosen, coverage=0.0, user_id="ada") for _ in range(2))
    np.testing.assert_array_equal(first, again)


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=30))
def test_mixing_never_makes_two_numbers_one(numbers: list[int]) -> None:
    """It is bijective, so that equal hashes of candidates mean equal candidates (but for their sum)."""
    mixed = scramble(np.array(numbers, np.uint64))
    assert len(set(mixed.tolist())) == len(numbers)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "quality_score": st.none() | st.just(Decimal("NaN")) | st.decimals(-99, 99, places=1),
                "orientation": st.none() | st.sampled_from(["portrait", "diagonal", ""]),
                "styles": st.none() | st.lists(st.none() | st.text(max_size=4), max_size=2),
                "dna_vector": st.none() | st.text(max_size=5),
            }
        ),
        min_size=1,
        max_size=10,
    )
)
def test_any_rows_of_the_host_make_a_pool_that_can_be_scored(rows: list[dict[str, Any]]) -> None:
    """From the host's columns to finite scores, whatever they hold."""
    complete = [_row(place) | row for place, row in enumerate(rows)]
    catalogue = append(empty(), complete)
    assert catalogue.size == len(rows)
    assert ((catalogue.quality >= 0) & (catalogue.quality <= 1)).all()
    everything = np.arange(len(rows), dtype=np.int32)
    chosen = catalogue.with_styles([style for row in rows for style in row["styles"] or () if style])
    scores = heuristic.score(catalogue, everything, chosen, coverage=0.5, user_id="ada")
    assert np.isfinite(scores).all()


def _row(place: int) -> dict[str, Any]:
    """A row of the catalogue query."""
    return {
        "artwork_key": place + 1,
        "id": f"a-{place}",
        "created": datetime(2025, 1, 1, tzinfo=UTC).timestamp() + place,
        "prompt": "",
        "image_url": f"/a-{place}.webp",
        "motifs": None,
        "artists": None,
    }
