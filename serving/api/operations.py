"""What a route is: method, path, scope, types and handler in one record; checks in front, encoding behind.

The same records route the requests, check them and make the OpenAPI document, so that the document is true.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from features.errors import DatabaseUnavailableError, QueueFullError
from features.identifiers import new_id
from features.settings import Settings
from serving import telemetry
from serving.api.limits import Kind, check_room, taken
from serving.api.problems import Problem, bad_field, respond
from serving.keys import Key
from serving.worker import Worker

RETRY_SECONDS = 1
FRONTEND = "frontend"  # the scope of what a display calls
USER_HEADER = "X-Vernissage-User"
LONGEST_ID = 255
GZIP = b"\x1f\x8b"  # how a gzip stream begins, and no JSON text


@dataclass(frozen=True)
class Call:
    """A checked request, as a handler gets it."""

    worker: Worker
    path: dict[str, str]
    query: Any  # the operation's query type
    body: Any  # one of the operation's body types
    request_id: str
    user_id: str = ""  # where the operation has its user named beside path, query and body
    last_event_id: str = ""  # what a stream of events goes on after
    key_id: str = "-"  # of the caller's key, for the audit log


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """One route of ours."""

    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    answer: type | None  # None: the handler makes its own Response
    scope: str | None = None  # None: open to all
    path_type: type | None = None
    query_type: type | None = None
    body_types: tuple[type, ...] = ()
    needs: Callable[[dict[str, Any]], type] | None = None  # which body type this body is, where there are several
    conflict: str | None = None  # the code of its 409, where it has one
    missing: str | None = None  # the code of its 404, where it has one
    stream: bool = False  # the answer comes as server-sent events, each with an `answer` as its data
    kind: Kind | None = None  # of which a worker answers so many at a time
    names_user: bool = False  # its user comes by the header USER_HEADER, or is the one of the caller's token
    refuse: Callable[[Problem, str], Response] = respond  # the shape of its errors

    async def answer_to(self, request: Request, worker: Worker) -> Response:
        """Check, handle, encode, count and log one request."""
        started = time.perf_counter()
        request_id = _request_id(request)
        user = request.headers.get(USER_HEADER) if self.names_user else request.path_params.get("user_id")
        try:
            call = await self._check(request, worker, request_id)
            response = self._encode(await self._handle(call), request_id)
        except Problem as problem:
            telemetry.PROBLEMS.labels(self.path, problem.code).inc()
            response = self.refuse(problem, request_id)
        except DatabaseUnavailableError as error:
            telemetry.DATABASE_ERRORS.inc()
            telemetry.PROBLEMS.labels(self.path, "database_unavailable").inc()
            response = self.refuse(Problem(503, "database_unavailable", str(error), retry=RETRY_SECONDS), request_id)
        except QueueFullError as error:
            telemetry.PROBLEMS.labels(self.path, "busy").inc()
            response = self.refuse(Problem(429, "busy", str(error), retry=RETRY_SECONDS), request_id)
        except Exception:  # noqa: BLE001 - the last line: the client gets a code, the log gets the trace
            telemetry.PROBLEMS.labels(self.path, "internal").inc()
            telemetry.get_logger().exception("request failed", request_id=request_id, route=self.path)
            response = self.refuse(Problem(500, "internal", "An error of ours; it has been logged."), request_id)
        self._note(response.status_code, time.perf_counter() - started, request_id, user, worker)
        return response

    async def _handle(self, call: Call) -> Any:
        """The handler's answer, when there is room; a stream counts for as long as it goes on."""
        if self.kind is None:
            return await self.handler(call)
        check_room(self.kind, call.worker.settings)
        if self.stream:
            return await self.handler(call)
        with taken(self.kind):
            return await self.handler(call)

    async def _check(self, request: Request, worker: Worker, request_id: str) -> Call:
        """Key and scope first, then path, query and body."""
        caller = await self._authorise(request, worker)
        user_id = _user_named(request, caller) if self.names_user else ""
        if self.path_type:
            _convert(request.path_params, self.path_type, strict=False)
        given = _parameters(request, self.query_type) if self.query_type else {}
        query = _convert(given, self.query_type, strict=False) if self.query_type else None
        body = await self._read_body(request, worker.settings) if self.body_types else None
        _check_user(caller, request.path_params, query, body)
        last_event_id = request.headers.get("last-event-id", "")
        key_id = caller.key_id if caller else "-"
        return Call(worker, dict(request.path_params), query, body, request_id, user_id, last_event_id, key_id)

    async def _authorise(self, request: Request, worker: Worker) -> Key | None:
        """Who calls: the bearer's key or token must be live and carry the scope. None where no key is needed."""
        if self.scope is None or not worker.settings.auth:
            return None
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:  # a beacon cannot send headers
            kind, token = "bearer", request.query_params.get("token", "")
        if kind.lower() != "bearer" or not token.strip():
            raise Problem(
                401, "missing_key", "Send a key: `Authorization: Bearer <key>` (make one: `vernissage key create`)."
            )
        key = await worker.caller(token.strip())
        if key is None:
            raise Problem(401, "bad_key", "The key is unknown or revoked.")
        if not key.may(self.scope):
            raise Problem(
                403,
                "wrong_scope",
                f"This route needs the scope {self.scope}; the key has {', '.join(sorted(key.scopes))}.",
            )
        return key

    async def _read_body(self, request: Request, settings: Settings) -> Any:
        """The JSON body as one of the operation's types, whatever the content type says (beacons send text)."""
        raw = await _read(request, settings)
        if raw.startswith(GZIP):
            raw = _inflate(raw, settings.max_body_bytes)
        try:
            data = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, "bad_json", f"The body is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise Problem(400, "bad_body", "body: Expected a JSON object", field="body")
        return _convert(data, self.needs(data) if self.needs else self.body_types[0], strict=True)

    def _encode(self, result: Any, request_id: str) -> Response:
        """The answer as JSON, unless the handler made a Response."""
        if isinstance(result, Response):
            result.headers["X-Request-Id"] = request_id
            return result
        headers = {"Cache-Control": "no-store", "X-Request-Id": request_id}
        return Response(msgspec.json.encode(result), 200, headers, "application/json")

    def _note(self, status: int, seconds: float, request_id: str, user: str | None, worker: Worker) -> None:
        """Metrics for every request; a log line for every failure and for a sample of the rest."""
        telemetry.REQUESTS.labels(self.path, self.method, status).inc()
        telemetry.LATENCY.labels(self.path).observe(seconds)
        failed = status >= 400  # noqa: PLR2004 - HTTP's own border
        if not failed and not telemetry.sampled(request_id, worker.settings.log_sample):
            return
        fields = {"route": self.path, "status": status, "ms": round(seconds * 1000, 2), "request_id": request_id}
        if user is not None:
            fields["user"] = worker.pseudonym(user)
        log = telemetry.get_logger()
        (log.warning if failed else log.info)("request", **fields)


def _check_user(caller: Key | None, *named: Any) -> None:
    """A browser's token acts for its own user alone, wherever the request names one."""
    if caller is None or caller.user_id is None:
        return
    if any(user_id != caller.user_id for part in named for user_id in _users_in(part)):
        raise Problem(403, "wrong_user", "The token is for another user.")


def _user_named(request: Request, caller: Key | None) -> str:
    """The user of a request that names none in path, query or body: the header's, or the token's own."""
    named = set(request.headers.getlist(USER_HEADER))
    own = caller.user_id if caller else None
    if own is not None and named <= {own}:
        return own
    if own is not None:
        raise Problem(403, "wrong_user", "The token is for another user.")
    if len(named) != 1 or named == {""}:
        raise Problem(401, "missing_user", f"Name the user, once: `{USER_HEADER}: <user id>`.")
    (user_id,) = named
    if len(user_id) > LONGEST_ID:
        raise Problem(400, "bad_user", f"{USER_HEADER} must be at most {LONGEST_ID} characters.")
    return user_id


def _users_in(part: Any) -> list[str]:
    """Every user id that a path, query or body names."""
    if isinstance(part, Mapping):
        return [part["user_id"]] if "user_id" in part else []
    rows = [part, *getattr(part, "events", ()), *getattr(part, "claims", ())]
    return [row.user_id for row in rows if hasattr(row, "user_id")]


def _request_id(request: Request) -> str:
    """The caller's X-Request-Id when it is sane, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if 0 < len(given) <= 64 and given.isprintable() and given.isascii() else new_id().hex  # noqa: PLR2004 - fits a log


def _parameters(request: Request, kind: type) -> dict[str, Any]:
    """The query string; fields that are lists may be repeated or comma separated."""
    lists = _list_fields(kind)
    given = request.query_params
    return {
        name: [part for text in given.getlist(name) for part in text.split(",") if part]
        if name in lists
        else given[name]
        for name in given
    }


@cache
def _list_fields(kind: type) -> frozenset[str]:
    """The fields of a query that are lists."""
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.default_factory is list)


def _convert(data: dict[str, Any], kind: type, *, strict: bool) -> Any:
    """The data as ``kind``; not ``strict``: text, as paths and queries have it, may stand for a number."""
    try:
        return msgspec.convert(data, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise bad_field(error, kind) from error


def _inflate(raw: bytes, most: int) -> bytes:
    """The content of a gzip stream, refused as soon as it is over ``most`` bytes."""
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = stream.decompress(raw, most + 1)
    except zlib.error as error:
        raise Problem(400, "bad_gzip", f"The body is not gzip, though it begins so: {error}") from error
    if len(found) > most:
        raise Problem(413, "body_too_large", f"The body is over {most} bytes when unpacked.")
    if not stream.eof:
        raise Problem(400, "bad_gzip", "The body is gzip without its end.")
    return found


async def _read(request: Request, settings: Settings) -> bytes:
    """The whole body, refused when it is too large, too slow, or ends in the middle."""
    try:
        async with asyncio.timeout(settings.body_wait_seconds):
            return await _read_to_end(request, settings.max_body_bytes)
    except TimeoutError as error:
        rule = f"The body was not complete after {settings.body_wait_seconds:g} s."
        raise Problem(408, "body_too_slow", rule) from error
    except ClientDisconnect as error:
        raise Problem(499, "client_gone", "The client hung up before its body was complete.") from error


async def _read_to_end(request: Request, most: int) -> bytes:
    """The whole body, refused as soon as it is over ``most`` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Problem(413, "body_too_large", f"The body is over {most} bytes.")
        parts.append(part)
    return b"".join(parts)
