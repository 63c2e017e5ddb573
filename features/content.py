"""Content vectors: what an artwork looks like and is called, as one vector, without any training.

The words (styles, motifs, artists, prompt) are hashed to fixed random directions (Weinberger et al., "Feature
hashing for large scale multitask learning", ICML 2009; random projection after Achlioptas, PODS 2001), so a new
artwork has its vector at once and any language and script works. A usable DNA vector is set beside them; a stub
or broken one falls back on the words alone. The inner product of two vectors is half the cosine of their words and
half that of their DNA.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from features.arrays import Floats, Mask, Rows, products
from features.dna import TASTE_LENGTH, DnaKind, taste_part

#: Of what the numbers mean; what was learnt from another version's vectors must not score this one's.
VERSION = 2
WORD_LENGTH = 84
LENGTH = WORD_LENGTH + TASTE_LENGTH

#: How much a token of each field counts before the words are brought to one length.
STYLE, MOTIF, ARTIST, PROMPT = 1.0, 0.25, 0.4, 0.1
PART = np.float32(np.sqrt(0.5))  # length of the words, and of the DNA

_WORD = re.compile(r"\w+", re.UNICODE)
#: Scripts that set no space between words: kana, Han, Thai, Lao, Burmese, Khmer.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


@dataclass(frozen=True)
class Space:
    """A pool's content vectors (n, 128), beside what tells how its artworks differ.

    To a cosine all DNA is alike, for its mean is far from nothing; differences count from ``centre`` (128,), the mean
    of the words and of the looks that are known, which stands in for the looks of an artwork without a usable DNA.
    """

    vectors: Floats
    looks: Mask  # (n,): has a usable DNA
    centre: Floats

    def differences(self, rows: Rows) -> Floats:
        """How artworks differ from the pool's mean, shape (m, 128); no difference in looks where they are unknown."""
        found = self.vectors[rows] - self.centre
        found[~self.looks[rows], WORD_LENGTH:] = 0.0
        return found

    def beside(self, vectors: Floats) -> Floats:
        """The directions of artworks that are not of this pool, from its mean; ``vectors``: (m, 128)."""
        looks = np.asarray(vectors[:, WORD_LENGTH:].any(axis=1))
        return Space(vectors, looks, self.centre).directions(np.arange(len(vectors), dtype=np.int32))

    def directions(self, rows: Rows) -> Floats:
        """The differences at length 1, so that their inner product is a cosine; zeros where there is no difference."""
        return _unit(self.differences(rows))


@dataclass(frozen=True)
class Searchable:
    """Vectors (n, d + 1) for an index: content vectors as they are, not copied, and a one where looks are unknown."""

    vectors: Floats  # (n, d)
    unknown: Mask  # (n,)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def width(self) -> int:
        """How many numbers each has."""
        return int(self.vectors.shape[1]) + 1

    def copied(self, rows: Rows | slice) -> Floats:
        """Some of them as an array, shape (m, d + 1)."""
        return np.hstack([self.vectors[rows], self.unknown[rows, None].astype(np.float32)])

    def score(self, query: Floats, rows: Rows) -> Floats:
        """Inner products with ``query`` (d + 1,), shape (m,)."""
        scores = products(self.vectors, rows, query[:-1])
        scores[self.unknown[rows]] += query[-1]
        return np.asarray(scores)


def searchable(vectors: Floats) -> Searchable:
    """Content vectors, shape (n, 128), as an index takes them."""
    return Searchable(vectors, np.asarray(~vectors[:, WORD_LENGTH:].any(axis=1)))


def space_of(vectors: Floats) -> Space:
    """The space of a pool's vectors."""
    looks = np.asarray(vectors[:, WORD_LENGTH:].any(axis=1))
    told = np.repeat([max(len(vectors), 1), max(int(looks.sum()), 1)], [WORD_LENGTH, TASTE_LENGTH])
    return Space(vectors, looks, np.asarray(vectors.sum(axis=0) / told, dtype=np.float32))


def content_vectors(dna_kinds: ArrayLike, dna: Floats, tokens: Iterable[Iterable[tuple[str, float]]]) -> Floats:
    """Content vectors, shape (n, 128): 84 for the words, 44 for the DNA, each part of length sqrt(1/2) or zeros.

    ``dna``: (n, 50); ``tokens``: per artwork pairs of token and weight, as `tokens_of` makes them.
    """
    words = _embed(tokens)
    real = np.asarray(dna_kinds) == DnaKind.REAL
    looks = np.where(real[:, None], taste_part(dna), 0.0).astype(np.float32)
    return PART * np.hstack([_unit(words), _unit(looks)])


def tokens_of(
    styles: Iterable[str | None], motifs: Iterable[str | None], artists: Iterable[str | None], prompt: str
) -> list[tuple[str, float]]:
    """The weighted tokens of one artwork; a token names its field: 'rose' the motif is not 'rose' the artist.

    The host's arrays may hold NULL and empty texts, which say nothing.
    """
    pairs = [(f"style:{name.casefold()}", STYLE) for name in styles if name]
    pairs += [(f"motif:{name.casefold()}", MOTIF) for name in motifs if name]
    pairs += [(f"artist:{name.casefold()}", ARTIST) for name in artists if name]
    pairs += [(f"word:{word}", PROMPT) for word in sorted(words_of(prompt))]
    return pairs


def words_of(text: str) -> set[str]:
    """The different words of a text in any script; pairs of characters where a script sets no spaces.

    >>> sorted(words_of("Quiet harbour, quiet sea"))
    ['harbour', 'quiet', 'sea']
    >>> sorted(words_of("霧の港"))
    ['の港', '霧の']
    """
    folded = text.casefold()
    if folded.isascii():
        return set(_WORD.findall(folded))
    return set(_words_of_any_script(unicodedata.normalize("NFC", folded)))


def _words_of_any_script(text: str) -> Iterator[str]:
    """Words between spaces, and pairs of neighbours where none are set: as informative as a dictionary's words.

    (Nie & Ren, "Chinese information retrieval: using characters or words?", IP&M 35(4), 1999.) Vowel signs and other
    marks belong to their word, though the pattern for words does not take them in.
    """
    for run in _UNSPACED.findall(text):
        letters = run if len(run) > 1 else run + " "
        yield from (letters[place : place + 2].strip() for place in range(len(letters) - 1))
    spaced = _UNSPACED.sub(" ", text)
    yield from "".join(letter if _in_word(letter) else " " for letter in spaced).split()


def _in_word(letter: str) -> bool:
    """Whether a character is a letter, a number, or a mark on one."""
    return letter.isalnum() or letter == "_" or unicodedata.category(letter) in {"Mn", "Mc"}


def _embed(tokens: Iterable[Iterable[tuple[str, float]]]) -> Floats:
    """The weighted sums of the tokens' directions, shape (n, 84)."""
    numbers: dict[str, int] = {}
    columns: list[int] = []
    weights: list[float] = []
    ends = [0]
    for pairs in tokens:
        for token, weight in pairs:
            columns.append(numbers.setdefault(token, len(numbers)))
            weights.append(weight)
        ends.append(len(columns))
    if not numbers:
        return np.zeros((len(ends) - 1, WORD_LENGTH), np.float32)
    told = csr_array((np.array(weights, np.float32), columns, ends), shape=(len(ends) - 1, len(numbers)))
    return np.asarray(told @ np.stack([_direction(token) for token in numbers]))


@lru_cache(maxsize=8_192)
def _direction(token: str) -> Floats:
    """A token's random signs, shape (84,), the same on every machine."""
    octets = hashlib.blake2b(token.encode(), digest_size=-(-WORD_LENGTH // 8)).digest()
    bits = np.unpackbits(np.frombuffer(octets, dtype=np.uint8))[:WORD_LENGTH]
    return np.asarray(bits.astype(np.float32) * 2 - 1)


def _unit(vectors: Floats) -> Floats:
    """Each row at length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0), dtype=np.float32)
