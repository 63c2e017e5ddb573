"""Variety: what differs comes first, what is alike waits, nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.variety import sameness, vary

#: Two kinds; the first four are alike.
DIFFERENCES = np.repeat(np.eye(2, dtype=np.float32), [4, 2], axis=0)
SCORES = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.0], np.float32)


def test_without_variety_rank_stays() -> None:
    """Off by default."""
    assert vary(DIFFERENCES, SCORES, 0.0, 3).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_other_kind_is_fetched_up_and_the_rest_keeps_its_rank() -> None:
    """The best stays first."""
    assert vary(DIFFERENCES, SCORES, 0.5, 2).tolist() == [0, 4, 1, 2, 3, 5]


def test_more_variety_makes_a_list_less_the_same() -> None:
    """Never more."""
    draw = np.random.default_rng(0)
    kinds = draw.standard_normal((60, 8)).astype(np.float32)
    scores = np.sort(kinds[:, 0])[::-1]
    kinds = kinds[np.argsort(-kinds[:, 0])]
    found = [sameness(kinds[vary(kinds, scores, share, 10)[:10]]) for share in (0.0, 0.2, 0.5, 0.9)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] + 0.2


@given(
    scores=st.lists(st.floats(-10, 10, width=32), max_size=12),
    share=st.floats(0, 1),
    count=st.integers(0, 15),
    seed=st.integers(0, 99),
)
def test_every_artwork_stays_once(*, scores: list[float], share: float, count: int, seed: int) -> None:
    """Equal scores, no scores, artworks without content, a list longer than the head."""
    draw = np.random.default_rng(seed)
    differences = draw.standard_normal((len(scores), 3)).astype(np.float32) * (draw.random((len(scores), 1)) < 0.7)
    falling = np.array(sorted(scores, reverse=True), np.float32)
    order = vary(differences.astype(np.float32), falling, share, count)
    assert sorted(order.tolist()) == list(range(len(scores)))


@pytest.mark.parametrize(("rows", "expected"), [([], 0.0), ([0], 0.0), ([0, 1], 1.0), ([0, 4], 0.0)])
def test_sameness_is_the_mean_cosine(rows: list[int], expected: float) -> None:
    """Of pairs."""
    assert sameness(DIFFERENCES[rows]) == pytest.approx(expected)
