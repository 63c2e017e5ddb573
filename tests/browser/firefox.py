"""Firefox as it comes, driven over WebDriver BiDi: enough of it to open the display page and read its records.

Playwright drives a Firefox of its own making only; the one of the distribution speaks the standard's protocol.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp

from tests.browser.screens import JOURNALS, end, mint
from tests.service import Service

NAMES = ("firefox-esr", "firefox")
START_SECONDS = 60.0
T = TypeVar("T")


class Firefox:
    """One browser and the line to it."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()  # of its own thread: Playwright has one in ours
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._count = 0
        self._session = self._do(_session())
        self._line = self._do(_connect(self._session, url))
        self.version = str(self.ask("session.new", capabilities={})["capabilities"]["browserVersion"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command. Raises RuntimeError with the browser's words."""
        return self._do(self._ask(method, parameters))

    def open(self, service: Service, user: str, **options: Any) -> str:
        """A new window with the display page."""
        window = str(self.ask("browsingContext.create", type="window")["context"])
        url = f"{service.url}/display?{urlencode({'morph': 0} | options)}#token={mint(service, user)}"
        self.ask("browsingContext.navigate", context=window, url=url, wait="complete")
        return window

    def wait_for_draws(self, window: str, count: int, seconds: float = 60.0) -> None:
        """Until the page has drawn so many artworks. Raises RuntimeError when that takes too long."""
        end = time.monotonic() + seconds
        while (drawn := self._value(window, "String(window.__draws?.length ?? 0)")) < count:
            if time.monotonic() > end:
                raise RuntimeError(f"{drawn} of {count} draws after {seconds:g} s")
            time.sleep(0.2)

    def journals(self, windows: Sequence[str], service: Service) -> list[dict[str, Any]]:
        """Leave the display in all windows, and return the records of all draws that the storage holds."""
        for window in windows:
            url = f"{service.url}/display/icon.svg"  # of the same origin, and no display
            self.ask("browsingContext.navigate", context=window, url=url, wait="complete")
        found: list[dict[str, Any]] = self._value(windows[0], f"JSON.stringify(({JOURNALS})())")
        return found

    def picture(self, window: str, path: Path) -> None:
        """Keep what a window shows."""
        path.write_bytes(base64.b64decode(self.ask("browsingContext.captureScreenshot", context=window)["data"]))

    def close(self) -> None:
        """Let go of the line."""
        self._do(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the line's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _value(self, window: str, expression: str) -> Any:
        """The value of an expression that gives JSON."""
        answer = self.ask("script.evaluate", expression=expression, target={"context": window}, awaitPromise=True)
        return json.loads(answer["result"]["value"])

    async def _ask(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Send one command and wait for its answer; events are passed over."""
        self._count += 1
        await self._line.send_json({"id": self._count, "method": method, "params": parameters})
        while True:
            answer = await self._line.receive_json(timeout=START_SECONDS)
            if answer.get("id") == self._count:
                break
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['error']}, {answer['message']}")
        found: dict[str, Any] = answer["result"]
        return found


@contextlib.contextmanager
def firefox() -> Iterator[Firefox | None]:
    """A new Firefox with a profile of its own, or None where there is none."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        command = [path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with contextlib.closing(Firefox(_endpoint(Path(profile)))) as fox:
                yield fox
        finally:
            end(process)


async def _session() -> aiohttp.ClientSession:
    """A client; made inside the loop, as aiohttp wants it."""
    return aiohttp.ClientSession()


async def _connect(session: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """The line to the browser; pictures are large."""
    return await session.ws_connect(url, max_msg_size=0)


def _endpoint(profile: Path) -> str:
    """Where the browser of a profile listens: it writes host and port into a file."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            told = json.loads((profile / "WebDriverBiDiServer.json").read_text("utf-8"))
            return f"ws://{told['ws_host']}:{told['ws_port']}/session"
        time.sleep(0.1)
    raise RuntimeError(f"Firefox did not start within {START_SECONDS:g} s")
