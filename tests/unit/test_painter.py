"""Pictures from DNA: the same each time, kin for near vectors, and every one of the 50 numbers shows."""

from __future__ import annotations

import numpy as np
import pytest

from features.dna import LENGTH
from serving.generation.painter import paint, usual_range

SIZE = (96, 64)


def vector(shares: np.ndarray) -> np.ndarray:
    """A DNA vector from shares of the usual range of each dimension."""
    low, high = usual_range()
    return (low + shares * (high - low)).astype(np.float32)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two pictures, in steps of 255."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_the_same_vector_gives_the_same_picture() -> None:
    """Byte for byte, in the size asked for."""
    dna = vector(np.full(LENGTH, 0.4))
    once = paint(dna, *SIZE)
    assert once.shape == (64, 96, 3)
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(once, paint(dna, *SIZE))


@pytest.mark.parametrize("dimension", range(LENGTH))
def test_every_dimension_shows(dimension: int) -> None:
    """Moved by half of its range (two dimensions are angles) it changes pictures, whatever the other 49 say."""
    draw = np.random.default_rng(11)
    changes = []
    for _ in range(6):
        shares = draw.random(LENGTH)
        ends = [np.where(np.arange(LENGTH) == dimension, end, shares) for end in (0.1, 0.6)]
        changes.append(difference(*(paint(vector(end), *SIZE) for end in ends)))
    assert max(changes) > 0.5


def test_near_vectors_give_kindred_pictures() -> None:
    """A touch on all 50 numbers changes a picture less than another vector does."""
    draw = np.random.default_rng(3)
    shares = draw.random((2, LENGTH))
    near = np.clip(shares[0] + draw.normal(0, 0.01, LENGTH), 0, 1)
    first, kin, other = (paint(vector(each), *SIZE) for each in (shares[0], near, shares[1]))
    assert difference(first, kin) < difference(first, other) / 2


def test_a_vector_of_another_length_is_refused() -> None:
    """By an error that says what it should be."""
    with pytest.raises(ValueError, match="50 numbers"):
        paint(np.zeros(49, np.float32), *SIZE)


def test_numbers_beyond_their_usual_range_are_painted_all_the_same() -> None:
    """As the end of the range."""
    assert paint(np.full(LENGTH, 3.0, np.float32), *SIZE).std() > 0
