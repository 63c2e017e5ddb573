"""Many keep-alive connections that each send the next request as soon as they have their answer (a closed loop).

Written on bare sockets: a general HTTP client costs more than the service that is measured, and would make all
services look alike. Latencies of a closed loop hide queueing, so they compare services and promise nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, cast

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HOST = "127.0.0.1"
WARM_SECONDS = 0.7
OK = 200


@dataclass(frozen=True)
class Load:
    """What a crowd saw in its measured time."""

    seconds: float
    latencies: NDArray[np.float64]  # in seconds, in order of answering
    statuses: Counter[int]
    lost: int  # connections that the service ended

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def failures(self, expected: int = OK) -> int:
        """Answers of another status, and lost connections."""
        return self.statuses.total() - self.statuses[expected] + self.lost

    def milliseconds(self, quantile: float) -> float:
        """A quantile of the latencies."""
        return float(np.quantile(self.latencies, quantile)) * 1000


def drive(port: int, lines: Sequence[Iterator[bytes]], seconds: float) -> Load:
    """One connection per line of requests, for so long after a short warm-up. Raises RuntimeError on any failure."""
    load = uvloop.run(_drive(port, lines, seconds))
    if load.failures() or not len(load.latencies):
        raise RuntimeError(f"answers {dict(load.statuses)}, {load.lost} connections lost")
    return load


def drive_apart(port: int, groups: Mapping[str, Sequence[Iterator[bytes]]], seconds: float) -> dict[str, Load]:
    """Several crowds at once, told apart; failures are for the caller to look at."""

    async def together() -> list[Load]:
        return await asyncio.gather(*(_drive(port, lines, seconds) for lines in groups.values()))

    return dict(zip(groups, uvloop.run(together()), strict=True))


def get(path: str, key: str = "") -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{_authorization(key)}\r\n".encode()


def post(path: str, body: Any, key: str = "") -> bytes:
    """A POST request with a JSON body."""
    encoded = msgspec.json.encode(body)
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{_authorization(key)}Content-Length: {len(encoded)}\r\n\r\n"
    return head.encode() + encoded


def again(request: bytes) -> Iterator[bytes]:
    """The same request for ever."""
    return repeat(request)


def _authorization(key: str) -> str:
    """The header that carries a key."""
    return f"Authorization: Bearer {key}\r\n" if key else ""


async def _drive(port: int, lines: Sequence[Iterator[bytes]], seconds: float) -> Load:
    """Connect, warm up, measure, and hang up."""
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(lambda line=line: _Line(line), HOST, port))[1] for line in lines]
    await asyncio.sleep(WARM_SECONDS)
    begin = time.perf_counter()
    await asyncio.sleep(seconds)
    end = time.perf_counter()
    for connection in connections:
        connection.hang_up()
    answers = [answer for connection in connections for answer in connection.answers if begin < answer[0] <= end]
    return Load(
        seconds=end - begin,
        latencies=np.array([took for _, took, _ in sorted(answers)]),
        statuses=Counter(status for _, _, status in answers),
        lost=sum(connection.lost for connection in connections),
    )


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.answers: list[tuple[float, float, int]] = []  # when, how long it took, status
        self.lost = False
        self._requests = requests
        self._received = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, but for its base class
        self._send()

    def data_received(self, data: bytes) -> None:
        """Note a whole answer and send the next request."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self._received, 0, head_end + 2)
        if length is None:
            raise RuntimeError("an answer without Content-Length")
        if len(self._received) < head_end + 4 + int(length[1]):
            return
        now = time.perf_counter()
        self.answers.append((now, now - self._sent, int(self._received[9:12])))
        self._received = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The service hung up, unless it was us."""
        self.lost = self._transport is not None
        self._transport = None

    def hang_up(self) -> None:
        """End the connection."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()

    def _send(self) -> None:
        """Send the next request, if the line is still up."""
        if self._transport is not None:
            self._sent = time.perf_counter()
            self._transport.write(next(self._requests))
