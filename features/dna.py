"""The DNA vector of an artwork: parsing, checking and scaling of its 50 numbers.

Positions 0-11 colour, 12-23 texture, 24-33 composition, 34-43 mood, 44-49 morph controls. The morph controls
follow the music and carry no taste, so content leaves them out. Library rows hold the stub of 50 equal numbers,
which says nothing; NULL, wrong lengths, NaN and text that is not JSON all occur.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats
from features.errors import BadDnaError

LENGTH = 50
TASTE_LENGTH = 44
LOWEST, HIGHEST = 0.0, 3.0

#: Upper end of each taste dimension's usual range: 0-1 or 0-2, but 13 (fractal depth) and 28 (depth layers) 0-3.
WIDE = (13, 28)


class DnaKind(enum.IntEnum):
    """What a stored vector is worth."""

    REAL = 0
    STUB = 1
    ABSENT = 2
    BROKEN = 3


def parse_dna(text: str) -> Floats:
    """The 50 numbers, shape (50,). Raises BadDnaError naming the rule that the text breaks."""
    try:
        numbers = msgspec.json.decode(text, type=list[float])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadDnaError(rule=f"it must be a JSON array of {LENGTH} numbers ({error})") from error
    if len(numbers) != LENGTH:
        raise BadDnaError(rule=f"it has {len(numbers)} numbers, not {LENGTH}")
    vector = np.asarray(numbers, dtype=np.float64)  # single precision would overflow before it can be refused
    if not np.isfinite(vector).all():
        raise BadDnaError(rule="every number must be finite")
    if vector.min() < LOWEST or vector.max() > HIGHEST:
        raise BadDnaError(rule=f"every number must be within {LOWEST:g} and {HIGHEST:g}")
    return vector.astype(np.float32)


def read_dna(text: str | None) -> tuple[DnaKind, Floats]:
    """The kind of a stored vector and its 50 numbers; zeros unless the kind is REAL."""
    nothing = np.zeros(LENGTH, dtype=np.float32)
    if text is None:
        return DnaKind.ABSENT, nothing
    try:
        vector = parse_dna(text)
    except BadDnaError:
        return DnaKind.BROKEN, nothing
    if np.ptp(vector[:TASTE_LENGTH]) == 0:
        return DnaKind.STUB, nothing
    return DnaKind.REAL, vector


def read_dnas(texts: Sequence[str | None]) -> tuple[NDArray[np.int8], Floats]:
    """As `read_dna`, of many stored vectors: kinds (n,) and numbers (n, 50)."""
    kinds = np.full(len(texts), DnaKind.BROKEN, np.int8)
    vectors = np.zeros((len(texts), LENGTH), np.float32)
    places, lists = [], []
    for place, text in enumerate(texts):
        if text is None:
            kinds[place] = DnaKind.ABSENT
            continue
        try:
            numbers = msgspec.json.decode(text, type=list[float])
        except (msgspec.DecodeError, RecursionError):
            continue
        if len(numbers) == LENGTH:
            places.append(place)
            lists.append(numbers)
    if not places:
        return kinds, vectors
    found = np.array(lists, dtype=np.float64)
    usable = ((found >= LOWEST) & (found <= HIGHEST)).all(axis=1)  # which neither NaN nor infinity is
    read, kept = found[usable].astype(np.float32), np.array(places)[usable]
    real = np.ptp(read[:, :TASTE_LENGTH], axis=1) > 0
    kinds[kept] = np.where(real, np.int8(DnaKind.REAL), np.int8(DnaKind.STUB))
    vectors[kept[real]] = read[real]
    return kinds, vectors


def taste_part(vectors: Floats) -> Floats:
    """Scale (n, 50) vectors to (n, 44), each dimension over its own range and about its middle: within -1 and 1.

    Fixed ranges rather than the pool's own mean, so that a vector means the same in a growing pool; centred,
    because raw cosine is squeezed near 1.
    """
    taste = vectors[:, :TASTE_LENGTH]
    top = np.full(TASTE_LENGTH, 2.0, dtype=np.float32)
    top[list(WIDE)] = HIGHEST
    return np.asarray(taste / top * 2.0 - 1.0, dtype=np.float32)
