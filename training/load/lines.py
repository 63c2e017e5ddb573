"""Keep-alive connections that many sessions share, as behind a reverse proxy; HTTP/1.1 on bare protocols.

A general HTTP client costs more than the service that is measured. Requests come ready for the wire, an answer is its
status and its body, and whatever goes wrong on the way is status 0. What finds every connection busy waits in a line
for as long as it takes; only what is on the wire is given up after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
LOOK_SECONDS = 0.5  # between looks at who waits too long
AGAIN_SECONDS = 0.2  # until a lost connection is tried again
NOTHING = 0  # the status of a request that got no answer

Answered = Callable[[int, bytes], None]


class Lines:
    """A fixed number of connections to one address, opened by `open`."""

    def __init__(self, host: str, port: int, connections: int, timeout: float) -> None:
        self._address = (host, port)
        self._connections = connections
        self._timeout = timeout  # seconds on the wire
        self._idle: deque[_Line] = deque()
        self._busy: set[_Line] = set()
        self._waiting: deque[tuple[bytes, Answered]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self) -> None:
        """Connect all. Raises OSError when nobody listens."""
        for _ in range(self._connections):
            await self._connect()
        self._start(self._look())

    def send(self, request: bytes, answered: Answered) -> None:
        """Send a request over the connection that has been idle longest; ``answered`` is called once."""
        self._waiting.append((request, answered))
        self._next()

    async def close(self) -> None:
        """Hang up; what is under way is never answered."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for line in (*self._idle, *self._busy):
            line.forget()
            line.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the loop tells of the connections' ends in its next round

    def rest(self, line: _Line) -> None:
        """A connection has nothing to do any more."""
        self._busy.discard(line)
        self._idle.append(line)
        self._next()

    def lose(self, line: _Line) -> None:
        """A connection has ended: open another one."""
        self._busy.discard(line)
        with contextlib.suppress(ValueError):
            self._idle.remove(line)
        if not self._closed:
            self._start(self._connect_again())

    def _next(self) -> None:
        """Put waiting requests on idle connections."""
        while self._waiting and self._idle:
            line = self._idle.popleft()
            self._busy.add(line)
            line.send(*self._waiting.popleft())

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        """Keep a task for as long as it runs."""
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        """Open one connection."""
        _, line = await asyncio.get_running_loop().create_connection(lambda: _Line(self), *self._address)
        self._idle.append(line)
        self._next()

    async def _connect_again(self) -> None:
        """Open one connection, however long it takes."""
        while True:
            await asyncio.sleep(AGAIN_SECONDS)
            with contextlib.suppress(OSError):
                return await self._connect()

    async def _look(self) -> None:
        """Give up what has waited too long for its answer."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            latest = time.perf_counter() - self._timeout
            for line in [line for line in self._busy if line.since < latest]:
                line.hang_up()


class _Line(asyncio.Protocol):
    """One connection: idle, or with one request under way."""

    def __init__(self, lines: Lines) -> None:
        self.since = 0.0  # when its request went out
        self._lines = lines
        self._answered: Answered | None = None
        self._received = bytearray()
        self._whole = 0  # bytes of the answer, 0 while its head is not there
        self._body = 0  # where its body begins
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but for its base class

    def send(self, request: bytes, answered: Answered) -> None:
        """Put a request on the wire."""
        self._answered, self.since = answered, time.perf_counter()
        if self._transport is not None:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Hand on an answer once it is whole."""
        self._received += data
        if not self._whole and not self._read_head():
            return
        if len(self._received) < self._whole:
            return
        status, body = int(self._received[9:12]), bytes(self._received[self._body : self._whole])
        answered, self._answered = self._answered, None
        self._received, self._whole = bytearray(), 0
        self._lines.rest(self)
        if answered is not None:
            answered(status, body)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits for an answer that none will come."""
        del error
        answered, self._answered = self._answered, None
        self._lines.lose(self)
        if answered is not None:
            answered(NOTHING, b"")

    def forget(self) -> None:
        """Nobody waits for the answer any more."""
        self._answered = None

    def hang_up(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self) -> bool:
        """Whether the head has come; an answer without a length cannot be followed, and ends the connection."""
        end = self._received.find(_HEAD_END)
        if end < 0:
            return False
        length = _LENGTH.search(self._received, 0, end + 2)
        if length is None:
            self.hang_up()
            return False
        self._body = end + len(_HEAD_END)
        self._whole = self._body + int(length[1])
        return True
