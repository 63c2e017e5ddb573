"""The 50 numbers: what is accepted, what is a stub, and how they are scaled."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dna import HIGHEST, LENGTH, LOWEST, TASTE_LENGTH, DnaKind, parse_dna, read_dna, read_dnas, taste_part
from features.errors import BadDnaError

REAL = [round(0.02 * number, 2) for number in range(LENGTH)]
NUMBERS = st.floats(LOWEST, HIGHEST, width=32)


@given(st.lists(NUMBERS, min_size=LENGTH, max_size=LENGTH))
def test_fifty_numbers_in_range_are_read_as_they_are(numbers: list[float]) -> None:
    """Whole ones too."""
    vector = parse_dna(json.dumps(numbers))
    assert vector.shape == (LENGTH,)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, np.array(numbers, np.float32))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (json.dumps(REAL[:49]), "it has 49 numbers, not 50"),
        (json.dumps([*REAL, 1]), "it has 51 numbers, not 50"),
        ("[]", "it has 0 numbers, not 50"),
        (json.dumps([-0.01, *REAL[1:]]), "within 0 and 3"),
        (json.dumps([3.01, *REAL[1:]]), "within 0 and 3"),
        (json.dumps([float("nan"), *REAL[1:]]), "JSON array of 50 numbers"),
        (json.dumps([None, *REAL[1:]]), "JSON array of 50 numbers"),
        (json.dumps([True, *REAL[1:]]), "JSON array of 50 numbers"),
        (json.dumps(["1", *REAL[1:]]), "JSON array of 50 numbers"),
        (json.dumps({"0": 1}), "JSON array of 50 numbers"),
        ("[[" * 20_000, "JSON array of 50 numbers"),
        ("0.5, 0.5", "JSON array of 50 numbers"),
        ("null", "JSON array of 50 numbers"),
        ("", "JSON array of 50 numbers"),
        (json.dumps([1e39, *REAL[1:]]), "within 0 and 3"),
    ],
)
def test_what_is_not_fifty_numbers_is_refused_with_the_rule_it_breaks(text: str, rule: str) -> None:
    """And counts as broken where a row of the pool is read."""
    with pytest.raises(BadDnaError, match=rule):
        parse_dna(text)
    kind, vector = read_dna(text)
    assert kind == DnaKind.BROKEN
    assert not vector.any()


@given(st.text() | st.binary().map(lambda raw: raw.decode("utf-8", "replace")))
def test_reading_never_fails(text: str) -> None:
    """Whatever the column holds."""
    kind, vector = read_dna(text)
    assert vector.shape == (LENGTH,)
    assert np.isfinite(vector).all()
    assert kind in set(DnaKind)


def test_many_are_read_as_each_alone() -> None:
    """Real ones between those that are of no use."""
    odd = [[0.5] * LENGTH, REAL[1:], [*REAL[1:], HIGHEST + 0.1], [*REAL[1:], LOWEST - 0.1], [*REAL[1:], 1e300]]
    texts = [None, "", "[1e999]", "{}", "[" * 9_000, *(json.dumps(each) for each in [REAL, *odd, REAL[::-1]])]
    kinds, vectors = read_dnas(texts)
    for text, kind, vector in zip(texts, kinds, vectors, strict=True):
        assert read_dna(text)[0] == kind
        np.testing.assert_array_equal(read_dna(text)[1], vector)
    assert read_dnas([])[1].shape == (0, LENGTH)


def test_kinds_are_told_apart() -> None:
    """Absent, the library's stub (whatever the music controls say), and real."""
    assert read_dna(None)[0] == DnaKind.ABSENT
    assert read_dna(json.dumps([0.5] * LENGTH))[0] == DnaKind.STUB
    assert read_dna(json.dumps([0.5] * TASTE_LENGTH + REAL[TASTE_LENGTH:]))[0] == DnaKind.STUB
    assert read_dna(json.dumps([0.51, *[0.5] * (LENGTH - 1)]))[0] == DnaKind.REAL
    kind, vector = read_dna(json.dumps(REAL))
    assert kind == DnaKind.REAL
    np.testing.assert_allclose(vector, REAL, rtol=1e-6)


@given(st.lists(st.lists(NUMBERS, min_size=LENGTH, max_size=LENGTH), min_size=1, max_size=4))
def test_the_taste_part_is_centred_and_leaves_the_music_out(rows: list[list[float]]) -> None:
    """Within -1 and 1 where the numbers keep to their usual range, and blind to positions 44 to 49."""
    vectors = np.array(rows, np.float32)
    taste = taste_part(vectors)
    assert taste.shape == (len(rows), TASTE_LENGTH)
    changed = vectors.copy()
    changed[:, TASTE_LENGTH:] = 0.0
    np.testing.assert_array_equal(taste, taste_part(changed))
    usual = taste_part(np.minimum(vectors, 2.0))
    assert (np.abs(usual) <= 1.0).all()


def test_wide_dimensions_have_their_own_range() -> None:
    """Fractal depth and depth layers go up to 3, the others to 2; the middle of each range is 0."""
    middle = np.full((1, LENGTH), 1.0, np.float32)
    middle[0, [13, 28]] = 1.5
    assert not taste_part(middle).any()
    assert taste_part(np.full((1, LENGTH), 3.0, np.float32))[0, [13, 28]].tolist() == [1.0, 1.0]
