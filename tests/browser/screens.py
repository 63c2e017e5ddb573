"""Screens of the display page in a real browser, for tests and evidence: opened, driven, and their own records read.

The browser is the system's Chromium, started as a process of its own and driven by Playwright over its debugging port.
Pages of the default context are as in daily life (only the front tab is visible); pages of a `fresh_context` have a
storage of their own, and all of them are visible.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
from playwright.sync_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Page, Request, sync_playwright
from playwright.sync_api import Error as BrowserError

from tests.service import Service

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_INSTALL = "no Chromium here; as root on Debian: apt-get install chromium"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
START_SECONDS, END_SECONDS, MOST_SECONDS = 30.0, 10.0, 480.0
SMALL = {"width": 800, "height": 500}
JOURNALS = """() => Object.keys(localStorage).filter((key) => key.includes("/journal/"))
    .flatMap((key) => JSON.parse(localStorage.getItem(key)))"""


def find_browser() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A new Chromium with a profile of its own; ends with the block."""
    path = find_browser()
    if path is None:
        raise RuntimeError(HOW_TO_INSTALL)
    with tempfile.TemporaryDirectory(prefix="screens-", ignore_cleanup_errors=True) as profile:
        command = [path, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        guard = threading.Timer(MOST_SECONDS, process.kill)  # so that what hangs fails, and does not hang for ever
        guard.start()
        with sync_playwright() as playwright:
            try:
                yield playwright.chromium.connect_over_cdp(_endpoint(Path(profile)), no_defaults=True)
            finally:  # before Playwright, which would wait for a browser that hangs
                guard.cancel()
                end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a browser, whatever state it is in."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def fresh_context(browser: Browser, **options: Any) -> BrowserContext:
    """A context with a storage of its own; small and without motion, so that many screens fit on one machine."""
    return browser.new_context(**({"viewport": SMALL, "reduced_motion": "reduce"} | options))


class Screen:
    """One tab that shows the page. Everything the page complains of, or asks of strangers, is kept."""

    def __init__(self, context: BrowserContext, service: Service, user: str, **options: Any) -> None:
        """``options`` are the page's own: seconds, depth, ahead, morph."""
        self.service = service
        self.user = user
        self.options = {"morph": 0} | options
        self.context = context
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.sent: list[tuple[str, str]] = []  # method and path of every request to the API
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._note_message)
        self.page.on("request", self._note_request)

    def open(self, *, token: str | None = None, wait: bool = True) -> Screen:
        """Go to the page with a token of the user's; with ``wait``, return at the first picture."""
        token = mint(self.service, self.user) if token is None else token
        url = f"{self.service.url}/display?{urlencode(self.options)}#token={token}"
        self.page.goto(url, wait_until="load" if wait else "commit")
        if wait:
            self.wait_for(lambda: bool(self.draws()), "a first picture")
        return self

    def draws(self) -> list[dict[str, Any]]:
        """What the page noted before each draw."""
        found: list[dict[str, Any]] = self.page.evaluate("window.__draws ?? []")
        return found

    def wait_for_draws(self, count: int, seconds: float = 60.0) -> None:
        """Until the page has drawn so many artworks."""
        self.wait_for(lambda: len(self.draws()) >= count, f"{count} draws", seconds)

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        """Until the condition holds. Raises AssertionError naming what was waited for."""
        end = time.monotonic() + seconds
        while not _holds(condition):
            if time.monotonic() > end:
                told = f"{self.state()!r}, {self.complaints[-3:]}"
                raise AssertionError(f"no {what} within {seconds:g} s; the page says {told}")
            self.page.wait_for_timeout(50)

    def state(self) -> str:
        """What the page says of itself."""
        return str(self.page.evaluate("document.getElementById('state')?.textContent ?? ''"))

    def press(self, key: str) -> None:
        """Press a key."""
        self.page.keyboard.press(key)

    def pause(self, seconds: float) -> None:
        """Let time pass while events are handled."""
        self.page.wait_for_timeout(seconds * 1000)

    def devtools(self) -> CDPSession:
        """The page's debugging session."""
        return self.context.new_cdp_session(self.page)

    def slow(self, *, latency_ms: float, kbps: float = 0) -> None:
        """Give the page a network with a latency, and a throughput unless ``kbps`` is 0."""
        session = self.devtools()
        session.send("Network.enable")
        bytes_per_second = kbps * 1000 / 8 if kbps else -1
        session.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": latency_ms,
                "downloadThroughput": bytes_per_second,
                "uploadThroughput": bytes_per_second,
            },
        )

    def leave(self) -> None:
        """Go elsewhere, as a person does."""
        self.page.goto("about:blank")

    def crash(self) -> None:
        """Kill the tab's process."""
        with contextlib.suppress(BrowserError):
            self.page.goto("chrome://crash", timeout=5_000)
        time.sleep(0.5)  # until the browser has taken note: the tab's locks are free

    def _note_message(self, message: ConsoleMessage) -> None:
        """Keep an error that the console shows."""
        if message.type == "error":
            self.complaints.append(message.text)

    def _note_request(self, request: Request) -> None:
        """Sort a request into ours and strangers'."""
        method, url = request.method, request.url
        if url.startswith(f"{self.service.url}/v1/"):
            self.sent.append((method, url.removeprefix(self.service.url).split("?")[0]))
        elif not url.startswith((self.service.url, "about:", "chrome:", "data:", "blob:")):
            self.foreign.append(url)


def mint(service: Service, user: str, seconds: int = 3_600) -> str:
    """A browser token for a user."""
    answer = service.client.post("/v1/tokens", json={"user_id": user, "seconds": seconds}).raise_for_status()
    return str(answer.json()["token"])


def journals(page: Page) -> list[dict[str, Any]]:
    """The records of all draws that the storage of a page's context holds, of tabs that are gone too."""
    found: list[dict[str, Any]] = page.evaluate(JOURNALS)
    return found


@dataclass(frozen=True)
class Verdict:
    """What clients noted, held against what the service logged."""

    draws: int
    repeated: int  # draws of an artwork that the user had been shown
    unclaimed: int  # draws that the service did not log for that session
    wasted: int  # artworks claimed and not drawn
    events: Counter[str]  # logged by the service, by kind

    @property
    def is_clean(self) -> bool:
        """Nothing repeated, nothing drawn past the service."""
        return self.repeated == 0 and self.unclaimed == 0


def judge(connection: psycopg.Connection, user: str, draws: Iterable[dict[str, Any]], *, live: str = "") -> Verdict:
    """Compare a user's draws with the service's log; what the session ``live`` claims ahead is no waste."""
    by_claim = {draw["claim_id"] + draw["at"]: draw for draw in draws}  # a journal may be read twice
    shown = Counter(draw["artwork_id"] for draw in by_claim.values())
    rows = connection.execute(
        "SELECT k.artwork_id, e.session_id, e.kind FROM vernissage.events AS e"
        " JOIN vernissage.artwork_keys AS k USING (artwork_key) WHERE e.user_id = %s",
        (user,),
    ).fetchall()
    claimed = {(artwork, session) for artwork, session, kind in rows if kind == "displayed"}
    known = [(draw["artwork_id"], draw["session_id"]) in claimed for draw in by_claim.values()]
    return Verdict(
        draws=len(by_claim),
        repeated=len(by_claim) - len(shown),
        unclaimed=known.count(False),
        wasted=len([artwork for artwork, session in claimed if artwork not in shown and session != live]),
        events=Counter(kind for _, _, kind in rows),
    )


def _holds(condition: Callable[[], object]) -> bool:
    """Whether a condition holds; in the middle of a navigation it does not yet."""
    try:
        return bool(condition())
    except BrowserError as error:
        if "context was destroyed" not in str(error):
            raise
        return False


def _endpoint(profile: Path) -> str:
    """Where the browser of a profile can be debugged: it writes port and path into a file."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, path = (profile / "DevToolsActivePort").read_text("utf-8").split()
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(0.05)
    raise RuntimeError(f"Chromium did not start within {START_SECONDS:g} s")


def storage_of(page: Page) -> str:
    """The tab's own storage, as a script that restores it in a new tab."""
    held = page.evaluate("JSON.stringify(sessionStorage)")
    return f"if (!sessionStorage.length) Object.assign(sessionStorage, {json.dumps(json.loads(held))})"
