"""Taste in content: solved per user, from what is expected of anybody."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from features.arrays import Floats
from features.content import LENGTH, WORD_LENGTH, space_of
from features.errors import BadBundleError, CannotScoreError
from serving import bundle as bundles
from serving.rankers import PLAIN, ContentRanker, make_taste_prior
from tests.given import given_signals, signals
from training import content
from training.learner import Given, learn

STYLES = 6
WORKS = 120


def pool_vectors() -> Floats:
    """Artworks of six styles in turn, each with a bit of its own; no DNA."""
    vectors = np.zeros((WORKS, LENGTH), np.float32)
    vectors[np.arange(WORKS), np.arange(WORKS) % STYLES] = 0.6
    vectors[:, STYLES:WORD_LENGTH] = np.random.default_rng(0).normal(0, 0.04, (WORKS, WORD_LENGTH - STYLES))
    return vectors


def best(signal_rows: list[int], weights: list[float], count: int) -> list[int]:
    """The styles of the best ``count`` artworks beyond the first thirty."""
    ranker = ContentRanker(space_of(pool_vectors()))
    rows = np.arange(30, WORKS, dtype=np.int32)
    scores = ranker.score(np.array(signal_rows, np.int32), np.array(weights, np.float32), rows)
    return [int(row) % STYLES for row in rows[np.argsort(-scores)[:count]]]


def test_a_single_like_finds_its_kind() -> None:
    """From the first signal on."""
    assert set(best([2], [1.0], 10)) == {2}


def test_two_tastes_are_both_served_and_never_averaged() -> None:
    """All of the best are of one liked style or the other; both styles are there."""
    found = best([0, 6, 3, 9], [1.0] * 4, 20)
    assert set(found) == {0, 3}
    assert min(found.count(0), found.count(3)) >= 4


def test_dislikes_push_their_kind_to_the_end() -> None:
    """Of two liked styles, the one that was disliked later falls behind."""
    found = best([0, 3, 9, 15], [1.0, 0.5, -1.0, -1.0], WORKS - 30)
    assert set(found[:10]) == {0}
    assert set(found[-15:]) == {3}


def test_without_any_liking_nothing_is_scored() -> None:
    """Dislikes alone say too little."""
    with pytest.raises(CannotScoreError, match="no positive signal"):
        best([0], [-1.0], 1)


def test_an_artwork_without_dna_is_neither_first_nor_last_for_that_reason() -> None:
    """Its looks count as the mean, though every look of the pool leans one way."""
    draw = np.random.default_rng(1)
    vectors = np.zeros((60, LENGTH), np.float32)
    vectors[:, WORD_LENGTH:] = 0.1 + 0.03 * draw.standard_normal((60, LENGTH - WORD_LENGTH))
    vectors[30:40, WORD_LENGTH:] = 0.0
    scores = ContentRanker(space_of(vectors)).score(
        np.arange(10, dtype=np.int32), np.linspace(-1, 1, 10, dtype=np.float32), np.arange(60, dtype=np.int32)
    )
    known = np.delete(scores, np.arange(30, 40))
    assert np.ptp(scores[30:40]) == 0
    assert scores[30] == pytest.approx(known.mean(), abs=1e-5)


def given_people(count: int) -> Given:
    """Everybody likes style 0 and is indifferent to what else differs but for style 1 or 2, of which each has one."""
    draw = np.random.default_rng(3)
    pairs = []
    for user in range(count):
        liked = {0, 1 + user % 2}
        pairs += [
            (f"user {user:03}", f"artwork {work:03}", float((work % STYLES in liked) - 0.3 + 0.2 * draw.normal()))
            for work in draw.permutation(WORKS)[:25]
        ]
    given = given_signals(signals([*pairs, *((f"user {0:03}", f"artwork {work:03}", 0.0) for work in range(WORKS))]))
    return dataclasses.replace(given, pool=dataclasses.replace(given.pool, vectors=pool_vectors()))


def test_what_people_have_in_common_is_expected_of_a_newcomer() -> None:
    """After a like of style 3, of which nobody has said a thing, style 0 is next; without the prior it is not."""
    given = given_people(60)
    space, rows = given.pool.space, np.arange(WORKS, dtype=np.int32)
    scores = {
        name: ContentRanker(space, prior).score(np.array([3], np.int32), np.ones(1, np.float32), rows)
        for name, prior in {"learnt": make_taste_prior(content.fit(given)), "plain": PLAIN}.items()
    }
    by_style = {name: [float(each[style::STYLES].mean()) for style in range(STYLES)] for name, each in scores.items()}
    assert by_style["learnt"][0] > max(by_style["learnt"][4:]) + 0.2
    assert by_style["plain"][0] < max(by_style["plain"][4:]) + 0.2


def test_too_few_people_teach_nothing() -> None:
    """The bundle is empty, and the plain prior serves."""
    assert content.fit(given_people(content.LEAST_USERS - 2)) == {}
    assert make_taste_prior({}) is PLAIN


def test_a_bundle_of_other_content_vectors_is_refused(tmp_path: Path) -> None:
    """Not scored wrongly; what rests on no content is served."""
    made = learn(content.make_learner(), given_people(40))
    older = msgspec.structs.replace(made.manifest, content_version=1)
    assert bundles.save(tmp_path / "now", made.manifest, made.arrays).arrays.keys() == made.arrays.keys()
    with pytest.raises(BadBundleError, match="version 1 of content vectors, not 2"):
        bundles.save(tmp_path / "old", older, made.arrays)
    bundles.save(tmp_path / "bare", older, {})


def test_a_prior_that_regularises_nothing_is_refused() -> None:
    """A ridge that is no covariance's."""
    arrays = {"taste_mean": PLAIN.mean, "taste_ridge": -PLAIN.ridge}
    with pytest.raises(BadBundleError, match="regularises nothing"):
        make_taste_prior(arrays)
