"""Many tabs at once, each by its own clock: an open loop, in which nothing that is due waits for an answer to others.

When a request is due follows from the clock alone, and its latency runs from that moment to the answer that settles
it: it holds whatever kept the request waiting, be it a busy connection, a failure and the pause after it, or the same
tab's request before it, without which a tab knows nothing to ask (claims need a list). A closed loop would ask less
of a service that is slow, and would not show the queue.

A tab, on its clock of ``seconds_per_artwork``: at the start of every ``displays_per_list`` artworks it asks for a list
of ``list_size``; and at the start of every ``batch`` artworks it first tells of those it has drawn, then claims the
next ones. A request that fails is sent again, unchanged,
after a flat pause for ever, as the host's client does it. Tabs begin evenly spread over the time of one list.

Every ``lists_per_visit`` lists the page is loaded again: the session has a new id from then on and takes over the old
one's leases, and what the old page had to tell is sent twice at once, as a beacon and by the page that follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvloop

from training.load.lines import Lines
from training.load.tab import KINDS, Kind, Tab, Wire

OK = 200
DRAIN_SECONDS = 30.0  # that answers may take after the last request was due
TURN_SECONDS = 0.001  # a wait for the clock is not shorter
TELL_AT, CLAIM_AT = 0.25, 0.5  # after the start of a batch, in artworks


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is asked of the service, and how."""

    sessions: int
    seconds_per_artwork: float
    seconds: float  # that are measured, after the warm-up
    displays_per_list: int = 10
    list_size: int = 20
    batch: int = 10  # artworks that are claimed at once and told of at once; divides displays_per_list
    lists_per_visit: int = 10
    connections: int = 64
    retry_seconds: float = 5.0
    timeout: float = 15.0  # seconds until a request on the wire is given up, as our display does

    @property
    def rate(self) -> float:
        """Displays a second."""
        return self.sessions / self.seconds_per_artwork

    @property
    def round_seconds(self) -> float:
        """The time of one list."""
        return self.displays_per_list * self.seconds_per_artwork

    @property
    def warm_seconds(self) -> float:
        """Until every tab sends everything: the time of one list, in which they begin, and of a batch."""
        return self.round_seconds + (self.batch + 1) * self.seconds_per_artwork


@dataclass
class Seen:
    """What the crowd saw of one kind of request, all of it settled or given up in the end."""

    took: array[float] = field(default_factory=lambda: array("d"))  # seconds, of what was due in the measured time
    first_tries: int = 0  # of the same: those settled by the first answer
    unanswered: int = 0  # of the same: not settled when the run was over
    statuses: Counter[int] = field(default_factory=Counter)  # of every answer; 0: none came


@dataclass
class Run:
    """What a run came to, as the crowd saw it."""

    load: Load
    tabs: list[Tab]
    names: list[str]  # of artworks, by number
    seen: dict[Kind, Seen]
    late: array[float]  # seconds from when requests were due to when the generator came to them: its own fault
    displays: int  # granted in the measured time, whenever they were due
    beacons: int  # flushes that were sent a second time


def drive(load: Load, url: str, key: str, *, people: str, visit: str) -> Run:
    """Let people look for so long; ids of people and sessions are made of ``people`` and ``visit`` and a number.

    The same people may come again, under another ``visit``. Raises OSError when nobody listens at first.
    """
    return uvloop.run(_Crowd(load, url, key, people, visit).run())


@dataclass(slots=True)
class _Errand:
    """One request of a tab, from when it is due until it is settled."""

    kind: Kind
    due: float
    request: bytes = b""
    tries: int = 0


class _Crowd:
    """One run."""

    def __init__(self, load: Load, url: str, key: str, people: str, visit: str) -> None:
        parts = urlsplit(url)
        self._load = load
        self._wire = Wire(parts.netloc, key)
        self._lines = Lines(parts.hostname or "", parts.port or 80, load.connections, load.timeout)
        self._numbers: dict[str, int] = {}
        self._tabs = [
            Tab(f"{people}-{place}", f"{visit}-{place}", self._numbers, load.lists_per_visit, place)
            for place in range(load.sessions)
        ]
        self._owed: list[deque[_Errand]] = [deque() for _ in self._tabs]  # per tab; the first one is under way
        self._seen: dict[Kind, Seen] = {kind: Seen() for kind in KINDS}
        self._late = array("d")
        self._displays = 0
        self._beacons = 0
        self._start = 0.0
        self._open = 0  # errands not settled
        self._settled = asyncio.Event()  # set while there are none

    async def run(self) -> Run:
        """Open, drive, drain, close."""
        gc.freeze()  # tabs live as long as the run: no need to walk over them
        await self._lines.open()
        self._start = time.perf_counter()
        await self._keep_time()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), DRAIN_SECONDS)
        for errand in (errand for owed in self._owed for errand in owed):
            self._seen[errand.kind].unanswered += self._is_measured(errand)
        await self._lines.close()
        gc.unfreeze()
        return Run(self._load, self._tabs, list(self._numbers), self._seen, self._late, self._displays, self._beacons)

    async def _keep_time(self) -> None:
        """Begin every errand when it is due, until the run is over."""
        load = self._load
        steps = _steps(load)
        over = load.warm_seconds + load.seconds
        gap = load.round_seconds / load.sessions
        coming = [(place * gap, place, 0) for place in range(load.sessions)]  # sorted, which is a heap
        begins = [place * gap for place in range(load.sessions)]
        while coming[0][0] < over:
            now = time.perf_counter() - self._start
            while coming[0][0] <= min(now, over):
                due, place, step = coming[0]
                self._begin(place, _Errand(steps[step % len(steps)][1], due), now)
                rounds, at = divmod(step + 1, len(steps))
                heapq.heapreplace(coming, (begins[place] + rounds * load.round_seconds + steps[at][0], place, step + 1))
            await asyncio.sleep(max(min(coming[0][0], over) - now, TURN_SECONDS))

    def _begin(self, place: int, errand: _Errand, now: float) -> None:
        """An errand is due: it goes out at once unless the tab still waits for an answer."""
        if self._is_measured(errand):
            self._late.append(now - errand.due)
        self._open += 1
        self._settled.clear()
        self._owed[place].append(errand)
        if len(self._owed[place]) == 1:
            self._send_next(place)

    def _send_next(self, place: int) -> None:
        """Send the tab's next errand; those that come to nothing (no artworks held, none drawn) are over."""
        owed = self._owed[place]
        while owed:
            request = self._request(self._tabs[place], owed[0].kind)
            if request is not None:
                owed[0].request = request
                return self._send(place)
            self._settle(place)
        return None

    def _request(self, tab: Tab, kind: Kind) -> bytes | None:
        """What the tab sends."""
        if kind == "next":
            return tab.ask(self._wire, self._load.list_size)
        if kind == "claims":
            return tab.claim(self._wire, self._load.batch)
        return tab.flush(self._wire, self._load.seconds_per_artwork)

    def _send(self, place: int) -> None:
        """Send the tab's first errand, be it again."""
        if not self._owed[place]:
            return
        errand, tab = self._owed[place][0], self._tabs[place]
        errand.tries += 1
        if errand.kind == "impressions" and tab.leave():
            self._beacons += 1
            self._lines.send(errand.request, lambda _status, _body: None)
        self._lines.send(errand.request, lambda status, body: self._answered(place, status, body))

    def _answered(self, place: int, status: int, body: bytes) -> None:
        """An answer has come: settled, or to be tried again after the pause."""
        errand, tab = self._owed[place][0], self._tabs[place]
        seen = self._seen[errand.kind]
        seen.statuses[status] += 1
        if status != OK:
            asyncio.get_running_loop().call_later(self._load.retry_seconds, self._send, place)
            return
        shown = len(tab.shown)
        tab.reader(errand.kind)(body)
        now = time.perf_counter() - self._start
        if 0 <= now - self._load.warm_seconds < self._load.seconds:
            self._displays += len(tab.shown) - shown
        if self._is_measured(errand):
            seen.took.append(now - errand.due)
            seen.first_tries += errand.tries == 1
        self._settle(place)
        self._send_next(place)

    def _settle(self, place: int) -> None:
        """The tab's first errand is done."""
        self._owed[place].popleft()
        self._open -= 1
        if not self._open:
            self._settled.set()

    def _is_measured(self, errand: _Errand) -> bool:
        """Whether it was due after the warm-up."""
        return errand.due >= self._load.warm_seconds


def _steps(load: Load) -> list[tuple[float, Kind]]:
    """What a tab does in the time of one list: seconds after its begin, and what."""
    steps: list[tuple[float, Kind]] = [(0.0, "next")]
    for first in range(0, load.displays_per_list, load.batch):
        steps += [(first + TELL_AT, "impressions"), (first + CLAIM_AT, "claims")]
    return sorted((at * load.seconds_per_artwork, kind) for at, kind in steps)
