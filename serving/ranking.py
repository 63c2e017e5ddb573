"""From a user's state to what may be offered, and its scores by the model and by content. No database.

Offline judging comes through here as requests do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Keys, Mask, Rows
from features.catalogue import Catalogue
from features.errors import CannotScoreError
from features.texts import hashes_of
from features.weights import combine
from serving.leases import UserState
from serving.model import Model
from serving.rankers import ContentRanker

THRESHOLD_SAMPLE = 2_000  # pool artworks that a user's quantiles are taken over
RELEVANT, NEAR = 0.5, 0.75  # quantiles of a user's scores over the pool: relevant to the model, near in content
NEAREST = 1_000  # artworks that an index is asked for
BOTH = ("both", "any")


@dataclass(frozen=True)
class Ask:
    """One request for artworks."""

    user_id: str
    session_id: str
    limit: int
    orientation: str | None = None  # None: the user's own preference; "any": all
    styles: tuple[str, ...] = ()
    artists: tuple[str, ...] = ()  # as styles: an artwork in one of either is asked for
    strict_styles: bool = False
    exclude: tuple[str, ...] = ()
    smooth: bool = False  # neighbours in content follow each other, within a few ranks
    supersedes: str | None = None  # the session that this one replaces: its leases pass over
    least: int = 0  # with fewer candidates nothing is leased and the answer is empty


@dataclass(frozen=True)
class Candidates:
    """What may be offered, and how much was left out why."""

    rows: Rows
    eligible: int  # active artworks that fit the user, seen or not
    unseen_total: int  # those of them that the user has not seen
    excluded: dict[str, int]


def choose_candidates(catalogue: Catalogue, state: UserState, ask: Ask) -> Candidates:
    """Active artworks that the user has not seen, that fit, and that no other session of the user holds."""
    orientation = _orientation_of(ask, state)
    unseen, left = catalogue.rows_without(state.seen, orientation)
    named = asked_for(catalogue, ask)
    asked = unseen[named[unseen]] if ask.strict_styles and named is not None else unseen
    asked = _without(asked, _named(catalogue, ask.exclude), catalogue.rows(state.retired))
    rows = _without(asked, catalogue.rows(state.held_elsewhere))
    excluded = {
        "seen": catalogue.size - left,
        "orientation": left - len(unseen),
        "asked": len(unseen) - len(asked),  # exclude, strict styles, retired
        "leased": len(asked) - len(rows),
    }
    _, eligible = catalogue.fitting.get(orientation, catalogue.fitting[None])
    return Candidates(rows, eligible, len(unseen), excluded)


def model_scores(
    catalogue: Catalogue, model: Model, signal_rows: Rows, weights: Floats, rows: Rows, *, lift: float = 0.0
) -> tuple[Floats, float]:
    """The model's scores of ``rows`` (m,) and the user's median score over the pool.

    ``lift`` raises what nobody had met when the model was trained by so many standard deviations of these scores, and
    never by more than one: enough to be tried, too little to pass what a user is known to like.
    """
    scores, threshold = with_quantile(catalogue, rows, RELEVANT, partial(model.score, signal_rows, weights))
    if not lift:
        return scores, threshold
    new = ~model.knows(rows) & ~np.isnan(scores)
    if new.any():
        scores[new] += np.float32(min(lift, 1.0) * np.nanstd(scores))
    return scores, threshold


def near_scores(catalogue: Catalogue, signal_rows: Rows, weights: Floats, rows: Rows) -> tuple[Floats, float]:
    """Content nearness of ``rows`` (m,), rising, to the user's taste, and the upper quartile of it over the pool.

    In a pool too large to be scored whole, only the nearest are told apart; the others count as the last of them.
    """
    ranker = ContentRanker(catalogue.space)
    if catalogue.index is None or len(rows) < catalogue.index.exact_below:
        return with_quantile(catalogue, rows, NEAR, partial(ranker.score, signal_rows, weights))
    unseen = np.zeros(len(catalogue.keys), dtype=bool)
    unseen[rows] = True
    found, best = catalogue.index.search(ranker.taste(signal_rows, weights), unseen, NEAREST)
    scores = np.full(len(rows), best.min(), dtype=np.float32)
    scores[np.searchsorted(rows, found)] = best
    _, threshold = with_quantile(catalogue, rows[:0], NEAR, partial(ranker.score, signal_rows, weights))
    return scores, threshold


def with_quantile(
    catalogue: Catalogue,
    rows: Rows,
    quantile: float,
    score: Callable[[Rows], Floats],
    most: int = THRESHOLD_SAMPLE,
) -> tuple[Floats, float]:
    """Scores of ``rows``, and a quantile of the scores of (a fixed sample of) the pool, in one pass."""
    pool = catalogue.active_rows
    sample = pool[:: max(len(pool) // most, 1)]
    scores = score(np.concatenate([rows, sample]))
    known = scores[len(rows) :][~np.isnan(scores[len(rows) :])]
    if len(known) == 0:
        raise CannotScoreError(ranker="model", reason="it knows no artwork of the pool")
    return scores[: len(rows)], _quantile(known, quantile)


def _quantile(values: Floats, quantile: float) -> float:
    """As numpy's own with linear interpolation, without what that costs besides on a few values."""
    place = quantile * (len(values) - 1)
    low, high = math.floor(place), math.ceil(place)
    parted = np.partition(values, (low, high))
    return float(parted[low] + (parted[high] - parted[low]) * (place - low))


def signal_rows_of(catalogue: Catalogue, keys: Keys, signal_weights: Floats) -> tuple[Rows, Floats]:
    """A user's signals on artworks of the snapshot, summed per artwork."""
    known = keys < len(catalogue.row_of_key)
    rows, weights = catalogue.row_of_key[keys[known]], signal_weights[known]
    return combine(rows[rows >= 0], weights[rows >= 0])


def _orientation_of(ask: Ask, state: UserState) -> str | None:
    """The orientation that binds: the request's, else the user's own; None for all."""
    orientation = ask.orientation or state.orientation
    return None if orientation in BOTH else orientation


def asked_for(catalogue: Catalogue, ask: Ask) -> Mask | None:
    """Which artworks are in a style or by an artist that the request names; None when it names none."""
    if not ask.styles and not ask.artists:
        return None
    return catalogue.with_styles(ask.styles) | catalogue.with_artists(ask.artists)


def places_in(rows: Rows, wanted: Rows) -> NDArray[np.intp]:
    """The places in ascending ``rows`` of those of ``wanted`` that are there."""
    if not len(wanted):
        return np.zeros(0, np.intp)
    places = np.searchsorted(rows, wanted)
    inside = places < len(rows)
    places, wanted = places[inside], wanted[inside]
    return np.asarray(places[rows[places] == wanted])


def _without(rows: Rows, *others: Rows) -> Rows:
    """Ascending ``rows`` but for those of ``others``; themselves where none of these are there."""
    places = places_in(rows, np.concatenate(others))
    return np.delete(rows, places) if len(places) else rows


def _named(catalogue: Catalogue, artwork_ids: tuple[str, ...]) -> Rows:
    """The rows of those of ``artwork_ids`` that the catalogue holds."""
    if not artwork_ids:
        return np.zeros(0, np.int32)
    rows = catalogue.places.find(hashes_of(artwork_ids))
    named = zip(rows.tolist(), artwork_ids, strict=True)
    return np.array([row for row, artwork_id in named if row >= 0 and catalogue.ids[row] == artwork_id], np.int32)
