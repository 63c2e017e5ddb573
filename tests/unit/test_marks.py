"""Marks by artwork key: what is marked by its own key, or by the key of another artwork with the same image."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.arrays import are_marked, mark
from features.catalogue import Catalogue
from training.pool import bare_pool

KEYS = 40


def pool_of(images: list[int]) -> Catalogue:
    """Artworks with keys 3, 5, 7 ... of these images; the first of an image stands for the others."""
    pool = bare_pool([f"artwork {number}" for number in range(len(images))])
    keys = np.arange(len(images), dtype=np.int32) * 2 + 3
    first = np.array([images.index(image) for image in images], np.int32)
    row_of_key = np.full(2 * len(images) + 3, -1, np.int32)
    row_of_key[keys] = first
    active = first == np.arange(len(images))
    return dataclasses.replace(pool, keys=keys, row_of_key=row_of_key, active=active)


@given(st.lists(st.integers(0, 5), max_size=15), st.sets(st.integers(0, KEYS)))
def test_an_artwork_is_marked_by_any_key_of_its_image(images: list[int], keys: set[int]) -> None:
    """Keys that the pool does not hold mark nothing."""
    pool = pool_of(images)
    marked = {images[row] for row, key in enumerate(pool.keys.tolist()) if key in keys}
    found = pool.marked(mark(np.array(sorted(keys), np.int32)))
    assert [bool(found[row]) for row in np.flatnonzero(pool.active)] == [
        images[row] in marked for row in np.flatnonzero(pool.active)
    ]


@given(st.sets(st.integers(0, KEYS)), st.lists(st.integers(0, 2 * KEYS)))
def test_a_key_is_marked_when_it_is_among_them(keys: set[int], asked: list[int]) -> None:
    """Beyond the end of the marks nothing is."""
    found = are_marked(mark(np.array(sorted(keys), np.int32)), np.array(asked, np.int32))
    assert found.tolist() == [key in keys for key in asked]
