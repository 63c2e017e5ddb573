"""The Starlette application: our routes, their document, and an answer for every path that is not one."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from features.identifiers import new_id
from serving import telemetry
from serving.api import artworks, display, host, ofrep
from serving.api.host_shapes import refuse_as_host
from serving.api.openapi import document
from serving.api.operations import Call, Operation
from serving.api.problems import Problem, respond
from serving.api.v1 import METRICS, OPERATIONS
from serving.worker import Worker

NO_ROUTE = "(none)"  # one label for all unknown paths, so that a scan cannot blow up the metrics


def make_app(worker_of: Callable[[], Worker]) -> Starlette:
    """The application; ``worker_of`` gives the process's worker when a request comes."""
    operations = (*OPERATIONS, *host.OPERATIONS, *ofrep.OPERATIONS, METRICS, _openapi_operation())
    routes = [_route(operation, worker_of) for operation in operations]
    return Starlette(
        routes=[*routes, *display.routes(), artworks.route(worker_of), Route("/{path:path}", _stray(operations))]
    )


def _route(operation: Operation, worker_of: Callable[[], Worker]) -> Route:
    """The route of one operation."""

    async def endpoint(request: Request) -> Response:
        return await operation.answer_to(request, worker_of())

    route = Route(operation.path, endpoint, methods=[operation.method], name=operation.name)
    route.methods = {operation.method}  # Starlette adds HEAD to GET, which would lease artworks and show nobody
    return route


def _openapi_operation() -> Operation:
    """The document's own route."""
    found: dict[str, bytes] = {}

    async def openapi(_: Call) -> Response:
        if "body" not in found:
            found["body"] = msgspec.json.encode(document(OPERATIONS))
        return Response(found["body"], 200, media_type="application/json")

    return Operation("openapi", "GET", "/v1/openapi.json", "This document", openapi, None)


def _stray(operations: tuple[Operation, ...]) -> ASGIApp:
    """An endpoint for unknown paths and wrong methods."""
    patterns = [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", operation.path) + r"\Z"), operation) for operation in operations
    ]
    return _Stray(patterns)


class _Stray:
    """A class, since Starlette gives function endpoints GET only and this must answer every method."""

    def __init__(self, patterns: list[tuple[re.Pattern[str], Operation]]) -> None:
        self._patterns = patterns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 405 or 404."""
        allowed = sorted({operation.method for pattern, operation in self._patterns if pattern.match(scope["path"])})
        refuse = refuse_as_host if scope["path"].startswith("/api/") else respond
        await _no_route(scope["method"], allowed, refuse)(scope, receive, send)


def _no_route(method: str, allowed: list[str], refuse: Callable[[Problem, str], Response]) -> Response:
    """405 for a path that has other methods, else 404."""
    problem = (
        Problem(405, "method_not_allowed", f"{method} is not a method of this path; use {', '.join(allowed)}.")
        if allowed
        else Problem(404, "not_found", "There is no such path; /v1/openapi.json lists them.")
    )
    telemetry.REQUESTS.labels(NO_ROUTE, "any", problem.status).inc()
    telemetry.PROBLEMS.labels(NO_ROUTE, problem.code).inc()
    request_id = new_id().hex
    telemetry.get_logger().warning("request", route=NO_ROUTE, status=problem.status, request_id=request_id)
    response = refuse(problem, request_id)
    if allowed:
        response.headers["Allow"] = ", ".join(allowed)
    return response
