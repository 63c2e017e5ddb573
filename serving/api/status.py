"""The routes that tell how things are: coverage, the live model, health, metrics."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from starlette.responses import Response

from features import __version__
from serving import telemetry
from serving.api.operations import FRONTEND, Call, Operation
from serving.api.schemas import (
    CoverageAnswer,
    Dependency,
    Health,
    LiveModel,
    UserPath,
)


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
        artworks=model.trained or None,
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
        generator=_generator_state(worker.ready, call),
    )
    return Response(msgspec.json.encode(body), 503 if down else 200, {"Cache-Control": "no-store"}, "application/json")


async def metrics(_: Call) -> Response:
    """All workers' metrics in Prometheus' text format."""
    body, media_type = telemetry.exposition()
    return Response(body, 200, {"Cache-Control": "no-store"}, media_type)


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


def _generator_state(ready: bool, call: Call) -> Dependency:
    """Whether somebody plans and orders, and whether the providers do well; nothing of it keeps us from serving."""
    if not ready or not call.worker.parts.watch.standing.led:
        return Dependency(state="absent", detail="no planning loop leads")
    standing = call.worker.parts.watch.standing
    if standing.stopped:
        return Dependency(state="absent", detail="generation is stopped")
    if standing.troubled:
        return Dependency(state="down", detail=f"breaker not closed: {', '.join(standing.troubled)}")
    return Dependency(state="ok", detail="a planning loop leads")


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


OPERATIONS = (
    Operation(
        "coverage", "GET", "/v1/users/{user_id}/coverage", "How much of the eligible pool a user has seen",
        coverage, CoverageAnswer, FRONTEND, path_type=UserPath,
    ),
    Operation("live_model", "GET", "/v1/models/live", "The model behind the answers", live_model, LiveModel, FRONTEND),
    Operation("health", "GET", "/v1/health", "The state of each dependency", health, Health),
)  # fmt: skip

METRICS = Operation("metrics", "GET", "/metrics", "Prometheus metrics", metrics, None)
