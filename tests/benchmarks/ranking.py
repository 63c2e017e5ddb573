"""One list out of 100,000 x 50 without the database, beside the time to read the same bytes once.

What is timed is `Recommender.next` itself: seen mask, fold-in, scores, ladder and the list's row; only the two
statements are replaced by what they would bring.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import statistics
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from features.arrays import Keys, mark
from features.catalogue import Catalogue, empty
from features.settings import Settings
from serving.bundle import Bundle
from serving.leases import ListRow, UserState, Written
from serving.live import View
from serving.model import make_model
from serving.ranking import Ask
from serving.recommend import Recommender
from tests.benchmarks.figures import Figure, compare
from tests.benchmarks.world import COMPONENTS, factor_arrays, manifest
from tests.given import as_written

ARTWORKS = 100_000
SIGNALS = 200
MEMORY = 2**28  # bytes, far more than any cache holds
TURNS, CALLS = 5, 15
SEEN = {"1,000 seen": 1_000, "97.7% seen": 97_700}


def run() -> list[Figure]:
    """Milliseconds of a list, of its scores alone, and of reading the factors, each on one thread."""
    with threadpool_limits(1):
        return asyncio.run(_run())


async def _run() -> list[Figure]:
    """All in turns; the medians of some calls a turn."""
    draw = np.random.default_rng(0)
    view = _view(draw)
    memory = np.ones(MEMORY // 4, np.float32)
    share = ARTWORKS * COMPONENTS * 4 / MEMORY
    states = {name: _state(draw, count) for name, count in SEEN.items()}
    found: dict[str, list[float]] = {name: [] for name in ("read", "score", *states)}
    for turn in range(TURNS + 1):
        round_of = {"read": share * _median(lambda: memory @ memory), "score": _median(lambda: _score(view, states))}
        for name, state in states.items():
            round_of[name] = await _median_list(Recommender(_Given(state), _live(view), _patient()))  # type: ignore[arg-type] # stand-ins
        for name, milliseconds in round_of.items():
            if turn:  # the first is to warm up
                found[name].append(milliseconds)
    reference = "reading the factors from memory once"
    figures = [
        compare(f"a list, {name}", "ms", found[name], reference, found["read"], reach="<= 2.5") for name in states
    ]
    return [
        *figures,
        compare("fold-in and scores of all", "ms", found["score"], reference, found["read"], reach="<= 2.5"),
    ]


class _Given:
    """Stands for the leases: one user's state, and lists that are written nowhere."""

    def __init__(self, state: UserState) -> None:
        self._state = state

    @contextlib.asynccontextmanager
    async def locked(self, *_: Any) -> AsyncIterator[tuple[None, list[UserState]]]:
        """The state, without a lock."""
        yield None, [self._state]

    async def write(self, _: None, rows: list[ListRow], took_ms: list[float]) -> list[Written]:  # noqa: ARG002 - as Leases has it
        """All of the lists."""
        return [as_written(row) for row in rows]


def _live(view: View) -> SimpleNamespace:
    """Stands for what a worker follows: a pool and a model, and no experiment."""
    return SimpleNamespace(view_for=lambda _: view, experiments=SimpleNamespace(assign=lambda _: ()))


def _score(view: View, states: dict[str, UserState]) -> None:
    """The fold-in and the scores of the whole pool."""
    state = next(iter(states.values()))
    assert view.model is not None
    view.model.score(state.signal_keys, state.signal_weights, np.arange(ARTWORKS, dtype=np.int32))


async def _median_list(recommender: Recommender) -> float:
    """Milliseconds of a list."""
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        answer = await recommender.next(Ask("user", "tab", 20))
        taken.append(time.perf_counter() - started)
        assert len(answer.offers) == 20
    recommender.close()
    return statistics.median(taken) * 1000


def _median(work: Callable[[], object]) -> float:
    """Milliseconds of a piece of work."""
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000


def _patient() -> Settings:
    """No deadline: a late model would only be skipped, which is quick."""
    return Settings(rank_deadline_ms=60_000.0)


def _view(draw: np.random.Generator) -> View:
    """A pool and a model without a database."""
    ids = [f"artwork-{number}" for number in range(ARTWORKS)]
    catalogue: Catalogue = dataclasses.replace(
        empty(),
        keys=np.arange(ARTWORKS, dtype=np.int32),
        ids=ids,
        created=np.arange(ARTWORKS, dtype=np.float64),
        orientation=np.full(ARTWORKS, -1, np.int8),
        quality=draw.uniform(0, 1, ARTWORKS).astype(np.float32),
        active=np.ones(ARTWORKS, bool),
        dna_kinds=np.zeros(ARTWORKS, np.int8),
        vectors=_unit(draw.standard_normal((ARTWORKS, empty().vectors.shape[1]), np.float32)),
        row_of_key=np.arange(ARTWORKS, dtype=np.int32),
        prints=np.zeros(ARTWORKS, np.uint64),
    )
    bundle = Bundle(manifest("1"), factor_arrays(np.array(ids), 1), digest="")
    return View(catalogue, make_model(bundle).aligned(ids, catalogue.vectors))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _state(draw: np.random.Generator, count: int) -> UserState:
    """A user who has seen so many and liked some of them."""
    seen = draw.permutation(ARTWORKS)[:count].astype(np.int32)
    nothing: Keys = np.zeros(0, np.int32)
    return UserState(
        known=True,
        seen=mark(seen),
        held=nothing,
        passes=nothing,
        retired=nothing,
        held_elsewhere=nothing,
        next_expiry=None,
        last_list=None,
        signal_keys=seen[:SIGNALS],
        signal_weights=draw.uniform(0.1, 1.0, SIGNALS).astype(np.float32),
        orientation=None,
        styles=[],
    )
