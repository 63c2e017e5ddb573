"""The routes under /v1: what each takes, does and answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.responses import Response

from features import __version__
from features.dna import DnaKind, read_dna
from serving import telemetry, tokens
from serving.api.operations import Call, Operation
from serving.api.problems import Problem, bad
from serving.api.schemas import (
    Claim,
    ClaimAnswer,
    ClaimBody,
    ClaimListBody,
    CoverageAnswer,
    Dependency,
    DisplayBatch,
    EndAnswer,
    EventBatch,
    Health,
    HeartbeatAnswer,
    HeartbeatBody,
    Item,
    LiveModel,
    NextAnswer,
    NextQuery,
    RecordAnswer,
    SentEvent,
    SessionPath,
    SessionQuery,
    TokenAnswer,
    TokenBody,
    UserPath,
)
from serving.impressions import Event, displays
from serving.ladder import RUNG_REASONS, SHORT
from serving.recommend import Answer, Ask

FRONTEND = "frontend"
CLOCK_SKEW = timedelta(days=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


async def next_artworks(call: Call) -> NextAnswer:
    """Unseen artworks for one user, on lease to the session."""
    asked: NextQuery = call.query
    ask = Ask(
        user_id=call.path["user_id"],
        session_id=asked.session_id,
        limit=asked.limit,
        orientation=asked.orientation,
        styles=tuple(asked.styles),
        strict_styles=asked.strict_styles,
        exclude=tuple(asked.exclude),
        supersedes=asked.supersedes,
    )
    return _next_answer(await call.worker.parts.recommender.next(ask))


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


async def coverage(call: Call) -> CoverageAnswer:
    """How much of what is eligible one user has seen."""
    found = await call.worker.coverage(call.path["user_id"])
    return CoverageAnswer(
        user_id=call.path["user_id"],
        coverage=found.coverage,
        coverage_band=found.band,
        eligible=found.eligible,
        seen=found.seen,
        unseen=found.unseen,
        leased=found.leased,
        minutes_of_stock=found.minutes,
    )


async def live_model(call: Call) -> LiveModel:
    """The model behind the answers of this worker."""
    live = call.worker.parts.live
    model = live.view.model
    if model is None:
        return LiveModel(live=False, refusal=live.refusal)
    manifest = model.bundle.manifest
    return LiveModel(
        live=True,
        model=manifest.model,
        version=manifest.version,
        kind=manifest.kind,
        digest=model.bundle.digest,
        snapshot=manifest.snapshot,
        published_at=live.moved_at,
        age_seconds=_age(live.moved_at),
        artworks=len(model.bundle.arrays["artwork_ids"]) if "artwork_ids" in model.bundle.arrays else None,
        metrics=manifest.metrics,
        params=manifest.params,
        refusal=live.refusal,
    )


async def health(call: Call) -> Response:
    """The state of each dependency; 503 when the service cannot do its work."""
    worker = call.worker
    seconds = await worker.database_answers()
    database = Dependency(state="ok", age_seconds=seconds) if seconds is not None else Dependency(state="down")
    pool, bundle = _pool_state(worker.ready, call), _bundle_state(worker.ready, call)
    down = seconds is None or not worker.ready
    fine = bundle.state == "ok" and pool.state == "ok"
    body = Health(
        status="down" if down else "ok" if fine else "degraded",
        version=__version__,
        database=database,
        pool=pool,
        bundle=bundle,
        generator=Dependency(state="absent", detail="no generator is connected"),
    )
    return Response(msgspec.json.encode(body), 503 if down else 200, {"Cache-Control": "no-store"}, "application/json")


async def metrics(_: Call) -> Response:
    """All workers' metrics in Prometheus' text format."""
    body, media_type = telemetry.exposition()
    return Response(body, 200, {"Cache-Control": "no-store"}, media_type)


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
    if len({sent.artwork_id for sent in claims}) < len(claims):
        raise bad("claims", "each artwork may be claimed once in a request")
    return [
        Event(
            event_id=f"claim:{sent.claim_id}",
            user_id=sent.user_id,
            artwork_id=sent.artwork_id,
            kind="displayed",
            session_id=sent.session_id,
            lease_id=sent.lease_id,
            fenced=True,
        )
        for sent in claims
    ]


def _next_answer(answer: Answer) -> NextAnswer:
    """The list as its schema."""
    items = [_item(answer, position, row) for position, row in enumerate(answer.artworks, start=1)]
    return NextAnswer(
        recommendation_id=answer.recommendation_id,
        user_id=answer.ask.user_id,
        session_id=answer.ask.session_id,
        items=items,
        requested=answer.ask.limit,
        returned=len(items),
        shortfall=answer.ask.limit - len(items),
        reason=answer.reason,
        rung=max((item.rung for item in items), default=SHORT),
        unseen_total=answer.unseen_total,
        repeats=answer.repeats,
        model=answer.model,
        policy=answer.policy,
        retry_after_seconds=answer.retry_after,
    )


def _item(answer: Answer, position: int, row: dict[str, Any]) -> Item:
    """One artwork of a list; the lease is the list's."""
    kind, _ = read_dna(row["dna_vector"])
    usable = kind in {DnaKind.REAL, DnaKind.STUB}
    return Item(
        artwork_id=row["id"],
        lease_id=answer.recommendation_id,
        position=position,
        score=row["score"],
        rung=row["rung"],
        reason=RUNG_REASONS[row["rung"]],
        dna_vector=msgspec.json.decode(row["dna_vector"]) if usable else None,
        created_at=row["created_at"].replace(tzinfo=UTC),
        quality_score=None if row["quality_score"] is None else float(row["quality_score"]),
        styles=row["styles"] or [],
        motifs=row["motifs"] or [],
        artists=row["artists"] or [],
        **{name: row[name] for name in _PLAIN},
    )


_PLAIN = (
    "image_url", "prompt", "orientation", "is_library", "aspect_ratio", "catalogue_tier", "width", "height",
    "safe_area", "focal_points", "sidefill_palette", "audio_features", "music_track", "music_artist", "music_album",
    "music_genre", "generation_explanation",
)  # fmt: skip


def _age(at: datetime | None) -> float | None:
    """Seconds since ``at``."""
    return None if at is None else (datetime.now(UTC) - at).total_seconds()


def _pool_state(ready: bool, call: Call) -> Dependency:
    """Whether the pool has been read, and lately."""
    if not ready:
        return Dependency(state="down", detail="not read yet")
    live, settings = call.worker.parts.live, call.worker.settings
    age = live.pool_age()
    late = age > 2 * settings.catalogue_full_seconds
    detail = f"{live.view.catalogue.size} active artworks"
    return Dependency(state="stale" if late else "ok", detail=detail, age_seconds=age)


def _bundle_state(ready: bool, call: Call) -> Dependency:
    """Which bundle ranks, and whether a newer one was refused."""
    if not ready:
        return Dependency(state="absent")
    live = call.worker.parts.live
    model = live.view.model
    if model is None:
        return Dependency(state="refused" if live.refusal else "absent", detail=live.refusal or "heuristics answer")
    detail = model.bundle.label if live.refusal is None else f"{model.bundle.label} serves; refused: {live.refusal}"
    return Dependency(state="refused" if live.refusal else "ok", detail=detail, age_seconds=_age(live.moved_at))


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
        "next", "GET", "/v1/users/{user_id}/next", "Unseen artworks for a user, on lease to the session",
        next_artworks, NextAnswer, FRONTEND, path_type=UserPath, query_type=NextQuery,
    ),
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
    Operation(
        "coverage", "GET", "/v1/users/{user_id}/coverage", "How much of the eligible pool a user has seen",
        coverage, CoverageAnswer, FRONTEND, path_type=UserPath,
    ),
    Operation("live_model", "GET", "/v1/models/live", "The model behind the answers", live_model, LiveModel, FRONTEND),
    Operation("health", "GET", "/v1/health", "The state of each dependency", health, Health),
)  # fmt: skip

METRICS = Operation("metrics", "GET", "/metrics", "Prometheus metrics", metrics, None)
