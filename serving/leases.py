"""Users' states and the lists on lease: the database trips of one or more requests, inside one short transaction.

The first takes the users' locks; the second reads what they have seen, what other sessions hold and the latest signals;
the third writes the lists, which are the leases. Between these two nothing waits for anything but the ranking.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import msgspec
import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import dict_row

from features.arrays import Floats, Keys, Marks, are_marked
from features.catalogue import read_style_preferences
from features.database import Pool, query, transaction
from features.host import USER_COLUMNS, Host
from features.packed import unpack_keys, unpack_seen, unpack_signals
from features.settings import Settings
from features.weights import KINDS
from serving.host_artworks import HostArtwork, HostArtworks
from serving.ladder import Fallback, ShortReason
from serving.model import Tier


class Asker(Protocol):
    """A user's session that asks; it may take over the leases of another one."""

    @property
    def user_id(self) -> str:
        """Who asks."""

    @property
    def session_id(self) -> str:
        """For which session."""

    @property
    def supersedes(self) -> str | None:
        """The session that this one replaces."""


@dataclass(frozen=True)
class UserState:
    """What is known of a user at this moment; keys are artwork keys, marks are by them."""

    known: bool  # the host's users table holds the user
    seen: Marks
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
class Origin:
    """What a list came from that no other table keeps, so that it can be made again."""

    inputs: dict[str, Any]  # of the request, the session and the pool; what is as usual is left out
    sampler: dict[str, Any] | None = None  # temperature, epsilon and seed of a list that was drawn
    head_keys: Keys | None = None  # what it was drawn from
    head_scores: Floats | None = None


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
    propensities: Floats  # of each slot, given those before it
    origin: Origin
    experiments: dict[str, Any] | None = None  # what is tried on the user, as the log has it
    fallback: Fallback | None = None  # why the model did not rank it


class Offer(msgspec.Struct, frozen=True):
    """An artwork on a list."""

    artwork: HostArtwork
    score: float
    rung: int
    evidence: Tier
    expires_at: datetime  # of its lease


@dataclass(frozen=True)
class Written:
    """A list as it was written."""

    offers: list[Offer]
    shown: int  # artworks that the session has shown


class Leases:
    """Reads user states and writes lists for one host."""

    def __init__(self, pool: Pool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        favourites = query("user_favourites") if host.has("art_favorites") else ""
        users = host.select("users", USER_COLUMNS, "h")
        self._states = query("user_states", columns=users, favourites=favourites)
        self._lease = query("lease_lists", active=host.servable("a"))
        self._artworks = HostArtworks(host, settings.remembered_artworks)

    @contextlib.asynccontextmanager
    async def locked(self, askers: Sequence[Asker]) -> AsyncIterator[tuple[psycopg.AsyncConnection, list[UserState]]]:
        """Different users' locks and states, in order, for one transaction; superseded leases pass over first."""
        async with transaction(self._pool, [asker.user_id for asker in askers]) as connection:
            for asker in askers:
                if asker.supersedes is not None:
                    session = {"user_id": asker.user_id, "session_id": asker.session_id}
                    await connection.execute(query("supersede"), session | {"supersedes": asker.supersedes})
            rows = await self._read(connection, askers)
            behind = [
                asker.user_id
                for asker, row in zip(askers, rows, strict=True)
                if row["host_ahead"] or (row["host_unchecked"] and not await _is_absorbed(connection, asker.user_id))
            ]
            for user_id in behind:
                await _absorb(connection, user_id)
            if behind:
                rows = await self._read(connection, askers)
            yield connection, [self._state_of(row) for row in rows]

    async def look_ahead(self, keys: Keys) -> None:
        """Have some more artworks ready, of those that lists may name."""
        await self._artworks.look_ahead(self._pool, keys)

    async def write(
        self, connection: psycopg.AsyncConnection, rows: Sequence[ListRow], took_ms: Sequence[float]
    ) -> list[Written]:
        """Write lists of different users, each made in so many milliseconds; artworks are as the host has them now."""
        if not rows:
            return []
        lists = [_list(place, row, took) for place, (row, took) in enumerate(zip(rows, took_ms, strict=True))]
        values = {
            "lists": msgspec.json.encode(lists).decode(),
            "first_seconds": self._settings.lease_first_seconds,
            "stretch_seconds": self._settings.lease_stretch * self._settings.seconds_per_artwork,
            "grace_seconds": self._settings.lease_grace_seconds,
        }
        async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(self._lease, values)
            found = await cursor.fetchall()
        artworks = await self._artworks.find(connection, _versions(found))
        for row, each in zip(rows, found, strict=True):
            if len(each["keys"]) < min(row.limit, len(row.artwork_keys)):
                await connection.execute(query("doubt_absorbed"), {"user_id": row.user_id})
        return [_written(row, each, artworks) for row, each in zip(rows, found, strict=True)]

    async def _read(self, connection: psycopg.AsyncConnection, askers: Sequence[Asker]) -> list[dict[str, Any]]:
        """The states, a row each, in order."""
        asked = {
            "user_ids": [asker.user_id for asker in askers],
            "session_ids": [asker.session_id for asker in askers],
            "signals": self._settings.signals_per_user,
            "kinds": list(KINDS),
        }
        async with connection.cursor(row_factory=dict_row, binary=True) as cursor:
            await cursor.execute(self._states, asked)
            return await cursor.fetchall()

    def _state_of(self, row: dict[str, Any]) -> UserState:
        """The row as arrays."""
        seen = unpack_seen(row)
        held = np.array(row["held"] or [], dtype=np.int32)
        unshown = ~are_marked(seen, held)
        keys, weights = unpack_signals(row, self._settings.half_life_days)
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


async def _is_absorbed(connection: psycopg.AsyncConnection, user_id: str) -> bool:
    """Whether all that the host recorded of the user was taken over; noted where it was."""
    return await (await connection.execute(query("check_absorbed"), {"user_id": user_id})).fetchone() is not None


def _versions(found: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The version of each artwork's row, by key."""
    return dict(chain.from_iterable(zip(each["keys"], each["row_versions"], strict=True) for each in found))


def _written(row: ListRow, found: Mapping[str, Any], artworks: Mapping[int, HostArtwork]) -> Written:
    """The list, of those of its artworks that the statement kept."""
    kept, expires_at = artworks.keys() & set(found["keys"]), found["expires_at"]
    told = zip(row.artwork_keys.tolist(), row.scores.tolist(), row.rungs.tolist(), row.evidence, strict=True)
    offers = [Offer(artworks[key], score, rung, tier, expires_at) for key, score, rung, tier in told if key in kept]
    return Written(offers, found["shown"])


def _list(place: int, row: ListRow, took_ms: float) -> dict[str, Any]:
    """A list as the statement takes it."""
    return {
        "place": place,
        "recommendation_id": row.recommendation_id,
        "user_id": row.user_id,
        "session_id": row.session_id,
        "requested": row.limit,
        "repeats": row.repeats,
        "policy": row.policy,
        "model_version": row.model_version,
        "reason": row.reason,
        "artwork_keys": row.artwork_keys.tolist(),
        "scores": row.scores.tolist(),
        "rungs": row.rungs.tolist(),
        "propensities": row.propensities.tolist(),
        "known": row.known,
        "held": row.held.tolist(),
        "passes": row.passes.tolist(),
        "retired": row.retired.tolist(),
        "candidate_hash": row.candidate_hash,
        "candidate_size": row.candidate_size,
        "excluded": row.excluded,
        "experiments": row.experiments,
        "inputs": row.origin.inputs,
        "sampler": row.origin.sampler,
        "head_keys": None if row.origin.head_keys is None else row.origin.head_keys.tolist(),
        "head_scores": None if row.origin.head_scores is None else row.origin.head_scores.tolist(),
        "took_ms": took_ms,
        "fallback": row.fallback,
    }


async def _absorb(connection: psycopg.AsyncConnection, user_id: str) -> None:
    """Take over what the host recorded without us (its own routes, or from before we came)."""
    for name in ("absorb_keys", "absorb_marks", "note_absorbed"):
        await connection.execute(query(name), {"user_id": user_id})
