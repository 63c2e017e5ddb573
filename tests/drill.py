"""The drill behind "never repeat": many tabs of few users against the real service, while everything around breaks.

Each tab asks, prefetches, claims (several artworks ahead), draws, sleeps past its leases, is reloaded, ended or lost
without a word. Replies are lost and sent for again, requests are sent twice, clocks are wrong by hours; worker
processes are killed, database connections cut. A tab writes its own record of each draw to an append-only file
*before* it draws. `judge` compares those records with the database in the end.

Without the fence the tabs draw what they were offered whenever they wake up, and report it afterwards: that drill must
show repeats, or the other one proves nothing.

It is no load test: everything is as fast as two cores and their noise allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
import random
import signal
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg

from features.database import connect
from features.identifiers import named_id
from tests.service import Service

#: Lease times that make a sleep of a few seconds a long one.
LEASES = {
    "VERNISSAGE_LEASE_FIRST_SECONDS": "2",
    "VERNISSAGE_LEASE_GRACE_SECONDS": "2",
    "VERNISSAGE_SECONDS_PER_ARTWORK": "0.01",
}
LONGEST_LEASE = 2 + 1.5 * 0.01 * 50  # seconds: grace + stretch x seconds_per_artwork x the deepest list
CLAIMS = 20  # at most, in one request
ATTEMPTS = 200  # then a request is given up, which fails the drill
GONE = 409

ADD_ARTWORKS = """
INSERT INTO public.art_sessions (id, session_id, user_id, image_url, prompt, styles, is_library, created_at)
SELECT md5('drill artwork ' || n)::uuid::text, 'catalogue-seed', 'system', '/images/' || n || '.webp', 'artwork ' || n,
       ARRAY['style ' || n %% 12], true, timestamp '2025-01-01' + n * interval '1 minute'
FROM generate_series(1, %s) AS n
"""
ADD_USERS = "INSERT INTO public.users (id) SELECT 'user-' || n FROM generate_series(1, %s) AS n"
CUT = """
SELECT count(pg_terminate_backend(a.pid)) FROM (
    SELECT pid FROM pg_stat_activity WHERE application_name = 'vernissage' AND datname = current_database()
    ORDER BY random() LIMIT 4) AS a
"""
LOGGED = """
SELECT e.user_id, k.artwork_id FROM vernissage.events AS e JOIN vernissage.artwork_keys AS k USING (artwork_key)
WHERE e.kind = 'displayed'
"""
SEEN = "SELECT s.user_id, k.artwork_id FROM vernissage.seen AS s JOIN vernissage.artwork_keys AS k USING (artwork_key)"
IMPRESSIONS = "SELECT user_id, artwork_id FROM public.user_art_impressions"
SIGNALS = "SELECT event_key FROM vernissage.events WHERE kind <> 'displayed'"
LEASED = """
SELECT DISTINCT l.user_id, l.session_id, k.artwork_id
FROM vernissage.served_lists AS l, unnest(l.artwork_keys) AS o (artwork_key)
JOIN vernissage.artwork_keys AS k USING (artwork_key)
"""


@dataclass(frozen=True)
class Drill:
    """What is to be done."""

    displays: int
    fenced: bool = True
    users: int = 5
    tabs: int = 50
    pause_seconds: float = 0.3  # of a tab between two claims, on average
    kill_seconds: float = 20.0  # between two kills of a worker process
    cut_seconds: float = 2.0  # between two cuts of database connections
    crash_seconds: float = 0.5  # between two tabs that vanish
    most_seconds: float = 3_600.0
    seed: int = 1

    @property
    def pool(self) -> int:
        """Artworks that do not run out: a user draws its share of the displays, and some are lost in crashes."""
        return max(int(self.displays / self.users * 1.3), 400)


@dataclass
class Tally:
    """What the tabs and those who break things count for themselves."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: dict[tuple[str, str, str], str] = field(default_factory=dict)  # why a leased artwork was let go


@dataclass(frozen=True)
class Verdict:
    """What the records and the database say."""

    displays: int
    repeated: int
    lost: int  # acknowledged impressions and signals that the database does not hold
    unlogged: int  # draws that the display log does not hold
    inconsistent: int  # double sends that were answered differently
    wasted_share: float  # leased by a session, never shown under it
    wasted_because: dict[str, int]
    claimed_not_drawn: int  # logged, yet lost in a crash between claim and draw
    seconds: float
    counts: dict[str, int]


class Record:
    """An append-only file: one line an act, handed to the system before the act."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.draws = 0

    def draw(self, user: str, session: str, artwork: str) -> None:
        """The artwork is drawn right after this."""
        self._write("draw", user, session, artwork)
        self.draws += 1

    def acknowledged(self, user: str, session: str, artwork: str) -> None:
        """The service has said that this display is recorded."""
        self._write("display", user, session, artwork)

    def signalled(self, user: str, session: str, event_id: str) -> None:
        """The service has said that this signal is recorded."""
        self._write("signal", user, session, event_id)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def lines(self, kind: str) -> Iterator[tuple[str, str, str]]:
        """User, session and subject of every line of a kind."""
        for line in self._path.read_text("utf-8").splitlines():
            name, user, session, subject = line.split("\t")
            if name == kind:
                yield user, session, subject

    def _write(self, *parts: str) -> None:
        """One line, whole or not at all."""
        os.write(self._file, ("\t".join(parts) + "\n").encode())


class Line:
    """The way to the service: loses replies, sends twice, and tries until it is answered."""

    def __init__(self, client: httpx.AsyncClient, tally: Tally, chance: random.Random) -> None:
        self._client = client
        self.tally = tally
        self.chance = chance
        self._under_way: set[asyncio.Task[httpx.Response]] = set()

    async def rest(self) -> None:
        """Wait for what is still on its way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """The answer to a request that may be sent again: the same words each time, as its makers promise."""
        if self.chance.random() < 0.05:
            self.tally.counts["sent twice"] += 1
            twins = [self._answered(method, path, **content) for _ in range(2)]
            first, second = await asyncio.gather(*twins)
            if path == "/v1/claims" and _said(first) != _said(second):
                self.tally.counts["inconsistent"] += 1
            return first
        return await self._answered(method, path, **content)

    async def _answered(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send until an answer arrives that is neither a failure nor lost on the way."""
        for attempt in range(ATTEMPTS):
            with contextlib.suppress(httpx.TransportError):
                answer = await self._sent(method, path, **content)
                if answer.status_code in {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.BAD_GATEWAY}:
                    self.tally.counts["unavailable"] += 1
                elif self.chance.random() < 0.05:
                    self.tally.counts["replies lost"] += 1
                    continue
                else:
                    return self._checked(answer)
            self.tally.counts["tried again"] += 1
            await asyncio.sleep(self.chance.uniform(0.02, 0.1) * min(attempt + 1, 10))
        raise RuntimeError(f"{method} {path} was not answered in {ATTEMPTS} attempts")

    async def _sent(self, method: str, path: str, **content: Any) -> httpx.Response:
        """One request, which is on its way for good: also when its tab vanishes meanwhile."""
        request = asyncio.create_task(self._client.request(method, path, **content))
        self._under_way.add(request)
        request.add_done_callback(self._arrived)
        return await asyncio.shield(request)

    def _arrived(self, request: asyncio.Task[httpx.Response]) -> None:
        """Nobody may be left to hear of it."""
        self._under_way.discard(request)
        if not request.cancelled():
            request.exception()

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        """The answer, unless it is one that no client of ours may ever get."""
        if answer.is_success or answer.status_code == GONE:
            return answer
        raise RuntimeError(f"{answer.request.method} {answer.request.url} {answer.status_code}: {answer.text}")


class Tab:
    """One tab of one user: lives until the drill is over, under a new session id after each end."""

    def __init__(self, drill: Drill, user: str, line: Line, record: Record) -> None:
        self._drill = drill
        self._user = user
        self._line = line
        self._record = record
        self._tally = line.tally
        self._chance = line.chance
        self._session = ""
        self._held: deque[dict[str, Any]] = deque()
        self._numbers = itertools.count(1)
        self._clock = timedelta(0)

    async def live(self, supersedes: str | None = None) -> None:
        """One life of a session: from its first request to its end or reload, whoever comes after."""
        self.let_go("lost with its tab")
        self._session = uuid.UUID(int=self._chance.getrandbits(128)).hex
        self._clock = timedelta(hours=self._chance.choice([0, 0, -30, -3, 3, 20]))
        self._numbers = itertools.count(1)
        while True:
            if not self._held:
                await self._ask(supersedes)
                supersedes = None
            await self._sometimes(0.2, self._oversleep)
            await self._draw_some()
            await self._sometimes(0.10, self._beat)
            if self._chance.random() < 0.04:
                return await self._end()
            if self._chance.random() < 0.06:
                return await self._reload()
            await asyncio.sleep(self._chance.uniform(0.0, 2 * self._drill.pause_seconds))

    async def close(self) -> None:
        """The drill is over."""
        self.let_go("the drill was over")
        await self._line.rest()

    def let_go(self, reason: str) -> None:
        """What it holds will not be shown by it."""
        for item in self._held:
            self._tally.reasons.setdefault((self._user, self._session, item["artwork_id"]), reason)
        self._held.clear()

    async def _sometimes(self, share: float, act: Callable[[], Awaitable[None]]) -> None:
        """Do something in a share of all cases."""
        if self._chance.random() < share:
            await act()

    async def _ask(self, supersedes: str | None) -> None:
        """Get artworks, by either route."""
        count = self._chance.randint(20, 50)
        if self._chance.random() < 0.5:
            asked: dict[str, Any] = {"session_id": self._session, "limit": count}
            asked |= {"supersedes": supersedes} if supersedes else {}
            answer = await self._line.ask("GET", f"/v1/users/{self._user}/next", params=asked)
            self._held.extend(answer.json()["items"])
        else:
            body = {"session_id": self._session, "depth": count, "network": "4g", "supersedes": supersedes}
            answer = await self._line.ask("POST", f"/v1/users/{self._user}/prefetch", json=body)
            self._held.extend(part["artwork"] for part in answer.json()["items"])

    async def _oversleep(self) -> None:
        """Longer than any lease lasts: the laptop was closed."""
        self._tally.counts["sleeps past the lease"] += 1
        await asyncio.sleep(LONGEST_LEASE * self._chance.uniform(1.05, 1.8))

    async def _draw_some(self) -> None:
        """Claim a few ahead and draw those that were granted, or (without the fence) just draw."""
        most = CLAIMS if self._chance.random() < 0.7 else self._chance.randint(1, CLAIMS)
        count = min(most, len(self._held))
        items = list(itertools.islice(self._held, count))
        if not items:
            return
        granted = await self._claim(items) if self._drill.fenced else items
        for _ in items:
            self._held.popleft()
        await self._sometimes(0.04, self._oversleep)  # what has been claimed may be drawn at any time
        for item in granted:
            self._record.draw(self._user, self._session, item["artwork_id"])
        if granted and not self._drill.fenced:
            await self._report(granted)
        if granted:
            await self._sometimes(0.2, lambda: self._signal(granted[-1]["artwork_id"]))

    async def _claim(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the artworks that may be drawn; a single one is claimed without a list, at times."""
        claims = [
            {
                "user_id": self._user,
                "session_id": self._session,
                "lease_id": item["lease_id"],
                "artwork_id": item["artwork_id"],
                "claim_id": str(next(self._numbers)),  # every session counts from 1
            }
            for item in items
        ]
        answer = await self._line.ask("POST", "/v1/claims", json=claims[0] if len(claims) == 1 else {"claims": claims})
        told = [] if answer.status_code == GONE else answer.json()["claims"]
        fine = {claim["artwork_id"] for claim in told if claim["status"] == "claimed"}
        for item in items:
            if item["artwork_id"] in fine:
                self._record.acknowledged(self._user, self._session, item["artwork_id"])
            else:
                self._tally.counts["claims refused"] += 1
                self._tally.reasons[self._user, self._session, item["artwork_id"]] = "its lease had ended"
        return [item for item in items if item["artwork_id"] in fine]

    async def _report(self, items: list[dict[str, Any]]) -> None:
        """Say afterwards what was drawn."""
        artworks = [item["artwork_id"] for item in items]
        body = {"user_id": self._user, "session_id": self._session, "artwork_ids": artworks}
        await self._line.ask("POST", "/v1/impressions", json=body)
        for artwork in artworks:
            self._record.acknowledged(self._user, self._session, artwork)

    async def _signal(self, artwork: str) -> None:
        """A dwell, stamped by a clock that may be hours off."""
        event_id = f"{self._session}-{next(self._numbers)}"
        event = {
            "event_id": event_id,
            "user_id": self._user,
            "session_id": self._session,
            "artwork_id": artwork,
            "kind": "dwell",
            "value": 60.0,
            "at": (datetime.now(UTC) + self._clock).isoformat(),
        }
        await self._line.ask("POST", "/v1/impressions", json={"events": [event]})
        self._record.signalled(self._user, self._session, event_id)

    async def _beat(self) -> None:
        """A sign of life."""
        body = {"user_id": self._user, "pending": len(self._held)}
        await self._line.ask("POST", f"/v1/sessions/{self._session}/heartbeat", json=body)

    async def _end(self) -> None:
        """Close the tab in good order."""
        self._tally.counts["sessions ended"] += 1
        path = f"/v1/sessions/{self._session}"
        await self._line.ask("DELETE", path, params={"user_id": self._user})
        self.let_go("given back")

    async def _reload(self) -> None:
        """The page is loaded anew: what it held passes over to the new session."""
        self._tally.counts["reloads"] += 1
        old = self._session
        self.let_go("passed on by a reload")
        await self.live(supersedes=old)


class Stage:
    """The tabs, and those who break things around them."""

    def __init__(self, drill: Drill, service: Service, record: Record) -> None:
        self._drill = drill
        self._service = service
        self._record = record
        self.tally = Tally()
        self._chance = random.Random(drill.seed)  # noqa: S311 - a drill that can be told again
        self._lives: list[asyncio.Task[None]] = []

    async def run(self, on_display: Callable[[int], None]) -> None:
        """Until the displays are done. Raises what a tab met with and could not bear."""
        async with self._client() as client, self._breaking():
            tabs = [self._tab(number, client) for number in range(self._drill.tabs)]
            loops = [asyncio.create_task(self._again_and_again(tab, place)) for place, tab in enumerate(tabs)]
            try:
                await self._until_done(loops, on_display)
            finally:
                await _end_all([*loops, *self._lives])
                for tab in tabs:
                    await tab.close()

    async def _until_done(self, loops: list[asyncio.Task[None]], on_display: Callable[[int], None]) -> None:
        """Watch over the tabs."""
        end = time.monotonic() + self._drill.most_seconds
        while self._record.draws < self._drill.displays:
            done, _ = await asyncio.wait(loops, timeout=0.2, return_when=asyncio.FIRST_EXCEPTION)
            for loop in done:
                loop.result()
            if time.monotonic() > end:
                raise TimeoutError(f"{self._record.draws} displays in {self._drill.most_seconds:g} s")
            on_display(self._record.draws)

    def _tab(self, number: int, client: httpx.AsyncClient) -> Tab:
        """One tab; the users take turns."""
        chance = random.Random(self._drill.seed * 1_000 + number)  # noqa: S311 - a drill that can be told again
        line = Line(client, self.tally, chance)
        return Tab(self._drill, f"user-{number % self._drill.users + 1}", line, self._record)

    async def _again_and_again(self, tab: Tab, place: int) -> None:
        """A new life after each end, be it orderly or not."""
        while True:
            life = asyncio.create_task(tab.live())
            self._lives[place : place + 1] = [life]
            try:
                await life
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():  # type: ignore[union-attr] # a task runs this
                    raise
                self.tally.counts["tabs lost"] += 1

    @contextlib.asynccontextmanager
    async def _breaking(self) -> AsyncIterator[None]:
        """Everything that breaks, for as long as this lasts."""
        acts = ((self._kill, "kill_seconds"), (self._cut, "cut_seconds"), (self._crash, "crash_seconds"))
        tasks = [asyncio.create_task(self._every(act, getattr(self._drill, name))) for act, name in acts]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await _end_all(tasks)

    async def _every(self, act: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do it for ever, a little off the beat."""
        while True:
            await asyncio.sleep(seconds * self._chance.uniform(0.7, 1.3))
            await act()

    async def _kill(self) -> None:
        """Kill one worker process; BentoML starts another within seconds."""
        workers = await asyncio.to_thread(self._service.worker_processes)
        if workers:
            self._chance.choice(workers).send_signal(signal.SIGKILL)
            self.tally.counts["workers killed"] += 1

    async def _cut(self) -> None:
        """Let the server end some of the service's connections."""
        self.tally.counts["connections cut"] += await asyncio.to_thread(self._cut_now)

    def _cut_now(self) -> int:
        """The same, while a thread waits."""
        with connect(self._service.database_url, autocommit=True) as connection:
            return _number(connection, CUT)

    async def _crash(self) -> None:
        """A tab vanishes, wherever it was: before its reply, between claim and draw, in the middle of its sleep."""
        self._chance.choice(self._lives).cancel()

    def _client(self) -> httpx.AsyncClient:
        """What all tabs send with."""
        headers = {"Authorization": f"Bearer {self._service.key}"}
        limits = httpx.Limits(max_connections=4 * self._drill.tabs, max_keepalive_connections=self._drill.tabs)
        return httpx.AsyncClient(base_url=self._service.url, headers=headers, timeout=20, limits=limits)


def prepare(database_url: str, drill: Drill) -> None:
    """Make the pool and the users, by one statement each."""
    with connect(database_url, autocommit=True) as connection:
        connection.execute(ADD_ARTWORKS, (drill.pool,))
        connection.execute(ADD_USERS, (drill.users,))
        connection.execute("ANALYZE")


def run(service: Service, drill: Drill, path: Path, on_display: Callable[[int], None] = lambda _: None) -> Verdict:
    """Do the drill against a running service whose pool is prepared, and judge it. ``path``: the record's file."""
    record = Record(path)
    started = time.monotonic()
    stage = Stage(drill, service, record)
    try:
        asyncio.run(stage.run(on_display))
    finally:
        record.close()
    seconds = time.monotonic() - started
    with connect(service.database_url) as connection:
        return judge(connection, record, stage.tally, seconds)


def judge(connection: psycopg.Connection, record: Record, tally: Tally, seconds: float) -> Verdict:
    """Compare what was drawn and acknowledged with what the database holds."""
    draws = Counter((user, artwork) for user, _, artwork in record.lines("draw"))
    shown = {(user, session, artwork) for user, session, artwork in record.lines("draw")}
    acknowledged = {(user, artwork) for user, _, artwork in record.lines("display")}
    logged = _pairs(connection, LOGGED)
    kept = logged & _pairs(connection, SEEN) & _pairs(connection, IMPRESSIONS)
    signals = {row[0] for row in connection.execute(SIGNALS).fetchall()}
    promised = {named_id(user, event_id) for user, _, event_id in record.lines("signal")}
    leased = {(row[0], row[1], row[2]) for row in connection.execute(LEASED).fetchall()}
    wasted = leased - shown
    return Verdict(
        displays=draws.total(),
        repeated=draws.total() - len(draws),
        lost=len(acknowledged - kept) + len(promised - signals),
        unlogged=len(set(draws) - logged),
        inconsistent=tally.counts.pop("inconsistent", 0),
        wasted_share=round(len(wasted) / max(len(leased), 1), 4),
        wasted_because=dict(Counter(tally.reasons.get(lease, "never reached its tab") for lease in wasted)),
        claimed_not_drawn=len(logged - set(draws)),
        seconds=round(seconds, 1),
        counts=dict(tally.counts),
    )


def figures(verdict: Verdict) -> dict[str, Any]:
    """The verdict as figures."""
    return dataclasses.asdict(verdict)


def _said(answer: httpx.Response) -> Any:
    """What an answer to claims says, without the id of its request."""
    return answer.status_code, answer.json().get("claims")


def _pairs(connection: psycopg.Connection, text: str) -> set[tuple[str, str]]:
    """The user and artwork of every row."""
    return {(row[0], row[1]) for row in connection.execute(text).fetchall()}


def _number(connection: psycopg.Connection, text: str) -> int:
    """The one number that a query returns."""
    row = connection.execute(text).fetchone()
    return int(row[0]) if row else 0


async def _end_all(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel and wait."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
