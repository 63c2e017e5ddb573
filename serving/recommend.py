"""The one path of a recommendation: unseen -> ranker -> ladder -> lease.

Ranking has a deadline; a model that is missing, late or broken is counted and the next rung answers. Only the
database is indispensable: without it nobody knows what was seen, and a guess could repeat.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Mask, Rows
from features.catalogue import ANY_ORIENTATION, ORIENTATIONS, Catalogue
from features.errors import CannotScoreError
from features.identifiers import new_id
from features.settings import Settings
from features.weights import combine
from serving import heuristic, ladder, telemetry
from serving.ladder import Evidence, Ranking, ShortReason
from serving.leases import Leases, ListRow, UserState
from serving.live import Live, Model, View
from serving.prefetch import rank_traded, smooth
from serving.rankers import ContentRanker, FactorRanker

T = TypeVar("T")
Places = NDArray[np.intp]  # in a ranking
POLICY = "ladder-1"
SPARES = 5  # candidates beyond the limit, for artworks that left the pool since the snapshot
THRESHOLD_SAMPLE = 2_000  # pool artworks that a user's quantiles are taken over
RELEVANT, NEAR = 0.5, 0.75  # quantiles of a user's scores over the pool: relevant to the model, near in content
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
class Answer:
    """A list: artworks as rows of the host's table with artwork_key, score, rung and position beside."""

    recommendation_id: uuid.UUID
    ask: Ask
    artworks: list[dict[str, Any]]
    policy: str
    model: str | None
    reason: ShortReason | None  # of the shortfall: exhausted, all_leased, filtered, degraded; None for a full list
    unseen_total: int  # eligible artworks the user has not seen, this list and leased ones included
    repeats: uuid.UUID | None
    rank_traded: float  # mean ranks given up for smoothness
    retry_after: float | None  # seconds
    candidates: Candidates


@dataclass(frozen=True)
class Candidates:
    """What may be offered, and how much was left out why."""

    rows: Rows
    eligible: int  # active artworks that fit the user, seen or not
    unseen_total: int  # those of them that the user has not seen
    excluded: dict[str, int]


class Recommender:
    """Answers requests for artworks from one worker."""

    def __init__(self, leases: Leases, live: Live, settings: Settings) -> None:
        self._leases = leases
        self._live = live
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.rank_threads, thread_name_prefix="rank")
        self._running = 0

    async def next(self, ask: Ask) -> Answer:
        """Unseen artworks, leased to the session. Raises DatabaseUnavailableError."""
        async with self._leases.locked(ask.user_id, ask.session_id, ask.supersedes) as (connection, state):
            view = self._live.view
            candidates = choose_candidates(view.catalogue, state, ask)
            ranking = await self._rank(view, state, ask, candidates.rows)
            row, repeats = _list_row(view, state, ask, candidates, ranking)
            enough = len(candidates.rows) >= ask.least
            artworks = await self._leases.write(connection, row) if enough else []
        _count(ask, row, artworks)
        return Answer(
            recommendation_id=row.recommendation_id,
            ask=ask,
            artworks=artworks,
            policy=row.policy,
            model=row.model_version,
            reason=(row.reason or "degraded") if len(artworks) < ask.limit else None,
            unseen_total=candidates.unseen_total,
            repeats=repeats,
            rank_traded=row.rank_traded,
            retry_after=_retry_after(row, len(artworks), state, self._settings),
            candidates=candidates,
        )

    def close(self) -> None:
        """Let the ranking threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _rank(self, view: View, state: UserState, ask: Ask, rows: Rows) -> Ranking:
        """Every candidate in order, by whatever can score in time."""
        catalogue = view.catalogue
        signal_rows, weights = _signal_rows(catalogue, state)
        named = _asked(catalogue, ask)
        asked = np.ones(len(rows), bool) if named is None else named[rows]
        chosen = catalogue.with_styles(state.styles)[rows]
        if named is not None:
            chosen |= asked
        coverage = 1.0 - len(rows) / max(catalogue.size, 1)
        scored = await self._model_scores(view, signal_rows, weights, rows)
        evidence = Evidence(
            rows=rows,
            heuristic=heuristic.score(catalogue, rows, chosen, coverage=max(coverage, 0.0), user_id=ask.user_id),
            asked=asked,
            chosen=chosen,
            model=scored[0] if scored else None,
            threshold=scored[1] if scored else 0.0,
        )
        if ladder.lacks(evidence, ask.limit):
            near = await self._timed("content", partial(near_scores, catalogue, signal_rows, weights, rows))
            if near is not None:
                evidence = dataclasses.replace(evidence, near=near[0], near_threshold=near[1])
        return ladder.climb(evidence)

    async def _model_scores(
        self, view: View, signal_rows: Rows, weights: Floats, rows: Rows
    ) -> tuple[Floats, float] | None:
        """The model's scores and the user's median over the pool, or None where it cannot answer."""
        model = view.model
        if model is None:
            telemetry.SKIPPED.labels("model", "missing").inc()
            return None
        work = partial(model_scores, view.catalogue, model, signal_rows, weights, rows)
        return await self._timed("model", work)

    async def _timed(self, source: str, work: Callable[[], T]) -> T | None:
        """Run ``work`` in a thread within the deadline; None, counted by reason, when it cannot answer."""
        if self._running >= self._settings.rank_threads:
            telemetry.SKIPPED.labels(source, "busy").inc()
            return None
        self._running += 1
        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        job.add_done_callback(self._ended)
        done, _ = await asyncio.wait([job], timeout=self._settings.rank_deadline_ms / 1000)
        if not done:
            telemetry.SKIPPED.labels(source, "late").inc()
            return None
        return _result(source, job)

    def _ended(self, job: asyncio.Future[Any]) -> None:
        """A thread is free again; a late job's error is taken note of, so that asyncio need not complain."""
        self._running -= 1
        if not job.cancelled():
            job.exception()


def choose_candidates(catalogue: Catalogue, state: UserState, ask: Ask) -> Candidates:
    """Active artworks that the user has not seen, that fit, and that no other session of the user holds."""
    unseen = catalogue.active.copy()
    unseen[catalogue.rows(state.seen)] = False
    seen = catalogue.size - int(unseen.sum())
    fits = _fits(catalogue, _orientation_of(ask, state))
    eligible = unseen & fits
    wanted = eligible & ~_named(catalogue, ask.exclude)
    named = _asked(catalogue, ask)
    if ask.strict_styles and named is not None:
        wanted &= named
    wanted[catalogue.rows(state.retired)] = False
    free = wanted.copy()
    free[catalogue.rows(state.held_elsewhere)] = False
    excluded = {
        "seen": seen,
        "orientation": int(unseen.sum() - eligible.sum()),
        "asked": int(eligible.sum() - wanted.sum()),  # exclude, strict styles, retired
        "leased": int(wanted.sum() - free.sum()),
    }
    rows = np.flatnonzero(free).astype(np.int32)
    return Candidates(rows, int((catalogue.active & fits).sum()), int(eligible.sum()), excluded)


def model_scores(
    catalogue: Catalogue, model: Model, signal_rows: Rows, weights: Floats, rows: Rows
) -> tuple[Floats, float]:
    """The model's scores of ``rows`` (m,) and the user's median score over the pool."""
    if model.ranker is None:
        return near_scores(catalogue, signal_rows, weights, rows, RELEVANT)
    return _with_quantile(catalogue, rows, RELEVANT, partial(_factor_scores, model.ranker, model, signal_rows, weights))


def near_scores(
    catalogue: Catalogue, signal_rows: Rows, weights: Floats, rows: Rows, quantile: float = NEAR
) -> tuple[Floats, float]:
    """Content nearness of ``rows`` (m,) to the user's taste, and a quantile of it over the pool."""
    ranker = ContentRanker(catalogue.vectors)
    return _with_quantile(catalogue, rows, quantile, partial(ranker.score, signal_rows, weights))


def _factor_scores(ranker: FactorRanker, model: Model, signal_rows: Rows, weights: Floats, rows: Rows) -> Floats:
    """Scores by a ranker that has rows of its own."""
    return ranker.score(model.rows[signal_rows], weights, model.rows[rows])


def _with_quantile(
    catalogue: Catalogue, rows: Rows, quantile: float, score: Callable[[Rows], Floats]
) -> tuple[Floats, float]:
    """Scores of ``rows``, and a quantile of the scores of (a fixed sample of) the pool, in one pass."""
    pool = np.flatnonzero(catalogue.active)
    sample = pool[:: max(len(pool) // THRESHOLD_SAMPLE, 1)]
    scores = score(np.concatenate([rows, sample]))
    known = scores[len(rows) :][~np.isnan(scores[len(rows) :])]
    if len(known) == 0:
        raise CannotScoreError(ranker="model", reason="it knows no artwork of the pool")
    return scores[: len(rows)], float(np.quantile(known, quantile))


def _result(source: str, job: asyncio.Future[T]) -> T | None:
    """The job's result; None, counted, for a user it cannot score or an error of any kind."""
    error = job.exception()
    if error is None:
        return job.result()
    if isinstance(error, CannotScoreError):
        telemetry.SKIPPED.labels(source, "cannot_score").inc()
        return None
    telemetry.SKIPPED.labels(source, "broken").inc()
    telemetry.get_logger().error("ranking failed", source=source, error=repr(error))
    return None


def _signal_rows(catalogue: Catalogue, state: UserState) -> tuple[Rows, Floats]:
    """The user's signals on artworks of the snapshot, summed per artwork."""
    known = state.signal_keys < len(catalogue.row_of_key)
    rows, weights = catalogue.row_of_key[state.signal_keys[known]], state.signal_weights[known]
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


def _fits(catalogue: Catalogue, orientation: str | None) -> Mask:
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


def _list_row(
    view: View, state: UserState, ask: Ask, candidates: Candidates, ranking: Ranking
) -> tuple[ListRow, uuid.UUID | None]:
    """The list to write: first what this session holds and has not shown, then the best of the rest."""
    catalogue = view.catalogue
    held = np.zeros(len(catalogue.keys), dtype=bool)
    held[catalogue.rows(state.held)] = True
    again, fresh = _again_and_fresh(held, catalogue.rows(state.held), ranking)
    fresh = fresh[: max(ask.limit + SPARES - len(again), 0)]
    wish = max(ask.limit - len(again), 0) if ask.smooth else 0
    turned = smooth(catalogue.vectors[ranking.rows[fresh[:wish]]])
    order = np.concatenate([again, fresh[:wish][turned], fresh[wish:]])[: ask.limit + SPARES]
    keys = catalogue.keys[ranking.rows[order]]
    repeats = state.last_list if held[ranking.rows[order]].any() else None
    row = ListRow(
        recommendation_id=new_id(),
        user_id=ask.user_id,
        session_id=ask.session_id,
        limit=ask.limit,
        repeats=repeats,
        policy=POLICY,
        model_version=view.model.bundle.label if view.model else None,
        reason=_reason(ask, candidates),
        artwork_keys=keys,
        scores=ranking.scores[order],
        rungs=ranking.rungs[order],
        known=state.known,
        held=state.held,
        passes=state.passes,
        retired=state.retired,
        candidate_hash=_hash(catalogue.keys[candidates.rows]),
        candidate_size=len(candidates.rows),
        excluded=candidates.excluded,
        rank_traded=rank_traded(turned),
    )
    return row, repeats


def _again_and_fresh(held: Mask, held_rows: Rows, ranking: Ranking) -> tuple[Places, Places]:
    """Places in the ranking of what is held, in the order of offering, and of the rest, best first.

    Held artworks of another style than the one asked for wait in the rest, before others of their kind.
    """
    again = np.flatnonzero(held[ranking.rows])
    again = again[np.argsort(_places(held_rows, ranking.rows[again]))]
    relaxed = ranking.rungs[again] == ladder.RELAXED
    fresh = np.flatnonzero(~held[ranking.rows])
    better = np.searchsorted(ranking.rungs[fresh], ladder.RELAXED)
    return again[~relaxed], np.concatenate([fresh[:better], again[relaxed], fresh[better:]])


def _places(held: Rows, rows: Rows) -> Rows:
    """The place of each of ``rows`` in the order of offering."""
    place = {int(row): index for index, row in enumerate(held)}
    return np.array([place[int(row)] for row in rows], dtype=np.int32)


def _reason(ask: Ask, candidates: Candidates) -> ShortReason | None:
    """Why a list is short; None for a full one."""
    if len(candidates.rows) >= ask.limit:
        return None
    if candidates.excluded["leased"]:
        return "all_leased"
    if candidates.excluded["orientation"] or candidates.excluded["asked"]:
        return "filtered"
    return "exhausted"


def _retry_after(row: ListRow, shown: int, state: UserState, settings: Settings) -> float | None:
    """Seconds until asking again may help: a lease's end, else the time one artwork is shown for."""
    if shown >= row.limit:
        return None
    if row.reason == "all_leased" and state.next_expiry is not None:
        return max(state.next_expiry, 1.0)
    return settings.seconds_per_artwork


def _hash(keys: np.ndarray) -> int:
    """A hash of the candidate set, whatever its order, as a signed 64-bit integer."""
    return int(heuristic.mix(keys.astype(np.uint64)).sum(dtype=np.uint64).astype(np.int64))


def _count(ask: Ask, row: ListRow, artworks: list[dict[str, Any]]) -> None:
    """Metrics of one list."""
    telemetry.LISTS.labels(row.reason or "").inc()
    telemetry.SLOTS.labels("asked").inc(ask.limit)
    telemetry.SLOTS.labels("returned").inc(len(artworks))
    for artwork in artworks:
        telemetry.RUNGS.labels(str(artwork["rung"])).inc()
    expected = min(ask.limit, len(row.artwork_keys))
    telemetry.STALE.inc(max(expected - len(artworks), 0))
