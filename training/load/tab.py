"""One tab of one person, as far as the service sees it: what it holds, what it was granted, what it sends next.

It asks for a list, claims the artworks of the next minutes together, draws one after the other, and tells afterwards
how long each was looked at, together again. It draws nothing and knows no time: `crowd` says when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

Kind = Literal["next", "claims", "impressions"]
KINDS: tuple[Kind, ...] = ("next", "claims", "impressions")


class Offered(msgspec.Struct):
    """What a tab needs of an offered artwork."""

    artwork_id: str
    lease_id: str


class Listed(msgspec.Struct):
    """What a tab needs of a list."""

    items: list[Offered]


class Verdict(msgspec.Struct):
    """What became of a claim."""

    artwork_id: str
    status: str


class Verdicts(msgspec.Struct):
    """What became of claims."""

    claims: list[Verdict]


class Stored(msgspec.Struct):
    """What became of events."""

    received: int


_LISTED = msgspec.json.Decoder(Listed)
_VERDICTS = msgspec.json.Decoder(Verdicts)
_STORED = msgspec.json.Decoder(Stored)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Wire:
    """How requests look: one address, one key, encoded once."""

    authority: str  # "127.0.0.1:3000"
    key: str = ""

    def get(self, path: str) -> bytes:
        """A GET request."""
        return f"GET {path} HTTP/1.1\r\n{self._head()}\r\n".encode()

    def post(self, path: str, body: object) -> bytes:
        """A POST request with a JSON body."""
        encoded = _encode(body)
        length = f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n"
        return f"POST {path} HTTP/1.1\r\n{self._head()}{length}\r\n".encode() + encoded

    def _head(self) -> str:
        """The headers that every request has."""
        return f"Host: {self.authority}\r\n" + (f"Authorization: Bearer {self.key}\r\n" if self.key else "")


class Tab:
    """A person's one tab. Artworks are numbered by ``numbers``, which all tabs share.

    Its page is loaded again every ``lists_per_visit`` lists; it begins as if it had asked for ``asked``, so that tabs
    do not all do so at the same time.
    """

    __slots__ = (
        "_asked", "_claimed", "_drawn", "_held", "_leaving", "_lists_per_visit", "_numbers", "_serial",
        "dry", "first_id", "refused", "repeated", "session_id", "shown", "signals", "user_id",
    )  # fmt: skip

    def __init__(
        self, user_id: str, session_id: str, numbers: dict[str, int], lists_per_visit: int = 10, asked: int = 0
    ) -> None:
        self.user_id = user_id
        self.first_id = self.session_id = session_id  # of the page that is open; later ones are named after the first
        self.shown: set[int] = set()  # granted: acknowledged as displayed
        self.signals = 0  # acknowledged
        self.refused = 0  # claims
        self.repeated = 0  # granted twice: the promise is broken
        self.dry = 0  # artworks that were wanted and not there
        self._numbers = numbers
        self._held: list[Offered] = []
        self._claimed: list[Offered] = []  # under way
        self._drawn: list[Offered] = []  # and not told of yet
        self._serial = 0  # of the claims and flushes so far
        self._lists_per_visit = lists_per_visit
        self._asked = asked
        self._leaving = False  # the next flush is the last one of a page

    def ask(self, wire: Wire, limit: int) -> bytes:
        """A request for artworks; by a page that is loaded again, under a session id of its own."""
        self._asked += 1
        path = f"/v1/users/{self.user_id}/next?limit={limit}"
        if self._asked % self._lists_per_visit or not self.shown:
            return wire.get(f"{path}&session_id={self.session_id}")
        before, self.session_id = self.session_id, f"{self.first_id}.{self._asked}"
        self._leaving = bool(self._drawn)
        return wire.get(f"{path}&session_id={self.session_id}&supersedes={before}")

    def leave(self) -> bool:
        """Whether the flush that is about to go is sent twice, for its page is gone; says so once."""
        leaving, self._leaving = self._leaving, False
        return leaving

    def listed(self, body: bytes) -> None:
        """Hold what the answer says, but for what was claimed meanwhile."""
        items = _LISTED.decode(body).items
        self._held = [item for item in items if self._numbers.get(item.artwork_id) not in self.shown]

    def claim(self, wire: Wire, count: int) -> bytes | None:
        """A request for the right to draw the next artworks; None when it holds none."""
        self._claimed, self._held = self._held[:count], self._held[count:]
        self.dry += count - len(self._claimed)
        if not self._claimed:
            return None
        self._serial += 1
        claims = [
            {
                "user_id": self.user_id,
                "session_id": self.session_id,
                "lease_id": item.lease_id,
                "artwork_id": item.artwork_id,
                "claim_id": f"{self._serial}-{place}",
            }
            for place, item in enumerate(self._claimed)
        ]
        return wire.post("/v1/claims", {"claims": claims})

    def granted(self, body: bytes) -> None:
        """Draw what was granted; one that was drawn before is a repeat."""
        verdicts = _VERDICTS.decode(body).claims
        for item, verdict in zip(self._claimed, verdicts, strict=True):
            if verdict.status != "claimed":
                self.refused += 1
                continue
            number = self._numbers.setdefault(item.artwork_id, len(self._numbers))
            self.repeated += number in self.shown
            self.shown.add(number)
            self._drawn.append(item)

    def flush(self, wire: Wire, seconds: float) -> bytes | None:
        """What there is to tell of the artworks drawn: each was looked at for so long; None when there is nothing."""
        if not self._drawn:
            return None
        at = datetime.now(UTC).isoformat()
        self._serial += 1
        events = [
            {
                "event_id": f"{self.session_id}-{self._serial}-{place}",
                "user_id": self.user_id,
                "artwork_id": item.artwork_id,
                "kind": "dwell",
                "session_id": self.session_id,
                "lease_id": item.lease_id,
                "at": at,
                "value": seconds,
            }
            for place, item in enumerate(self._drawn)
        ]
        self._drawn = []
        return wire.post("/v1/impressions", {"events": events})

    def flushed(self, body: bytes) -> None:
        """Count what was acknowledged."""
        self.signals += _STORED.decode(body).received

    def reader(self, kind: Kind) -> Callable[[bytes], None]:
        """What reads the answer to a request of this kind."""
        return {"next": self.listed, "claims": self.granted, "impressions": self.flushed}[kind]
