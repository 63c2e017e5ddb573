"""Requests that are ranked together: each by its own signals, and one that is in trouble costs the others nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from features.arrays import mark
from features.content import LENGTH
from features.errors import CannotScoreError
from features.settings import Settings
from serving import ranking
from serving.bundle import Bundle
from serving.ladder import Ranking
from serving.leases import UserState
from serving.live import View
from serving.model import make_model
from serving.ranking import Ask
from serving.sorter import LEAST_DEPTH, Sorter, Task
from tests.benchmarks.world import factor_arrays, manifest
from tests.given import given_signals, signals
from training import content
from training.learner import Given, learn
from training.pool import bare_pool

ARTWORKS, KINDS = 120, 4
LONG = 9_001
SLOW_SECONDS = 1.0
DEADLINE_MS = 200.0


@pytest.fixture(scope="module")
def view() -> View:
    """A pool of four kinds in turns, and a model that goes by content."""
    vectors = np.zeros((ARTWORKS, LENGTH), np.float32)
    vectors[np.arange(ARTWORKS), np.arange(ARTWORKS) % KINDS] = 0.7
    pool = bare_pool([f"artwork {number:03}" for number in range(ARTWORKS)])
    pool.vectors[:] = vectors
    known = Given(given_signals(signals([("ada", "artwork 000", 1.0)])).snapshot, pool)
    return View(pool, make_model(learn(content.make_learner(), known)).aligned(pool.ids, pool.vectors))


def task_of(view: View, kind: int, name: str = "") -> Task:
    """A request of somebody who likes one kind."""
    none, liked = np.zeros(0, np.int32), np.array([kind, kind + KINDS], np.int32)
    state = UserState(
        known=True, seen=mark(liked), held=none, passes=none, retired=none, held_elsewhere=none, next_expiry=None,
        last_list=None, signal_keys=liked, signal_weights=np.ones(2, np.float32), orientation=None, styles=[],
    )  # fmt: skip
    rows = np.arange(2 * KINDS, ARTWORKS, dtype=np.int32)
    return Task(view, state, Ask(name or f"likes {kind}", "tab", 6), rows)


def rank(tasks: list[Task]) -> list[Ranking]:
    """Together."""
    sorter = Sorter(Settings(rank_deadline_ms=DEADLINE_MS))
    try:
        return asyncio.run(sorter.rank(tasks))
    finally:
        sorter.close()


def best_kinds(ranking: Ranking) -> set[int]:
    """The kinds of the first six."""
    return set((ranking.rows[:6] % KINDS).tolist())


def trouble(monkeypatch: pytest.MonkeyPatch, liked: int, how: Callable[[], None]) -> None:
    """Whoever likes this artwork meets trouble when scored by the model."""
    scores = ranking.model_scores

    def troubled(catalogue: Any, model: Any, signal_rows: Any, *given: Any, **named: Any) -> Any:
        if liked in signal_rows:
            how()
        return scores(catalogue, model, signal_rows, *given, **named)

    monkeypatch.setattr(ranking, "model_scores", troubled)


def test_each_is_ranked_by_its_own_signals(view: View) -> None:
    """And the orders come back in the order of the tasks."""
    orders = rank([task_of(view, kind) for kind in (2, 0, 3)])
    assert [best_kinds(order) for order in orders] == [{2}, {0}, {3}]
    assert [order.fallback for order in orders] == [None] * 3


def test_together_and_alone_the_order_is_the_same(view: View) -> None:
    """To the last place."""
    tasks = [task_of(view, kind) for kind in range(KINDS)]
    for one, order in zip(tasks, rank(tasks), strict=True):
        (alone,) = rank([one])
        assert order.rows.tolist() == alone.rows.tolist()
        assert order.scores.tolist() == alone.scores.tolist()


def test_one_whose_ranking_breaks_falls_back_alone(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are ranked by the model."""

    def breaks() -> None:
        raise ZeroDivisionError

    trouble(monkeypatch, 1, breaks)
    orders = rank([task_of(view, kind) for kind in (0, 1, 2)])
    assert [order.fallback for order in orders] == [None, "broken", None]
    assert [best_kinds(orders[place]) for place in (0, 2)] == [{0}, {2}]
    assert sorted(orders[1].rows.tolist()) == list(range(2 * KINDS, ARTWORKS))


def test_one_that_cannot_be_scored_falls_back_alone(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a newcomer."""

    def refuses() -> None:
        raise CannotScoreError(ranker="model", reason="a newcomer")

    trouble(monkeypatch, 1, refuses)
    orders = rank([task_of(view, kind) for kind in (0, 1, 2)])
    assert [order.fallback for order in orders] == [None, "cannot_score", None]


def test_behind_one_that_is_stuck_all_are_late_and_none_before_it(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for it once, not one after the other."""
    trouble(monkeypatch, 1, lambda: time.sleep(SLOW_SECONDS))
    orders = rank([task_of(view, kind) for kind in (0, 1, 2, 3)])
    assert [order.fallback for order in orders] == [None, "late", "late", "late"]
    assert best_kinds(orders[0]) == {0}


def test_many_that_are_slow_but_within_the_deadline_are_not_late(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is each one's, not the group's."""
    trouble(monkeypatch, 0, lambda: time.sleep(DEADLINE_MS / 4_000))
    orders = rank([task_of(view, 0, f"person {number}") for number in range(12)])
    assert [order.fallback for order in orders] == [None] * 12


@pytest.mark.parametrize("styles", [(), ("even",)])
def test_the_head_of_a_long_order_is_that_of_the_whole(styles: tuple[str, ...]) -> None:
    """Also with styles that are asked for, and with what the session holds in its place."""
    view = View(bare_pool([f"artwork {number}" for number in range(LONG)]), None)
    arrays = factor_arrays(np.array(view.catalogue.ids), 1)
    model = make_model(Bundle(manifest("1"), arrays, digest=""))
    pool = dataclasses.replace(view.catalogue, style_rows={"even": np.arange(0, LONG, 2, dtype=np.int32)})
    view = View(pool, model.aligned(pool.ids, pool.vectors))
    task = task_of(view, 1)
    held = np.array([LONG - 1, 700, 31], np.int32)
    rows = np.arange(KINDS, LONG, dtype=np.int32)
    ask = dataclasses.replace(task.ask, styles=styles)
    task = dataclasses.replace(task, state=dataclasses.replace(task.state, held=held), ask=ask, rows=rows)
    part, whole = rank([task, dataclasses.replace(task, whole=True)])
    assert len(whole.rows) == len(rows)
    assert LEAST_DEPTH <= len(part.rows) <= LEAST_DEPTH + len(held)
    rest = np.isin(whole.rows, part.rows)
    for name in ("rows", "scores", "rungs", "sources"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rest])
    assert part.rows[:LEAST_DEPTH].tolist() == whole.rows[:LEAST_DEPTH].tolist()
