"""Texts in one block are the texts that went in; the place of a text is the first that has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.texts import NOWHERE, Places, Texts, hashes_of

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=20)


@given(WORDS)
def test_texts_are_those_that_went_in(words: list[str]) -> None:
    """In any script, empty ones too."""
    texts = Texts.of(words)
    assert list(texts) == [texts[place] for place in range(len(texts))] == words
    assert [texts[place - len(words)] for place in range(len(words))] == words


@given(WORDS, st.integers(0, 25), st.integers(0, 25))
def test_neighbours_are_cut_out(words: list[str], first: int, last: int) -> None:
    """As of a list, and again of what was cut out."""
    part = Texts.of(words)[first:last]
    assert list(part) == words[first:last]
    assert list(part[1:]) == words[first:last][1:]
    assert list(Texts.joined([part, words])) == [*words[first:last], *words]


def test_a_place_beyond_the_end_is_an_error_and_so_is_a_cut_with_gaps() -> None:
    """As of a list, and unlike one."""
    with pytest.raises(IndexError):
        Texts.of(["a"])[1]
    with pytest.raises(ValueError, match="one piece"):
        Texts.of(["a", "b", "c"])[::2]


@given(WORDS, WORDS)
def test_the_first_that_has_a_text_is_its_place(words: list[str], asked: list[str]) -> None:
    """And there is none where nobody has it."""
    expected = [words.index(each) if each in words else -1 for each in asked]
    assert Places.of(hashes_of(words)).find(hashes_of(asked)).tolist() == expected


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS)
def test_places_in_several_rows_are_as_in_one(parts: list[list[str]], asked: list[str]) -> None:
    """Each part begins where the one before it ends."""
    starts = np.cumsum([0, *map(len, parts[:-1])]).tolist()
    joined = Places.joined([Places.of(hashes_of(part)) for part in parts], starts)
    every = [word for part in parts for word in part]
    assert joined.find(hashes_of(asked)).tolist() == Places.of(hashes_of(every)).find(hashes_of(asked)).tolist()


def test_what_was_let_go_is_nowhere() -> None:
    """The others stay where they are."""
    places = Places.of(hashes_of(["a", "b", "c"]))
    kept = places.only(places.rows != 1)
    assert kept.find(hashes_of(["a", "b", "c"])).tolist() == [0, -1, 2]
    assert NOWHERE.find(hashes_of(["a"])).tolist() == [-1]
