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
from itertools import zip_longest

import numpy as np

from features.arrays import Floats, Mask, Rows
from features.catalogue import Catalogue
from features.errors import CannotScoreError
from features.settings import Settings
from serving import heuristic, ladder, ranking, telemetry
from serving.ladder import Evidence, Fallback, Ranking
from serving.leases import UserState
from serving.live import View
from serving.model import Model
from serving.ranking import Ask

Piece = Callable[[], Evidence | None]
Outcome = Evidence | None | Exception
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

    @property
    def depth(self) -> int | None:
        """How far down the order is needed; None: to its end."""
        return None if self.whole else max(LEAST_DEPTH, DEPTHS * self.ask.limit)

    def held_in(self, rows: Rows) -> Mask:
        """Which of these candidates, ascending, the session holds."""
        held = np.zeros(len(rows), dtype=bool)
        held[ranking.places_in(rows, self.catalogue.rows(self.state.held))] = True
        return held


@dataclass
class _Work:
    """A task on its way: what is known of its candidates by now."""

    task: Task
    signal_rows: Rows
    weights: Floats
    evidence: Evidence
    fallback: Fallback | None = None
    scored: Evidence | None = None  # by the model, in the thread that asked it

    def score(self, model: Model, lift: float) -> Evidence:
        """What is known with the model's scores, of as many candidates as matter then; in a thread."""
        task, rows = self.task, self.evidence.rows
        given = (task.catalogue, model, self.signal_rows, self.weights, rows)
        scores, threshold = ranking.model_scores(*given, lift=lift if task.lift is None else task.lift)
        scored = dataclasses.replace(self.evidence, model=scores, threshold=threshold)
        self.scored = scored if task.depth is None else ladder.cut(scored, task.depth, task.held_in(rows))
        return self.scored

    def compare(self) -> Evidence:
        """What is known with nearness in content; in a thread."""
        return self._compared(self.evidence)

    def compare_if_needed(self) -> Evidence | None:
        """As `compare`, after `score` in the same thread; None where the model's scores are enough."""
        evidence = self.evidence if self.scored is None else self.scored
        return self._compared(evidence) if ladder.lacks(evidence, self.task.ask.limit) else None

    def _compared(self, evidence: Evidence) -> Evidence:
        """With nearness in content."""
        near, threshold = ranking.near_scores(self.task.catalogue, self.signal_rows, self.weights, evidence.rows)
        return dataclasses.replace(evidence, near=near, near_threshold=threshold)

    @property
    def lacks(self) -> bool:
        """Whether nearness is needed beside what is known by now."""
        return ladder.lacks(self.evidence, self.task.ask.limit)

    def use_model(self, found: Evidence | Fallback) -> None:
        """Take what is known with the model's scores, or why there are none."""
        if isinstance(found, str):
            self.fallback = found
        else:
            self.evidence = found

    def use_nearness(self, found: Evidence | Fallback) -> None:
        """Take what is known with nearness in content, where there is any."""
        if not isinstance(found, str):
            self.evidence = found

    def climb(self) -> Ranking:
        """The order by all that is known; the heuristic where that is not enough."""
        task, evidence = self.task, self.evidence
        if ladder.needs_heuristic(evidence):
            evidence = dataclasses.replace(evidence, heuristic=_heuristic(task, evidence))
        found = ladder.climb(evidence, depth=task.depth, keep=task.held_in(evidence.rows))
        return dataclasses.replace(found, fallback=self.fallback)


class Sorter:
    """Ranks in a few threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.rank_threads, thread_name_prefix="rank")
        self._running = 0

    async def rank(self, tasks: Sequence[Task]) -> list[Ranking]:
        """Each task's candidates in order, by whatever can score in time."""
        works = [_begin(task) for task in tasks]
        modelled = [(work, work.task.view.model) for work in works if work.task.view.model is not None]
        pieces: list[Piece] = [partial(work.score, model, self._settings.exploration) for work, model in modelled]
        found, why = await self._in_thread([*pieces, *(work.compare_if_needed for work in works)])
        for work in works:
            if work.task.view.model is None:
                work.use_model(_skipped("model", "missing"))
        for (work, _), outcome in zip_longest(modelled, found[: len(modelled)]):
            work.use_model(_result("model", outcome, why))
        compared, near = works, found[len(modelled) :]
        if len(found) < len(modelled):  # the model held them up: nearness is asked for in another thread
            compared = [work for work in works if work.lacks]
            near, why = await self._in_thread([work.compare for work in compared])
        for work, outcome in zip_longest(compared, near):
            if work.lacks:
                work.use_nearness(_result("content", outcome, why))
        return [work.climb() for work in works]

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, pieces: Sequence[Piece]) -> tuple[list[Outcome], Fallback]:
        """Run pieces of work in one thread, one after the other: what came of those that ended, and why others did not.

        Once none has ended within the deadline, all that are left are late.
        """
        if not pieces:
            return [], "late"
        if self._running >= self._settings.rank_threads:
            return [], "busy"
        self._running += 1
        turn = _Turn(pieces)
        job = asyncio.get_running_loop().run_in_executor(self._threads, turn.run)
        job.add_done_callback(self._end)
        ended = -1
        while not job.done() and len(turn.outcomes) > ended:
            ended = len(turn.outcomes)
            await asyncio.wait([job], timeout=self._settings.rank_deadline_ms / 1000)
        return turn.give_up(), "late"

    def _end(self, _: asyncio.Future[None]) -> None:
        """A thread is free again."""
        self._running -= 1


class _Turn:
    """Pieces of work that a thread does one after the other, until nobody waits for them any more."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.outcomes: list[Outcome] = []
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

    def give_up(self) -> list[Outcome]:
        """What there is by now; nothing more is begun."""
        self._wanted = False
        return self.outcomes.copy()


def _begin(task: Task) -> _Work:
    """What the request itself says of the candidates."""
    catalogue, state, rows = task.catalogue, task.state, task.rows
    named = ranking.asked_for(catalogue, task.ask)
    asked = np.ones(len(rows), bool) if named is None else named[rows]
    chosen = catalogue.with_styles(state.styles)[rows] if state.styles else np.zeros(len(rows), bool)
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


def _result(source: str, outcome: Outcome, why: Fallback) -> Evidence | Fallback:
    """What a piece of work came to; why it did not, counted: a user it cannot score, an error, or ``why`` for None."""
    if outcome is None:
        return _skipped(source, why)
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
