"""A user's state and the lists on lease: the two database trips of a request, inside one short transaction.

Trip one takes the user's lock and reads what the user has seen, what other sessions hold and the latest signals.
Trip two writes the list, which is the lease. Between the two nothing waits for anything but the ranking.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from features.arrays import Floats, Keys
from features.catalogue import read_style_preferences, unpack_keys
from features.database import query, transaction
from features.host import ARTWORK_COLUMNS, USER_COLUMNS, Host
from features.settings import Settings
from features.weights import KIND_CODES, typical_dwell, weigh
from serving.ladder import Fallback, ShortReason
from serving.model import Tier

DAY = 86_400.0


@dataclass(frozen=True)
class UserState:
    """What is known of a user at this moment; keys are artwork keys."""

    known: bool  # the host's users table holds the user
    seen: Keys
    held: Keys  # on lease to this session, in order of offering, shown ones left out
    passes: Keys  # how often each of `held` was passed over
    retired: Keys  # taken out for this session: passed over too often
    held_elsewhere: Keys  # on lease to the user's other sessions
    next_expiry: float | None  # seconds until the first of those leases ends
    last_list: uuid.UUID | None
    signal_keys: Keys
    signal_weights: Floats
    orientation: str | None
    styles: list[str]


@dataclass(frozen=True)
class ListRow:
    """A list about to be written; arrays in the order of offering, spares at the end."""

    recommendation_id: uuid.UUID
    user_id: str
    session_id: str
    limit: int
    repeats: uuid.UUID | None
    policy: str
    model_version: str | None
    reason: ShortReason | None
    artwork_keys: Keys
    scores: Floats
    rungs: NDArray[np.int8]
    evidence: list[Tier]  # what each score rests on; for the answer only
    known: bool  # the host's users table holds the user
    held: Keys  # on lease to the session already, whether this list offers it again or not
    passes: Keys
    retired: Keys
    candidate_hash: int
    candidate_size: int
    excluded: dict[str, int]
    rank_traded: float  # mean ranks given up for smoothness; for the answer only
    experiments: dict[str, Any] | None = None  # what is tried on the user, as the log has it
    fallback: Fallback | None = None  # why the model did not rank it


class Leases:
    """Reads user states and writes lists for one host."""

    def __init__(self, pool: AsyncConnectionPool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        favourites = query("user_favourites") if host.has("art_favorites") else ""
        users = host.select("users", USER_COLUMNS, "h")
        self._state = query("user_state", columns=users, favourites=favourites)
        columns = host.select("art_sessions", ARTWORK_COLUMNS, "a")
        self._lease = query("lease_list", columns=columns, active=host.servable("a"))

    @contextlib.asynccontextmanager
    async def locked(
        self, user_id: str, session_id: str, supersedes: str | None = None
    ) -> AsyncIterator[tuple[psycopg.AsyncConnection, UserState]]:
        """The user's lock and state, for one transaction; the leases of a superseded session pass over first."""
        async with transaction(self._pool) as connection:
            asked = {
                "user_id": user_id,
                "session_id": session_id,
                "supersedes": supersedes,
                "signals": self._settings.signals_per_user,
            }
            row = await self._read(connection, asked)
            if (row["host_rows"], row["host_latest"]) != (row["absorbed_rows"], row["absorbed_latest"]):
                await _absorb(connection, user_id)
                row = await self._read(connection, asked)
            yield connection, self._state_of(row)

    async def write(self, connection: psycopg.AsyncConnection, row: ListRow, took_ms: float) -> list[dict[str, Any]]:
        """Write the list, made in so many milliseconds, and return its artworks, as the host has them now, in order."""
        values = {
            "recommendation_id": row.recommendation_id,
            "user_id": row.user_id,
            "session_id": row.session_id,
            "limit": row.limit,
            "repeats": row.repeats,
            "policy": row.policy,
            "model_version": row.model_version,
            "reason": row.reason,
            "artwork_keys": row.artwork_keys.tolist(),
            "scores": row.scores.tolist(),
            "rungs": row.rungs.tolist(),
            "known": row.known,
            "held": row.held.tolist(),
            "passes": row.passes.tolist(),
            "retired": row.retired.tolist(),
            "candidate_hash": row.candidate_hash,
            "candidate_size": row.candidate_size,
            "excluded": Jsonb(row.excluded),
            "experiments": None if row.experiments is None else Jsonb(row.experiments),
            "took_ms": took_ms,
            "fallback": row.fallback,
            "first_seconds": self._settings.lease_first_seconds,
            "stretch_seconds": self._settings.lease_stretch * self._settings.seconds_per_artwork,
            "grace_seconds": self._settings.lease_grace_seconds,
        }
        async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(self._lease, values)
            return await cursor.fetchall()

    async def _read(self, connection: psycopg.AsyncConnection, asked: dict[str, Any]) -> dict[str, Any]:
        """Lock and state, as two statements, so that the read sees what the lock waited for."""
        async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await connection.execute(query("lock_user"), {"user_id": asked["user_id"]})
            if asked["supersedes"] is not None:
                await connection.execute(query("supersede"), asked)
            await cursor.execute(self._state, asked)
            row = await cursor.fetchone()
        assert row is not None  # noqa: S101 - the query's FROM is one row
        return row

    def _state_of(self, row: dict[str, Any]) -> UserState:
        """The row as arrays."""
        seen = unpack_keys(row["seen"])
        held = np.array(row["held"] or [], dtype=np.int32)
        unshown = ~np.isin(held, seen)
        keys, weights = self._signals(row)
        return UserState(
            known=bool(row["known"]),
            seen=seen,
            held=held[unshown],
            passes=np.array(row["passes"] or [], dtype=np.int32)[unshown],
            retired=np.array(row["retired"] or [], dtype=np.int32),
            held_elsewhere=unpack_keys(row["held_elsewhere"]),
            next_expiry=row["next_expiry"],
            last_list=row["last_list"],
            signal_keys=keys,
            signal_weights=weights,
            orientation=row["preferred_orientation"],
            styles=read_style_preferences(row["style_preferences"]),
        )

    def _signals(self, row: dict[str, Any]) -> tuple[Keys, Floats]:
        """The latest signals as keys and weights, one entry per event."""
        keys = np.array(row["signal_keys"] or [], dtype=np.int32)
        if len(keys) == 0:
            return keys, np.zeros(0, np.float32)
        kinds = np.array([KIND_CODES[kind] for kind in row["signal_kinds"]], dtype=np.int8)
        values = np.array([np.nan if value is None else value for value in row["signal_values"]], dtype=np.float32)
        ages = np.array(row["signal_ages"], dtype=np.float32) / np.float32(DAY)
        return keys, weigh(kinds, values, ages, typical_dwell(kinds, values), self._settings.half_life_days)


async def _absorb(connection: psycopg.AsyncConnection, user_id: str) -> None:
    """Take over what the host recorded without us (its own routes, or from before we came)."""
    for name in ("absorb_keys", "absorb_marks", "note_absorbed"):
        await connection.execute(query(name), {"user_id": user_id})
