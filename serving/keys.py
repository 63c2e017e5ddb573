"""API keys: made once, shown once, stored as a hash, with scopes; checked at each request through a short cache."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from features.database import Pool, query, transaction
from serving.telemetry import CACHES

ADMIN = "admin"
SCOPES = ("frontend", "tokens", "planner", "experiments", ADMIN)
PREFIX = "vern_"
CACHE_SIZE = 10_000


@dataclass(frozen=True)
class Key:
    """Who calls: a key's public id and what it may do."""

    key_id: str
    scopes: frozenset[str]
    user_id: str | None = None  # a browser's token: may act for this user alone

    def may(self, scope: str) -> bool:
        """Whether the key carries ``scope``; admin carries all."""
        return scope in self.scopes or ADMIN in self.scopes


def create_key(connection: psycopg.Connection, scopes: list[str], label: str | None = None) -> str:
    """Make a key and return it; only its hash is kept, so this is the one time it can be read."""
    key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    key = f"{PREFIX}{key_id}_{secret}"
    row = {"key_id": key_id, "key_hash": _hash(key), "scopes": scopes, "label": label}
    connection.execute(query("create_key"), row)
    audit(connection, "key create", key_id, {"scopes": scopes, "label": label})
    return key


def revoke_key(connection: psycopg.Connection, key_id: str) -> bool:
    """Revoke a key; False when there is no such live key."""
    revoked = connection.execute(query("revoke_key"), {"key_id": key_id}).rowcount == 1
    if revoked:
        audit(connection, "key revoke", key_id, {})
    return revoked


def list_keys(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Every key's id, scopes, label, birth and revocation."""
    return connection.execute(query("list_keys")).fetchall()


def audit(connection: psycopg.Connection, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Add an entry to the append-only audit log, in the caller's transaction."""
    row = {"actor": getpass.getuser(), "action": action, "subject": subject, "detail": Jsonb(detail)}
    connection.execute(query("audit"), row)


class KeyRing:
    """Finds keys in the database and remembers them (and what is no key) for a few seconds."""

    def __init__(self, pool: Pool, cache_seconds: float) -> None:
        self._pool = pool
        self._cache_seconds = cache_seconds
        self._cache: dict[bytes, tuple[float, Key | None]] = {}
        self._asking: dict[bytes, asyncio.Task[Key | None]] = {}  # by those who wait together

    async def find(self, token: str) -> Key | None:
        """The live key of this token, or None."""
        key_hash = _hash(token)
        cached = self._cache.get(key_hash)
        if cached and time.monotonic() - cached[0] < self._cache_seconds:
            CACHES.labels("keys", "hit").inc()
            return cached[1]
        CACHES.labels("keys", "miss").inc()
        asking = self._asking.get(key_hash)
        if asking is None:
            asking = self._asking[key_hash] = asyncio.create_task(self._ask(key_hash))
            asking.add_done_callback(lambda _: self._asking.pop(key_hash))
        return await asyncio.shield(asking)  # others wait for it too

    async def _ask(self, key_hash: bytes) -> Key | None:
        """What the database says; remembered."""
        async with transaction(self._pool) as connection:
            cursor = await connection.execute(query("find_key"), {"key_hash": key_hash})
            row = await cursor.fetchone()
        key = Key(row[0], frozenset(row[1])) if row else None
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        self._cache[key_hash] = (time.monotonic(), key)
        return key


def _hash(key: str) -> bytes:
    """SHA-256: enough for 256 random bits, which no dictionary holds."""
    return hashlib.sha256(key.encode()).digest()
