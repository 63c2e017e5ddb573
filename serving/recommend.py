"""The one path of a recommendation: unseen -> ranker -> ladder -> lease.

What may be offered is serving.ranking's, in which order serving.sorter's, and which of it makes the list
serving.listing's; requests that come at once go the path together. Only the database is indispensable: without it
nobody knows what was seen, and a guess could repeat.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from features.settings import Settings
from serving import telemetry
from serving.experiments.trial import make_trial
from serving.group_commit import GroupCommit
from serving.ladder import ShortReason
from serving.leases import Leases, ListRow, Offer, UserState, Written
from serving.listing import Begun, draw_up, list_row
from serving.live import Live
from serving.ranking import Ask, Candidates, choose_candidates
from serving.sorter import Sorter


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
class Asked:
    """A request, and when it came (seconds of `time.perf_counter`)."""

    ask: Ask
    began: float


@dataclass(frozen=True)
class Made:
    """A list that is not written yet, and what it was made from."""

    begun: Begun
    row: ListRow


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
            enough = [len(each.begun.candidates.rows) >= each.begun.ask.least for each in made]
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
            made.append(Made(each, list_row(drawn, self._settings)))
        return made

    def _begin(self, ask: Ask, state: UserState) -> Begun:
        """What may be offered, and what is tried on the user."""
        view = self._live.view_for(ask.user_id)
        trial = make_trial(self._live.experiments.assign(ask.user_id), view, self._settings)
        return Begun(ask, state, choose_candidates(view.catalogue, state, ask), trial)

    def _tell(self, made: Made, written: Written) -> Answer:
        """The answer, of the list that was written."""
        begun, row, offers = made.begun, made.row, written.offers
        ask = begun.ask
        _count(ask, row, offers)
        return Answer(
            recommendation_id=row.recommendation_id,
            ask=ask,
            offers=offers,
            policy=row.policy,
            model=row.model_version,
            reason=(row.reason or "degraded") if len(offers) < ask.limit else None,
            unseen_total=begun.candidates.unseen_total,
            repeats=row.repeats,
            shown=written.shown,
            rank_traded=row.rank_traded,
            retry_after=_retry_after(row, len(offers), begun.state, self._settings),
            candidates=begun.candidates,
        )

    def close(self) -> None:
        """Let the ranking threads go."""
        self._sorter.close()


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
