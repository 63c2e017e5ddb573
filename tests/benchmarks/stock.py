"""What the framework itself costs: a stock BentoML service with default settings and an empty handler."""

from __future__ import annotations

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def empty(_: Request) -> Response:
    """Nothing."""
    return JSONResponse({})


app = Starlette(routes=[Route("/empty", empty)])


@bentoml.service
@bentoml.asgi_app(app, path="/")
class Stock:
    """One mounted route, everything else as BentoML comes."""

    @bentoml.on_startup
    async def start(self) -> None:
        """Nothing, but its end is what tells that a worker has started (tests.service)."""
