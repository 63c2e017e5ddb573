"""The metrics: their documented examples, and what must hold for every list."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import metrics, publish

IDS = st.sampled_from([f"artwork {number}" for number in range(12)])
LISTS = st.lists(IDS, unique=True, max_size=10)
LIKED = st.sets(IDS, min_size=1, max_size=8)
SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=8)


@pytest.mark.parametrize("module", [metrics, publish])
def test_documented_examples_are_true(module: object) -> None:
    """The doctests of the modules that have some."""
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type] # a module, as parametrize types it
    assert (failed, tried > 0) == (0, True)


@given(LISTS, LIKED)
def test_scores_stay_between_nothing_and_perfect(listed: list[str], liked: set[str]) -> None:
    """Recall and NDCG are within 0 and 1, and 0 together."""
    recall, ndcg = metrics.recall(listed, liked), metrics.ndcg(listed, liked, 10)
    assert 0 <= recall <= 1
    assert 0 <= ndcg <= 1 + 1e-12
    assert (recall == 0) == (ndcg == 0)


@given(LIKED)
def test_a_list_of_all_that_is_liked_is_perfect(liked: set[str]) -> None:
    """Whatever the order, recall and NDCG are 1."""
    assert metrics.recall(sorted(liked), liked) == 1
    assert metrics.ndcg(sorted(liked), liked, 10) == pytest.approx(1)


@given(LISTS.filter(lambda listed: len(listed) > 1), st.data())
def test_a_hit_moved_up_never_lowers_ndcg(listed: list[str], data: st.DataObject) -> None:
    """Swapping a hit with the miss before it gains."""
    place = data.draw(st.integers(1, len(listed) - 1))
    liked = {listed[place]}
    better = [*listed]
    better[place - 1], better[place] = better[place], better[place - 1]
    assert metrics.ndcg(better, liked, 10) > metrics.ndcg(listed, liked, 10)


def test_ndcg_counts_no_hit_beyond_its_places() -> None:
    """A hit at place 3 of a list cut at 2 is a miss."""
    assert metrics.ndcg(["a", "b", "c"], {"c"}, 2) == 0


def test_coverage_counts_each_artwork_once() -> None:
    """Two equal lists cover no more than one."""
    assert metrics.coverage([["a", "b"], ["a", "b"]], 8) == metrics.coverage([["a", "b"]], 8) == 0.25


def test_novelty_of_what_everybody_knows_is_zero() -> None:
    """Popularity 1 is no news; an eighth of the users is 3 bits; no places at all say nothing."""
    assert metrics.novelty([["a"]], {"a": 1.0}) == 0
    assert metrics.novelty([["b"], ["b"]], {"b": 1 / 8}) == 3
    assert metrics.novelty([[]], {}) == 0


@given(SCORES, SCORES)
def test_auc_counts_pairs(liked: list[float], others: list[float]) -> None:
    """The rank formula equals counting every pair, and turning it round gives the complement."""
    pairs = [(1.0 if a > b else 0.5 if a == b else 0.0) for a in liked for b in others]
    assert metrics.auc(liked, others) == pytest.approx(math.fsum(pairs) / len(pairs))
    assert metrics.auc(liked, others) + metrics.auc(others, liked) == pytest.approx(1)
