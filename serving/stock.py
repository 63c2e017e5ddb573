"""What many users have left to see that is relevant to them: S of the definitions, and coverage beside it.

Relevant is what the live model scores no lower than the user's median over the pool; a chosen style always is, and so
is everything where no model can tell. In a large pool the share is taken over a sample, evenly spread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.arrays import Keys, Mask, Rows
from features.catalogue import Catalogue
from features.errors import CannotScoreError
from serving.demand import Counts, Numbers
from serving.live import View
from serving.model import Model
from serving.ranking import RELEVANT, fits, signal_rows_of, with_quantile
from serving.situation import People, Taste

MOST_SCORED = 300  # unseen artworks of one user, and as many seen ones, that are scored
THRESHOLD_SAMPLE = 500  # pool artworks that a user's median is taken over


@dataclass(frozen=True)
class Shelf:
    """What is on the shelf for n users; arrays of shape (n,)."""

    eligible: Counts  # active artworks that fit the user
    seen: Counts  # of them
    unseen: Counts  # relevant ones not seen, leased ones included
    relevant_seen: Counts  # relevant ones seen

    @property
    def coverage(self) -> Numbers:
        """Seen share of what is eligible; NaN where nothing is."""
        return _share(self.seen, self.eligible)

    @property
    def coverage_relevant(self) -> Numbers:
        """Seen share of what is relevant; NaN where nothing is."""
        return _share(self.relevant_seen, self.relevant_seen + self.unseen)


def shelf_of(
    view: View, people: People, tastes: Sequence[Taste] | None, made: Mapping[str, Sequence[int]] | None = None
) -> Shelf:
    """The shelf of each of these people; without ``tastes`` everything counts as relevant.

    ``made``: keys of artworks that were ordered for a user; else an order that the model thinks little of would be
    placed again and again.
    """
    catalogue = view.catalogue
    fitting: dict[str | None, Mask] = {}
    counts = np.zeros((4, len(people.user_ids)), dtype=np.int64)
    for place, (keys, styles, orientation) in enumerate(
        zip(people.seen, people.styles, people.orientations, strict=True)
    ):
        if orientation not in fitting:
            fitting[orientation] = catalogue.active & fits(catalogue, orientation)
        eligible = fitting[orientation]
        seen, unseen = _parted(catalogue, eligible, keys)
        relevant = (len(unseen), len(seen))
        if view.model is not None and tastes is not None:
            own = catalogue.rows(np.array((made or {}).get(people.user_ids[place], ()), dtype=np.int32))
            others, theirs = unseen[~np.isin(unseen, own)], seen[~np.isin(seen, own)]
            found = _relevant(catalogue, view.model, tastes[place], styles, (others, theirs))
            relevant = (found[0] + len(unseen) - len(others), found[1] + len(seen) - len(theirs))
        counts[:, place] = (len(unseen) + len(seen), len(seen), *relevant)
    return Shelf(*counts)


def _parted(catalogue: Catalogue, eligible: Mask, keys: Keys) -> tuple[Rows, Rows]:
    """The rows of ``eligible`` that are among ``keys``, and those that are not."""
    unseen = eligible.copy()
    unseen[catalogue.rows(keys)] = False
    return np.flatnonzero(eligible & ~unseen).astype(np.int32), np.flatnonzero(unseen).astype(np.int32)


def _relevant(
    catalogue: Catalogue, model: Model, taste: Taste, styles: Sequence[str], parts: tuple[Rows, Rows]
) -> tuple[int, int]:
    """How many of each part are relevant; all, to somebody whom the model cannot score."""
    samples = [rows[:: max(-(-len(rows) // MOST_SCORED), 1)] for rows in parts]
    rows = np.concatenate(samples)
    score = partial(model.score, *signal_rows_of(catalogue, taste.keys, taste.weights))
    try:
        scores, threshold = with_quantile(catalogue, rows, RELEVANT, score, THRESHOLD_SAMPLE)
    except CannotScoreError:
        return len(parts[0]), len(parts[1])
    relevant = ~(scores < threshold)  # what no part of the model can score is not held against the artwork
    if styles:
        relevant |= catalogue.with_styles(styles)[rows]
    first = len(samples[0])
    return _scaled(relevant[:first], len(parts[0])), _scaled(relevant[first:], len(parts[1]))


def _scaled(relevant: Mask, count: int) -> int:
    """How many of ``count`` are relevant when these of a sample are."""
    return round(float(relevant.mean()) * count) if len(relevant) else 0


def _share(part: Counts, whole: Counts) -> Numbers:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))
