"""How many requests of a kind one worker answers at a time: what holds the processor long must not hold up lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from features.settings import Settings
from serving import telemetry
from serving.api.problems import Problem

Kind = Literal["heavy", "stream"]
RETRY_SECONDS = 2
_taken: Counter[Kind] = Counter()  # of this process


def check_room(kind: Kind, settings: Settings) -> None:
    """Refuse one too many. Raises Problem (429)."""
    most = {"heavy": settings.heavy_at_once, "stream": settings.streams_at_once}[kind]
    if _taken[kind] >= most:
        telemetry.BUSY.labels(kind).inc()
        detail = f"This worker answers {most} such request{'s' if most > 1 else ''} at a time; ask again in a moment."
        raise Problem(429, "busy", detail, retry=RETRY_SECONDS)


@contextmanager
def taken(kind: Kind) -> Iterator[None]:
    """Count as one of its kind."""
    _taken[kind] += 1
    try:
        yield
    finally:
        _taken[kind] -= 1
