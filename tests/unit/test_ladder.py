"""The ladder is pure: every candidate comes out once, on one rung, rungs in order, asked styles first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving import ladder
from serving.ladder import ANYTHING, MODEL, NEAR, RELAXED, Evidence

SCORES = st.floats(-100, 100, width=32)
MANY = 3 * ladder.BOUND_SAMPLE


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    """Anything that may be known of up to thirty candidates."""
    rows = draw(hnp.arrays(np.int32, st.integers(0, 30), elements=st.integers(0, 10**6), unique=True))
    count = len(rows)
    masks = hnp.arrays(np.bool_, count)
    scores = hnp.arrays(np.float32, count, elements=SCORES)
    cold = hnp.arrays(np.float32, count, elements=SCORES | st.just(float("nan")))
    return Evidence(
        rows=rows,
        heuristic=draw(hnp.arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        asked=draw(masks),
        chosen=draw(masks),
        model=draw(st.none() | cold),
        threshold=draw(SCORES),
        near=draw(st.none() | scores),
        near_threshold=draw(SCORES),
    )


@given(evidence())
def test_every_candidate_comes_out_exactly_once(given_evidence: Evidence) -> None:
    """None is lost, none is doubled, none is invented."""
    ranking = ladder.climb(given_evidence)
    assert sorted(ranking.rows.tolist()) == sorted(given_evidence.rows.tolist())
    assert len(ranking.rows) == len(ranking.scores) == len(ranking.rungs)


@given(evidence())
def test_rungs_are_in_order_and_scores_fall_within_each(given_evidence: Evidence) -> None:
    """From 1 to 4; within a rung asked styles first, then by score; every score is a number."""
    ranking = ladder.climb(given_evidence)
    asked = dict(zip(given_evidence.rows.tolist(), given_evidence.asked.tolist(), strict=True))
    steps = [
        (rung, not asked[row], -score)
        for row, rung, score in zip(ranking.rows.tolist(), ranking.rungs.tolist(), ranking.scores.tolist(), strict=True)
    ]
    assert steps == sorted(steps)
    assert np.isfinite(ranking.scores).all()
    assert set(ranking.rungs.tolist()) <= {MODEL, NEAR, RELAXED, ANYTHING}


@given(evidence(), st.randoms(use_true_random=False))
def test_the_order_that_candidates_come_in_does_not_matter(given_evidence: Evidence, random: object) -> None:
    """Ties are broken by row."""
    order = list(range(len(given_evidence.rows)))
    random.shuffle(order)  # type: ignore[attr-defined] # a random.Random
    shuffled = dataclasses.replace(
        given_evidence,
        **{
            name: value[order]
            for name in ("rows", "heuristic", "asked", "chosen", "model", "near")
            if (value := getattr(given_evidence, name)) is not None
        },
    )
    first, second = ladder.climb(given_evidence), ladder.climb(shuffled)
    np.testing.assert_array_equal(first.rungs, second.rungs)
    if given_evidence.model is None or not np.isnan(given_evidence.model).any():
        np.testing.assert_array_equal(first.rows, second.rows)  # a mean of cold ones depends on the order of summing


@given(evidence())
def test_no_rung_claims_what_it_cannot_know(given_evidence: Evidence) -> None:
    """Rung 1 needs a model, rung 2 nearness, and both an asked style; rung 3 is for styles not asked for."""
    ranking = ladder.climb(given_evidence)
    place = {row: number for number, row in enumerate(given_evidence.rows.tolist())}
    for row, rung in zip(ranking.rows.tolist(), ranking.rungs.tolist(), strict=True):
        asked = given_evidence.asked[place[row]]
        assert rung != MODEL or (given_evidence.model is not None and asked)
        assert rung != NEAR or (given_evidence.near is not None and asked)
        assert rung != RELAXED or not asked


@given(evidence())
def test_evidence_is_not_changed(given_evidence: Evidence) -> None:
    """Arrays are shared by requests."""
    before = {name: np.copy(value) for name, value in vars(given_evidence).items() if isinstance(value, np.ndarray)}
    ladder.climb(given_evidence)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(given_evidence, name), value)


def small(**fields: object) -> Evidence:
    """Four candidates of which the heuristic prefers the first."""
    known = {
        "rows": np.arange(4, dtype=np.int32),
        "heuristic": np.array([0.9, 0.7, 0.5, 0.3], np.float32),
        "asked": np.ones(4, bool),
        "chosen": np.zeros(4, bool),
    }
    return Evidence(**(known | fields))  # type: ignore[arg-type] # as given


def numbers(*given_numbers: float) -> np.ndarray:
    """Single precision, as scores are."""
    return np.array(given_numbers, np.float32)


def test_without_model_and_likes_the_heuristic_orders_all() -> None:
    """Everything on rung 4."""
    ranking = ladder.climb(small())
    assert (ranking.rows.tolist(), ranking.rungs.tolist()) == ([0, 1, 2, 3], [ANYTHING] * 4)


def test_the_model_s_relevant_ones_come_first_then_the_near_then_the_rest() -> None:
    """Relevant is at least the user's median; what is near but not relevant is on rung 2."""
    ranking = ladder.climb(
        small(model=numbers(0, 1, 2, 3), threshold=2.0, near=numbers(0.1, 0.9, 0.1, 0.1), near_threshold=0.5)
    )
    assert (ranking.rows.tolist(), ranking.rungs.tolist()) == ([3, 2, 1, 0], [MODEL, MODEL, NEAR, ANYTHING])


def test_a_chosen_style_is_relevant_whatever_the_model_says() -> None:
    """It always passes the threshold."""
    chosen = np.array([True, False, False, False])
    ranking = ladder.climb(small(model=numbers(0, 1, 2, 3), threshold=3.0, chosen=chosen))
    assert dict(zip(ranking.rows.tolist(), ranking.rungs.tolist(), strict=True))[0] == MODEL


def test_styles_are_relaxed_on_rung_3_for_what_is_relevant_and_on_rung_4_asked_ones_lead() -> None:
    """Asked: the last two, of which one is relevant."""
    asked = np.array([False, False, True, True])
    ranking = ladder.climb(small(model=numbers(0, 5, 5, 0), threshold=4.0, asked=asked))
    assert (ranking.rows.tolist(), ranking.rungs.tolist()) == ([2, 1, 3, 0], [MODEL, RELAXED, ANYTHING, ANYTHING])


def test_artworks_that_the_model_does_not_know_are_placed_by_their_likeness() -> None:
    """Brought to the model's own mean and spread, so that a new artwork can lead."""
    filled = ladder.fill_cold(numbers(10, 20, np.nan, np.nan), numbers(0.5, 0.5, 0.9, 0.1))
    assert filled[:2].tolist() == [10, 20]
    assert filled[2] > 20
    assert filled[3] < 10
    assert np.isfinite(ladder.fill_cold(numbers(np.nan, np.nan), numbers(1, 2))).all()
    assert np.isfinite(ladder.fill_cold(numbers(1, np.nan), numbers(2, 2))).all()


@pytest.mark.parametrize(
    ("model", "limit", "expected"),
    [
        (None, 1, True),
        (numbers(3, 3, 0, np.nan), 1, True),
        (numbers(3, 3, 0, 0), 2, False),
        (numbers(3, 3, 0, 0), 3, True),
    ],
)
def test_more_is_asked_for_where_the_model_alone_cannot_fill_the_list(
    model: np.ndarray | None, limit: int, *, expected: bool
) -> None:
    """Absent, not knowing all, or finding too few relevant."""
    assert ladder.lacks(small(model=model, threshold=1.0), limit) is expected


@given(evidence(), st.integers(1, 12))
def test_the_head_of_an_order_is_the_same_without_the_rest(given_evidence: Evidence, depth: int) -> None:
    """Only so far down as asked for, and what is to be kept besides, in its place."""
    whole = ladder.climb(given_evidence)
    keep = np.zeros(len(given_evidence.rows), bool)
    keep[::7] = True
    part = ladder.climb(given_evidence, depth=depth, keep=keep)
    head = min(depth, len(whole.rows))
    assert part.rows[:head].tolist() == whole.rows[:head].tolist()
    assert part.scores[:head].tolist() == whole.scores[:head].tolist()
    assert set(given_evidence.rows[keep].tolist()) <= set(part.rows.tolist())
    rest = set(part.rows.tolist())
    assert part.rows.tolist() == [row for row in whole.rows.tolist() if row in rest]


@given(st.integers(0, 999), st.integers(0, MANY), st.integers(1, 300), st.sampled_from([1, 3, 1_000]), st.booleans())
def test_what_cannot_be_among_the_first_may_be_left_out(
    seed: int, count: int, depth: int, different: int, named: bool
) -> None:
    """However many are relevant, tied or held: the order comes out the same."""
    draw = np.random.default_rng(seed)
    given_evidence = Evidence(
        rows=np.sort(draw.choice(10 * MANY, count, replace=False)).astype(np.int32),
        heuristic=None,
        asked=draw.random(count) < (0.5 if named else 1.0),
        chosen=draw.random(count) < draw.choice([0.0, 0.3]),
        model=draw.integers(0, different, count).astype(np.float32),
        threshold=float(draw.uniform(0, different)),
    )
    keep = draw.random(count) < 0.01
    part = ladder.cut(given_evidence, depth, keep)
    plain = ladder.climb(given_evidence, depth=depth, keep=keep)
    quick = ladder.climb(part, depth=depth, keep=keep[np.isin(given_evidence.rows, part.rows)])
    for name in ("rows", "scores", "rungs", "sources"):
        np.testing.assert_array_equal(getattr(quick, name), getattr(plain, name))


def test_of_many_only_few_are_left_to_be_put_in_order() -> None:
    """What the cut is for; where the model cannot tell, all stay."""
    count = 50 * ladder.BOUND_SAMPLE
    model = np.random.default_rng(0).permutation(count).astype(np.float32)
    none, every = np.zeros(count, bool), np.ones(count, bool)
    known = Evidence(np.arange(count, dtype=np.int32), None, every, none, model, threshold=count / 2)
    assert 500 <= len(ladder.cut(known, 500, none).rows) < 5_000
    model[7] = np.nan
    assert ladder.cut(known, 500, none) is known
