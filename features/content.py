"""Content vectors: what an artwork looks like and is called, as one unit vector, without any training.

The words (styles, motifs, artists, prompt) are hashed to fixed random directions (Weinberger et al., "Feature
hashing for large scale multitask learning", ICML 2009; random projection after Achlioptas, PODS 2001), so a new
artwork has its vector at once and any language and script works. A usable DNA vector is set beside them; a stub
or broken one falls back on the words alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from features.arrays import Floats
from features.dna import TASTE_LENGTH, DnaKind, taste_part

WORD_LENGTH = 48
LENGTH = WORD_LENGTH + TASTE_LENGTH

#: How much a token of each field counts before a part is brought to unit length.
STYLE, MOTIF, ARTIST, PROMPT = 1.0, 0.5, 0.7, 0.25
#: Share of the squared length that goes to the DNA where both parts exist.
DNA_SHARE = 0.5

_WORD = re.compile(r"\w+", re.UNICODE)


def content_vectors(dna_kinds: Sequence[DnaKind], dna: Floats, tokens: Sequence[Iterable[tuple[str, float]]]) -> Floats:
    """Unit content vectors, shape (n, 92): 48 for the words, 44 for the DNA; zeros for an artwork without either.

    ``dna``: (n, 50); ``tokens``: per artwork pairs of token and weight, as `tokens_of` makes them.
    """
    if not len(tokens):
        return np.zeros((0, LENGTH), dtype=np.float32)
    words = _unit(np.stack([_embed(pairs) for pairs in tokens]))
    real = np.asarray(dna_kinds) == DnaKind.REAL
    looks = _unit(np.where(real[:, None], taste_part(dna), 0.0).astype(np.float32))
    share = np.float32(np.sqrt(DNA_SHARE))
    both = real & words.any(axis=1)
    words[both] *= np.float32(np.sqrt(1 - DNA_SHARE))
    looks[both] *= share
    return np.hstack([words, looks])


def tokens_of(
    styles: Iterable[str | None], motifs: Iterable[str | None], artists: Iterable[str | None], prompt: str
) -> list[tuple[str, float]]:
    """The weighted tokens of one artwork; a token names its field: 'rose' the motif is not 'rose' the artist.

    The host's arrays may hold NULL and empty texts, which say nothing.
    """
    pairs = [(f"style:{name.casefold()}", STYLE) for name in styles if name]
    pairs += [(f"motif:{name.casefold()}", MOTIF) for name in motifs if name]
    pairs += [(f"artist:{name.casefold()}", ARTIST) for name in artists if name]
    pairs += [(f"word:{word}", PROMPT) for word in set(_WORD.findall(prompt.casefold()))]
    return pairs


def _embed(pairs: Iterable[tuple[str, float]]) -> Floats:
    """The weighted sum of the tokens' directions, shape (48,)."""
    total = np.zeros(WORD_LENGTH, dtype=np.float32)
    for token, weight in pairs:
        total += np.float32(weight) * _direction(token)
    return total


@lru_cache(maxsize=65_536)
def _direction(token: str) -> Floats:
    """A token's random signs, shape (48,), the same on every machine."""
    bits = np.frombuffer(hashlib.blake2b(token.encode(), digest_size=WORD_LENGTH // 8).digest(), dtype=np.uint8)
    return np.asarray(np.unpackbits(bits).astype(np.float32) * 2 - 1)


def _unit(vectors: Floats) -> Floats:
    """Each row at length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0), dtype=np.float32)
