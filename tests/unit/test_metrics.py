"""The metrics: their documented examples, and what must hold for every list."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import gate, intervals, metrics, publish, sequential, slices

IDS = st.sampled_from([f"artwork {number}" for number in range(12)])
LISTS = st.lists(IDS, unique=True, max_size=10)
LIKED = st.sets(IDS, min_size=1, max_size=8)
SCORES = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=8)


@pytest.mark.parametrize("module", [metrics, intervals, slices, sequential, gate, publish])
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


@given(LISTS, LIKED)
def test_a_hit_is_where_recall_is(listed: list[str], liked: set[str]) -> None:
    """Hit, reciprocal rank and average precision are 0 together with recall, and within 0 and 1."""
    found = metrics.hit(listed, liked), metrics.reciprocal_rank(listed, liked)
    precision = metrics.average_precision(listed, liked, 10)
    assert all(0 <= each <= 1 + 1e-12 for each in (*found, precision))
    assert {each == 0 for each in (*found, precision)} == {metrics.recall(listed, liked) == 0}
    assert precision <= found[0]


def test_average_precision_of_all_hits_first_is_one() -> None:
    """Also where more is liked than the list has places, and no hit counts beyond them."""
    assert metrics.average_precision(["a", "b"], {"a", "b", "c"}, 2) == 1
    assert metrics.average_precision(["x", "a"], {"a"}, 1) == 0


def test_cold_recall_asks_for_what_training_never_saw() -> None:
    """A hit on a known artwork does not count, and with none but known ones there is nothing to say."""
    assert metrics.cold_recall(["known", "new"], {"known", "new"}, {"known"}) == 1
    assert metrics.cold_recall(["known"], {"known", "new"}, {"known"}) == 0
    assert metrics.cold_recall(["known"], {"known"}, {"known"}) is None


def test_repeats_are_counted_for_the_user_who_saw_them() -> None:
    """What another user saw is no repeat."""
    assert metrics.repeat_rate([["a"], ["a"]], [{"a"}, {"b"}]) == 0.5
    assert metrics.repeat_rate([[]], [{"a"}]) == 0


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_diversity_is_the_mean_over_pairs(count: int, seed: int) -> None:
    """The sum formula equals going through every pair."""
    vectors = np.random.default_rng(seed).normal(size=(count, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [1 - vectors[i] @ vectors[j] for i in range(count) for j in range(i)]
    assert metrics.diversity(vectors.astype(np.float32)) == pytest.approx(np.mean(pairs), abs=1e-5)


def test_one_artwork_has_no_diversity() -> None:
    """Nor has one beside others of which nothing is known."""
    assert metrics.diversity(np.array([[1, 0], [0, 0]], np.float32)) is None


def test_calibration_error_is_zero_where_what_was_expected_happened() -> None:
    """Half of those expected at one half; expected at 0.9, the same are 0.4 off."""
    liked = np.array([True, False] * 50)
    assert metrics.calibration_error(np.full(100, 0.5), liked) == pytest.approx(0)
    assert metrics.calibration_error(np.full(100, 0.9), liked) == pytest.approx(0.4)


def test_an_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    """In about 95 of 100 samples of 60 users, the same every time with the same seed."""
    draw = np.random.default_rng(0)
    found = [intervals.interval(draw.exponential(1.0, 60), draws=400, seed=n) for n in range(300)]
    assert 0.89 <= np.mean([each.low <= 1.0 <= each.high for each in found]) <= 0.98
    values = draw.exponential(1.0, 60)
    assert intervals.interval(values, seed=4) == intervals.interval(values, seed=4)


def test_a_paired_interval_sees_what_two_separate_ones_cannot() -> None:
    """Users differ much more than two models do for one user."""
    draw = np.random.default_rng(0)
    one = draw.uniform(0, 1, 200)
    other = one + draw.normal(0.02, 0.05, 200)
    assert intervals.paired_interval(other, one).tells
    assert intervals.interval(one).high > intervals.interval(other).low


def test_nobody_has_no_interval() -> None:
    """Rather than an error or a zero."""
    assert np.isnan(intervals.interval(np.array([np.nan]))).all()
