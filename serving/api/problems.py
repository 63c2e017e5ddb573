"""What a client can do wrong, and what can go wrong here: problem+json (RFC 9457) with a stable code."""

from __future__ import annotations

import re

import msgspec
from starlette.responses import Response

from serving.api.rules import whole_rule

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the RFC's word; it is an answer as much as an error
    """An answer that is not the one asked for; raised anywhere in a handler."""

    def __init__(
        self, status: int, code: str, detail: str, *, field: str | None = None, retry: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.retry = retry  # seconds, for Retry-After


class ProblemBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every refused or failed request under /v1."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str | None = None


TITLES = {
    400: "Bad request",
    401: "Key needed",
    403: "Scope needed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    429: "Busy",
    499: "Client gone",  # no standard's, but widely known; only our metrics and log ever see it
    500: "Internal error",
    503: "Not available",
}


def respond(problem: Problem, request_id: str) -> Response:
    """The problem as an HTTP answer."""
    body = ProblemBody(
        type=f"urn:vernissage:problem:{problem.code}",
        title=TITLES[problem.status],
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id,
        field=problem.field,
    )
    headers = {"Cache-Control": "no-store", "X-Request-Id": request_id}
    if problem.status == 401:  # noqa: PLR2004 - RFC 9110: a 401 names the scheme
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status == 408:  # noqa: PLR2004 - RFC 9110: nobody waits for the rest of the body
        headers["Connection"] = "close"
    if problem.retry is not None:
        headers["Retry-After"] = str(problem.retry)
    return Response(msgspec.json.encode(body), problem.status, headers, MEDIA_TYPE)


_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def bad_field(error: msgspec.ValidationError, kind: type) -> Problem:
    """The problem of a value of ``kind`` that breaks its rule: code bad_<field>, naming the field and the rule."""
    text = str(error)
    match = _AT.search(text)
    path = match["path"] if match else ""
    rule = whole_rule(_AT.sub("", text), kind, path)
    name = re.split(r"[.\[]", path.replace("[...]", ""))[-1 if "." in path else 0] or "body"
    missing = re.match(r"Object missing required field `(\w+)`", rule)
    if missing:
        name, path = missing[1], f"{path}.{missing[1]}" if path else missing[1]
    return Problem(400, f"bad_{name}", f"{path or name}: {rule}", field=path or name)


def bad(field: str, rule: str) -> Problem:
    """The problem of one named field."""
    return Problem(400, f"bad_{field}", f"{field}: {rule}", field=field)
