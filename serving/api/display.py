"""Serves the display page: the files of serving/display as they are, and nothing of anybody.

Open to all, since the page itself holds no data: it asks the API with a token of its own, as any browser must. The
files are read once; a browser keeps them and asks with their etag whether they are still the same.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from features.identifiers import new_id
from serving import telemetry
from serving.api.problems import Problem, respond

FOLDER = Path(__file__).parents[1] / "display"
PAGE = "index.html"
PATH = "/display"
FILE_PATH = PATH + "/{file}"
METHODS = ("GET", "HEAD")
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    # Everything from here and nothing inline, so that no text of the pool can ever become a script.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
        "require-trusted-types-for 'script'"
    ),
    "Cache-Control": "no-cache",  # kept, but never used unasked: a new release is seen at once
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class _File:
    """One file, ready to be sent."""

    body: bytes
    packed: bytes
    headers: dict[str, str]


def routes() -> list[Route]:
    """The page at /display and its files beneath; the root leads to it."""
    files = {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
    return [
        Route("/", RedirectResponse(PATH[1:], 307)),  # relative: a proxy may have put a prefix before it
        Route(PATH, _Files(PATH, files)),
        Route(PATH + "/", RedirectResponse(".." + PATH, 308)),
        Route(FILE_PATH, _Files(FILE_PATH, files)),
    ]


class _Files:
    """A class, since Starlette gives function endpoints GET only and this must refuse the other methods."""

    def __init__(self, path: str, files: dict[str, _File]) -> None:
        self._path = path
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = self._answer(Request(scope))
        telemetry.REQUESTS.labels(self._path, scope["method"], response.status_code).inc()
        await response(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        """The file, or that the browser has it already."""
        file = self._files.get(request.path_params.get("file", PAGE))
        if file is None:
            return respond(Problem(404, "not_found", "The display has no such file."), new_id().hex)
        if request.method not in METHODS:
            refused = Problem(405, "method_not_allowed", f"{request.method} is not a method of this path; use GET.")
            response = respond(refused, new_id().hex)
            response.headers["Allow"] = ", ".join(METHODS)
            return response
        if file.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={name: file.headers[name] for name in ("ETag", "Cache-Control")})
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, headers={**file.headers, "Content-Encoding": "gzip"})
        return Response(file.body, headers=file.headers)


def _read(path: Path) -> _File:
    """The file with its headers; the etag is of its content, and weak, since it stands for the packed form too."""
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]
    headers = {**HEADERS, "Content-Type": MEDIA_TYPES[path.suffix], "ETag": f'W/"{tag}"', "Vary": "Accept-Encoding"}
    return _File(body, gzip.compress(body, mtime=0), headers)
