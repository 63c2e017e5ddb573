"""What many users have left to see that is relevant to them: S of the definitions, and coverage beside it.

Relevant is what the live model scores no lower than the user's median over the pool; a chosen style always is, and so
is everything where no model can tell. By that median half of the pool is relevant to anybody; so whoever has seen far
less than half has much left for certain, and is not scored: S is then told as if all that was seen had been relevant,
the least it can be. In a large pool the share is taken over a sample, evenly spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from features.arrays import Keys, Mask, Rows
from features.catalogue import Catalogue
from features.errors import CannotScoreError
from serving.generation.demand import Counts, Numbers
from serving.generation.situation import People, Taste
from serving.live import View
from serving.model import Model
from serving.ranking import RELEVANT, signal_rows_of, with_quantile

MOST_SCORED = 300  # unseen artworks of one user, and as many seen ones, that are scored
THRESHOLD_SAMPLE = 500  # pool artworks that a user's median is taken over
PLENTY = 200  # relevant artworks that are certain, from which nobody counts more exactly: hours of them


@dataclass(frozen=True)
class Shelf:
    """What is on the shelf for n users; arrays of shape (n,)."""

    eligible: Counts  # active artworks that fit the user
    seen: Counts  # of them
    unseen: Counts  # relevant ones not seen, leased ones included; at least so many
    relevant_seen: Counts  # relevant ones seen

    def with_rows(self, rows: Counts, other: Shelf) -> Shelf:
        """The same with these rows from another shelf, which holds only them."""
        parts = [part.copy() for part in (self.eligible, self.seen, self.unseen, self.relevant_seen)]
        for part, new in zip(parts, (other.eligible, other.seen, other.unseen, other.relevant_seen), strict=True):
            part[rows] = new
        return Shelf(*parts)

    @property
    def coverage(self) -> Numbers:
        """Seen share of what is eligible; NaN where nothing is."""
        return _share(self.seen, self.eligible)

    @property
    def coverage_relevant(self) -> Numbers:
        """Seen share of what is relevant; NaN where nothing is."""
        return _share(self.relevant_seen, self.relevant_seen + self.unseen)


def shelf_of(view: View, people: People) -> Shelf:
    """The shelf of each of these people, before anybody is scored."""
    catalogue = view.catalogue
    counts = np.array([[len(part) for part in parts] for parts in _parts(catalogue, people)], dtype=np.int64)
    seen, unseen = counts.reshape(-1, 2).T
    eligible = seen + unseen
    if view.model is None:
        return Shelf(eligible, seen, unseen, seen)
    return Shelf(eligible, seen, np.maximum(_certain(catalogue, eligible, seen), 0), seen)


def unclear(view: View, shelf: Shelf) -> Counts:
    """The rows of those who must be scored, since they may have little left."""
    if view.model is None:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(_certain(view.catalogue, shelf.eligible, shelf.seen) < PLENTY)


def score_shelf(
    view: View, people: People, tastes: Sequence[Taste], made: Mapping[str, Sequence[int]] | None = None
) -> Shelf:
    """The shelf of each of these people, as the live model scores it.

    ``made``: keys of artworks that were ordered for a user, relevant for that; else an order that the model thinks
    little of would be placed again and again.
    """
    catalogue, model = view.catalogue, view.model
    assert model is not None  # noqa: S101 - who is unclear has one
    counts = np.zeros((4, len(people.user_ids)), dtype=np.int64)
    for place, (seen, unseen) in enumerate(_parts(catalogue, people)):
        own = catalogue.rows(np.array((made or {}).get(people.user_ids[place], ()), dtype=np.int32))
        others, theirs = unseen[~np.isin(unseen, own)], seen[~np.isin(seen, own)]
        found = _relevant(catalogue, model, tastes[place], people.styles[place], (others, theirs))
        relevant = (found[0] + len(unseen) - len(others), found[1] + len(seen) - len(theirs))
        counts[:, place] = (len(unseen) + len(seen), len(seen), *relevant)
    return Shelf(*counts)


def _certain(catalogue: Catalogue, eligible: Counts, seen: Counts) -> Counts:
    """Relevant artworks that are left at least: half of the pool, without what does not fit and what was seen."""
    return np.asarray(catalogue.size // 2 - (catalogue.size - eligible) - seen)


def _parts(catalogue: Catalogue, people: People) -> Iterator[tuple[Rows, Rows]]:
    """Of each user, the rows that fit and were seen, and those that fit and were not."""
    fitting: dict[str | None, Mask] = {}
    for keys, orientation in zip(people.seen, people.orientations, strict=True):
        if orientation not in fitting:
            fitting[orientation] = catalogue.active & catalogue.fits(orientation)
        yield _parted(catalogue, fitting[orientation], keys)


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
