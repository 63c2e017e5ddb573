"""Variety: the head of a list chosen so that its artworks differ, at a price in rank. Pure.

Maximal marginal relevance: Carbonell & Goldstein, "The use of MMR, diversity-based reranking" (SIGIR 1998).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats

HEAD = 5  # times the length of a list: how far down an artwork may be fetched up from


def vary(differences: Floats, scores: Floats, share: float, count: int) -> NDArray[np.intp]:
    """An order of ranked artworks in which the first ``count`` are varied and the others follow by rank, shape (n,).

    ``differences``: (n, d), how they differ from the pool's mean; ``scores``: (n,), falling. Each place goes to the
    artwork with the greatest (1 - share) x relevance - share x likeness, where relevance is the score between 0 and 1
    over these artworks and likeness the greatest cosine with those before it.
    """
    ranks = np.arange(len(scores))
    if share == 0 or count < 2 or len(scores) < 2:  # noqa: PLR2004 - two artworks can differ
        return ranks
    lengths = np.linalg.norm(differences, axis=1, keepdims=True)
    unit = np.divide(differences, lengths, out=np.zeros_like(differences), where=lengths > 0)
    worth = (1 - share) * (scores - scores.min()) / max(float(np.ptp(scores)), 1e-9)
    likeness = np.full(len(scores), -1.0, dtype=np.float32)
    chosen: list[int] = []
    for _ in range(min(count, len(scores))):
        best = int(np.argmax(worth - share * likeness))
        chosen.append(best)
        worth[best] = -np.inf
        likeness = np.maximum(likeness, unit @ unit[best])
    return np.concatenate([np.array(chosen, dtype=np.intp), np.setdiff1d(ranks, chosen)])
