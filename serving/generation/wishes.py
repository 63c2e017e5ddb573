"""From a medoid to the wish for another like it: new DNA near the medoid's, unlike everything that exists. Pure.

The numbers are the medoid's with a small seeded jitter, so that one plan of one epoch is the same wherever it is made,
and no two orders are the same picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from features.arrays import Floats
from features.catalogue import Catalogue
from features.content import WORD_LENGTH
from features.dna import DnaKind, taste_part
from serving.generation.painter import usual_range

TRIES = 6  # at an order's numbers, each a step farther from the medoid
PROMPT = 500  # characters of a hint
STYLES = 3  # hints


@dataclass(frozen=True)
class Medoid:
    """An artwork to make others like; what the host's row says of it."""

    artwork_id: str
    artwork_key: int
    dna: Floats  # (50,)
    styles: tuple[str, ...]  # its own, then its neighbours'
    prompt: str


@dataclass
class Looks:
    """Looks that are taken: those of the pool, of earlier orders and of this plan."""

    least: float  # distance that a new one must have from each
    taken: list[Floats] = field(default_factory=list)  # parts of (m, 44), unit length

    def accept(self, dna: Floats) -> bool:
        """Take these looks, unless others are too near."""
        look = looks_of(dna[None])
        if any(float(np.max(part @ look[0])) > 1 - self.least**2 / 2 for part in self.taken if len(part)):
            return False
        self.taken.append(look)
        return True


def looks_of(dna: Floats) -> Floats:
    """Directions of DNA vectors (m, 50) in the space of looks, (m, 44), unit length."""
    looks = taste_part(dna)
    lengths = np.linalg.norm(looks, axis=1, keepdims=True)
    return np.asarray(np.divide(looks, lengths, out=np.zeros_like(looks), where=lengths > 0))


def looks_in(catalogue: Catalogue) -> Floats:
    """The looks of every artwork whose DNA is usable, active or not, unit length."""
    looks = catalogue.vectors[catalogue.dna_kinds == DnaKind.REAL][:, WORD_LENGTH:]
    return np.asarray(looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), np.float32(1e-9)))


def new_dna(medoid: Medoid, looks: Looks, seed: Sequence[int], jitter: float) -> Floats | None:
    """Fifty numbers near the medoid's, rounded as they are stored; None where all tries are too near to something.

    ``jitter``: the deviation of each, as a share of its usual range.
    """
    low, high = usual_range()
    draw = np.random.default_rng([*seed, medoid.artwork_key])
    for step in range(1, TRIES + 1):
        noise = draw.normal(0.0, jitter * step, len(low)) * (high - low)
        dna = np.clip(medoid.dna + noise, low, high).round(4).astype(np.float32)
        if looks.accept(dna):
            return dna
    return None


def style_hints(own: Sequence[str], neighbours: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The styles to ask for: the medoid's own, then what is commonest around it; at most STYLES."""
    common = Counter(style for styles in neighbours for style in styles if style)
    return tuple(dict.fromkeys([*(style for style in own if style), *(s for s, _ in common.most_common())]))[:STYLES]
