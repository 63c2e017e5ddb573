"""Identifiers that we make: ordered by time or by owner, so that few pages of an index are touched at a time."""

from __future__ import annotations

import hashlib
import os
import time
import uuid


def new_id() -> uuid.UUID:
    """A UUID of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then random bits."""
    stamp = time.time_ns() // 1_000_000
    return uuid.UUID(int=_with_version(stamp << 80 | int.from_bytes(os.urandom(10)), 7))


def named_id(owner: str, name: str) -> uuid.UUID:
    """A UUID of version 8 (RFC 9562, section 5.8) that depends on its arguments alone: equal ones, equal id.

    It begins with 48 bits that an owner's ids share: what is written together lies together in every index of it.
    """
    whole = hashlib.sha256(f"{len(owner)}:{owner}{len(name)}:{name}".encode()).digest()[:10]
    return uuid.UUID(int=_with_version(int.from_bytes(hashlib.sha256(owner.encode()).digest()[:6] + whole), 8))


def _with_version(number: int, version: int) -> int:
    """Set the version and variant bits of a 128-bit number."""
    number &= ~(0xF << 76) & ~(0x3 << 62)
    return number | version << 76 | 0x2 << 62
