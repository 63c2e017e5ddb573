"""Asks for users what they would have been offered after the training signals, by the code that serves.

Candidates, fold-in, ladder: all of it is serving.ranking's. Only the database is missing: a user's state comes from
the training side of a split.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.arrays import Floats, Keys, Rows, mark
from features.catalogue import Catalogue
from features.errors import CannotScoreError
from features.settings import Settings
from serving.bundle import Bundle
from serving.leases import UserState
from serving.live import View
from serving.model import make_model
from serving.ranking import Ask, choose_candidates, model_scores
from serving.sorter import Sorter, Task

PATIENT = Settings(rank_deadline_ms=60_000.0)  # what is judged is the model and not the machine
GROUP = 500_000  # candidates that are ranked in one turn of a thread, over users
_NONE: Keys = np.zeros(0, np.int32)


@dataclass(frozen=True)
class Known:
    """What is known of a user at the cut: catalogue rows seen, and the latest signals."""

    seen: Rows
    signal_rows: Rows
    weights: Floats


class Replay:
    """One bundle over one pool."""

    def __init__(self, bundle: Bundle, pool: Catalogue) -> None:
        self.view = View(pool, make_model(bundle).aligned(pool.ids, pool.vectors))

    def lists(self, users: Sequence[Known], places: int) -> list[Rows]:
        """The list of each user, catalogue rows, best first."""
        with ThreadPoolExecutor(1) as apart:  # a notebook has an event loop running already
            return apart.submit(asyncio.run, self._lists(users, places)).result()

    def scores(self, user: Known, rows: Rows) -> Floats | None:
        """The model's scores of catalogue rows; None for a user whom it cannot score."""
        if self.view.model is None:
            return None
        try:
            return model_scores(self.view.catalogue, self.view.model, user.signal_rows, user.weights, rows)[0]
        except CannotScoreError:
            return None

    def margins(self, user: Known, rows: Rows) -> Floats | None:
        """The same scores above the user's own median over the pool, which is where relevance begins."""
        if self.view.model is None:
            return None
        try:
            scores, median = model_scores(self.view.catalogue, self.view.model, user.signal_rows, user.weights, rows)
        except CannotScoreError:
            return None
        return scores - np.float32(median)

    async def _lists(self, users: Sequence[Known], places: int) -> list[Rows]:
        """In groups, as one worker would."""
        sorter = Sorter(PATIENT)
        ask = Ask(user_id="", session_id="", limit=places)
        size = max(1, GROUP // max(len(self.view.catalogue.keys), 1))
        groups = [users[start : start + size] for start in range(0, len(users), size)]
        try:
            return [rows for group in groups for rows in await self._rank(sorter, group, ask)]
        finally:
            sorter.close()

    async def _rank(self, sorter: Sorter, users: Sequence[Known], ask: Ask) -> list[Rows]:
        """The best of what each user has not seen."""
        states = [_state(self.view.catalogue, user) for user in users]
        tasks = [
            Task(self.view, state, ask, choose_candidates(self.view.catalogue, state, ask).rows) for state in states
        ]
        return [ranking.rows[: ask.limit] for ranking in await sorter.rank(tasks)]


def rows_in(pool: Catalogue, artwork_ids: Sequence[str]) -> Rows:
    """Catalogue rows of artworks; -1 where the pool does not hold one."""
    row_of = {artwork_id: row for row, artwork_id in enumerate(pool.ids)}
    return np.array([row_of.get(artwork_id, -1) for artwork_id in artwork_ids], dtype=np.int32)


def what_is_known(signals: pl.DataFrame, users: Sequence[str], pool: Catalogue, latest: int) -> list[Known]:
    """What the frame of `features.signals.sum_signals` says of each user, as a request would read it.

    Folded in are the ``latest`` signals of taste and as many of the latest mere displays.
    """
    theirs = signals.filter(pl.col("user_id").is_in(list(users))).sort("at", descending=True, maintain_order=True)
    rows = rows_in(pool, theirs["artwork_id"].to_list())
    theirs = theirs.with_columns(row=pl.Series(rows, dtype=pl.Int32)).filter(pl.col("row") >= 0)
    told = pl.col("taste").is_not_null()
    folded = theirs.filter(pl.int_range(pl.len()).over("user_id", told) < latest)
    seen = _columns(theirs, "row")
    signal_rows, weights = _columns(folded, "row"), _columns(folded, "weight")
    return [
        Known(
            seen.get(user, _NONE).astype(np.int32),
            signal_rows.get(user, _NONE).astype(np.int32),
            weights.get(user, _NONE).astype(np.float32),
        )
        for user in users
    ]


def _columns(frame: pl.DataFrame, name: str) -> dict[str, NDArray[np.generic]]:
    """One column's values by user."""
    groups = frame.group_by("user_id", maintain_order=True).agg(pl.col(name))
    return {user: values.to_numpy() for user, values in zip(groups["user_id"], groups[name], strict=True)}


def _state(pool: Catalogue, user: Known) -> UserState:
    """A user with one quiet session."""
    return UserState(
        known=True,
        seen=mark(pool.keys[user.seen]),
        held=_NONE,
        passes=_NONE,
        retired=_NONE,
        held_elsewhere=_NONE,
        next_expiry=None,
        last_list=None,
        signal_keys=pool.keys[user.signal_rows],
        signal_weights=user.weights,
        orientation=None,
        styles=[],
    )
