"""How good lists are: one metric, one function; pure arithmetic on ids and numbers, no models and no data.

How sure a mean over users is, is training.intervals' business.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from features.arrays import Floats

CALIBRATION_BINS = 10


def recall(recommended: Sequence[str], relevant: Collection[str]) -> float:
    """Share of the relevant artworks that are on the list: |list and relevant| / |relevant|.

    Recall@k when the list has k places (Manning, Raghavan & Schuetze, Introduction to Information Retrieval, 2008,
    section 8.4). ``relevant`` must not be empty.

    >>> recall(["a", "b", "c"], {"a", "c", "x", "y"})
    0.5
    """
    return len(set(recommended) & set(relevant)) / len(set(relevant))


def ndcg(recommended: Sequence[str], relevant: Collection[str], places: int) -> float:
    """Gain discounted by place over the best possible: sum of 1 / log2(place + 1) over hits / the same, all hits first.

    NDCG@k with binary gain (Jaervelin & Kekaelaeinen, ACM TOIS 20(4), 2002), places counted from 1; the best list
    has min(k, |relevant|) hits. ``relevant`` must not be empty.

    >>> ndcg(["a", "b"], {"a"}, 2)
    1.0
    >>> round(ndcg(["b", "a"], {"a"}, 2), 4)
    0.6309
    """
    gain = sum(_discount(place) for place, artwork in enumerate(recommended[:places], 1) if artwork in relevant)
    return gain / sum(_discount(place) for place in range(1, min(places, len(relevant)) + 1))


def hit(recommended: Sequence[str], relevant: Collection[str]) -> float:
    """1 when at least one relevant artwork is on the list, else 0; its mean over users is the hit rate (HR@k).

    Deshpande & Karypis, ACM TOIS 22(1), 2004, there with one held-out artwork per user.

    >>> hit(["a", "b"], {"b", "x"}), hit(["a", "b"], {"x"})
    (1.0, 0.0)
    """
    return float(any(artwork in relevant for artwork in recommended))


def reciprocal_rank(recommended: Sequence[str], relevant: Collection[str]) -> float:
    """1 / place of the first relevant artwork, places from 1; 0 without one. Its mean over users is MRR.

    Voorhees, TREC-8 question answering track (1999).

    >>> reciprocal_rank(["a", "b", "c"], {"b", "c"})
    0.5
    """
    return next((1.0 / place for place, artwork in enumerate(recommended, 1) if artwork in relevant), 0.0)


def average_precision(recommended: Sequence[str], relevant: Collection[str], places: int) -> float:
    """Mean over the places of hits of the precision up to there: sum of hits so far / place, over min(k, |relevant|).

    Its mean over users is MAP@k (Manning, Raghavan & Schuetze, 2008, section 8.4), cut at k places.
    ``relevant`` must not be empty.

    >>> average_precision(["a", "x", "b"], {"a", "b"}, 3) == (1 / 1 + 2 / 3) / 2
    True
    """
    found, total = 0, 0.0
    for place, artwork in enumerate(recommended[:places], 1):
        if artwork in relevant:
            found += 1
            total += found / place
    return total / min(places, len(relevant))


def cold_recall(recommended: Sequence[str], relevant: Collection[str], trained: Collection[str]) -> float | None:
    """Recall over the relevant artworks that were not in training; None where all of them were.

    The usual measure of item cold start (Schein et al., SIGIR 2002).

    >>> cold_recall(["new", "old"], {"new", "newer", "old"}, trained={"old"})
    0.5
    """
    cold = set(relevant).difference(trained)
    return recall(recommended, cold) if cold else None


def repeat_rate(lists: Collection[Iterable[Hashable]], seen: Collection[AbstractSet[Hashable]]) -> float:
    """Share of the listed places that hold what their user has seen before: never anything but 0.

    >>> repeat_rate([["a", "b"], ["c", "d"]], [{"b"}, {"a"}])
    0.25
    """
    pairs = zip(lists, seen, strict=True)
    repeated = [artwork in before for recommended, before in pairs for artwork in recommended]
    return sum(repeated) / len(repeated) if repeated else 0.0


def diversity(vectors: Floats) -> float | None:
    """How unlike the artworks of one list are: the mean of 1 - cosine over all its pairs of ``vectors`` (m, d).

    Intra-list diversity (Ziegler et al., WWW 2005). Rows of zeros, of which nothing is known, are left out; None with
    fewer than two others. Sum over pairs = (|sum v|^2 - m) / 2, so no pair is ever formed.

    >>> diversity(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]], np.float32)) == 1 - 1 / 3
    True
    """
    told = vectors[vectors.any(axis=1)].astype(np.float64)
    count = len(told)
    if count < 2:  # noqa: PLR2004 - a pair
        return None
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    total = told.sum(axis=0)
    return 1.0 - float((total @ total - np.einsum("ij,ij", told, told)) / (count * (count - 1)))


def exposure(lists: Collection[Sequence[str]], artwork_ids: Collection[str]) -> float:
    """Share of all listed places that these artworks, such as those of one style, have; 0 without places.

    Group exposure with every place counting alike (Singh & Joachims, KDD 2018).

    >>> exposure([["a", "b"], ["a", "c"]], {"a"})
    0.5
    """
    places = sum(len(recommended) for recommended in lists)
    wanted = set(artwork_ids)
    return sum(artwork in wanted for recommended in lists for artwork in recommended) / places if places else 0.0


def calibration_error(expected: NDArray[np.floating], liked: NDArray[np.bool_], bins: int = CALIBRATION_BINS) -> float:
    """How far expected probabilities are from what happened: the sum over bins of n_b / n |mean p_b - share liked_b|.

    Expected calibration error (Naeini, Cooper & Hauskrecht, AAAI 2015) over ``bins`` groups of equal size in the order
    of p; equal p stay together. ``expected`` (n,) within 0 and 1, ``liked`` (n,); n must not be 0.

    >>> calibration_error(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, True, True, True]), bins=2)
    0.25
    """
    group = np.minimum((rankdata(expected, "min") - 1) * bins // len(expected), bins - 1).astype(np.intp)
    gaps = np.bincount(group, expected, bins) - np.bincount(group, liked, bins)
    return float(np.abs(gaps).sum() / len(expected))


def coverage(lists: Collection[Sequence[str]], artworks: int) -> float:
    """Share of the artworks that are on at least one list: |union of lists| / artworks.

    Catalogue coverage (Ge, Delgado-Battenfeld & Jannach, RecSys 2010). Not the share a user has seen.

    >>> coverage([["a", "b"], ["b"]], 4)
    0.5
    """
    return len({artwork for recommended in lists for artwork in recommended}) / artworks


def novelty(lists: Collection[Sequence[str]], popularity: Mapping[str, float]) -> float:
    """How unexpected the listed artworks are, in bits: the mean of -log2(popularity) over all places.

    Mean self-information (Zhou et al., PNAS 107(10), 2010); ``popularity`` is the share of users, above 0 and at
    most 1, who met the artwork in training. 0 where every list is empty.

    >>> novelty([["a", "b"], ["b"]], {"a": 0.5, "b": 0.25})
    1.6666666666666667
    """
    bits = [-math.log2(popularity[artwork]) for recommended in lists for artwork in recommended]
    return sum(bits) / len(bits) if bits else 0.0


def auc(liked: Sequence[float], others: Sequence[float]) -> float:
    """Share of pairs (liked, other) in which the liked one scores higher, ties half: 0.5 is chance.

    Area under the ROC curve as the Mann-Whitney statistic (Hanley & McNeil, Radiology 143(1), 1982). Over what was
    shown to one user it tells taste apart from the policy that chose what to show. Neither may be empty.

    >>> auc([3.0, 1.0], [1.0, 0.0])
    0.875
    """
    ranks = rankdata([*liked, *others])[: len(liked)]
    return float((ranks.sum() - len(liked) * (len(liked) + 1) / 2) / (len(liked) * len(others)))


def _discount(place: int) -> float:
    """What a hit at this place (from 1) counts."""
    return 1.0 / math.log2(place + 1)
