"""Content vectors: of known length, the same everywhere, near for what is alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.content import LENGTH, WORD_LENGTH, content_vectors, space_of, tokens_of, words_of
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
def test_words_and_dna_each_have_half_of_the_squared_length_or_none(
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
    for part in (found[:WORD_LENGTH], found[WORD_LENGTH:]):
        assert float(part @ part) == pytest.approx(0.5, abs=1e-4) or not part.any()


def test_no_artworks_have_no_vectors() -> None:
    """An empty batch."""
    assert content_vectors([], np.zeros((0, DNA_LENGTH), np.float32), []).shape == (0, LENGTH)


def test_an_artwork_s_vector_depends_on_it_alone() -> None:
    """In a batch as by itself, and the same on every machine: the first numbers are written down here."""
    tokens = [tokens_of(["cubism"], ["rose"], [], "a quiet study"), tokens_of([], [], ["Ada"], "")]
    both = content_vectors([DnaKind.ABSENT] * 2, np.repeat(NOTHING, 2, 0), tokens)
    np.testing.assert_array_equal(both[1], vector(artists=["Ada"]))
    signs = (vector(styles=["cubism"])[:8] > 0).tolist()
    assert signs == [True, False, True, False, True, True, False, False]


def test_alike_is_near_and_unlike_is_far() -> None:
    """Styles count most; case does not count."""
    near = float(vector(["cubism"], ["rose"]) @ vector(["Cubism"], ["sea"]))
    far = float(vector(["cubism"], ["rose"]) @ vector(["baroque"], ["sea"]))
    assert near > far + 0.2
    assert float(vector(["cubism"]) @ vector(["CUBISM"])) == pytest.approx(0.5)
    assert abs(float(vector(["rose"]) @ vector(motifs=["rose"]))) < 0.2, "a motif is not a style of the same name"


def test_a_stub_falls_back_on_the_words_alone() -> None:
    """The words stay as they are, so that an artwork without DNA is as near to its like as any."""
    dna = np.full((1, DNA_LENGTH), 0.5, np.float32)
    words = [tokens_of(["cubism"], [], [], "")]
    (stub,) = content_vectors([DnaKind.STUB], dna, words)
    (real,) = content_vectors([DnaKind.REAL], dna, words)
    assert not stub[WORD_LENGTH:].any()
    np.testing.assert_array_equal(stub, vector(["cubism"]))
    np.testing.assert_array_equal(real[:WORD_LENGTH], stub[:WORD_LENGTH])
    assert float((real[WORD_LENGTH:] ** 2).sum()) == pytest.approx(0.5, abs=1e-5)


def test_words_repeated_in_a_prompt_count_once_and_fields_are_kept_apart() -> None:
    """What a token is made of."""
    assert dict(tokens_of([], [], [], "Rose rose ROSE")) == {"word:rose": 0.1}
    tokens = dict(tokens_of(["Rose", None, ""], ["rose"], ["rose"], "日没 rose"))
    assert tokens == {"style:rose": 1.0, "motif:rose": 0.25, "artist:rose": 0.4, "word:rose": 0.1, "word:日没": 0.1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("霧の港、静かな光", {"霧の", "の港", "静か", "かな", "な光"}),
        ("猫 на крыше", {"猫", "на", "крыше"}),
        ("Зимний ЛЕС, стиль ukiyo-e", {"зимний", "лес", "стиль", "ukiyo", "e"}),
        ("مدينة قديمة بأسلوب", {"مدينة", "قديمة", "بأسلوب"}),
        ("شَمس", {"شَمس"}),
        ("सूर्यास्त नदी", {"सूर्यास्त", "नदी"}),
        ("ดวง", {"ดว", "วง"}),
        ("cafe\u0301 🌊🌙", {"café"}),
    ],
    ids=["Japanese", "one character", "Cyrillic", "Arabic", "Arabic with vowels", "Hindi", "Thai", "emoji"],
)
def test_a_text_in_any_script_falls_into_words(text: str, words: set[str]) -> None:
    """Vowel signs do not cut a word; scripts without spaces give pairs of characters."""
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("one", "alike", "other"),
    [
        ("霧の港と灯台", "静かな霧の港", "雨上がりの竹林"),
        ("مدينة قديمة عند الغروب", "غروب فوق مدينة قديمة", "خط ذهبي على ورق"),
        ("зимний лес в тумане", "туман и зимний лес", "красный конь"),
    ],
    ids=["Japanese", "Arabic", "Cyrillic"],
)
def test_prompts_of_one_subject_are_nearer_than_others_in_their_script(one: str, alike: str, other: str) -> None:
    """Of the words alone, without any style or artist."""
    assert float(vector(prompt=one) @ vector(prompt=alike)) > float(vector(prompt=one) @ vector(prompt=other)) + 0.1


def test_an_artwork_without_dna_differs_from_none_in_looks() -> None:
    """Differences count from the mean of what is known."""
    dna = np.random.default_rng(0).uniform(0.2, 1.2, (3, DNA_LENGTH)).astype(np.float32)
    words = [tokens_of([style], [], [], "") for style in ("cubism", "baroque", "realism")]
    space = space_of(content_vectors([DnaKind.REAL, DnaKind.STUB, DnaKind.REAL], dna, words))
    found = space.differences(np.arange(3, dtype=np.int32))
    assert space.looks.tolist() == [True, False, True]
    assert not found[1, WORD_LENGTH:].any()
    np.testing.assert_allclose(found[0, WORD_LENGTH:], -found[2, WORD_LENGTH:], atol=1e-6)
    np.testing.assert_allclose(found[:, :WORD_LENGTH].sum(axis=0), 0, atol=1e-5)
