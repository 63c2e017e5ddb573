"""Plans of orders: worth their cost, within budget, of real artworks, and nothing that exists already."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from features.settings import Settings
from serving.generation.demand import Users, prior_forecast
from serving.generation.need import LeadTime
from serving.generation.planner import (
    Bucket,
    Levels,
    Prices,
    Reusable,
    Stopped,
    Wanted,
    levels_of,
    medoids,
    plan,
    relevant_users,
)

LENGTH = 4  # of a row of levels


@st.composite
def situations(draw: st.DrawFn) -> tuple[Levels, Wanted, Prices]:
    """A few users, a few medoids, any urgency."""
    users, works = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    need = -np.sort(-rng.random((users, LENGTH)) * draw(st.floats(0, 1)), axis=1)
    reach = np.maximum(need, -np.sort(-rng.random((users, LENGTH)), axis=1))
    liked = csr_matrix((rng.random((works, users)) < 0.5).astype(float))
    prices = Prices(0.02, rng.choice([0.1, 0.5], users))
    return Levels(need, reach), Wanted(np.arange(works) + 100, liked), prices


@given(situations(), st.floats(0, 0.3))
def test_every_order_is_worth_its_cost_and_the_budget_holds(
    situation: tuple[Levels, Wanted, Prices], budget: float
) -> None:
    """Replayed one by one: p B_z >= c w_z at each pick; never a dollar too much; a budget that binds has a price."""
    levels, wanted, prices = situation
    found = plan(levels, wanted, prices, budget=budget, most=50)
    assert len(found.orders) * prices.image <= budget + 1e-9
    given_so_far = np.zeros(len(levels.need), dtype=int)
    for pick in found.orders:
        at = [(user, given_so_far[user]) for user in pick.user_rows if given_so_far[user] < LENGTH]
        benefit = sum(prices.stockout[user] * levels.need[user, j] for user, j in at)
        lost = np.prod([1 - levels.reach[user, j] for user, j in at])
        assert pick.benefit == pytest.approx(benefit)
        assert benefit >= prices.image * lost - 1e-12
        given_so_far[pick.user_rows] += 1
    assert (found.stopped == Stopped.BUDGET) == (found.shadow_price > 0) or found.shadow_price == 0


@given(situations())
def test_every_pick_is_the_best_of_its_moment(situation: tuple[Levels, Wanted, Prices]) -> None:
    """As if all medoids had been looked at again before each."""
    levels, wanted, prices = situation
    liked, given_so_far = wanted.users.toarray() > 0, np.zeros(len(levels.need), dtype=int)

    def net(users: np.ndarray) -> float:
        at = [(user, given_so_far[user]) for user in np.flatnonzero(users) if given_so_far[user] < LENGTH]
        lost = np.prod([1 - levels.reach[user, j] for user, j in at])
        return float(sum(prices.stockout[user] * levels.need[user, j] for user, j in at) - prices.image * lost)

    for pick in plan(levels, wanted, prices, budget=np.inf, most=50).orders:
        assert net(liked[pick.artwork_row - 100]) == pytest.approx(max(net(users) for users in liked))
        given_so_far[pick.user_rows] += 1


@given(situations())
def test_without_a_budget_nothing_worth_an_order_is_left(situation: tuple[Levels, Wanted, Prices]) -> None:
    """A second plan on what the first one left would be empty."""
    levels, wanted, prices = situation
    found = plan(levels, wanted, prices, budget=np.inf, most=1_000)
    counts = np.zeros(len(levels.need), dtype=int)
    for pick in found.orders:
        counts[pick.user_rows] += 1
    rest = [np.array([np.append(row[n:], np.zeros(n))[:LENGTH] for row, n in zip(part, counts, strict=True)])
            for part in (levels.need, levels.reach)]  # fmt: skip
    assert plan(Levels(*rest), wanted, prices, budget=np.inf, most=1_000).orders == []


@given(situations())
def test_need_adds_over_the_users_of_one_image(situation: tuple[Levels, Wanted, Prices]) -> None:
    """The first pick avoids the sum of what its users would have run out of, not one image for each."""
    levels, wanted, prices = situation
    found = plan(levels, wanted, prices, budget=np.inf, most=1)
    for pick in found.orders:
        assert pick.benefit == pytest.approx(float(prices.stockout[pick.user_rows] @ levels.need[pick.user_rows, 0]))
        assert pick.priority == levels.need[pick.user_rows, 0].max()


def test_one_image_serves_all_who_like_it() -> None:
    """Ten users in the same want get one image, not ten."""
    levels = Levels(np.array([[0.9, 0.0]] * 10), np.array([[1.0, 0.0]] * 10))
    found = plan(
        levels, Wanted(np.array([7]), csr_matrix(np.ones((1, 10)))), Prices(0.02, np.full(10, 0.1)), budget=9, most=9
    )
    assert [len(pick.user_rows) for pick in found.orders] == [10]
    assert found.stopped == Stopped.WORTHLESS


@given(st.integers(0, 1_000))
def test_greedy_is_no_worse_than_its_guarantee(seed: int) -> None:
    """At least 1 - 1/e of the best set of two among four, where every image is free and each user wants one."""
    rng = np.random.default_rng(seed)
    liked = (rng.random((4, 6)) < 0.5).astype(float)
    need = rng.random(6)
    levels = Levels(need[:, None], np.ones((6, 1)))
    found = plan(levels, Wanted(np.arange(4), csr_matrix(liked)), Prices(0.0, np.ones(6)), budget=1, most=2)
    best = max(float(need @ (liked[list(pair)].max(axis=0))) for pair in itertools.combinations(range(4), 2))
    assert sum(pick.benefit for pick in found.orders) >= (1 - 1 / np.e) * best - 1e-9


def test_two_tastes_are_not_averaged() -> None:
    """A user who likes two opposite things is offered more of each, and nothing between them."""
    vectors = np.array([[1, 0], [0, 1], [0.7071, 0.7071]], dtype=np.float32)
    liked = csr_matrix(np.array([[1.0, 1.0, 0.0]]))
    columns = medoids(vectors, liked, np.array([0.9]), 10)
    assert sorted(columns.tolist()) == [0, 1]
    assert relevant_users(vectors, columns, liked, 0.8).toarray().tolist() == [[1.0], [1.0]]


def test_medoids_come_by_need_and_not_twice() -> None:
    """Near copies count as one; who needs nothing asks for nothing."""
    vectors = np.array([[1, 0, 0], [0.9999, 0.01, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    liked = csr_matrix(np.array([[1.0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]))
    assert medoids(vectors, liked, np.array([0.5, 0.9, 0.0]), 10).tolist() == [2, 0]
    assert medoids(vectors, liked, np.array([0.5, 0.9, 0.0]), 1).tolist() == [2]


def test_what_exists_is_given_back_before_anything_is_ordered() -> None:
    """One of two orders is avoided by an artwork near the medoid; without one both are ordered."""
    levels = Levels(np.array([[0.9, 0.8, 0.0]]), np.array([[1.0, 1.0, 0.0]]))
    wanted, prices, ones = (
        Wanted(np.array([7]), csr_matrix([[1.0]])),
        Prices(0.02, np.array([0.1])),
        csr_matrix([[1.0]]),
    )
    found = plan(levels, wanted, prices, budget=1, most=9, reusable=Reusable(np.array([3]), ones, ones))
    assert ([pick.artwork_row for pick in found.reused], found.avoided) == ([3], 1)
    assert [pick.artwork_row for pick in found.orders] == [7]
    assert len(plan(levels, wanted, prices, budget=1, most=9).orders) == 2


def test_no_budget_still_gives_back() -> None:
    """It costs nothing; the first order is what the empty budget stops, and its price is told."""
    levels = Levels(np.array([[0.9, 0.8, 0.0]]), np.array([[1.0, 1.0, 0.0]]))
    wanted, prices, ones = (
        Wanted(np.array([7]), csr_matrix([[1.0]])),
        Prices(0.02, np.array([0.1])),
        csr_matrix([[1.0]]),
    )
    found = plan(levels, wanted, prices, budget=0, most=9, reusable=Reusable(np.array([3]), ones, ones))
    assert (found.avoided, found.orders, found.stopped) == (1, [], Stopped.BUDGET)
    assert found.shadow_price > 0


def test_no_budget_still_gives_back_what_is_near_a_lesser_medoid() -> None:
    """What is wanted most has nothing near it; who wants the other is not left to run dry for that."""
    levels = Levels(np.array([[0.9, 0.0], [0.5, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    wanted, prices = Wanted(np.array([7, 8]), csr_matrix(np.eye(2))), Prices(0.02, np.array([0.1, 0.1]))
    reusable = Reusable(np.array([3]), csr_matrix([[0.0, 1.0]]), csr_matrix([[0.0], [1.0]]))
    found = plan(levels, wanted, prices, budget=0, most=9, reusable=reusable)
    assert ([pick.artwork_row for pick in found.reused], found.orders) == ([3], [])
    assert found.stopped == Stopped.BUDGET
    assert found.shadow_price == pytest.approx(0.9 * 0.1 / 0.02)


def test_a_shadow_price_leaves_out_what_few_reach() -> None:
    """Two users on one image pass a least reach of 1.5, one alone does not."""
    levels = Levels(np.array([[0.9], [0.9], [0.9]]), np.array([[1.0], [1.0], [1.0]]))
    wanted = Wanted(np.array([7, 8]), csr_matrix([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    found = plan(levels, wanted, Prices(0.02, np.full(3, 0.1), least_reach=1.5), budget=1, most=9)
    assert [pick.artwork_row for pick in found.orders] == [7]


@given(st.lists(st.tuples(st.floats(0, 7_200), st.floats(0, 3)), max_size=20))
def test_the_bucket_never_lets_more_out_than_flowed_in(spendings: list[tuple[float, float]]) -> None:
    """At most the burst and the rate times the time."""
    bucket, spent, at = Bucket(rate=1.0, burst=2.0, level=2.0, at=0.0), 0.0, 0.0
    for pause, wish in spendings:
        at += pause
        bucket = bucket.now(at)
        amount = min(wish, bucket.level)
        bucket, spent = bucket.spend(amount), spent + amount
        assert 0 <= bucket.level <= 2.0
    assert spent <= 2.0 + at / 3_600 + 1e-6


def test_levels_fall_along_a_row_and_reach_is_wider_than_need() -> None:
    """From the forecast: urgent for who watches with nothing left, not for who is away."""
    columns = ([5.0, 5.0], [9.0, 8.0], [9.0, 9.0], [10.0, 0.0], [1.0, 0.0], [60.0, 60.0])
    users, lead = Users(*(np.array(column) for column in columns)), LeadTime(50.0, 90.0)
    levels = levels_of(
        prior_forecast(Settings()), users, np.array([0, 0]), lead, planning_seconds=60.0, horizon_days=30
    )
    assert (np.diff(levels.need) <= 1e-9).all()
    assert levels.need[0, 0] > 0.5
    assert levels.need[1, 0] < 0.01
    assert levels.reach[0, 0] >= levels.need[0, 0]
    assert (levels.need[:, 8:] == 0).all()
