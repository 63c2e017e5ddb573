"""What a browser should load now: how probable it is that each artwork is shown, what it costs, until when it holds.

Pure arithmetic on a leased list: the lease is what keeps prefetching from ever causing a repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from features.arrays import Floats
from features.settings import Settings

Size = tuple[int | None, int | None]  # of an image: width and height in pixels, where the host knows them
Network = Literal["4g", "3g", "2g", "slow-2g"]

#: Below this probability of being shown, an artwork is not worth its bytes on such a network.
THRESHOLDS: dict[Network, float] = {"4g": 0.15, "3g": 0.30, "2g": 0.45, "slow-2g": 0.60}
WINDOW = 4  # an artwork comes at most this many ranks later than its own
BYTES_PER_PIXEL = 0.2  # a usual JPEG or WebP


@dataclass(frozen=True)
class Planned:
    """One artwork of a plan."""

    place: int  # on the list it was leased by, from 0
    p_shown: float
    bytes: int


def shown_probabilities(shown: int, count: int, alpha: float, beta: float) -> NDArray[np.float64]:
    """P(the session shows at least j more | it has shown ``shown``), j = 1..count, shape (count,).

    Beta-geometric: P(length >= n + j | n) with n = shown + 1, the artwork on display included (Fader & Hardie, "How to
    project customer retention", 2007).
    """
    n = shown + 1
    j = np.arange(1, count + 1)
    total = gammaln(beta + n - 1 + j) + gammaln(alpha + beta + n - 1) - gammaln(beta + n - 1)
    return np.asarray(np.exp(total - gammaln(alpha + beta + n - 1 + j)))


def plan(
    sizes: Sequence[Size],
    shown: int,
    settings: Settings,
    *,
    network: Network,
    save_data: bool,
    byte_budget: int | None,
) -> list[Planned]:
    """The artworks worth loading now, in order: cut where the next is too improbable or the byte budget ends.

    ``shown``: artworks that the session has shown.
    """
    chances = shown_probabilities(shown, len(sizes), settings.session_alpha, settings.session_beta)
    planned, spent = [], 0
    for place, (pixels, chance) in enumerate(zip(sizes, chances, strict=True)):
        size = _bytes(pixels, settings)
        over = byte_budget is not None and spent + size > byte_budget
        if over or chance < THRESHOLDS[network] or (save_data and place > 0):
            break
        spent += size
        planned.append(Planned(place, float(chance), size))
    return planned


def smooth(vectors: Floats) -> NDArray[np.intp]:
    """An order of ranked artworks in which neighbours in content follow each other, shape (n,).

    Greedy nearest neighbour among the next `WINDOW` ranks; an artwork is taken at once when waiting longer would put
    it more than `WINDOW` ranks behind its own. ``vectors``: (n, d), content, in order of rank.
    """
    left = list(range(len(vectors)))
    order: list[int] = []
    while left:
        order.append(left.pop(_next(vectors, left, order)))
    return np.array(order, dtype=np.intp)


def rank_traded(order: NDArray[np.intp]) -> float:
    """The mean number of ranks by which an order (a permutation of 0..n-1) departs from pure rank."""
    return float(np.mean(np.abs(order - np.arange(len(order))))) if len(order) else 0.0


def _next(vectors: Floats, left: list[int], order: list[int]) -> int:
    """The place in ``left`` of the artwork that comes next."""
    if not order or len(order) - left[0] >= WINDOW:
        return 0
    window = left[:WINDOW]
    return int(np.argmax(vectors[window] @ vectors[order[-1]]))


def _bytes(pixels: Size, settings: Settings) -> int:
    """The likely size of the image, in bytes."""
    width, height = pixels
    if width and height:
        return int(width * height * BYTES_PER_PIXEL)
    return settings.artwork_bytes
