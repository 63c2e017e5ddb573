"""How varied a pool is, in two numbers: the entropy of its styles, and how far apart its artworks are. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.arrays import Floats
from features.catalogue import Catalogue


@dataclass(frozen=True)
class Diversity:
    """How varied a pool is; 0 for an empty one."""

    entropy: float  # bits, of the share of each style
    spread: float  # mean of 1 - cosine over all pairs of content vectors, 0 to 2

    def keeps(self, share: float, before: Diversity) -> bool:
        """Whether both numbers are at least ``share`` of what they were."""
        return self.entropy >= share * before.entropy and self.spread >= share * before.spread


def diversity_of(
    catalogue: Catalogue, vectors: Floats | None = None, styles: Sequence[Sequence[str]] = ()
) -> Diversity:
    """The diversity of the active pool, with artworks of these content vectors (k, 128) and styles added to it."""
    counts = Counter(
        {style: int(catalogue.active[rows].sum()) for style, rows in catalogue.style_rows.items()}
    ) + Counter(style.casefold() for each in styles for style in set(each))
    pool = catalogue.vectors[catalogue.active]
    return Diversity(_entropy(list(counts.values())), _spread(pool if vectors is None else np.vstack([pool, vectors])))


def _entropy(counts: Sequence[int]) -> float:
    """Bits."""
    if not counts:
        return 0.0
    shares = np.array(counts, dtype=float) / sum(counts)
    return float(-np.sum(shares * np.log2(shares)))


def _spread(vectors: Floats) -> float:
    """The mean over all pairs, in closed form: the square of the sum holds every inner product twice."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0).astype(np.float64)
    count = len(unit)
    if count < 2:  # noqa: PLR2004 - a pair
        return 0.0
    twice = float(np.sum(unit.sum(axis=0) ** 2) - np.sum(unit**2))
    return 1.0 - twice / (count * (count - 1))
