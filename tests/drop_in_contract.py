"""The host's answers as strict JSON schemas, and its two sets of columns; for tests and evidence of its routes."""

from __future__ import annotations

from typing import Any

import httpx
from jsonschema import Draft202012Validator

from tests.host import Host

NO_CACHE = {
    "cache-control": "no-store, no-cache, must-revalidate, private",
    "pragma": "no-cache",
    "expires": "0",
}
NO_STORE = {"cache-control": "no-store"}

#: The columns that the host's artworks got last.
LATER_COLUMNS = (
    "styles", "artists", "is_library", "orientation", "aspect_ratio", "catalogue_tier", "width", "height", "version",
)  # fmt: skip


def strict(**properties: Any) -> dict[str, Any]:
    """The schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def array(items: Any) -> dict[str, Any]:
    """The schema of an array."""
    return {"type": "array", "items": items}


def maybe(kind: str) -> dict[str, Any]:
    """The schema of a value or null."""
    return {"type": [kind, "null"]}


def constant(*values: str) -> dict[str, Any]:
    """The schema of one of a few words."""
    return {"enum": list(values)}


TEXT = {"type": "string"}
WHOLE = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number", "minimum": 0}
FLAG = {"type": "boolean"}
STAMP = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
TAGS = {"type": ["array", "null"], "items": TEXT}

ARTWORK = strict(
    id=TEXT, sessionId=TEXT, userId=maybe("string"), imageUrl={"type": "string", "pattern": "^(/|https?://)"},
    prompt=TEXT, dnaVector=maybe("string"), audioFeatures=maybe("string"), musicTrack=maybe("string"),
    musicArtist=maybe("string"), musicGenre=maybe("string"), musicAlbum=maybe("string"),
    generationExplanation=maybe("string"), isSaved=FLAG, motifs=TAGS,
    qualityScore={"type": ["string", "null"], "pattern": r"^\d+\.\d$"}, perceptualHash=maybe("string"),
    poolStatus=maybe("string"), lastUsedAt={"anyOf": [STAMP, {"type": "null"}]}, styles=TAGS, artists=TAGS,
    isLibrary=FLAG, orientation=maybe("string"), aspectRatio=maybe("string"), catalogueTier=maybe("string"),
    width=maybe("integer"), height=maybe("integer"), safeArea=maybe("string"), focalPoints=maybe("string"),
    sidefillPalette=maybe("string"), createdAt=STAMP, version=WHOLE,
)  # fmt: skip
ARTWORKS = array(ARTWORK)

_FILTERS = strict(orientation=TEXT, styleTags=array(TEXT), artistTags=array(TEXT)) | {
    "required": ["styleTags", "artistTags"]
}
NEXT = strict(
    artworks=ARTWORKS, poolSize=WHOLE, freshCount=WHOLE, storageCount=WHOLE, needsGeneration=FLAG,
    onboardingState=constant("complete", "incomplete"), tier=constant("fresh", "storage", "empty"),
    selectedStyles=array(TEXT),
    telemetry=strict(
        userId=TEXT, sessionId=TEXT, filters=_FILTERS, fresh_count_raw=WHOLE, fresh_count_after_filter=WHOLE,
        storage_count_returned=WHOLE, total_returned=WHOLE, recently_served_filtered=WHOLE, needs_generation=FLAG,
        pool_exhausted=FLAG,
    ),
)  # fmt: skip
IMMEDIATE = strict(
    type=constant("immediate"), artworks=ARTWORKS | {"minItems": 2}, poolSize=WHOLE, source=constant("cache")
)
QUEUED = strict(type=constant("queued"), jobId=TEXT, estimatedTime=WHOLE, message=TEXT)
PENDING = strict(status=constant("pending", "processing"), message=TEXT)
COMPLETED = strict(status=constant("completed"), artworks=ARTWORKS | {"minItems": 2}, source=constant("generated"))
FAILED = strict(status=constant("failed"), artworks=ARTWORKS, source=constant("fallback"), error=TEXT)
LOADED = strict(attempted=WHOLE, recorded=WHOLE, filtered=WHOLE, ids=array(TEXT), timestamp=STAMP)
VIEWED = strict(success={"const": True})
RENDERED = strict(recordedCount=WHOLE, rejectedIds=array(TEXT), source=constant("bridge", "fresh", "unknown"))
BRIDGE = strict(
    artworks=ARTWORKS | {"minItems": 1}, tier=constant("exact", "related", "global"), latency=NUMBER, timestamp=STAMP
)
_COLOUR = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}
PROCEDURAL = strict(
    artworks=ARTWORKS | {"maxItems": 0},
    tier=constant("procedural"),
    latency=NUMBER,
    timestamp=STAMP,
    proceduralData=strict(
        type=TEXT,
        palette=array(_COLOUR),
        gradientParams=strict(
            direction=TEXT, stops=array(strict(color=_COLOUR, position={"type": "number", "minimum": 0, "maximum": 1}))
        ),
        styleHint=TEXT,
    ),
)
POOL = strict(
    status=constant("ok"),
    metrics=strict(
        timestamp=STAMP, totalSessions=WHOLE, activeSessions=WHOLE, totalFramesAvailable=WHOLE,
        averageFramesPerSession=NUMBER, poolCoveragePercentage=NUMBER | {"maximum": 100},
        consumptionRatePerMinute=NUMBER, predictedExhaustionMinutes={"type": ["number", "null"], "minimum": 0},
        preGenerationActive=WHOLE, preGenerationQueued=WHOLE,
    ),
    config=strict(preGenerationThreshold=NUMBER, criticalThreshold=NUMBER, targetPoolSize=WHOLE, minPoolSize=WHOLE),
)  # fmt: skip
CONFIG = strict(tier=TEXT, flushDelayMs=WHOLE, batchSize=WHOLE)

#: The two shapes of an error; the second may say which fields are wrong.
MESSAGE = strict(message=TEXT)
ERROR = strict(error=TEXT)
INVALID = strict(error=constant("Validation failed"), details=array(strict(field=TEXT, message=TEXT)) | {"minItems": 1})


def faults(answer: httpx.Response, status: int, schema: Any, headers: dict[str, str]) -> list[str]:
    """Where an answer is not what the client knows; empty when it is."""
    if answer.status_code != status:
        return [f"status {answer.status_code}, not {status}: {answer.text[:200]}"]
    wrong = [
        f"{name}: {answer.headers.get(name)}" for name, value in headers.items() if answer.headers.get(name) != value
    ]
    if answer.headers["content-type"] != "application/json":
        wrong.append(f"content-type: {answer.headers['content-type']}")
    errors = Draft202012Validator(schema).iter_errors(answer.json())
    return wrong + [f"{error.json_path}: {error.message[:200]}" for error in errors]


def make_older(host: Host) -> None:
    """Take away what the host's tables got last."""
    dropped = ", ".join(f"DROP {column}" for column in LATER_COLUMNS)
    host.connection.execute(f"ALTER TABLE public.art_sessions {dropped}, ALTER quality_score TYPE integer")
    host.connection.execute("ALTER TABLE public.user_art_impressions DROP bridge_at, DROP version")
