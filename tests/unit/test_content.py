"""Content vectors: unit length, the same everywhere, near for what is alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.content import LENGTH, WORD_LENGTH, content_vectors, tokens_of
from features.dna import LENGTH as DNA_LENGTH
from features.dna import DnaKind

WORDS = st.lists(st.none() | st.text(max_size=8), max_size=3)
NOTHING = np.zeros((1, DNA_LENGTH), np.float32)


def vector(styles: list[str] = [], motifs: list[str] = [], artists: list[str] = [], prompt: str = "") -> np.ndarray:  # noqa: B006 - never changed
    """The vector of one artwork without DNA."""
    return content_vectors([DnaKind.ABSENT], NOTHING, [tokens_of(styles, motifs, artists, prompt)])[0]


@given(
    kind=st.sampled_from(list(DnaKind)),
    dna=hnp.arrays(np.float32, (1, DNA_LENGTH), elements=st.floats(0, 3, width=32)),
    styles=WORDS,
    motifs=WORDS,
    artists=WORDS,
    prompt=st.text(max_size=40),
)
def test_every_artwork_has_a_unit_vector_or_none_at_all(
    *,
    kind: DnaKind,
    dna: np.ndarray,
    styles: list[str | None],
    motifs: list[str | None],
    artists: list[str | None],
    prompt: str,
) -> None:
    """Any text in any script, NULL and empty texts in the arrays, any DNA."""
    (found,) = content_vectors([kind], dna, [tokens_of(styles, motifs, artists, prompt)])
    assert found.shape == (LENGTH,)
    assert found.dtype == np.float32
    length = float(np.linalg.norm(found))
    assert length == pytest.approx(1.0, abs=1e-4) or length == 0.0


def test_no_artworks_have_no_vectors() -> None:
    """An empty batch."""
    assert content_vectors([], np.zeros((0, DNA_LENGTH), np.float32), []).shape == (0, LENGTH)


def test_an_artwork_s_vector_depends_on_it_alone() -> None:
    """In a batch as by itself, and the same on every machine: the first numbers are written down here."""
    tokens = [tokens_of(["cubism"], ["rose"], [], "a quiet study"), tokens_of([], [], ["Ada"], "")]
    both = content_vectors([DnaKind.ABSENT] * 2, np.repeat(NOTHING, 2, 0), tokens)
    np.testing.assert_array_equal(both[1], vector(artists=["Ada"]))
    signs = (vector(styles=["cubism"])[:8] > 0).tolist()
    assert signs == [False, True, True, True, False, False, False, True]


def test_alike_is_near_and_unlike_is_far() -> None:
    """Styles count most; case does not count."""
    near = float(vector(["cubism"], ["rose"]) @ vector(["Cubism"], ["sea"]))
    far = float(vector(["cubism"], ["rose"]) @ vector(["baroque"], ["sea"]))
    assert near > 0.5 > far
    assert float(vector(["cubism"]) @ vector(["CUBISM"])) == pytest.approx(1.0)
    assert abs(float(vector(["rose"]) @ vector(motifs=["rose"]))) < 0.6, "a motif is not a style of the same name"


def test_a_stub_falls_back_on_the_words_alone() -> None:
    """Half of the squared length goes to real DNA; a stub or broken one gets none."""
    dna = np.full((1, DNA_LENGTH), 0.5, np.float32)
    words = [tokens_of(["cubism"], [], [], "")]
    (stub,) = content_vectors([DnaKind.STUB], dna, words)
    (real,) = content_vectors([DnaKind.REAL], dna, words)
    assert not stub[WORD_LENGTH:].any()
    np.testing.assert_allclose(stub, vector(["cubism"]), atol=1e-6)
    assert float((real[WORD_LENGTH:] ** 2).sum()) == pytest.approx(0.5, abs=1e-5)


def test_words_repeated_in_a_prompt_count_once_and_fields_are_kept_apart() -> None:
    """What a token is made of."""
    assert dict(tokens_of([], [], [], "Rose rose ROSE")) == {"word:rose": 0.25}
    tokens = dict(tokens_of(["Rose", None, ""], ["rose"], ["rose"], "日没 rose"))
    assert tokens == {"style:rose": 1.0, "motif:rose": 0.5, "artist:rose": 0.7, "word:rose": 0.25, "word:日没": 0.25}
