"""Identifiers that we make: ordered by time, so that their indexes grow at one end."""

from __future__ import annotations

import hashlib
import os
import time
import uuid


def new_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits."""
    stamp = time.time_ns() // 1_000_000
    return uuid.UUID(int=_with_version(stamp << 80 | int.from_bytes(os.urandom(10)), 7))


def named_id(*parts: str) -> uuid.UUID:
    """A UUID of version 8 (RFC 9562, section 5.8) that depends on ``parts`` alone: equal parts, equal id."""
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).digest()[:16]
    return uuid.UUID(int=_with_version(int.from_bytes(digest), 8))


def _with_version(number: int, version: int) -> int:
    """Set the version and variant bits of a 128-bit number."""
    number &= ~(0xF << 76) & ~(0x3 << 62)
    return number | version << 76 | 0x2 << 62
