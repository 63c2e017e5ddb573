"""What the host's unmodified client is given: lists, jobs for lists that cannot be filled at once, and bridges.

All of it goes through the one path of a recommendation and its leases; here is only what that client needs beside.
Its sessions take nothing twice after a change of style, it throws on an empty list, and it polls for what is not there
yet. Nothing here is remembered by the process: a session's filters and its jobs are rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.catalogue import read_style_preferences
from features.database import Pool, query, transaction
from features.host import USER_COLUMNS, Host
from features.identifiers import new_id
from features.settings import Settings
from features.tiers import Tier, tier_of
from serving import telemetry
from serving.host_artworks import HostArtwork
from serving.leases import Offer
from serving.ranking import Ask
from serving.recommend import Answer, Recommender

LEAST = 2  # artworks that the client takes as an answer; with fewer it is to wait

JobState = Literal["pending", "completed", "failed"]
BridgeTier = Literal["exact", "related", "global", "procedural"]


class Filters(msgspec.Struct, frozen=True):
    """What a client asks with; in order and without repetition, so that equal wishes are equal."""

    styles: tuple[str, ...] = ()
    artists: tuple[str, ...] = ()
    orientation: str | None = None


@dataclass(frozen=True)
class Profile:
    """What is known of a session and its user before a list is made."""

    filters: Filters | None  # None: the session has not asked with any yet
    chosen_styles: tuple[str, ...]  # for this session, else by the user
    tier: Tier


@dataclass(frozen=True)
class HostList:
    """A list and what it was made for."""

    answer: Answer
    filters: Filters
    profile: Profile


@dataclass(frozen=True)
class Job:
    """How a list that a session waits for stands."""

    state: JobState
    offers: list[Offer]


@dataclass(frozen=True)
class Bridge:
    """A few artworks to go on with, and how well they fit what was asked for."""

    offers: list[Offer]
    tier: BridgeTier


class HostLists:
    """Answers the client's requests for artworks from one worker."""

    def __init__(self, pool: Pool, host: Host, recommender: Recommender, settings: Settings) -> None:
        self._pool = pool
        self._job_seconds = settings.list_job_seconds
        self._recommender = recommender
        chosen = query("host_chosen_styles") if host.has("art_preferences") else "NULL::text[]"
        self._profile = query("host_profile", columns=host.select("users", USER_COLUMNS, "h"), chosen=chosen)

    async def profile(self, user_id: str, session_id: str) -> Profile:
        """The session's filters and what its user chose."""
        row = await self._row(self._profile, user_id=user_id, session_id=session_id)
        styles = row["chosen_styles"] or read_style_preferences(row["style_preferences"])
        filters = None if row["filters"] is None else msgspec.convert(row["filters"], Filters)
        return Profile(filters, tuple(styles), tier_of(row["subscription_tier"]))

    async def next(self, user_id: str, session_id: str, limit: int) -> HostList:
        """A list by the filters that the session last asked with, else by what was chosen for it."""
        profile = await self.profile(user_id, session_id)
        filters = profile.filters or Filters(styles=profile.chosen_styles)
        answer = await self._recommender.next(_ask(user_id, session_id, limit, filters))
        return HostList(answer, filters, profile)

    async def start(self, user_id: str, session_id: str, limit: int, filters: Filters) -> list[Offer] | str:
        """A list of at least `LEAST` artworks, else the id of the job to wait for.

        After a change of filters nothing is on it that the session was ever offered before.
        """
        await self._note(user_id, session_id, filters)
        offers = await self._at_least(LEAST, user_id, session_id, limit, filters)
        if offers:
            return offers
        values = {"user_id": user_id, "session_id": session_id, "wanted": limit, "job_id": new_id()}
        row = await self._row(query("open_job"), **values, seconds=self._job_seconds)
        return str(row["job_id"])

    async def poll(self, user_id: str, job_id: str) -> Job:
        """How a job stands: filled as soon as there is enough, and given up with what there is before the client is.

        Raises LookupError for a job that does not exist and PermissionError for another user's.
        """
        row = await self._find_job(job_id)
        if row["user_id"] != user_id:
            raise PermissionError(job_id)
        over = row["seconds"] >= self._job_seconds
        filters = (await self.profile(user_id, row["session_id"])).filters or Filters()
        least = 1 if over else LEAST
        offers = await self._at_least(least, user_id, row["session_id"], row["wanted"], filters)
        state = _state(len(offers), over=over)
        telemetry.JOBS.labels(state).inc()
        return Job(state, offers)

    async def bridge(self, user_id: str, session_id: str, limit: int, filters: Filters) -> Bridge:
        """Artworks that the session was never offered: those that fit first, then any."""
        offered = await self._row(query("offered_to_session"), user_id=user_id, session_id=session_id)
        met = tuple(offered["array_agg"] or ())
        named = bool(filters.styles or filters.artists)
        offers = await self._unmet(met, user_id, session_id, limit, filters, strict=True) if named else []
        if len(offers) < limit:
            met += tuple(offer.artwork.columns.id for offer in offers)
            offers = offers + await self._unmet(met, user_id, session_id, limit - len(offers), filters, strict=False)
        return Bridge(offers, bridge_tier([offer.artwork for offer in offers], filters))

    async def _unmet(
        self, met: tuple[str, ...], user_id: str, session_id: str, limit: int, filters: Filters, *, strict: bool
    ) -> list[Offer]:
        """Artworks other than those that the session has met."""
        answer = await self._recommender.next(
            _ask(user_id, session_id, limit, filters, exclude=met, strict_styles=strict, least=1)
        )
        return answer.offers

    async def _at_least(self, least: int, user_id: str, session_id: str, limit: int, filters: Filters) -> list[Offer]:
        """A list of ``least`` or more artworks, else none: what is not shown is not leased either."""
        answer = await self._recommender.next(_ask(user_id, session_id, limit, filters, least=least))
        return answer.offers if len(answer.offers) >= least else []

    async def _note(self, user_id: str, session_id: str, filters: Filters) -> None:
        """Keep the filters; when they differ from the last ones, take out what the session was offered so far."""
        if (await self.profile(user_id, session_id)).filters == filters:
            return
        values = {"user_id": user_id, "session_id": session_id, "filters": Jsonb(msgspec.to_builtins(filters))}
        async with transaction(self._pool, [user_id]) as connection:
            await connection.execute(query("note_filters"), values)

    async def _find_job(self, job_id: str) -> dict[str, Any]:
        """The row of a job. Raises LookupError."""
        try:
            row = await self._row(query("find_job"), job_id=uuid.UUID(job_id))
        except ValueError as error:
            raise LookupError(job_id) from error
        if not row:
            raise LookupError(job_id)
        return row

    async def _row(self, text: str, **values: Any) -> dict[str, Any]:
        """The first row of one statement, {} where there is none."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(text, values)
            return await cursor.fetchone() or {}


def make_filters(styles: Sequence[str], artists: Sequence[str], orientation: str | None) -> Filters:
    """The filters of a request; the order in which styles were chosen is no difference."""
    return Filters(tuple(sorted(set(styles))), tuple(sorted(set(artists))), orientation)


def bridge_tier(artworks: Sequence[HostArtwork], filters: Filters) -> BridgeTier:
    """How well the worst of the artworks fits: in every kind of tag asked for, in one of them, or not at all."""
    if not artworks:
        return "procedural"
    worst = min(_fit(artwork, filters) for artwork in artworks)
    return "exact" if worst == 1.0 else "related" if worst > 0.0 else "global"


def _fit(artwork: HostArtwork, filters: Filters) -> float:
    """The share of the kinds of tags asked for that an artwork answers; 1.0 where none was asked for."""
    asked = [
        ({tag.casefold() for tag in wanted}, {tag.casefold() for tag in getattr(artwork.columns, column) or () if tag})
        for column, wanted in (("styles", filters.styles), ("artists", filters.artists))
        if wanted
    ]
    return sum(not wanted.isdisjoint(found) for wanted, found in asked) / len(asked) if asked else 1.0


def _ask(user_id: str, session_id: str, limit: int, filters: Filters, **more: Any) -> Ask:
    """The request for artworks."""
    return Ask(
        user_id=user_id,
        session_id=session_id,
        limit=limit,
        styles=filters.styles,
        artists=filters.artists,
        orientation=filters.orientation,
        **more,
    )


def _state(found: int, *, over: bool) -> JobState:
    """How a job stands that has found so many artworks."""
    if found >= LEAST:
        return "completed"
    return "failed" if over else "pending"
