"""How good lists are: one metric, one function; pure arithmetic on ids, no models and no data."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from scipy.stats import rankdata


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
