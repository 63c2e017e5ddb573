"""Variety: what differs comes first, what is alike waits, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.arrays import mark
from features.content import LENGTH
from features.settings import Settings
from serving.experiments.assignment import Plan
from serving.leases import ListRow, UserState, Written
from serving.live import View
from serving.model import make_model
from serving.ranking import Ask
from serving.recommend import Recommender
from serving.variety import vary
from tests.given import as_written, given_signals, signals
from training import content
from training.learner import Given, learn
from training.metrics import diversity
from training.pool import bare_pool

#: Two kinds; the first four are alike.
DIFFERENCES = np.repeat(np.eye(2, dtype=np.float32), [4, 2], axis=0)
SCORES = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.0], np.float32)


def test_without_variety_rank_stays() -> None:
    """Off by default."""
    assert vary(DIFFERENCES, SCORES, 0.0, 3).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_other_kind_is_fetched_up_and_the_rest_keeps_its_rank() -> None:
    """The best stays first."""
    assert vary(DIFFERENCES, SCORES, 0.5, 2).tolist() == [0, 4, 1, 2, 3, 5]


def test_more_variety_makes_a_list_less_the_same() -> None:
    """Never more so."""
    draw = np.random.default_rng(0)
    kinds = draw.standard_normal((60, 8)).astype(np.float32)
    scores = np.sort(kinds[:, 0])[::-1]
    kinds = kinds[np.argsort(-kinds[:, 0])]
    found = [diversity(kinds[vary(kinds, scores, share, 10)[:10]]) or 0.0 for share in (0.0, 0.2, 0.5, 0.9)]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.2


@given(
    scores=st.lists(st.floats(-10, 10, width=32), max_size=12),
    share=st.floats(0, 1),
    count=st.integers(0, 15),
    seed=st.integers(0, 99),
)
def test_every_artwork_stays_once(*, scores: list[float], share: float, count: int, seed: int) -> None:
    """Equal scores, no scores, artworks without content, a list longer than the head."""
    draw = np.random.default_rng(seed)
    differences = draw.standard_normal((len(scores), 3)).astype(np.float32) * (draw.random((len(scores), 1)) < 0.7)
    falling = np.array(sorted(scores, reverse=True), np.float32)
    order = vary(differences.astype(np.float32), falling, share, count)
    assert sorted(order.tolist()) == list(range(len(scores)))


class OneUser:
    """Stands for the leases: a user's state, and lists that are written nowhere."""

    def __init__(self, state: UserState) -> None:
        self.state = state

    @contextlib.asynccontextmanager
    async def locked(self, *_: object) -> AsyncIterator[tuple[None, list[UserState]]]:
        """The state, without a lock."""
        yield None, [self.state]

    async def write(self, _: None, rows: list[ListRow], took_ms: list[float]) -> list[Written]:  # noqa: ARG002 - as Leases has it
        """All of the list."""
        return [as_written(row) for row in rows]


def kinds_listed(variety: float) -> list[int]:
    """The kinds of the first six artworks, by content, for a user who likes kind 0 most and kind 1 somewhat."""
    kinds = np.arange(120) % 4
    vectors = np.zeros((120, LENGTH), np.float32)
    vectors[np.arange(120), kinds] = 0.7
    pool = dataclasses.replace(bare_pool([f"artwork {number:03}" for number in range(120)]), vectors=vectors)
    known = Given(given_signals(signals([("ada", "artwork 000", 1.0)])).snapshot, pool)
    view = View(pool, make_model(learn(content.make_learner(), known)).aligned(pool.ids, pool.vectors))
    none = np.zeros(0, np.int32)
    seen = np.array([0, 4, 8, 1], np.int32)
    state = UserState(
        known=True, seen=mark(seen), held=none, passes=none, retired=none, held_elsewhere=none, next_expiry=None,
        last_list=None, signal_keys=seen, signal_weights=np.ones(4, np.float32), orientation=None, styles=[],
    )  # fmt: skip
    settings = Settings(variety=variety, rank_deadline_ms=60_000.0)
    recommender = Recommender(OneUser(state), SimpleNamespace(view_for=lambda _: view, experiments=Plan()), settings)  # type: ignore[arg-type] # stand-ins
    answer = asyncio.run(recommender.next(Ask("ada", "tab", 6)))
    recommender.close()
    assert {offer.rung for offer in answer.offers} == {1}
    return [int(kinds[offer.artwork.key]) for offer in answer.offers]


def test_the_setting_brings_the_second_taste_into_the_list() -> None:
    """Through the path that answers requests."""
    assert set(kinds_listed(0.0)) == {0}
    assert {0, 1} <= set(kinds_listed(0.6))
