"""What is said of an experiment: right about what is known by construction, and silent where there is nothing."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.experiment_worlds import arms_of, live, make
from tests.experiments import ARMS
from training.experiments import estimates, sequences
from training.experiments.estimates import cuped, holm, preference, scores_of_ratio, welch
from training.experiments.judging import compare, counts_of, follow, ratio_is_wrong
from training.experiments.sequences import ratio_evidence, sequence

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@pytest.mark.parametrize("module", [estimates, sequences])
def test_documented_examples_are_true(module: object) -> None:
    """The doctests."""
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type] # a module, as parametrize types it
    assert (failed, tried > 0) == (0, True)


def test_welch_is_scipys() -> None:
    """An independent hand."""
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 1, 60), rng.normal(0.3, 3, 40)
    found, theirs = welch(one, two), stats.ttest_ind(two, one, equal_var=False)
    ends = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(found[1:], [ends.low, ends.high, theirs.pvalue])


def test_the_delta_method_covers_a_ratio_where_displays_counted_alone_do_not() -> None:
    """300 worlds of 400 users who differ: the interval of a known difference of none is right 19 times in 20."""
    right = naive = 0
    for seed in range(300):
        units = live(make(version=seed + 1), 400, np.random.default_rng(seed))
        one, two = (units.take(units.arms == arm) for arm in (0, 1))
        scores = [scores_of_ratio(each.numerators, each.denominators) for each in (one, two)]
        right += not welch(*scores).tells
        table = [[each.numerators.sum(), (each.denominators - each.numerators).sum()] for each in (one, two)]
        naive += stats.chi2_contingency(table).pvalue >= 0.05
    assert 0.92 <= right / 300 <= 0.98
    assert naive / 300 < 0.75


def test_cuped_narrows_and_does_not_shift() -> None:
    """The same difference on average, with a smaller interval."""
    made, gaps, widths = make(), [], []
    for seed in range(60):
        (found,) = compare(made, live(made, 1_000, np.random.default_rng(seed), lift=0.2))
        gaps.append(found.estimate.difference - found.plain.difference)
        widths.append((found.estimate.high - found.estimate.low) / (found.plain.high - found.plain.low))
    assert np.mean(widths) < 0.8
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / np.sqrt(60)


@settings(deadline=None)
@given(P_VALUES)
def test_holm_never_makes_a_p_value_smaller_and_keeps_their_order(p_values: list[float]) -> None:
    """And the smallest is multiplied by their number."""
    found = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, found, strict=True))
    assert all(np.diff(np.array(found)[np.argsort(p_values)]) >= 0)
    assert min(found) == pytest.approx(min(1, len(p_values) * min(p_values)))


def test_a_sequence_holds_the_truth_at_every_moment() -> None:
    """200 streams with a known difference: wrong at any time in one of twenty at most; tight in the end."""
    wrong, widths = 0, []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        treated = rng.random(3_000) < 0.5
        track = sequence(rng.exponential(1.0, 3_000) + 0.5 * treated, treated, 0.5)
        wrong += bool(((track.low > 0.5) | (track.high < 0.5)).any())
        widths.append(track.high[-1] - track.low[-1])
    assert wrong / 200 <= 0.05
    assert np.mean(widths) < 0.4
    assert len(sequence(np.zeros(0), np.zeros(0, bool), 0.5).low) == 0


def test_a_wrong_sample_ratio_is_seen_and_a_right_one_is_not() -> None:
    """Also with arms of unlike weight, looked at after every hundred users."""
    uneven = make(arms=[ARMS[0] | {"weight": 3}, ARMS[1]])
    arms = arms_of(uneven, 4_000)
    looks = [counts_of(uneven, arms[:end]) for end in range(100, 4_001, 100)]
    assert not any(ratio_is_wrong(uneven, counts) for counts in looks)
    lost = arms[(arms == 0) | (np.arange(4_000) % 5 > 0)]  # a fifth of the treated never logged
    assert ratio_is_wrong(uneven, counts_of(uneven, lost))
    assert ratio_evidence([0, 0], [0.75, 0.25]) == pytest.approx(1.0)


def test_three_arms_are_compared_with_the_first() -> None:
    """Each with the p-value that their number asks for."""
    made = make(arms=[*ARMS, {"name": "c", "policy": {"variety": 1.0}}])
    units = live(made, 3_000, np.random.default_rng(3), lift=0.3)
    found = compare(made, units)
    assert [each.arm for each in found] == ["varied", "c"]
    assert all(each.estimate.tells and each.p_value >= each.estimate.p_value for each in found)
    assert follow(made, units, 2).tells[-1]


def test_a_preference_is_found_and_its_sign_is_right() -> None:
    """Towards the second team; nobody's likes: nothing is said."""
    rng = np.random.default_rng(1)
    ones, others = rng.binomial(5, 0.15, 800).astype(float), rng.binomial(5, 0.22, 800).astype(float)
    assert preference(ones, others).low > 0
    assert preference(others, ones).high < 0
    assert np.isnan(preference(np.zeros(5), np.zeros(5)).difference)


def test_nothing_is_said_of_nobody() -> None:
    """No users in an arm: no number, and no error."""
    made = make()
    units = live(made, 50, np.random.default_rng(1))
    (found,) = compare(made, units.take(units.arms == 0))
    assert np.isnan(found.estimate.difference)
    assert np.array_equal(cuped(np.ones(3), np.zeros(3), np.zeros(3, int)), np.ones(3))
