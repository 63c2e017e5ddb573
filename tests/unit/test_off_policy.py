"""Estimates of what another policy would have come to: right where the log can tell, none where it cannot."""

from __future__ import annotations

import dataclasses
import doctest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadImportError, WeakEvidenceError
from serving.exploration import Sampler, draw, make_logits, propensities
from tests.bandit_worlds import FADE, SLOTS, make_bandit_world
from training.experiments import off_policy
from training.experiments.logged import Drawn, Target, chances, of_lists, read_bandit, uniform_over
from training.experiments.off_policy import Logged, dr, effective_size, ips, judge, on_policy, snips

LOGGING = Sampler(1.0, 0.2)
WORLD = make_bandit_world(heads=4, artworks=8)
USERS = 1_200


@pytest.fixture(scope="module")
def lists() -> list[Drawn]:
    """A log of that world."""
    return WORLD.log(LOGGING, USERS, np.random.default_rng(3))


def test_the_doctests_hold() -> None:
    """Of every estimator."""
    found = doctest.testmod(off_policy)
    assert (found.failed, found.attempted >= 7) == (0, True)


@given(
    scores=st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=7),
    temperature=st.one_of(st.just(0.0), st.floats(0.05, 5)),
    epsilon=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_the_chances_of_all_slots_are_those_of_the_sampler(
    scores: list[float], temperature: float, epsilon: float, seed: int
) -> None:
    """Each row adds up to one; what was picked before has none; what was picked has the sampler's."""
    logits = make_logits(np.array(sorted(scores, reverse=True), np.float32), temperature)
    picked = np.random.default_rng(seed).permutation(len(scores))[:3]
    found = chances(logits, picked, epsilon)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[np.arange(len(picked)), picked], propensities(logits, picked, epsilon), atol=1e-6)
    assert all(found[slot, place] == 0 for slot in range(len(picked)) for place in picked[:slot])


def test_the_truth_of_the_world_is_what_it_says() -> None:
    """By rank it is the first three; all alike, the mean of all."""
    by_rank = (WORLD.likes[:, :SLOTS] * FADE).mean()
    assert WORLD.worth(Target(Sampler())) == pytest.approx(by_rank)
    assert WORLD.worth(Target(Sampler(1.0, 1.0))) == pytest.approx(WORLD.likes.mean() * FADE.mean())
    assert WORLD.worth(Target(Sampler(1e-3))) == pytest.approx(by_rank, rel=0.02)


@pytest.mark.parametrize("target", [Sampler(0.7, 0.2), Sampler(3.0, 0.0), Sampler(0.0, 1.0)], ids=str)
def test_estimates_come_to_what_the_target_is_worth(lists: list[Drawn], target: Sampler) -> None:
    """7,200 slots of a world whose truth is known exactly; within four standard errors."""
    truth = WORLD.worth(Target(target))
    found = judge(of_lists(lists, Target(target), SLOTS), "target")
    for estimate in (found.ips, found.snips, found.dr):
        assert abs(estimate.mean - truth) < 2 * (estimate.high - estimate.low)
        assert estimate.high - estimate.low < 0.1
    assert abs(found.logged.mean - WORLD.worth(Target(LOGGING))) < 2 * (found.logged.high - found.logged.low)
    assert (found.slots, found.units) == (7_200, USERS)


def test_a_policy_is_its_own_target(lists: list[Drawn]) -> None:
    """All weights are one, and the estimates the mean."""
    logged = of_lists(lists, Target(LOGGING), SLOTS)
    np.testing.assert_allclose(logged.weights, 1, rtol=1e-5)
    assert ips(logged).mean == pytest.approx(logged.rewards.mean(), rel=1e-4)
    assert dr(logged).mean == pytest.approx(logged.rewards.mean(), rel=0.02)
    assert effective_size(logged.weights) == pytest.approx(7_200)


def test_a_slot_counts_with_the_ratios_of_all_slots_before_it(lists: list[Drawn]) -> None:
    """The direct model with those before it alone; what was drawn but not offered counts in them too."""
    target = Sampler(0.5, 0.1)
    one = lists[0]
    picked = draw(one.head_scores, 6, LOGGING, one.seed).places
    asked, served = (
        propensities(make_logits(one.head_scores, each.temperature), picked, each.epsilon) for each in (target, LOGGING)
    )
    products = np.cumprod(asked / served)
    six = dataclasses.replace(one, drawn=6, rewards=dict.fromkeys(picked.tolist(), 0.0))
    logged = of_lists([six], Target(target), SLOTS)
    np.testing.assert_allclose(logged.weights, products[:SLOTS], rtol=1e-5)
    np.testing.assert_allclose(logged.before, [1, *products[: SLOTS - 1]], rtol=1e-5)
    five = dataclasses.replace(six, rewards=dict.fromkeys(picked[1:].tolist(), 0.0))
    np.testing.assert_allclose(of_lists([five], Target(target), SLOTS).weights, products[1 : SLOTS + 1], rtol=1e-5)


def test_other_scores_are_another_target(lists: list[Drawn]) -> None:
    """Scores turned round serve what is liked least; that is what comes out."""
    turned = [-each.head_scores for each in lists]
    plain, worse = (
        judge(of_lists(lists, Target(Sampler(1.5, 0.2), scores), SLOTS), "target") for scores in (None, turned)
    )
    assert worse.snips.high < plain.snips.low


def test_the_doubly_robust_estimate_forgives_wrong_weights_or_a_wrong_model() -> None:
    """One of both right is enough: a linear truth with wrong weights, right weights with a useless model."""
    rng = np.random.default_rng(8)
    kind = rng.integers(2, size=20_000)
    rewards = (rng.random(20_000) < np.where(kind == 1, 0.6, 0.2)).astype(float)
    weights = np.where(kind == 1, 1.6, 0.4)  # the target serves the liked kind in four cases of five: 0.52
    target = np.tile([0.2, 0.8], (20_000, 1))
    right = Logged(rewards, weights, np.ones(20_000), np.arange(20_000), np.eye(2)[kind], target)
    wrong_weights = dataclasses.replace(right, weights=np.ones(20_000))
    no_model = dataclasses.replace(right, features=np.zeros((20_000, 2)), expected=np.zeros((20_000, 2)))
    for logged in (right, wrong_weights, no_model):
        assert dr(logged).mean == pytest.approx(0.52, abs=0.02)
    assert ips(wrong_weights).mean == pytest.approx(0.4, abs=0.02)


def test_users_and_not_slots_are_what_is_drawn() -> None:
    """A user's equal slots say no more than one: the interval is as wide as with one slot each."""
    rewards = np.random.default_rng(2).integers(2, size=300).astype(float)
    one = on_policy(rewards, np.arange(300))
    many = on_policy(np.repeat(rewards, 7), np.repeat(np.arange(300), 7))
    assert many.high - many.low == pytest.approx(one.high - one.low)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (np.ones(199), "worth 199.0"),
        (np.concatenate([np.ones(5_000), [300.0]]), "one slot holds 5.7%"),
        (np.concatenate([np.ones(5_000), [5_000.0]]), "worth 4.0"),
        (np.zeros(500), "holds nothing"),
        (np.zeros(0), "holds nothing"),
    ],
)
def test_a_weak_log_gives_no_number(weights: np.ndarray, reason: str) -> None:
    """Under 200 effective slots, or more than 5% on one: an error that says which."""
    count = len(weights)
    logged = Logged(np.ones(count), weights, np.ones(count), np.arange(count), np.ones((count, 1)), np.ones((count, 1)))
    with pytest.raises(WeakEvidenceError, match=reason) as caught:
        judge(logged, "by rank")
    assert "by rank" in str(caught.value)


def test_lists_by_rank_cannot_be_judged_by_lists_of_chance() -> None:
    """The far policy."""
    logged = of_lists(make_bandit_world().log(LOGGING, 200, np.random.default_rng(1)), Target(Sampler()), SLOTS)
    with pytest.raises(WeakEvidenceError):
        judge(logged, "by rank")


@pytest.mark.parametrize(
    "header", ["action,position,reward,pscore", "item_id,position,click,propensity_score"], ids=["plain", "open bandit"]
)
def test_a_file_of_another_bandit_is_read(tmp_path: Path, header: str) -> None:
    """By either names; beside it may lie what is no log."""
    (tmp_path / "a_context.csv").write_text("item_id,feature\n0,1\n")
    (tmp_path / "log.csv").write_text(f"{header}\n0,1,1,0.75\n1,2,0,0.25\n")
    logged = uniform_over(read_bandit(tmp_path))
    np.testing.assert_allclose(logged.weights, [0.5 / 0.75, 2.0])
    assert logged.rewards.tolist() == [1.0, 0.0]
    assert snips(logged).mean == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("a,b\n1,2\n", "no CSV file with the columns"), ("action,position,reward,pscore\n0,1,1,0\n", "propensity"),
     ("action,position,reward,pscore\n0,1,,0.5\n", "lacks a value")],
)  # fmt: skip
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """With what is wrong."""
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(BadImportError, match=reason):
        read_bandit(tmp_path)


@pytest.mark.shared_data
def test_a_shops_log_tells_of_men_and_not_of_women(shared: Path) -> None:
    """The Open Bandit Dataset, by Thompson sampling: 656 effective slots and 2."""
    folder = shared / "data" / "open_bandit" / "bts"
    assert judge(uniform_over(read_bandit(folder / "men")), "uniform").effective == pytest.approx(656, abs=1)
    with pytest.raises(WeakEvidenceError, match=r"worth 2\.1"):
        judge(uniform_over(read_bandit(folder / "women")), "uniform")
