"""A TCP proxy that stands between a service and PostgreSQL, so that tests can break the line in every manner.

    with Proxy(database_url) as proxy:
        ...                 # give the service proxy.url
        proxy.cut()         # every connection is reset; new ones still get through
        proxy.refuse()      # new connections are refused as well
        proxy.stall()       # a black hole: connections stay open, what is sent is swallowed and never answered
        proxy.forget()      # as a stall does with lines that lose something, but at once and for old lines only
        proxy.restore()     # everything gets through again

It is no model of TCP: a line that lost bytes in a stall stays a black hole for ever, as behind a firewall that forgot
it, and neither end is told when the other hangs up. That is the worst case, and the one to be fit for.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo

T = TypeVar("T")
LOOPBACK = "127.0.0.1"
CHUNK = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time: close() sends RST
PATIENCE_SECONDS = 10.0


class _Line:
    """One connection of a client and, unless it was born in a stall, the one to the server."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.lost = False  # bytes or an end were swallowed: nothing may pass any more

    def close(self, *, reset: bool = False) -> None:
        """Close both ends, with a reset instead of an orderly end if wished."""
        for writer in self.writers:
            if reset and not writer.transport.is_closing():
                end: socket.socket = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()


class Proxy:
    """Listens on a loopback port in front of ``database_url``'s server; runs in a thread of its own."""

    def __init__(self, database_url: str) -> None:
        target = conninfo_to_dict(database_url)
        self._target = (str(target.get("host", LOOPBACK)), int(target.get("port", 5432)))
        self._lines: set[_Line] = set()
        self._stalled = False
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._port = 0
        self._port = self._do(self._listen())
        self.url = make_conninfo(database_url, host=LOOPBACK, port=self._port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def lines(self) -> int:
        """How many connections there are, black holes included."""
        return len(self._lines)

    def cut(self) -> None:
        """Reset every connection; new ones still get through."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Reset every connection and refuse new ones."""
        self._do(self._refuse())

    def stall(self) -> None:
        """Swallow whatever is sent from now on, over old connections and new ones."""
        self._stalled = True

    def forget(self) -> None:
        """Make a black hole of every line there is; new ones get through."""
        self._do(self._forget())

    def restore(self) -> None:
        """Let everything through again, except over lines that lost something."""
        self._stalled = False
        self._do(self._listen())

    def close(self) -> None:
        """Hang up everywhere and end the thread."""
        self._do(self._refuse())
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the proxy's thread and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    async def _listen(self) -> int:
        """Open the port (the same one as ever) unless it is open."""
        if self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self._port))
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)
        return int(self._listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        """Take one connection; not asyncio's server, which loses one that comes while it is being closed."""
        client, _ = listener.accept()
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cut(self) -> None:
        """Reset every line."""
        for line in list(self._lines):
            line.close(reset=True)

    async def _forget(self) -> None:
        """Give every line up without a word."""
        for line in self._lines:
            line.lost = True

    async def _refuse(self) -> None:
        """Close the port, then every line."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._cut()

    async def _end(self) -> None:
        """Wait for every line's task, of those too that have just begun."""
        while self._tasks:
            await self._cut()
            await asyncio.wait(self._tasks, timeout=0.05)

    async def _serve(self, client: socket.socket) -> None:
        """Serve one line to its end."""
        reader, writer = await asyncio.open_connection(sock=client)
        line = _Line(writer)
        self._lines.add(line)
        try:
            if self._stalled:
                line.lost = True
                await self._pump(line, reader, writer)
            else:
                await self._connect(line, reader, writer)
        finally:
            line.close()
            self._lines.discard(line)
            for each in line.writers:
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    async def _connect(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a line to the server and carry bytes both ways until both have ended."""
        with contextlib.suppress(OSError):  # the server is away: so is the line
            upstream, downstream = await asyncio.open_connection(*self._target)
            line.writers.append(downstream)
            await asyncio.gather(self._pump(line, reader, downstream), self._pump(line, upstream, writer))

    async def _pump(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes one way; an end is passed on like bytes, and swallowed like bytes."""
        with contextlib.suppress(OSError):  # a reset is an end too
            while data := await reader.read(CHUNK):
                line.lost = line.lost or self._stalled
                if not line.lost:
                    writer.write(data)
                    await writer.drain()
        line.lost = line.lost or self._stalled
        if not line.lost:
            writer.close()
