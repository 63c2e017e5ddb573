"""A projection that is the factors scaled by row is not held a second time, and scores as if it were."""

from __future__ import annotations

import numpy as np

from features.arrays import PIECE, all_products, products
from serving.rankers import make_factor_ranker, row_scale

ARTWORKS, COMPONENTS = 300, 6


def arrays() -> dict[str, np.ndarray]:
    """As a factorisation gives them: an artwork's projection is its factors over its degree; some have died."""
    draw = np.random.default_rng(0)
    basis, degrees = draw.gamma(0.3, 1.0, (ARTWORKS, COMPONENTS)), draw.uniform(0.5, 400.0, ARTWORKS)
    basis[::9] = 0.0
    return {
        "factors": (basis * np.sqrt(degrees)[:, None]).astype(np.float32),
        "projection": (basis / np.sqrt(degrees)[:, None]).astype(np.float32),
        "prior": degrees.astype(np.float32),
    }


def test_a_scaled_projection_is_held_as_its_scale_and_folds_in_alike() -> None:
    """Also for artworks whose factors have died."""
    given = arrays()
    ranker = make_factor_ranker("linear", given)
    assert ranker.projection.shape == (ARTWORKS, 1)
    rows, weights = np.array([0, 5, 17, 299], np.int32), np.array([1.0, 0.5, -0.2, 2.0], np.float32)
    vector = weights @ given["projection"][rows]
    every = np.arange(ARTWORKS, dtype=np.int32)
    np.testing.assert_allclose(ranker.score(rows, weights, every), given["factors"] @ vector, rtol=1e-4, atol=1e-4)


def test_any_other_projection_is_held_as_it_is() -> None:
    """One number that differs is enough; of one component there is nothing to save."""
    given = arrays()
    given["projection"][7, 3] += 0.01
    assert row_scale(given["factors"], given["projection"]) is None
    assert make_factor_ranker("linear", given).projection is given["projection"]
    assert row_scale(given["factors"][:, :1], given["factors"][:, :1]) is None


def test_products_in_pieces_are_those_of_the_whole() -> None:
    """Of none, of one piece and of several."""
    draw = np.random.default_rng(0)
    matrix, vector = draw.standard_normal((50, 8)).astype(np.float32), draw.standard_normal(8).astype(np.float32)
    for count in (0, 3, PIECE + 5):
        rows = draw.integers(0, 50, count).astype(np.int32)
        np.testing.assert_allclose(products(matrix, rows, vector), matrix[rows] @ vector, rtol=1e-5, atol=1e-5)
        every = all_products(matrix[rows], vector)
        np.testing.assert_allclose(every, matrix[rows] @ vector, rtol=1e-5, atol=1e-5)
