"""A snapshot of the pool is the same however its artworks came in, and knows what may still be shown."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.arrays import mark
from features.catalogue import ORIENTATIONS, Catalogue, empty, joined
from features.content import content_vectors, tokens_of
from features.dna import read_dna
from features.pool_reading import append, read_part
from features.scramble import scramble

ARTWORKS = 30


def rows() -> list[dict[str, Any]]:
    """Artworks of which some have another one's image, or nothing at all."""
    draw = np.random.default_rng(0)
    return [
        {
            "artwork_key": 2 * number + 3,
            "id": f"artwork {number}",
            "created": float(number),
            "prompt": f"a quiet study of number {number % 4}",
            "dna_vector": json.dumps(draw.uniform(0, 1, 50).tolist()) if number % 3 else None,
            "motifs": ["rose", None] if number % 2 else None,
            "styles": ["Cubism", ""] if number % 5 else ["Baroque", "cubism"],
            "artists": [f"Ada {number % 3}"],
            "orientation": [*ORIENTATIONS, None][number % 4],
            "quality_score": number,
            "image_url": f"/{number % 20}.png",
        }
        for number in range(ARTWORKS)
    ]


@pytest.fixture(scope="module")
def whole() -> Catalogue:
    """All at once."""
    return append(empty(), rows())


@given(st.sets(st.integers(1, ARTWORKS - 1), max_size=4))
def test_in_parts_and_at_once_the_snapshot_is_the_same(cuts: set[int]) -> None:
    """To the last mark, also where an image's artworks come in different parts."""
    whole, given_rows = append(empty(), rows()), rows()
    ends = [0, *sorted(cuts), ARTWORKS]
    parts = [given_rows[start:end] for start, end in itertools.pairwise(ends)]
    grown = empty()
    for part in parts:
        grown = append(grown, part)
    for found in (grown, joined([empty(), *(read_part(part) for part in parts)])):
        assert list(found.ids) == list(whole.ids)
        for field in dataclasses.fields(Catalogue):
            one, other = getattr(found, field.name), getattr(whole, field.name)
            if isinstance(other, np.ndarray):
                np.testing.assert_array_equal(one, other, field.name)
        for tags in ("style_rows", "artist_rows"):
            one, other = getattr(found, tags), getattr(whole, tags)
            assert {tag: of.tolist() for tag, of in one.items()} == {tag: of.tolist() for tag, of in other.items()}
        np.testing.assert_array_equal(found.images.rows, whole.images.rows)
        np.testing.assert_array_equal(found.places.rows, whole.places.rows)


def test_the_words_of_many_are_those_of_each_alone(whole: Catalogue) -> None:
    """To the last bit: prints and logged fingerprints rest on them."""
    for place, row in enumerate(rows()):
        kind, dna = read_dna(row["dna_vector"])
        tokens = tokens_of(row["styles"], row["motifs"] or (), row["artists"], row["prompt"])
        (alone,) = content_vectors([kind], dna[None], [tokens])
        np.testing.assert_array_equal(whole.vectors[place], alone)


@given(st.sets(st.integers(0, 2 * ARTWORKS + 9)), st.sampled_from([None, *ORIENTATIONS, "any"]), st.booleans())
def test_what_may_be_shown_is_active_unmarked_and_fits(keys: set[int], orientation: str | None, turned: bool) -> None:
    """In whichever order the keys came in; an image that was seen under another key counts as seen."""
    given_rows = rows()
    whole = append(empty(), given_rows[::-1] if turned else given_rows)
    first = whole.row_of_key[whole.keys] == np.arange(ARTWORKS)
    pool = dataclasses.replace(whole, active=first & (np.arange(ARTWORKS) % 7 > 0))
    seen = pool.marked(mark(np.array(sorted(keys), np.int32)))
    found, left = pool.rows_without(mark(np.array(sorted(keys), np.int32)), orientation)
    assert found.tolist() == np.flatnonzero(pool.active & ~seen & pool.fits(orientation)).tolist()
    assert left == int((pool.active & ~seen).sum())
    assert pool.fitting.get(orientation, pool.fitting[None])[1] == int((pool.active & pool.fits(orientation)).sum())


@given(st.sets(st.integers(0, ARTWORKS - 1)))
def test_the_hash_of_a_set_is_the_sum_of_its_artworks_hashes(places: set[int]) -> None:
    """Lists that were logged hold it; in one run or in many."""
    pool = append(empty(), rows())
    chosen = np.array(sorted(places), np.int32)
    plain = scramble(pool.keys[chosen].astype(np.uint64)).sum(dtype=np.uint64)
    assert pool.hash_of(chosen) == int(plain.astype(np.int64))
