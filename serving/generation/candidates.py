"""What could be ordered for whom: real artworks that at-risk users liked, and who would like another such. Pure.

A medoid is always a real artwork, since the mean of a user's tastes is nobody's taste. Nothing can be made like one
without usable DNA: the nearest that has it takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from features.arrays import Rows
from features.catalogue import Catalogue
from features.dna import DnaKind
from serving import heuristic
from serving.generation.demand import Numbers
from serving.generation.planner import Wanted, medoids, relevant_users
from serving.generation.situation import People, Taste
from serving.ranking import signal_rows_of

MOST_MEDOIDS = 200
LIKES = 20  # of one user, the strongest; likes fade with time, so these are recent ones
STRONG = 0.25  # of a user's strongest signal: what is weaker was merely seen
STAND_INS = 3  # artworks for who has liked nothing yet
NEAR = 0.5  # cosine of directions: as far as two artworks of one style commonly are


def find_candidates(catalogue: Catalogue, people: People, tastes: Sequence[Taste], need: Numbers) -> Wanted:
    """The medoids, as rows of the catalogue, and to whom each is relevant; empty where nothing has usable DNA.

    ``need`` (n,): of each user; who needs nothing sways no choice of a medoid.
    """
    likes = [_likes(catalogue, people, tastes[row], row, at_risk=need[row] > 0) for row in range(len(tastes))]
    rows, columns = np.unique(np.concatenate([np.zeros(0, np.int32), *likes]), return_inverse=True)
    shape = (len(likes), len(rows))
    if not len(rows):
        return Wanted(np.zeros(0, np.int64), csr_matrix((0, len(likes))))
    starts = np.cumsum([0, *(len(part) for part in likes)])
    liked = csr_matrix((np.ones(len(columns)), columns, starts), shape=shape)
    directions = catalogue.space.directions(rows)
    chosen = medoids(directions, liked, need, MOST_MEDOIDS)
    users = relevant_users(directions, chosen, liked, NEAR)
    return _merged(_with_dna(catalogue, rows[chosen]), users)


def _likes(catalogue: Catalogue, people: People, taste: Taste, row: int, *, at_risk: bool) -> Rows:
    """What a user liked most; for an at-risk user who liked nothing, what stands in for it."""
    rows, weights = signal_rows_of(catalogue, taste.keys, taste.weights)
    # A mere display weighs little, yet where there is nothing else it tells something: seen longest comes first.
    liked = np.flatnonzero((weights > 0) & (weights >= STRONG * weights.max(initial=0.0)))
    liked = liked[np.argsort(-weights[liked], kind="stable")][:LIKES]
    if len(liked):
        return rows[liked]
    return _stand_ins(catalogue, people, row) if at_risk else np.zeros(0, np.int32)


def _stand_ins(catalogue: Catalogue, people: People, row: int) -> Rows:
    """What a user of whom nothing is known would be shown first: the chosen styles', the best, the newest."""
    active = np.flatnonzero(catalogue.active).astype(np.int32)
    chosen = catalogue.with_styles(people.styles[row])[active]
    scores = heuristic.score(catalogue, active, chosen, coverage=0.0, user_id=people.user_ids[row])
    return active[np.argsort(-scores, kind="stable")[:STAND_INS]]


def _with_dna(catalogue: Catalogue, rows: Rows) -> Rows:
    """Each artwork, or the nearest active one with usable DNA; -1 where there is none."""
    found, lacking = rows.copy(), np.flatnonzero(catalogue.dna_kinds[rows] != DnaKind.REAL)
    real = np.flatnonzero(catalogue.active & (catalogue.dna_kinds == DnaKind.REAL)).astype(np.int32)
    if not len(real):
        found[lacking] = -1
    elif len(lacking):
        around = catalogue.space.directions(real)
        found[lacking] = real[np.argmax(catalogue.space.directions(rows[lacking]) @ around.T, axis=1)]
    return found


def _merged(rows: Rows, users: csr_matrix) -> Wanted:
    """Medoids for which the same artwork stands are one; those without any are left out."""
    distinct, first, whose = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # of choice
    order = order[distinct[order] >= 0]
    gather = csr_matrix((np.ones(len(rows)), (whose, np.arange(len(rows)))), shape=(len(distinct), len(rows)))
    together = csr_matrix((gather @ users) > 0, dtype=np.float64)
    return Wanted(distinct[order].astype(np.int64), together[order])
