"""NMF and popularity: exact fold-in, shapes, and what of a user's weights counts."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import non_negative_factorization

from features.matrix import Interactions, to_matrix
from serving.bundle import Bundle
from serving.rankers import FactorRanker
from tests.given import SIDE, checkerboard, factor_ranker, given_signals, signals
from training import nmf, popularity
from training.learner import learn
from training.nmf import NmfConfig


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
        vector = ranker.user_vector(known, given.matrix.toarray()[row, known])
        assert vector is not None
        np.testing.assert_allclose(direction(vector), direction(expected[row]), atol=1e-3)


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


def test_only_the_ratios_of_a_users_weights_count() -> None:
    """Likes of twenty years ago, all that there is of a user, order artworks as fresh ones do."""
    ranker = factor_ranker(learn(nmf.make_learner(NmfConfig(n_components=2)), given_signals(checkerboard())))
    rows = np.arange(SIDE, dtype=np.int32)
    fresh = ranker.score(rows[[1, 3]], np.array([1.0, 0.5], np.float32), rows)
    old = ranker.score(rows[[1, 3]], np.array([1.0, 0.5], np.float32) * np.float32(2.0**-81), rows)
    np.testing.assert_array_equal(np.argsort(old, kind="stable"), np.argsort(fresh, kind="stable"))


def test_popularity_is_the_same_for_everybody() -> None:
    """The sum of weights, dislikes included, whoever asks."""
    frame = signals([("a", "x", 1.0), ("b", "x", 1.0), ("a", "y", 3.0), ("b", "y", -2.0), ("b", "z", 0.5)])
    ranker = factor_ranker(learn(popularity.make_learner(), given_signals(frame)))
    rows = np.arange(3, dtype=np.int32)
    for known in (rows[:0], rows[2:]):
        scores = ranker.score(known, np.ones(len(known), np.float32), rows)
        np.testing.assert_allclose(scores, [1.0, 0.5, 0.25])


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
    manifest = learn(nmf.make_learner(NmfConfig(n_components=2)), given_signals(checkerboard())).manifest
    return factor_ranker(Bundle(manifest, arrays, ""))
