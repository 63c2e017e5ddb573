"""From a user's state to an order of everything that may be offered: candidates, scores, the ladder. No database.

Ranking has a deadline; a model that is missing, late or broken is counted and the next rung answers. Offline
judging comes through here as requests do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Keys, Mask, Rows
from features.catalogue import ANY_ORIENTATION, ORIENTATIONS, Catalogue
from features.errors import CannotScoreError
from features.settings import Settings
from features.weights import combine
from serving import heuristic, ladder, telemetry
from serving.ladder import Evidence, Fallback, Ranking
from serving.leases import UserState
from serving.live import View
from serving.model import Model
from serving.rankers import ContentRanker

T = TypeVar("T")
THRESHOLD_SAMPLE = 2_000  # pool artworks that a user's quantiles are taken over
RELEVANT, NEAR = 0.5, 0.75  # quantiles of a user's scores over the pool: relevant to the model, near in content
NEAREST = 1_000  # artworks that an index is asked for
LEAST_DEPTH, DEPTHS = 500, 10  # how far down an order is needed: so far, and so many times the length of a list
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


class Sorter:
    """Puts candidates in order in a few threads, each piece of work within the deadline."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.rank_threads, thread_name_prefix="rank")
        self._running = 0

    async def rank(
        self, view: View, state: UserState, ask: Ask, rows: Rows, *, lift: float | None = None, whole: bool = False
    ) -> Ranking:
        """Candidates (ascending) in order, by whatever can score in time: the best and what is held, or the ``whole``.

        ``lift``: see `model_scores`; None: as set.
        """
        catalogue = view.catalogue
        signal_rows, weights = signal_rows_of(catalogue, state.signal_keys, state.signal_weights)
        named = _asked(catalogue, ask)
        asked = np.ones(len(rows), bool) if named is None else named[rows]
        chosen = catalogue.with_styles(state.styles)[rows]
        if named is not None:
            chosen |= asked
        coverage = 1.0 - len(rows) / max(catalogue.size, 1)
        lift = self._settings.exploration if lift is None else lift
        scored = await self._model_scores(view, signal_rows, weights, rows, lift)
        evidence = Evidence(
            rows=rows,
            heuristic=None,
            asked=asked,
            chosen=chosen,
            model=None if isinstance(scored, str) else scored[0],
            threshold=0.0 if isinstance(scored, str) else scored[1],
        )
        if ladder.lacks(evidence, ask.limit):
            near = await self._timed("content", partial(near_scores, catalogue, signal_rows, weights, rows))
            if not isinstance(near, str):
                evidence = dataclasses.replace(evidence, near=near[0], near_threshold=near[1])
        if ladder.needs_heuristic(evidence):
            own = heuristic.score(catalogue, rows, chosen, coverage=max(coverage, 0.0), user_id=ask.user_id)
            evidence = dataclasses.replace(evidence, heuristic=own)
        depth = None if whole else max(LEAST_DEPTH, DEPTHS * ask.limit)
        held = np.zeros(len(rows), dtype=bool)
        held[_places_in(rows, catalogue.rows(state.held))] = True
        ranking = ladder.climb(evidence, depth=depth, keep=held)
        return dataclasses.replace(ranking, fallback=scored) if isinstance(scored, str) else ranking

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _model_scores(
        self, view: View, signal_rows: Rows, weights: Floats, rows: Rows, lift: float
    ) -> tuple[Floats, float] | Fallback:
        """The model's scores and the user's median over the pool, or why it cannot answer."""
        model = view.model
        if model is None:
            return _skipped("model", "missing")
        work = partial(model_scores, view.catalogue, model, signal_rows, weights, rows, lift=lift)
        return await self._timed("model", work)

    async def _timed(self, source: str, work: Callable[[], T]) -> T | Fallback:
        """Run ``work`` in a thread within the deadline; why, counted, when it cannot answer."""
        if self._running >= self._settings.rank_threads:
            return _skipped(source, "busy")
        self._running += 1
        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        job.add_done_callback(self._ended)
        done, _ = await asyncio.wait([job], timeout=self._settings.rank_deadline_ms / 1000)
        if not done:
            return _skipped(source, "late")
        return _result(source, job)

    def _ended(self, job: asyncio.Future[Any]) -> None:
        """A thread is free again; a late job's error is taken note of, so that asyncio need not complain."""
        self._running -= 1
        if not job.cancelled():
            job.exception()


def _places_in(rows: Rows, wanted: Rows) -> NDArray[np.intp]:
    """The places in ascending ``rows`` of those of ``wanted`` that are there."""
    places = np.searchsorted(rows, wanted)
    inside = places < len(rows)
    places, wanted = places[inside], wanted[inside]
    return np.asarray(places[rows[places] == wanted])


def choose_candidates(catalogue: Catalogue, state: UserState, ask: Ask) -> Candidates:
    """Active artworks that the user has not seen, that fit, and that no other session of the user holds."""
    unseen = catalogue.active.copy()
    unseen[catalogue.rows(state.seen)] = False
    left = int(np.count_nonzero(unseen))
    fitting = fits(catalogue, _orientation_of(ask, state))
    eligible = unseen & fitting
    wanted = eligible & ~_named(catalogue, ask.exclude)
    named = _asked(catalogue, ask)
    if ask.strict_styles and named is not None:
        wanted &= named
    wanted[catalogue.rows(state.retired)] = False
    unseen_total, asked = int(np.count_nonzero(eligible)), int(np.count_nonzero(wanted))
    wanted[catalogue.rows(state.held_elsewhere)] = False
    rows = np.flatnonzero(wanted).astype(np.int32)
    excluded = {
        "seen": catalogue.size - left,
        "orientation": left - unseen_total,
        "asked": unseen_total - asked,  # exclude, strict styles, retired
        "leased": asked - len(rows),
    }
    return Candidates(rows, int(np.count_nonzero(catalogue.active & fitting)), unseen_total, excluded)


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
    pool = np.flatnonzero(catalogue.active)
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


def _result(source: str, job: asyncio.Future[T]) -> T | Fallback:
    """The job's result; why there is none, counted, for a user it cannot score or an error of any kind."""
    error = job.exception()
    if error is None:
        return job.result()
    if isinstance(error, CannotScoreError):
        return _skipped(source, "cannot_score")
    telemetry.get_logger().error("ranking failed", source=source, error=repr(error))
    return _skipped(source, "broken")


def _skipped(source: str, reason: Fallback) -> Fallback:
    """Count it."""
    telemetry.SKIPPED.labels(source, reason).inc()
    return reason


def signal_rows_of(catalogue: Catalogue, keys: Keys, signal_weights: Floats) -> tuple[Rows, Floats]:
    """A user's signals on artworks of the snapshot, summed per artwork."""
    known = keys < len(catalogue.row_of_key)
    rows, weights = catalogue.row_of_key[keys[known]], signal_weights[known]
    return combine(rows[rows >= 0], weights[rows >= 0])


def _orientation_of(ask: Ask, state: UserState) -> str | None:
    """The orientation that binds: the request's, else the user's own; None for all."""
    orientation = ask.orientation or state.orientation
    return None if orientation in BOTH else orientation


def _asked(catalogue: Catalogue, ask: Ask) -> Mask | None:
    """Which artworks are in a style or by an artist that the request names; None when it names none."""
    if not ask.styles and not ask.artists:
        return None
    return catalogue.with_styles(ask.styles) | catalogue.with_artists(ask.artists)


def fits(catalogue: Catalogue, orientation: str | None) -> Mask:
    """Which artworks fit an orientation; one without an orientation fits all."""
    if orientation not in ORIENTATIONS:
        return np.ones(len(catalogue.keys), dtype=bool)
    code = ORIENTATIONS.index(orientation)
    return np.asarray((catalogue.orientation == code) | (catalogue.orientation == ANY_ORIENTATION))


def _named(catalogue: Catalogue, artwork_ids: tuple[str, ...]) -> Mask:
    """Which artworks are named in ``artwork_ids``."""
    mask = np.zeros(len(catalogue.keys), dtype=bool)
    if artwork_ids:
        wanted = set(artwork_ids)
        mask[[row for row, artwork_id in enumerate(catalogue.ids) if artwork_id in wanted]] = True
    return mask
