"""The host's own shapes: its artwork object, its two errors, and the bodies and parameters of its routes.

Names, types and defaults are the host's, so that its unmodified client cannot tell the difference.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from features.host import ARTWORK_COLUMNS, Host
from serving.api.problems import Problem
from serving.api.schemas import BATCH, Label
from serving.leases import Offer
from serving.signing import Resign, hold

NO_CACHE = {
    "Cache-Control": "no-store, no-cache, must-revalidate, private",
    "Pragma": "no-cache",
    "Expires": "0",
}

#: What an artwork has in a column that this host does not have (yet): the column's default. Any other is null.
DEFAULTS: dict[str, Any] = {
    "is_saved": False, "motifs": [], "quality_score": "50.0", "pool_status": "active", "styles": [], "artists": [],
    "is_library": False, "version": 1,
}  # fmt: skip


def camel(name: str) -> str:
    """A column's name as the client writes it."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


FIELDS = {column: camel(column) for column in ARTWORK_COLUMNS}


class NextQuery(Struct, rename="camel"):
    """Parameters of the plain list."""

    session_id: Label = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class AsyncQuery(Struct, rename="camel"):
    """Parameters of the list that the display asks for first; styles and artists are JSON arrays."""

    session_id: Label = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 3
    styles: str = ""
    artists: str = ""
    orientation: str = ""


class LoadedBody(Struct, rename="camel"):
    """Artworks that a client has in memory. An id that can be no artwork's is left out, not refused."""

    artwork_ids: Annotated[list[str], Meta(max_length=BATCH)]
    session_id: Label | None = None


class RenderedBody(Struct, rename="camel"):
    """Artworks that a client has drawn."""

    artwork_ids: Annotated[list[str], Meta(min_length=1, max_length=10)]
    source: Literal["bridge", "fresh"] | None = None
    session_id: Label | None = None


class BridgeBody(Struct, rename="camel"):
    """What is wanted to go on with at once."""

    session_id: Label
    style_tags: Annotated[list[Label], Meta(max_length=100)] | None = None
    artist_tags: Annotated[list[Label], Meta(max_length=100)] | None = None
    orientation: str | None = None
    limit: Annotated[int, Meta(ge=1, le=20)] = 2


def artwork_object(offer: Offer, host: Host, resign: Resign | None) -> dict[str, Any]:
    """One artwork as the host gives it: every column of art_sessions in camelCase."""
    have, columns = host.columns["art_sessions"], offer.artwork.columns
    found = {
        field: getattr(columns, column) if column in have else DEFAULTS.get(column) for column, field in FIELDS.items()
    }
    score = found["qualityScore"]
    return found | {
        "imageUrl": hold(columns.id, columns.image_url, offer.expires_at, resign)[0],
        "audioFeatures": _sound(found["audioFeatures"]),
        "qualityScore": score if score is None or isinstance(score, str) else f"{score:.1f}",
        "createdAt": stamp(columns.created_at),
        "lastUsedAt": None if found["lastUsedAt"] is None else stamp(found["lastUsedAt"]),
    }


def stamp(at: datetime | None = None) -> str:
    """A moment (default: now) as JavaScript writes it: ISO 8601 in UTC with milliseconds and Z.

    The host's columns have no zone and mean UTC.
    """
    moment = datetime.now(UTC) if at is None else at
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def refuse_as_host(problem: Problem, request_id: str) -> Response:
    """A problem in one of the host's two shapes: {message} where nobody is logged in, else {error[, details]}."""
    headers = {"Cache-Control": "no-store", "X-Request-Id": request_id}
    if problem.retry is not None:
        headers["Retry-After"] = str(problem.retry)
    return Response(msgspec.json.encode(_body_of(problem)), problem.status, headers, "application/json")


def _body_of(problem: Problem) -> dict[str, Any]:
    """The body of an error."""
    if problem.status == 401:  # noqa: PLR2004 - HTTP's own number
        return {"message": problem.detail}
    if problem.field is None:
        return {"error": problem.detail}
    message = problem.detail.removeprefix(f"{problem.field}: ")
    return {"error": "Validation failed", "details": [{"field": problem.field, "message": message}]}


def _sound(text: str | None) -> str | None:
    """Audio features that can be parsed; the client does so without a guard, and would stop at broken ones."""
    try:
        msgspec.json.decode(text or "")
    except (msgspec.DecodeError, RecursionError):
        return None
    return text
