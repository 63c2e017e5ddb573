"""Two rankings in one list: they pick by turns, and what is liked counts for the one that picked it. Pure.

Team-draft interleaving: Radlinski, Kurup & Joachims, "How does clickthrough data reflect retrieval quality?" (CIKM
2008). Each user compares both at once, so that far fewer users tell them apart than in two arms.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.arrays import Mask
from serving.ladder import Ranking

Teams = NDArray[np.int8]


def team_draft(one: Sequence[int], two: Sequence[int], count: int, seed: int) -> tuple[list[int], list[int]]:
    """The first ``count`` picks, and whose each is (0 or 1).

    In each round a coin says who picks first; each takes its best that nobody has. Every artwork comes once. A team
    that has nothing left lets the other go on alone.

    >>> team_draft([1, 2, 3], [3, 2, 1], 3, seed=1)[0]
    [1, 3, 2]
    """
    coins = random.Random(seed)  # noqa: S311 - a coin, no secret
    left = (iter(one), iter(two))  # what a team has passed, the other took
    taken: set[int] = set()
    picks: list[int] = []
    teams: list[int] = []
    while len(picks) < count:
        before = len(picks)
        first = coins.randrange(2)
        for team in (first, 1 - first):
            pick = next((each for each in left[team] if each not in taken), None)
            if pick is not None and len(picks) < count:
                taken.add(pick)
                picks.append(pick)
                teams.append(team)
        if len(picks) == before:
            break
    return picks, teams


def interleave(one: Ranking, two: Ranking, held: Mask, count: int, seed: int) -> tuple[Ranking, Teams]:
    """A ranking of the same artworks that begins with ``count`` drafted ones not ``held``, and each one's team.

    ``held`` (catalogue,): on lease already, so that nobody picks them. After the picks all others follow as ``one`` has
    them, as team 0.
    """
    fresh = [ranking.rows[~held[ranking.rows]][:count] for ranking in (one, two)]  # no team can get further down
    picks, teams = team_draft(fresh[0].tolist(), fresh[1].tolist(), count, seed)
    head = np.array(picks, dtype=np.int32)
    rest = one.rows[~np.isin(one.rows, head)]
    rows = np.concatenate([head, rest])
    whose = np.zeros(len(rows), dtype=np.int8)
    whose[: len(teams)] = teams
    return _taken_from(one, two, rows, whose), whose


def _taken_from(one: Ranking, two: Ranking, rows: NDArray[np.int32], teams: Teams) -> Ranking:
    """The artworks in this order, each as its team's ranking has it."""
    order = [_order_of(ranking, rows) for ranking in (one, two)]

    def chosen(name: str) -> Any:
        parts = [getattr(ranking, name)[places] for ranking, places in zip((one, two), order, strict=True)]
        return np.where(teams == 0, parts[0], parts[1])

    fallback = one.fallback or two.fallback  # one of them is enough: half of the list is not the model's
    return Ranking(rows, chosen("scores"), chosen("rungs"), chosen("sources"), fallback)


def _order_of(ranking: Ranking, rows: NDArray[np.int32]) -> NDArray[np.intp]:
    """The place of each of ``rows`` in a ranking of the same artworks."""
    order = np.argsort(ranking.rows)
    return np.asarray(order[np.searchsorted(ranking.rows, rows, sorter=order)])
