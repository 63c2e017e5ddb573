"""The host's own routes under /api: what each takes and answers, so that its client works without a change.

The user is named by the host that stands in front (a key and a header) or by a token; cookies are the host's business.
"""

from __future__ import annotations

import colorsys
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from features.catalogue import ORIENTATIONS
from serving.api.host_shapes import (
    NO_CACHE,
    AsyncQuery,
    BridgeBody,
    LoadedBody,
    NextQuery,
    RenderedBody,
    artwork_object,
    refuse_as_host,
    stamp,
)
from serving.api.operations import FRONTEND, Call, Operation
from serving.api.problems import Problem, bad
from serving.host_lists import Filters, HostList, Job, make_filters
from serving.leases import Offer
from serving.ranking import BOTH

NEEDED = 3  # artworks that the display wants ahead; with fewer it has one made, which costs
GENERATION_MS = 12_000  # what a generation takes, usually
#: The host's own numbers, for its picture of the pool; what triggers a generation is need.
POOL_CONFIG = {"preGenerationThreshold": 0.85, "criticalThreshold": 0.95, "targetPoolSize": 20, "minPoolSize": 5}
PALETTE = 5
DIRECTIONS = ("vertical", "horizontal", "diagonal", "radial")


async def next_artworks(call: Call) -> Response:
    """Unseen artworks, by what the session last asked for."""
    asked: NextQuery = call.query
    found = await call.worker.parts.host_lists.next(call.user_id, asked.session_id, asked.limit)
    return _uncached(_next_answer(call, found))


async def next_async(call: Call) -> Response:
    """Unseen artworks at once, or a job to wait for; never a list that the display cannot work with."""
    asked: AsyncQuery = call.query
    filters = make_filters(
        _tags("styles", asked.styles), _tags("artists", asked.artists), _orientation(asked.orientation)
    )
    found = await call.worker.parts.host_lists.start(call.user_id, asked.session_id, asked.limit, filters)
    if isinstance(found, str):
        message = "Too few unseen artworks are left; waiting for new ones."
        return _uncached({"type": "queued", "jobId": found, "estimatedTime": GENERATION_MS, "message": message})
    artworks = _artworks(call, found)
    return _uncached({"type": "immediate", "artworks": artworks, "poolSize": len(artworks), "source": "cache"})


async def job(call: Call) -> Response:
    """How a list that the display waits for stands."""
    try:
        found = await call.worker.parts.host_lists.poll(call.user_id, call.path["job_id"])
    except LookupError as error:
        raise Problem(404, "no_job", "There is no such job.") from error
    except PermissionError as error:
        raise Problem(403, "foreign_job", "The job is another user's.") from error
    return _uncached(_job_answer(call, found))


async def loaded(call: Call) -> dict[str, Any]:
    """Artworks that the client has in memory: not shown yet, but nobody else's any more."""
    sent: LoadedBody = call.body
    if not sent.artwork_ids:
        raise Problem(400, "no_artworks", "artworkIds[] required")
    found = await call.worker.parts.host_sightings.load(call.user_id, sent.session_id, sent.artwork_ids)
    return {
        "attempted": found.attempted,
        "recorded": len(found.recorded),
        "filtered": found.attempted - len(found.recorded),
        "ids": found.recorded,
        "timestamp": stamp(),
    }


async def viewed(call: Call) -> dict[str, Any]:
    """One artwork was shown; one that the host does not hold is no error, for nothing would mend it."""
    await call.worker.parts.host_sightings.show(call.user_id, None, [call.path["artwork_id"]])
    return {"success": True}


async def rendered(call: Call) -> dict[str, Any]:
    """Artworks were shown."""
    sent: RenderedBody = call.body
    found = await call.worker.parts.host_sightings.show(call.user_id, sent.session_id, sent.artwork_ids)
    return {
        "recordedCount": len(found.recorded),
        "rejectedIds": found.rejected,
        "source": sent.source or "unknown",
    }


async def bridge(call: Call) -> dict[str, Any]:
    """A few unseen artworks to go on with at once, or what to draw where none is left."""
    started = time.perf_counter()
    sent: BridgeBody = call.body
    filters = make_filters(sent.style_tags or (), sent.artist_tags or (), _orientation(sent.orientation))
    found = await call.worker.parts.host_lists.bridge(call.user_id, sent.session_id, sent.limit, filters)
    answer = {
        "artworks": _artworks(call, found.offers),
        "tier": found.tier,
        "latency": round((time.perf_counter() - started) * 1000),
        "timestamp": stamp(),
    }
    return answer if found.offers else answer | {"proceduralData": procedural(sent.session_id, filters)}


async def pool(call: Call) -> dict[str, Any]:
    """The host's picture of its pool."""
    parts = call.worker.parts
    now = await parts.host_monitor.state(parts.live.view.catalogue)
    metrics = {
        "timestamp": stamp(),
        "totalSessions": now.sessions,
        "activeSessions": now.active_sessions,
        "totalFramesAvailable": now.artworks,
        "averageFramesPerSession": round(now.held_per_session, 2),
        "poolCoveragePercentage": round(100 * now.coverage, 2),
        "consumptionRatePerMinute": round(now.shown_per_minute, 2),
        "predictedExhaustionMinutes": None if now.minutes_left is None else round(now.minutes_left, 1),
        "preGenerationActive": now.generating,
        "preGenerationQueued": now.queued,
    }
    return {"status": "ok", "metrics": metrics, "config": POOL_CONFIG}


async def client_config(call: Call) -> dict[str, Any]:
    """How a client of the user's tier should send its impressions."""
    tier = (await call.worker.parts.host_lists.profile(call.user_id, "")).tier
    return {"tier": tier.name, "flushDelayMs": tier.flush_delay_ms, "batchSize": tier.batch_size}


def procedural(session_id: str, filters: Filters) -> dict[str, Any]:
    """A gradient to draw where no artwork is left: the same for the same session and tags."""
    seed = hashlib.blake2b(msgspec.json.encode((session_id, filters)), digest_size=PALETTE + 1).digest()
    palette = [_colour(byte, place) for place, byte in enumerate(seed[:PALETTE])]
    stops = [{"color": color, "position": round(place / (PALETTE - 1), 2)} for place, color in enumerate(palette)]
    return {
        "type": "gradient",
        "palette": palette,
        "gradientParams": {"direction": DIRECTIONS[seed[PALETTE] % len(DIRECTIONS)], "stops": stops},
        "styleHint": next(iter(filters.styles), "abstract"),
    }


def _next_answer(call: Call, found: HostList) -> dict[str, Any]:
    """The plain list with the host's many counts. Fresh artworks are generated ones, stored ones the library's."""
    answer, filters, profile = found.answer, found.filters, found.profile
    artworks = _artworks(call, answer.offers)
    stored = sum(bool(artwork["isLibrary"]) for artwork in artworks)
    needed = len(artworks) < min(answer.ask.limit, NEEDED)
    named = {"orientation": filters.orientation} if filters.orientation else {}
    return {
        "artworks": artworks,
        "poolSize": len(artworks),
        "freshCount": len(artworks) - stored,
        "storageCount": stored,
        "needsGeneration": needed,
        "onboardingState": "complete" if filters.styles or profile.chosen_styles else "incomplete",
        "tier": _tier(len(artworks), stored),
        "selectedStyles": list(filters.styles or profile.chosen_styles),
        "telemetry": {
            "userId": call.user_id,
            "sessionId": answer.ask.session_id,
            "filters": named | {"styleTags": list(filters.styles), "artistTags": list(filters.artists)},
            "fresh_count_raw": answer.unseen_total,
            "fresh_count_after_filter": len(answer.candidates.rows),
            "storage_count_returned": stored,
            "total_returned": len(artworks),
            "recently_served_filtered": answer.candidates.excluded["leased"],
            "needs_generation": needed,
            "pool_exhausted": answer.unseen_total == 0,
        },
    }


def _tier(found: int, stored: int) -> str:
    """Where the artworks of a list come from."""
    if not found:
        return "empty"
    return "storage" if stored == found else "fresh"


def _job_answer(call: Call, found: Job) -> dict[str, Any]:
    """A job as the display understands it."""
    if found.state == "pending":
        return {"status": "pending", "message": "Waiting for new artworks."}
    artworks = _artworks(call, found.offers)
    if found.state == "completed":
        return {"status": "completed", "artworks": artworks, "source": "generated"}
    error = "No new artworks came in time; these are the unseen ones that are left."
    return {"status": "failed", "artworks": artworks, "source": "fallback", "error": error}


def _artworks(call: Call, offers: Sequence[Offer]) -> list[dict[str, Any]]:
    """A list as the host's artwork objects."""
    return [artwork_object(offer, call.worker.parts.host, call.worker.resign) for offer in offers]


def _tags(field: str, text: str) -> list[str]:
    """The names in a JSON array of strings; none in an absent one."""
    try:
        return msgspec.json.decode(text, type=list[str]) if text else []
    except msgspec.DecodeError as error:
        raise bad(field, "Expected a JSON array of strings") from error


def _orientation(text: str | None) -> str | None:
    """An orientation; None for an absent one."""
    if text and text not in (*ORIENTATIONS, *BOTH):
        raise bad("orientation", f"Expected one of {', '.join((*ORIENTATIONS, *BOTH))}")
    return text or None


def _colour(byte: int, place: int) -> str:
    """A quiet colour as #rrggbb; later places are lighter."""
    red, green, blue = colorsys.hls_to_rgb(byte / 256, 0.3 + 0.1 * place, 0.45)
    return "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))


def _uncached(answer: dict[str, Any]) -> Response:
    """The answer with headers that no cache can misunderstand."""
    return Response(msgspec.json.encode(answer), 200, NO_CACHE, "application/json")


_route = partial(Operation, answer=None, scope=FRONTEND, refuse=refuse_as_host)
_user_route = partial(_route, names_user=True)

OPERATIONS = (
    _user_route(
        "host_next", "GET", "/api/artworks/next", "A list for the host's client", next_artworks, query_type=NextQuery,
    ),
    _user_route(
        "host_next_async", "GET", "/api/artworks/next/async", "A list at once, or a job", next_async,
        query_type=AsyncQuery,
    ),
    _user_route("host_job", "GET", "/api/artworks/job/{job_id}", "A list that a session waits for", job),
    _user_route(
        "host_loaded", "POST", "/api/artworks/batch-impressions", "Artworks that a client has loaded", loaded,
        body_types=(LoadedBody,),
    ),
    _user_route(
        "host_viewed", "POST", "/api/artworks/{artwork_id}/viewed", "An artwork was shown", viewed),
    _user_route(
        "host_rendered", "POST", "/api/impressions/rendered", "Artworks were shown", rendered,
        body_types=(RenderedBody,),
    ),
    _user_route(
        "host_bridge", "POST", "/api/catalogue-bridge", "Artworks to go on with", bridge, body_types=(BridgeBody,),
    ),
    _route("host_pool", "GET", "/api/monitoring/pool", "The state of the pool", pool),
    _user_route(
        "host_client_config", "GET", "/api/client-config", "How a client should send its impressions", client_config,
    ),
)  # fmt: skip
