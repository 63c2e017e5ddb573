"""The BentoML service: builds the worker once, starts and stops it; nothing else.

BentoML's own metrics, access log and tracing are off: they label by raw path and cost most of the request (our own
stand in `telemetry`). Our paths, and every path that is not BentoML's, go straight to our application.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # before bentoml is imported: no phone-home

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from features.postgres import database_url
from features.settings import read_settings
from serving.telemetry import configure_logging

if TYPE_CHECKING:
    from serving.worker import Worker

TURN_SECONDS = 0.0005  # after which a thread lets another one go on: Python's own 5 ms hold up ranking under load
PROBES = ("/livez", "/readyz", "/healthz")


class Front(bentoml.Service):
    """Sends everything but BentoML's health probes past BentoML's middleware."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """BentoML's application with the fast path in front."""
        bento = super().to_asgi(is_main=is_main)

        async def front(scope: Any, receive: Any, send: Any) -> None:
            ours = scope["type"] == "http" and scope["path"] not in PROBES
            await (app if ours else bento)(scope, receive, send)

        return front


def _worker() -> Worker:
    """The worker of this process."""
    return bentoml.get_current_service().worker


def _tell_of_end(worker: Worker) -> None:
    """Let streams end when the process is asked to; the server would wait for them before it says that it stops."""
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        return  # no server's handler to go on to, or no thread that may set one

    def ended(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(worker.stopping.set)
        before(number, frame)

    signal.signal(signal.SIGTERM, ended)


@cache
def _application() -> ASGIApp:
    """Our application. BentoML's supervisor imports this module too, before any worker, and needs none of it."""
    from serving.api.app import make_app  # noqa: PLC0415 - so that no worker waits for the supervisor's imports

    return make_app(_worker)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Our application, made by the worker that asks for it."""
    await _application()(scope, receive, send)


@bentoml.service(
    name="vernissage",
    service_class=Front,
    workers=read_settings().workers,  # BentoML heeds this and nothing else: its --api-workers is without effect
    traffic={"timeout": 5},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
@bentoml.asgi_app(app, path="/")
class Vernissage:
    """Unseen artworks over HTTP."""

    def __init__(self) -> None:
        from serving.worker import Worker  # noqa: PLC0415 - as above

        _application()
        configure_logging()
        sys.setswitchinterval(TURN_SECONDS)
        settings = read_settings()
        self.worker = Worker(settings, database_url(settings))

    @bentoml.on_startup
    async def start(self) -> None:
        """Open the pool of connections and read the pool of artworks."""
        _tell_of_end(self.worker)
        await self.worker.start()
        gc.collect()
        gc.freeze()  # what the start has made stays: each full collection would go through all of it, in one stall

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Let everything go."""
        await self.worker.stop()

    async def __is_ready__(self) -> bool:
        """Whether /readyz answers 200."""
        return self.worker.ready
