"""The models: two groups whose answer one sees by eye, and training and serving that agree on a user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.decomposition import non_negative_factorization

from features.matrix import Interactions, to_matrix
from serving.bundle import Bundle
from serving.rankers import FactorRanker, make_factor_ranker
from training import content, nmf, popularity
from training.learner import Learner, learn
from training.nmf import NmfConfig

DAY = datetime(2026, 3, 1, tzinfo=UTC)
SIDE = 12


def signals(pairs: list[tuple[str, str, float]]) -> pl.DataFrame:
    """A frame of signals, all on one day."""
    return pl.DataFrame(
        {
            "user_id": [user_id for user_id, _, _ in pairs],
            "artwork_id": [artwork_id for _, artwork_id, _ in pairs],
            "weight": pl.Series([weight for _, _, weight in pairs], dtype=pl.Float32),
            "taste": pl.Series([weight for _, _, weight in pairs], dtype=pl.Float32),
            "at": [DAY + timedelta(0)] * len(pairs),
        }
    )


def checkerboard() -> pl.DataFrame:
    """Even users like even artworks, odd ones odd ones, and nobody has met the artwork of their own number."""
    pairs = [(user, work) for user in range(SIDE) for work in range(SIDE) if user != work and (user - work) % 2 == 0]
    return signals([(f"user {user:02}", f"artwork {work:02}", 1.0) for user, work in pairs])


def trained(learner: Learner, frame: pl.DataFrame) -> FactorRanker:
    """The ranker that serves what the learner made of the frame."""
    return make_factor_ranker(learn(learner, frame, snapshot="", half_life_days=90))


def nmf_learner(components: int = 2, seed: int = 0) -> Learner:
    """NMF with few components."""
    return nmf.make_learner(NmfConfig(n_components=components, seed=seed))


def test_the_withheld_diagonal_is_recommended() -> None:
    """Of all that a user has not met, the one artwork of the user's own group comes first."""
    frame = checkerboard()
    ranker = trained(nmf_learner(), frame)
    for user in range(SIDE):
        met = frame.filter(pl.col("user_id") == f"user {user:02}")["artwork_id"].to_list()
        unseen = ranker.rows_of([f"artwork {work:02}" for work in range(SIDE) if f"artwork {work:02}" not in met])
        scores = ranker.score(ranker.rows_of(met), np.ones(len(met), np.float32), unseen)
        assert ranker.bundle.arrays["artwork_ids"][unseen[scores.argmax()]] == f"artwork {user:02}"


def test_a_user_nobody_trained_on_is_served_by_taste() -> None:
    """One like of a stranger is enough to tell the groups apart."""
    ranker = trained(nmf_learner(), checkerboard())
    rows = ranker.rows_of([f"artwork {work:02}" for work in range(SIDE)])
    scores = ranker.score(rows[4:5], np.ones(1, np.float32), rows)
    assert scores[0::2].min() > scores[1::2].max()


def test_folding_in_agrees_with_training() -> None:
    """The exact solve at request time finds the user weights that scikit-learn's own transform converges to."""
    draw = np.random.default_rng(3)
    weights = draw.gamma(2.0, size=(60, 40)) * (draw.random((60, 40)) < 0.3)
    pairs = [(f"u{u:02}", f"a{a:02}", float(weights[u, a])) for u, a in zip(*weights.nonzero(), strict=True)]
    given = to_matrix(signals(pairs))
    arrays = nmf.fit(given, NmfConfig(n_components=6, max_iter=2_000, tol=1e-8))
    components = (arrays["projection"] / scale_of(given)[:, None]).T.astype(np.float64)
    normalised = given.matrix.toarray() * scale_of(given) / np.sqrt(given.matrix.toarray().sum(1, keepdims=True))
    expected, _, _ = non_negative_factorization(normalised, H=components, update_H=False, max_iter=5_000, tol=1e-10)
    ranker = trained_on(given, arrays)
    for row, user in enumerate(normalised):
        known = np.flatnonzero(user).astype(np.int32)
        vector = ranker._user_vector(known, given.matrix.toarray()[row, known])
        assert vector is not None
        np.testing.assert_allclose(direction(vector), direction(expected[row]), atol=1e-3)


def test_unknown_artworks_cannot_be_scored() -> None:
    """NaN, not zero."""
    ranker = trained(nmf_learner(), checkerboard())
    rows = ranker.rows_of(["artwork 00", "never heard of"])
    scores = ranker.score(rows[:1], np.ones(1, np.float32), rows)
    assert np.isnan(scores).tolist() == [False, True]


@pytest.mark.parametrize("weights", [[], [-1.0]])
def test_a_user_without_likes_gets_the_popular_first(weights: list[float]) -> None:
    """No signal, or dislikes alone, score by the prior."""
    frame = pl.concat([checkerboard(), signals([(f"fan {number}", "artwork 07", 1.0) for number in range(9)])])
    ranker = trained(nmf_learner(), frame.sort("user_id", "artwork_id"))
    rows = ranker.rows_of([f"artwork {work:02}" for work in range(SIDE)])
    scores = ranker.score(rows[: len(weights)], np.array(weights, np.float32), rows)
    assert scores.argmax() == 7


def test_the_same_seed_gives_the_same_arrays() -> None:
    """Byte for byte, whatever the order of the rows."""
    frame = checkerboard()
    once, again = (nmf.fit(to_matrix(rows), NmfConfig(n_components=3)) for rows in (frame, frame.reverse()))
    assert {name: array.tobytes() for name, array in once.items()} == {
        name: array.tobytes() for name, array in again.items()
    }


def test_arrays_have_the_shapes_that_serving_reads() -> None:
    """float32 per artwork and float64 for the gram; fewer components where there is less to tell apart."""
    arrays = nmf.fit(to_matrix(checkerboard()), NmfConfig(n_components=50))
    assert {name: (array.shape, array.dtype.kind, array.dtype.itemsize) for name, array in arrays.items()} == {
        "artwork_ids": ((SIDE,), "U", 40),
        "factors": ((SIDE, SIDE), "f", 4),
        "projection": ((SIDE, SIDE), "f", 4),
        "gram": ((SIDE, SIDE), "f", 8),
        "prior": ((SIDE,), "f", 4),
    }


def test_dislikes_alone_are_no_reason_to_fail() -> None:
    """Where no weight is positive everybody gets the least disliked first."""
    frame = signals([(f"user {user}", f"artwork {work}", -1.0 - work) for user in range(6) for work in range(6)])
    ranker = trained(nmf_learner(), frame)
    rows = np.arange(6, dtype=np.int32)
    assert ranker.score(rows[:2], np.ones(2, np.float32), rows).argmax() == 0


def test_only_the_ratios_of_a_users_weights_count() -> None:
    """Likes of twenty years ago, all that there is of a user, order artworks as fresh ones do."""
    ranker = trained(nmf_learner(), checkerboard())
    rows = ranker.rows_of([f"artwork {work:02}" for work in range(SIDE)])
    fresh = ranker.score(rows[[1, 3]], np.array([1.0, 0.5], np.float32), rows)
    old = ranker.score(rows[[1, 3]], np.array([1.0, 0.5], np.float32) * np.float32(2.0**-81), rows)
    np.testing.assert_array_equal(np.argsort(old, kind="stable"), np.argsort(fresh, kind="stable"))


def test_popularity_is_the_same_for_everybody() -> None:
    """The sum of weights, dislikes included, whoever asks."""
    frame = signals([("a", "x", 1.0), ("b", "x", 1.0), ("a", "y", 3.0), ("b", "y", -2.0), ("b", "z", 0.5)])
    ranker = trained(popularity.make_learner(), frame)
    rows = ranker.rows_of(["x", "y", "z"])
    for known in (rows[:0], rows[2:]):
        scores = ranker.score(known, np.ones(len(known), np.float32), rows)
        np.testing.assert_allclose(scores, [1.0, 0.5, 0.25])


def test_content_learns_nothing() -> None:
    """No arrays, even without a single signal."""
    assert learn(content.make_learner(), signals([]), snapshot="", half_life_days=90).arrays == {}


def direction(vector: np.ndarray) -> np.ndarray:
    """The vector at unit length: users' degrees change only their vectors' length."""
    return np.asarray(vector / np.linalg.norm(vector))


def scale_of(given: Interactions) -> np.ndarray:
    """What each artwork's column is multiplied by, from the definition."""
    degrees = given.matrix.toarray().clip(0).sum(0).astype(np.float64)
    return np.asarray(1 / np.sqrt(degrees + degrees.mean()))


def trained_on(given: Interactions, arrays: dict[str, np.ndarray]) -> FactorRanker:
    """A ranker of arrays that are fitted already."""
    assert len(given.artwork_ids) == len(arrays["factors"])
    manifest = learn(content.make_learner(), signals([]), snapshot="", half_life_days=1).manifest
    return make_factor_ranker(Bundle(manifest, arrays, ""))
