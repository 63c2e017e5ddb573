"""The routes that tell what a display does: impressions, claims, sessions, and tokens to call them with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from features.identifiers import named_id
from serving import tokens
from serving.api.operations import FRONTEND, Call, Operation
from serving.api.problems import Problem, bad
from serving.api.schemas import (
    Claim,
    ClaimAnswer,
    ClaimBody,
    ClaimListBody,
    DisplayBatch,
    EndAnswer,
    EventBatch,
    HeartbeatAnswer,
    HeartbeatBody,
    RecordAnswer,
    SentEvent,
    SessionPath,
    SessionQuery,
    TokenAnswer,
    TokenBody,
)
from serving.impressions import Event, displays

CLOCK_SKEW = timedelta(days=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


async def record_impressions(call: Call) -> RecordAnswer:
    """Displays and signals, recorded once each."""
    if isinstance(call.body, DisplayBatch):
        return await _record_displays(call, call.body)
    events = [_event(sent, index) for index, sent in enumerate(call.body.events)]
    recorded = await call.worker.parts.impressions.record(events)
    return RecordAnswer(
        received=len(events),
        new=recorded.new,
        known=recorded.known,
        unknown=recorded.unknown_artworks,
        unknown_users=recorded.unknown_users,
    )


async def claim(call: Call) -> ClaimAnswer:
    """Displays about to happen, each granted once and only to the session that holds the artwork."""
    single = isinstance(call.body, ClaimBody)
    claims = [call.body] if single else call.body.claims
    granted = await call.worker.parts.impressions.claim(_claim_events(claims))
    if single and not granted[0]:
        raise Problem(409, "lease_lost", "This session does not hold the artwork any more; go on to the next one.")
    return ClaimAnswer(
        claims=[
            Claim(claim_id=sent.claim_id, artwork_id=sent.artwork_id, status="claimed" if ok else "lease_lost")
            for sent, ok in zip(claims, granted, strict=True)
        ]
    )


async def make_token(call: Call) -> TokenAnswer:
    """A short-lived token with which one user's browser may call directly."""
    sent: TokenBody = call.body
    token = tokens.mint(call.worker.parts.secret, sent.user_id, sent.seconds)
    return TokenAnswer(token=token, user_id=sent.user_id, seconds=sent.seconds)


async def heartbeat(call: Call) -> HeartbeatAnswer:
    """A sign of life: renews the session's leases."""
    sent: HeartbeatBody = call.body
    counters = {name: value for name, value in msgspec.structs.asdict(sent).items() if name != "user_id"}
    pulse = await call.worker.parts.sessions.heartbeat(sent.user_id, call.path["session_id"], counters)
    return HeartbeatAnswer(live=pulse.live, seconds_left=pulse.seconds_left, held=pulse.held)


async def end_session(call: Call) -> EndAnswer:
    """The session is over: what it holds returns to stock."""
    return EndAnswer(returned=await call.worker.parts.sessions.end(call.query.user_id, call.path["session_id"]))


async def _record_displays(call: Call, body: DisplayBatch) -> RecordAnswer:
    """A plain list of displayed artworks, answered by artwork id."""
    recorded = await call.worker.parts.impressions.record(displays(body.user_id, body.session_id, body.artwork_ids))
    unknown, new = set(recorded.unknown_artworks), set(recorded.first_seen)
    held = [artwork_id for artwork_id in dict.fromkeys(body.artwork_ids) if artwork_id not in unknown]
    return RecordAnswer(
        received=len(body.artwork_ids),
        new=[artwork_id for artwork_id in held if artwork_id in new],
        known=[artwork_id for artwork_id in held if artwork_id not in new],
        unknown=recorded.unknown_artworks,
        unknown_users=recorded.unknown_users,
    )


def _event(sent: SentEvent, index: int) -> Event:
    """The event to record; its time must be one that a clock can show by mistake, not by nonsense."""
    at = sent.at if sent.at is None or sent.at.tzinfo else sent.at.replace(tzinfo=UTC)
    if at is not None and not EARLIEST <= at <= datetime.now(UTC) + CLOCK_SKEW:
        raise bad("at", f"events[{index}].at must be after 2000 and at most a day ahead of the server's clock")
    return Event(
        sent.event_id, sent.user_id, sent.artwork_id, sent.kind, sent.session_id, sent.lease_id, sent.value, at
    )


def _claim_events(claims: list[ClaimBody]) -> list[Event]:
    """Claims as fenced displays; one user and session per request, each artwork once."""
    if len({(sent.user_id, sent.session_id) for sent in claims}) > 1:
        raise bad("claims", "all claims of a request must be of one user and session")
    if len({sent.artwork_id for sent in claims}) < len(claims) or len({sent.claim_id for sent in claims}) < len(claims):
        raise bad("claims", "each artwork and each claim_id may stand once in a request")
    return [
        Event(
            event_id=f"claim:{named_id(sent.session_id, sent.claim_id)}",  # a session's own: two tabs may count alike
            user_id=sent.user_id,
            artwork_id=sent.artwork_id,
            kind="displayed",
            session_id=sent.session_id,
            lease_id=sent.lease_id,
            fenced=True,
        )
        for sent in claims
    ]


def _body_type(data: dict[str, Any]) -> type:
    """Which of the two shapes an impressions body is."""
    if "events" in data and "artwork_ids" in data:
        raise bad("body", "send events or artwork_ids, not both")
    return EventBatch if "events" in data else DisplayBatch


def _claim_type(data: dict[str, Any]) -> type:
    """Which of the two shapes a claim body is."""
    return ClaimListBody if "claims" in data else ClaimBody


OPERATIONS = (
    Operation(
        "impressions", "POST", "/v1/impressions", "Record displays and signals, idempotently",
        record_impressions, RecordAnswer, FRONTEND, body_types=(DisplayBatch, EventBatch), needs=_body_type,
    ),
    Operation(
        "claims", "POST", "/v1/claims", "Claim artworks just before drawing them, fenced by their lease",
        claim, ClaimAnswer, FRONTEND, body_types=(ClaimBody, ClaimListBody), needs=_claim_type,
        conflict="lease_lost",
    ),
    Operation(
        "tokens", "POST", "/v1/tokens", "Mint a short-lived token for one user's browser",
        make_token, TokenAnswer, "tokens", body_types=(TokenBody,),
    ),
    Operation(
        "heartbeat", "POST", "/v1/sessions/{session_id}/heartbeat", "A sign of life that renews a session's leases",
        heartbeat, HeartbeatAnswer, FRONTEND, path_type=SessionPath, body_types=(HeartbeatBody,),
    ),
    Operation(
        "end_session", "DELETE", "/v1/sessions/{session_id}", "Give back what a session holds",
        end_session, EndAnswer, FRONTEND, path_type=SessionPath, query_type=SessionQuery,
    ),
)  # fmt: skip
