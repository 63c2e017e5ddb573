"""The one path of a recommendation: unseen -> ranker -> ladder -> lease.

What may be offered is serving.ranking's, in which order serving.sorter's; requests that come at once go the path
together. Only the database is indispensable: without it nobody knows what was seen, and a guess could repeat.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Mask, Rows
from features.catalogue import Catalogue
from features.identifiers import new_id
from features.settings import Settings
from serving import ladder, telemetry
from serving.experiments.interleaving import Teams, interleave
from serving.experiments.trial import Trial, make_trial
from serving.exploration import HEAD as DRAWN_FROM
from serving.exploration import SEED_BITS, Sampler, draw
from serving.group_commit import GroupCommit
from serving.ladder import Ranking, ShortReason
from serving.leases import Leases, ListRow, Offer, UserState, Written
from serving.live import Live, View
from serving.model import Tier
from serving.origin import Head, make_origin
from serving.prefetch import rank_traded, smooth
from serving.ranking import Ask, Candidates, choose_candidates
from serving.sorter import Sorter, Task
from serving.variety import HEAD, vary

Places = NDArray[np.intp]  # in a ranking
POLICY = "ladder-1"
SPARES = 5  # candidates beyond the limit, for artworks that left the pool since the snapshot


@dataclass(frozen=True)
class Answer:
    """A list, and what it was made from."""

    recommendation_id: uuid.UUID
    ask: Ask
    offers: list[Offer]
    policy: str
    model: str | None
    reason: ShortReason | None  # of the shortfall: exhausted, all_leased, filtered, degraded; None for a full list
    unseen_total: int  # eligible artworks the user has not seen, this list and leased ones included
    repeats: uuid.UUID | None
    shown: int  # artworks that the session has shown
    rank_traded: float  # mean ranks given up for smoothness
    retry_after: float | None  # seconds
    candidates: Candidates


@dataclass(frozen=True)
class Drawn:
    """All candidates in order, and which of the trial's ways has each of them there; the first where it is one way."""

    recommendation_id: uuid.UUID  # of the list to be; the coins of two that take turns are drawn from it
    trial: Trial
    ranking: Ranking
    teams: Teams
    variety: float  # to be brought in still
    sampler: Sampler  # to draw with still; one that is on leaves variety and smoothness out

    @property
    def view(self) -> View:
        """Pool and model; the first arm's where two take turns."""
        return self.trial.ways[0].view


@dataclass(frozen=True)
class Asked:
    """A request, and when it came (seconds of `time.perf_counter`)."""

    ask: Ask
    began: float


@dataclass(frozen=True)
class Begun:
    """A request on its way: what may be offered, and what is tried on the user."""

    ask: Ask
    state: UserState
    candidates: Candidates
    trial: Trial

    @property
    def tasks(self) -> list[Task]:
        """What is to be put in order: the candidates, by each of the trial's ways."""
        ways, rows = self.trial.ways, self.candidates.rows
        return [Task(way.view, self.state, self.ask, rows, way.lift, whole=len(ways) > 1) for way in ways]


@dataclass(frozen=True)
class Made:
    """A list that is not written yet, and what it was made from."""

    ask: Ask
    state: UserState
    candidates: Candidates
    row: ListRow
    repeats: uuid.UUID | None


class Recommender:
    """Answers requests for artworks from one worker."""

    def __init__(self, leases: Leases, live: Live, settings: Settings) -> None:
        self._leases = leases
        self._live = live
        self._settings = settings
        self._sorter = Sorter(settings)
        self._together: GroupCommit[Asked, Answer] = GroupCommit(
            self._answer, most=settings.list_group, room=settings.list_room, lanes=settings.list_lanes
        )

    async def next(self, ask: Ask) -> Answer:
        """Unseen artworks, leased to the session. Raises DatabaseUnavailableError and QueueFullError."""
        (answer,) = await self._together.write(frozenset([ask.user_id]), [Asked(ask, time.perf_counter())])
        return answer

    async def _answer(self, asked: list[Asked]) -> list[Answer]:
        """The lists of different users, in one transaction."""
        asks = [each.ask for each in asked]
        telemetry.LIST_GROUPS.observe(len(asks))
        async with self._leases.locked(asks) as (connection, states):
            made = await self._make(asks, states)
            enough = [len(each.candidates.rows) >= each.ask.least for each in made]
            rows = [each.row for each, written in zip(made, enough, strict=True) if written]
            now = time.perf_counter()
            took_ms = [1_000 * (now - each.began) for each, written in zip(asked, enough, strict=True) if written]
            found = iter(await self._leases.write(connection, rows, took_ms))
        lists = [next(found) if written else Written([], shown=0) for written in enough]
        return [self._tell(each, written) for each, written in zip(made, lists, strict=True)]

    async def _make(self, asks: Sequence[Ask], states: Sequence[UserState]) -> list[Made]:
        """Lists from their users' states, ranked together."""
        begun = [self._begin(ask, state) for ask, state in zip(asks, states, strict=True)]
        rankings = iter(await self._sorter.rank([task for each in begun for task in each.tasks]))
        made = []
        for each in begun:
            drawn = draw_up(each, [next(rankings) for _ in each.tasks])
            row, repeats = list_row(drawn, each.state, each.ask, each.candidates, self._settings)
            made.append(Made(each.ask, each.state, each.candidates, row, repeats))
        return made

    def _begin(self, ask: Ask, state: UserState) -> Begun:
        """What may be offered, and what is tried on the user."""
        view = self._live.view_for(ask.user_id)
        trial = make_trial(self._live.experiments.assign(ask.user_id), view, self._settings)
        return Begun(ask, state, choose_candidates(view.catalogue, state, ask), trial)

    def _tell(self, made: Made, written: Written) -> Answer:
        """The answer, of the list that was written."""
        ask, row, offers = made.ask, made.row, written.offers
        _count(ask, row, offers)
        return Answer(
            recommendation_id=row.recommendation_id,
            ask=ask,
            offers=offers,
            policy=row.policy,
            model=row.model_version,
            reason=(row.reason or "degraded") if len(offers) < ask.limit else None,
            unseen_total=made.candidates.unseen_total,
            repeats=made.repeats,
            shown=written.shown,
            rank_traded=row.rank_traded,
            retry_after=_retry_after(row, len(offers), made.state, self._settings),
            candidates=made.candidates,
        )

    def close(self) -> None:
        """Let the ranking threads go."""
        self._sorter.close()


def draw_up(begun: Begun, rankings: Sequence[Ranking], recommendation_id: uuid.UUID | None = None) -> Drawn:
    """Candidates in order as the user's arms have it; where two rankings take turns, each as varied as its own.

    ``rankings``: of each task. ``recommendation_id``: of a list that is made again; a new one else. All its chances
    come from it.
    """
    trial, state, ask = begun.trial, begun.state, begun.ask
    ways, recommendation_id = trial.ways, recommendation_id or new_id()
    if len(ways) == 1:
        alone = np.zeros(len(rankings[0].rows), np.int8)
        return Drawn(recommendation_id, trial, rankings[0], alone, ways[0].variety, ways[0].sampler)
    catalogue = ways[0].view.catalogue
    held = _held(catalogue, state)
    one, two = (
        _vary_ranking(catalogue, ranking, held, way.variety, ask.limit)
        for way, ranking in zip(ways, rankings, strict=True)
    )
    ranking, teams = interleave(one, two, held, ask.limit + SPARES, recommendation_id.int)
    return Drawn(recommendation_id, trial, ranking, teams, variety=0.0, sampler=Sampler())


def list_row(
    drawn: Drawn, state: UserState, ask: Ask, candidates: Candidates, settings: Settings
) -> tuple[ListRow, uuid.UUID | None]:
    """The list to write: first what this session holds and has not shown, then the best of the rest."""
    view, ranking = drawn.view, drawn.ranking
    catalogue = view.catalogue
    held = _held(catalogue, state)
    again, fresh = _again_and_fresh(held, catalogue.rows(state.held), ranking)
    wanted, chances, head = max(ask.limit + SPARES - len(again), 0), np.ones(len(ranking.rows), np.float32), None
    if drawn.sampler.on:
        fresh, head = _explored(drawn, fresh, wanted, chances)
    else:
        fresh = _varied(catalogue, ranking, fresh, drawn.variety, max(ask.limit - len(again), 0))
    fresh = fresh[:wanted]
    wish = max(ask.limit - len(again), 0) if ask.smooth and head is None else 0
    turned = smooth(catalogue.vectors[ranking.rows[fresh[:wish]]])
    order = np.concatenate([again, fresh[:wish][turned], fresh[wish:]])[: ask.limit + SPARES]
    keys = catalogue.keys[ranking.rows[order]]
    repeats = state.last_list if held[ranking.rows[order]].any() else None
    row = ListRow(
        recommendation_id=drawn.recommendation_id,
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
        evidence=_evidence(drawn, order),
        known=state.known,
        held=state.held,
        passes=state.passes,
        retired=state.retired,
        candidate_hash=catalogue.hash_of(candidates.rows),
        candidate_size=len(candidates.rows),
        excluded=candidates.excluded,
        rank_traded=rank_traded(turned),
        propensities=chances[order],
        origin=make_origin(ask, state, view, settings, head),
        experiments=drawn.trial.log(_picked(drawn, fresh)),
        fallback=ranking.fallback,
    )
    return row, repeats


def _held(catalogue: Catalogue, state: UserState) -> Mask:
    """Which artworks the session holds."""
    held = np.zeros(len(catalogue.keys), dtype=bool)
    held[catalogue.rows(state.held)] = True
    return held


def _picked(drawn: Drawn, fresh: Places) -> dict[str, list[int]]:
    """The artwork keys that each team picked, of those offered for the first time; spares too."""
    keys = drawn.view.catalogue.keys[drawn.ranking.rows[fresh]]
    return {name: keys[drawn.teams[fresh] == team].tolist() for team, name in enumerate(drawn.trial.teams)}


def _vary_ranking(catalogue: Catalogue, ranking: Ranking, held: Mask, variety: float, count: int) -> Ranking:
    """The ranking with the head of what is not held chosen to differ; the held ones last, for nobody picks them."""
    fresh = np.flatnonzero(~held[ranking.rows])
    order = np.concatenate([_varied(catalogue, ranking, fresh, variety, count), np.flatnonzero(held[ranking.rows])])
    parts = (ranking.rows[order], ranking.scores[order], ranking.rungs[order], ranking.sources[order])
    return Ranking(*parts, ranking.fallback)


def _varied(catalogue: Catalogue, ranking: Ranking, fresh: Places, variety: float, count: int) -> Places:
    """``fresh`` with the first ``count`` chosen to differ, within what the model ranks as relevant."""
    if variety == 0:
        return fresh
    head = fresh[: HEAD * count]
    head = head[ranking.rungs[head] == ladder.MODEL]
    order = vary(catalogue.space.differences(ranking.rows[head]), ranking.scores[head], variety, count)
    return np.concatenate([head[order], fresh[len(head) :]])


def _explored(drawn: Drawn, fresh: Places, count: int, chances: Floats) -> tuple[Places, Head | None]:
    """``fresh`` with its relevant head drawn by chances that go into ``chances``; None where there is no such head."""
    ranking, sampler = drawn.ranking, drawn.sampler
    head = fresh[:DRAWN_FROM]
    head = head[ranking.rungs[head] == ladder.MODEL]
    if len(head) == 0:
        return fresh, None
    keys, scores = drawn.view.catalogue.keys[ranking.rows[head]], ranking.scores[head]
    seed = drawn.recommendation_id.int % 2**SEED_BITS
    picked = draw(scores, count, sampler, seed)
    chances[head[picked.places]] = picked.propensities
    order = np.concatenate([head[picked.places], np.delete(head, picked.places), fresh[len(head) :]])
    return order, Head(keys, scores, sampler.temperature, sampler.epsilon, seed, len(picked.places))


def _evidence(drawn: Drawn, order: Places) -> list[Tier]:
    """What the place of each artwork on the list rests on, by the model of the team that has it there."""
    rows, teams = drawn.ranking.rows[order], drawn.teams[order]
    told = drawn.view.catalogue.vectors[rows].any(axis=1)
    sources = drawn.ranking.sources[order]
    tiers = np.where((sources == ladder.BY_NEARNESS) & told, "content", "none")
    for team, way in enumerate(drawn.trial.ways):
        if way.view.model is not None:
            by_model = (sources == ladder.BY_MODEL) & (teams == team)
            tiers = np.where(by_model, way.view.model.tiers(rows), tiers)
    found: list[Tier] = tiers.tolist()
    return found


def _again_and_fresh(held: Mask, held_rows: Rows, ranking: Ranking) -> tuple[Places, Places]:
    """Places in the ranking of what is held, in the order of offering, and of the rest, best first.

    Held artworks of another style than the one asked for wait in the rest, before others of their kind.
    """
    again = np.flatnonzero(held[ranking.rows])
    again = again[np.argsort(_places(held_rows, ranking.rows[again]))]
    relaxed = ranking.rungs[again] == ladder.RELAXED
    fresh = np.flatnonzero(~held[ranking.rows])
    worse = ranking.rungs[fresh] >= ladder.RELAXED  # from some place on; where two rankings take turns, not all then
    better = int(worse.argmax()) if worse.any() else len(fresh)
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


def _count(ask: Ask, row: ListRow, offers: Sequence[Offer]) -> None:
    """Metrics of one list."""
    telemetry.LISTS.labels(row.reason or "").inc()
    telemetry.SLOTS.labels("asked").inc(ask.limit)
    telemetry.SLOTS.labels("returned").inc(len(offers))
    for rung, count in Counter(offer.rung for offer in offers).items():
        telemetry.RUNGS.labels(str(rung)).inc(count)
    expected = min(ask.limit, len(row.artwork_keys))
    if expected > len(offers):
        telemetry.STALE.inc(expected - len(offers))
