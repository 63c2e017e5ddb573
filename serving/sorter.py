"""Puts candidates in order within a deadline: the model, nearness in content, the heuristic, and the ladder over all.

A source that is missing, late or broken is counted, and the next rung answers.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Rows
from features.catalogue import Catalogue
from features.errors import CannotScoreError
from features.settings import Settings
from serving import heuristic, ladder, ranking, telemetry
from serving.ladder import Evidence, Fallback, Ranking
from serving.leases import UserState
from serving.live import View
from serving.ranking import Ask

T = TypeVar("T")
LEAST_DEPTH, DEPTHS = 500, 10  # how far down an order is needed: so far, and so many times the length of a list


@dataclass(frozen=True)
class Task:
    """Candidates (ascending) that a request wants in order: the best of them and what is held, or the ``whole``."""

    view: View
    state: UserState
    ask: Ask
    rows: Rows
    lift: float | None = None  # see `ranking.model_scores`; None: as set
    whole: bool = False

    @property
    def catalogue(self) -> Catalogue:
        """The pool."""
        return self.view.catalogue


@dataclass
class _Work:
    """A task on its way: what is known of its candidates by now."""

    task: Task
    signal_rows: Rows
    weights: Floats
    evidence: Evidence
    fallback: Fallback | None = None

    def use_model(self, found: tuple[Floats, float] | Fallback) -> None:
        """Take the model's scores and threshold, or why there are none."""
        if isinstance(found, str):
            self.fallback = found
        else:
            self.evidence = dataclasses.replace(self.evidence, model=found[0], threshold=found[1])

    def use_nearness(self, found: tuple[Floats, float] | Fallback) -> None:
        """Take the nearness in content and its threshold, where there is any."""
        if not isinstance(found, str):
            self.evidence = dataclasses.replace(self.evidence, near=found[0], near_threshold=found[1])

    def climb(self) -> Ranking:
        """The order by all that is known; the heuristic where that is not enough."""
        task, evidence = self.task, self.evidence
        if ladder.needs_heuristic(evidence):
            evidence = dataclasses.replace(evidence, heuristic=_heuristic(task, evidence))
        held = np.zeros(len(task.rows), dtype=bool)
        held[_places_in(task.rows, task.catalogue.rows(task.state.held))] = True
        depth = None if task.whole else max(LEAST_DEPTH, DEPTHS * task.ask.limit)
        return dataclasses.replace(ladder.climb(evidence, depth=depth, keep=held), fallback=self.fallback)


class Sorter:
    """Ranks in a few threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.rank_threads, thread_name_prefix="rank")
        self._running = 0

    async def rank(self, tasks: Sequence[Task]) -> list[Ranking]:
        """Each task's candidates in order, by whatever can score in time."""
        works = [_begin(task) for task in tasks]
        await self._ask_model(works)
        await self._ask_content([work for work in works if ladder.lacks(work.evidence, work.task.ask.limit)])
        return [work.climb() for work in works]

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_model(self, works: Sequence[_Work]) -> None:
        """Scores by each task's model."""
        scoring = []
        for work in works:
            task = work.task
            if task.view.model is None:
                work.use_model(_skipped("model", "missing"))
                continue
            lift = self._settings.exploration if task.lift is None else task.lift
            given = (task.catalogue, task.view.model, work.signal_rows, work.weights, task.rows)
            scoring.append((work, partial(ranking.model_scores, *given, lift=lift)))
        found = await self._timed("model", [score for _, score in scoring])
        for (work, _), scores in zip(scoring, found, strict=True):
            work.use_model(scores)

    async def _ask_content(self, works: Sequence[_Work]) -> None:
        """Nearness in content."""
        scoring = [
            partial(ranking.near_scores, work.task.catalogue, work.signal_rows, work.weights, work.task.rows)
            for work in works
        ]
        for work, scores in zip(works, await self._timed("content", scoring), strict=True):
            work.use_nearness(scores)

    async def _timed(self, source: str, pieces: Sequence[Callable[[], T]]) -> list[T | Fallback]:
        """Run pieces of work in one thread, one after the other: what each returns or why, counted, it did not.

        Once none has ended within the deadline, all that are left are late.
        """
        if not pieces:
            return []
        if self._running >= self._settings.rank_threads:
            return [_skipped(source, "busy") for _ in pieces]
        self._running += 1
        turn = _Turn(pieces)
        job = asyncio.get_running_loop().run_in_executor(self._threads, turn.run)
        job.add_done_callback(self._end)
        ended = -1
        while not job.done() and len(turn.outcomes) > ended:
            ended = len(turn.outcomes)
            await asyncio.wait([job], timeout=self._settings.rank_deadline_ms / 1000)
        outcomes = turn.give_up()
        late = [_skipped(source, "late") for _ in pieces[len(outcomes) :]]
        return [*(_result(source, outcome) for outcome in outcomes), *late]

    def _end(self, _: asyncio.Future[None]) -> None:
        """A thread is free again."""
        self._running -= 1


class _Turn(Generic[T]):
    """Pieces of work that a thread does one after the other, until nobody waits for them any more."""

    def __init__(self, pieces: Sequence[Callable[[], T]]) -> None:
        self.outcomes: list[T | Exception] = []
        self._pieces = pieces
        self._wanted = True

    def run(self) -> None:
        """Do them; an error is an outcome."""
        for piece in self._pieces:
            if not self._wanted:
                return
            try:
                self.outcomes.append(piece())
            except Exception as error:  # noqa: BLE001 - a broken ranker must not break the answer
                self.outcomes.append(error)

    def give_up(self) -> list[T | Exception]:
        """What there is by now; nothing more is begun."""
        self._wanted = False
        return self.outcomes.copy()


def _begin(task: Task) -> _Work:
    """What the request itself says of the candidates."""
    catalogue, state, rows = task.catalogue, task.state, task.rows
    named = ranking.asked_for(catalogue, task.ask)
    asked = np.ones(len(rows), bool) if named is None else named[rows]
    chosen = catalogue.with_styles(state.styles)[rows]
    if named is not None:
        chosen |= asked
    signals = ranking.signal_rows_of(catalogue, state.signal_keys, state.signal_weights)
    return _Work(task, *signals, Evidence(rows=rows, heuristic=None, asked=asked, chosen=chosen))


def _heuristic(task: Task, evidence: Evidence) -> Floats:
    """Scores that need neither the model nor content."""
    coverage = 1.0 - len(task.rows) / max(task.catalogue.size, 1)
    return heuristic.score(
        task.catalogue, task.rows, evidence.chosen, coverage=max(coverage, 0.0), user_id=task.ask.user_id
    )


def _places_in(rows: Rows, wanted: Rows) -> NDArray[np.intp]:
    """The places in ascending ``rows`` of those of ``wanted`` that are there."""
    places = np.searchsorted(rows, wanted)
    inside = places < len(rows)
    places, wanted = places[inside], wanted[inside]
    return np.asarray(places[rows[places] == wanted])


def _result(source: str, outcome: T | Exception) -> T | Fallback:
    """What a piece of work came to; why it did not, counted: a user it cannot score, or an error of any kind."""
    if not isinstance(outcome, Exception):
        return outcome
    if isinstance(outcome, CannotScoreError):
        return _skipped(source, "cannot_score")
    telemetry.get_logger().error("ranking failed", source=source, error=repr(outcome))
    return _skipped(source, "broken")


def _skipped(source: str, reason: Fallback) -> Fallback:
    """Count it."""
    telemetry.SKIPPED.labels(source, reason).inc()
    return reason
