"""Serves the pictures that were painted here; open to all, as images are, and never anything else of the folder.

A picture's name is its artwork's id and its content never changes, so a browser keeps it for good.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from features.identifiers import new_id
from serving import telemetry
from serving.api.problems import Problem, respond
from serving.generation.dispatch.local import PATH, SUFFIX
from serving.worker import Worker

FILE_PATH = PATH + "/{file}"
METHODS = ("GET", "HEAD")
NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}" + re.escape(SUFFIX))
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


def route(worker_of: Callable[[], Worker]) -> Route:
    """The route of all pictures."""
    return Route(FILE_PATH, _Pictures(worker_of))


class _Pictures:
    """A class, since Starlette gives function endpoints GET only and this must refuse the other methods."""

    def __init__(self, worker_of: Callable[[], Worker]) -> None:
        self._worker_of = worker_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = self._answer(Request(scope))
        telemetry.REQUESTS.labels(FILE_PATH, scope["method"], response.status_code).inc()
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        """The picture; only a name that we would have given is looked for."""
        if request.method not in METHODS:
            refused = Problem(405, "method_not_allowed", f"{request.method} is not a method of this path; use GET.")
            response = respond(refused, new_id().hex)
            response.headers["Allow"] = ", ".join(METHODS)
            return response
        name = request.path_params["file"]
        path = self._worker_of().settings.artworks_path / name
        if not NAME.fullmatch(name) or not path.is_file():
            return respond(Problem(404, "not_found", "There is no such picture."), new_id().hex)
        return FileResponse(path, headers=HEADERS, media_type="image/webp")
