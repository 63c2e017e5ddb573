"""What need rests on, read for many users at once: what they have seen, when they came, who is there now.

Need is computed for thousands of users, so nothing here takes a lock or writes, and of each user a bounded part is
read. What the host showed past us to somebody who has not asked since counts from the next request on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg.rows import dict_row

from features.arrays import Floats, Keys
from features.catalogue import read_style_preferences
from features.database import Pool, query, transaction
from features.host import USER_COLUMNS, Host
from features.packed import unpack_keys, unpack_seen, unpack_signals
from features.settings import Settings
from features.visits import PAUSE, find_visits, session_counts
from features.weights import KINDS
from serving.generation.demand import Counts, Numbers, Users

DISPLAYS = 500  # latest ones of each user that habits are read from
BLOCK = 2_000  # users in one statement
LEAST_GAPS = 5  # displays in a row from which a user's own pace is told
FASTEST = 1 / 12  # of the display's pace: who skips faster has no pace


@dataclass(frozen=True)
class People:
    """n users, as need sees them."""

    user_ids: list[str]
    users: Users
    seen: list[Keys]  # artwork keys, of each
    styles: list[list[str]]  # chosen in general
    orientations: list[str | None]
    plans: list[str | None]  # of subscription

    def take(self, rows: Counts) -> People:
        """The users of these rows."""
        chosen = rows.tolist()
        return People(
            user_ids=[self.user_ids[row] for row in chosen],
            users=self.users.take(rows),
            seen=[self.seen[row] for row in chosen],
            styles=[self.styles[row] for row in chosen],
            orientations=[self.orientations[row] for row in chosen],
            plans=[self.plans[row] for row in chosen],
        )


@dataclass(frozen=True)
class Taste:
    """The latest signals of one user: artwork keys and weights, one entry per event."""

    keys: Keys
    weights: Floats


class Situation:
    """Reads people for one host."""

    def __init__(self, pool: Pool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        favourites = query("taste_favourites") if host.has("art_favorites") else ""
        self._people = query("demand_state", columns=host.select("users", USER_COLUMNS, "h"))
        self._tastes = query("taste_state", favourites=favourites)

    async def people(self, user_ids: Sequence[str]) -> People:
        """These users, in this order; of an unknown one nothing is known."""
        rows = await self._rows(self._people, user_ids, displays=DISPLAYS)
        return await asyncio.to_thread(_people, user_ids, rows, self._settings.seconds_per_artwork)

    async def tastes(self, user_ids: Sequence[str]) -> list[Taste]:
        """The signals of these users, in this order."""
        rows = await self._rows(self._tastes, user_ids, kinds=list(KINDS), signals=self._settings.signals_per_user)
        half_life = self._settings.half_life_days
        return await asyncio.to_thread(lambda: [Taste(*unpack_signals(row, half_life)) for row in rows])

    async def active(self, most: int) -> tuple[list[str], int]:
        """The users active within a week, the latest first and at most ``most``, and how many there are in all."""
        async with transaction(self._pool) as connection:
            rows = await (await connection.execute(query("active_users"), {"users": most})).fetchall()
        return [user_id for user_id, _ in rows], rows[0][1] if rows else 0

    async def _rows(self, text: str, user_ids: Sequence[str], **values: Any) -> list[dict[str, Any]]:
        """The rows of a query that has one per user, some users at a time."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(user_ids), BLOCK):
            async with transaction(self._pool) as connection:
                cursor = connection.cursor(row_factory=dict_row, binary=True)
                await cursor.execute(text, values | {"user_ids": list(user_ids[start : start + BLOCK])})
                found += await cursor.fetchall()
        return found


def _people(user_ids: Sequence[str], rows: Sequence[dict[str, Any]], gap: float) -> People:
    """The rows as people; for thousands of them it takes a second or more, which no request must wait for."""
    return People(
        user_ids=list(user_ids),
        users=_users(rows, gap),
        seen=[np.flatnonzero(unpack_seen(row)).astype(np.int32) for row in rows],
        styles=[read_style_preferences(row["style_preferences"]) for row in rows],
        orientations=[row["preferred_orientation"] for row in rows],
        plans=[row["subscription_tier"] for row in rows],
    )


def _users(rows: Sequence[dict[str, Any]], gap: float) -> Users:
    """The users as the forecast sees them; the last display's time is 0 seconds."""
    ages = [unpack_keys(row["ages"]).astype(float) for row in rows]
    owners = np.repeat(np.arange(len(rows)), [len(part) for part in ages])
    at = -np.concatenate(ages) if ages else np.zeros(0)
    visits = find_visits(owners, at)
    repeats, recency, age = session_counts(visits.user_rows, visits.started, 0.0, len(rows))
    tabs = np.array([row["tabs"] for row in rows], dtype=float)
    shown = np.zeros(len(rows))
    running = visits.ended > -PAUSE
    shown[visits.user_rows[running]] = visits.lengths[running]
    shown = np.where(tabs > 0, np.maximum(shown, 1), 0.0)  # who has just come has the first artwork before them
    return Users(repeats, recency, age, shown, tabs, paces(owners, at, tabs, gap))


def paces(owners: np.ndarray, at: Numbers, tabs: Numbers, gap: float) -> Numbers:
    """Seconds per artwork and tab of each user, shape (n,): the median within visits, never above ``gap``.

    ``owners``, ``at``: displays of each user together, newest first. Who was seen skipping draws sooner than the
    display alone would; a batch of displays of one moment tells of no pace.
    """
    found = np.full(len(tabs), gap)
    between = -np.diff(at)
    told = (owners[1:] == owners[:-1]) & (between > 0) & (between < PAUSE)
    whose, seconds = owners[1:][told], between[told]
    order = np.lexsort((seconds, whose))
    whose, seconds = whose[order], seconds[order]
    counts = np.bincount(whose, minlength=len(tabs))
    enough = np.flatnonzero(counts >= LEAST_GAPS)
    first = np.cumsum(counts) - counts
    found[enough] = seconds[first[enough] + counts[enough] // 2] * np.maximum(tabs[enough], 1)
    return np.asarray(np.clip(found, FASTEST * gap, gap))
