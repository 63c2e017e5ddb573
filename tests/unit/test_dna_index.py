"""The index over content vectors: finds the nearest unseen, above all when the nearest are seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from features.arrays import Floats
from features.content import LENGTH, WORD_LENGTH, Searchable, searchable
from features.dna_index import ContentIndex, recall
from serving.ranking import near_scores
from training.pool import bare_pool

COUNT, WIDTH, KINDS = 6_000, 16, 40
SMALL = 1_000  # a size that makes this pool a large one


def pool(draw: np.random.Generator, count: int = COUNT) -> Floats:
    """Vectors about forty centres."""
    centres = np.random.default_rng(9).standard_normal((KINDS, WIDTH))
    return (centres[draw.integers(0, KINDS, count)] + 0.5 * draw.standard_normal((count, WIDTH))).astype(np.float32)


def known(vectors: Floats) -> Searchable:
    """Vectors whose looks are all known."""
    return Searchable(vectors, np.zeros(len(vectors), dtype=bool))


@pytest.fixture(scope="module")
def vectors() -> Floats:
    """A pool."""
    return pool(np.random.default_rng(0))


@pytest.fixture(scope="module")
def index(vectors: Floats) -> ContentIndex:
    """Its index, with inverted lists."""
    return ContentIndex(known(vectors), exact_below=SMALL)


@pytest.fixture(scope="module")
def queries() -> Floats:
    """Tastes, which do not mind unknown looks."""
    return np.hstack([pool(np.random.default_rng(1), 30), np.zeros((30, 1), np.float32)])


def without_the_best(vectors: Floats, query: Floats, seen: int) -> np.ndarray:
    """What is unseen when the best have been seen."""
    unseen = np.ones(len(vectors), bool)
    unseen[np.argsort(-(vectors @ query[:-1]))[:seen]] = False
    return unseen


@pytest.mark.parametrize("seen", [0, 100, 1_000, 4_000, 5_500, 5_990])
def test_the_nearest_unseen_are_found_when_the_nearest_are_all_seen(
    index: ContentIndex, vectors: Floats, queries: Floats, seen: int
) -> None:
    """Never a seen one, and nine in ten of those that an exact search finds."""
    assert index.lists
    shares = []
    for query in queries:
        unseen = without_the_best(vectors, query, seen)
        rows, scores = index.search(query, unseen, 20)
        assert unseen[rows].all()
        assert len(set(rows.tolist())) == len(rows) == min(20, COUNT - seen)
        assert (np.diff(scores) <= 1e-5).all()
        np.testing.assert_allclose(scores, vectors[rows] @ query[:-1], rtol=1e-4, atol=1e-4)
        shares.append(recall(index, query[None], unseen, 20))
    assert np.mean(shares) > 0.9


def test_a_small_pool_is_searched_exactly(vectors: Floats, queries: Floats) -> None:
    """No list is missed where there is none."""
    small = ContentIndex(known(vectors[: SMALL - 1]), exact_below=SMALL)
    assert not small.lists
    assert recall(small, queries, np.ones(SMALL - 1, bool), 50) == 1.0


def test_what_is_added_is_found_and_what_came_later_than_the_mask_is_not(vectors: Floats) -> None:
    """A snapshot's mask may be shorter than the index has become."""
    index = ContentIndex(known(vectors), exact_below=SMALL)
    new = 3.0 * vectors[:5]
    index.extend(known(np.concatenate([vectors, new])))
    assert len(index) == COUNT + 5
    every, query = np.ones(COUNT + 5, bool), np.append(new[2], np.float32(0))
    assert index.search(query, every, 5)[0][0] >= COUNT
    assert index.search(query, every[:COUNT], 5)[0].max() < COUNT


def test_an_index_that_has_outgrown_its_lists_learns_them_anew(vectors: Floats, queries: Floats) -> None:
    """What came one by one is found as well as what was there at once."""
    index = ContentIndex(known(vectors[:SMALL]), exact_below=SMALL)
    lists = index.lists
    for start in range(SMALL, COUNT, 500):
        index.extend(known(vectors[: start + 500]))
    assert len(index) == COUNT
    assert index.lists >= 2 * lists  # the root of four times as many
    assert recall(index, queries, np.ones(COUNT, bool), 20) > 0.9


def test_of_equals_the_first_is_found(vectors: Floats) -> None:
    """Also where only the best are put in order."""
    index = ContentIndex(known(np.repeat(vectors[:50], 10, axis=0)), exact_below=SMALL)
    rows = np.arange(500, dtype=np.int32)
    query, scores = np.append(vectors[0], np.float32(0)), np.repeat(vectors[:50] @ vectors[0], 10)
    for count in (5, 20, 37, 500):
        np.testing.assert_array_equal(
            index.exact(query, rows, count)[0],
            np.argsort(-scores, kind="stable")[:count],
        )


def test_saved_lists_answer_as_they_did(index: ContentIndex, vectors: Floats, queries: Floats, tmp_path: Path) -> None:
    """And are refused beside other vectors; where there are none nothing is saved."""
    index.save(tmp_path / "content.npz")
    again = ContentIndex.load(tmp_path / "content.npz", known(vectors), exact_below=SMALL)
    unseen = without_the_best(vectors, queries[0], 500)
    for mine, its in zip(index.search(queries[0], unseen, 30), again.search(queries[0], unseen, 30), strict=True):
        np.testing.assert_array_equal(mine, its)
    with pytest.raises(ValueError, match="6000 vectors of 17, not 10 of 17"):
        ContentIndex.load(tmp_path / "content.npz", known(vectors[:10]), exact_below=SMALL)
    with pytest.raises(ValueError, match="10 vectors have no lists"):
        ContentIndex(known(vectors[:10]), exact_below=SMALL).save(tmp_path / "none.npz")


def test_serving_finds_by_the_index_what_scoring_everything_finds(vectors: Floats) -> None:
    """A fifth has no DNA; the best of the list and the threshold are the same, and no seen artwork comes in."""
    content = np.zeros((COUNT, LENGTH), np.float32)
    content[:, :8], content[:, WORD_LENGTH : WORD_LENGTH + 8] = 0.1 * vectors[:, :8], 0.2 + 0.1 * vectors[:, 8:]
    content[::5, WORD_LENGTH:] = 0.0
    plain = dataclasses.replace(bare_pool([str(number) for number in range(COUNT)]), vectors=content)
    indexed = dataclasses.replace(plain, index=ContentIndex(searchable(content), exact_below=SMALL))
    liked = np.arange(40, dtype=np.int32)
    weights = np.linspace(-1, 1, 40, dtype=np.float32)
    rows = np.arange(40, COUNT, dtype=np.int32)
    every, threshold = near_scores(plain, liked, weights, rows)
    found, same = near_scores(indexed, liked, weights, rows)
    best = np.argsort(-every)[:200]
    told = found > found.min()
    assert same == threshold
    assert told.sum() < len(rows) / 2
    np.testing.assert_allclose(found[told], every[told], atol=1e-5)
    assert told[best].mean() > 0.9
