"""Connections, named queries and transactions; driver errors become ours here and nowhere else.

Queries live in sql/queries.sql under `-- name:` lines. Every connection runs in UTC, and nothing needs a
session-level lock or setting to be correct, so that a transaction pooler may sit in between.

Every wait for the database ends, also over a line that swallows what is sent and never answers: a transaction has a
time limit, and a connection whose wait was cut short is closed, never used again. What such a client leaves behind is
ended by the server's own limit on idle transactions. Therefore no pipelines: psycopg ends one with a Flush, after which
PostgreSQL does not count a transaction as idle, and a lost client would keep its user's lock for hours.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import Escaping
from psycopg.rows import TupleRow
from psycopg.waiting import wait_async
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from features.errors import DatabaseUnavailableError
from features.moments import tolerate_moments
from features.settings import Settings

T = TypeVar("T")

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

SURE_SECONDS = 0.25  # a connection that has answered within so long is not asked again whether it lives
#: With the locks, how the statements of such a transaction are planned: once, since planning takes longer than they do,
#: and by index even while a table is so young that reading it whole would be quicker, for the plan stays when it grows.
_LOCKED = (
    b"BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off;"
    b" SELECT pg_advisory_xact_lock(hashtextextended(n, 0)) FROM unnest(ARRAY[%b]) AS n"
)

UNREACHABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    PoolTimeout,
)


@cache
def queries() -> dict[str, str]:
    """Every named query of sql/queries.sql, by name."""
    text = resources.files("features").joinpath("sql/queries.sql").read_text("utf-8")
    parts = _NAME.split(text)
    return {name: _statement(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def _statement(body: str) -> str:
    """The SQL of one query, without the comment that belongs to the next one."""
    lines = body.strip().splitlines()
    while lines and (not lines[-1].strip() or lines[-1].startswith("--")):
        lines.pop()
    return "\n".join(lines).rstrip(";")


def query(name: str, **identifiers: str) -> str:
    """The text of one query; ``{placeholders}`` for column lists are filled from ``identifiers``."""
    text = queries()[name]
    for key, value in identifiers.items():
        text = text.replace("{" + key + "}", value)
    return text


@contextlib.contextmanager
def connect(url: str, *, autocommit: bool = False) -> Iterator[psycopg.Connection]:
    """One blocking connection in UTC for jobs and commands, closed (and committed) at the end."""
    try:
        connection = psycopg.connect(url, autocommit=autocommit, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(reason=str(error).strip()) from error
    with connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection that closes at once when a wait for the server is cancelled.

    psycopg would first ask the server to cancel, and wait for its word: ten more seconds over a dead line.
    """

    answered_at: float = -math.inf  # when the server last answered, by the monotonic clock

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109 - psycopg's own signature
        """What ``gen`` returns in the end."""
        try:
            result = await wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
        self.answered_at = time.monotonic()
        return result


class Pool(AsyncConnectionPool):
    """A pool that limits how long a connection may be had, from asking for it to the end of its commit."""

    def __init__(self, url: str, *, seconds: float, **options: Any) -> None:
        super().__init__(url, connection_class=Connection, **options)
        self._seconds = seconds
        self._doubted_at = -math.inf  # when a connection that was thought sure turned out to be gone

    @contextlib.asynccontextmanager
    async def transaction(self, users: Sequence[str]) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A transaction with the users' locks. Raises TimeoutError when its limit is over; its connection is closed."""
        async with asyncio.timeout(self._seconds):
            connection = await self._begin(users)
            try:
                async with connection:
                    try:
                        yield connection
                    except asyncio.CancelledError:
                        await connection.close()  # before the rollback, which over a dead line would never end
                        raise
            finally:
                await self.putconn(connection)

    def is_sure(self, connection: Connection) -> bool:
        """Whether the connection has answered so lately that it need not be asked whether it lives."""
        return connection.answered_at > max(time.monotonic() - SURE_SECONDS, self._doubted_at)

    async def _begin(self, users: Sequence[str]) -> psycopg.AsyncConnection[Any]:
        """A connection on which a transaction has begun; when one that was sure is gone, none is any more."""
        for trial in ("sure", "checked"):
            connection = await self.getconn()
            try:
                await connection.execute(_begin(users, connection), prepare=False)
            except BaseException as error:  # whatever it was, the connection goes back
                await self.putconn(connection)
                if trial == "checked" or not isinstance(error, UNREACHABLE):
                    raise
                self._doubted_at = time.monotonic()
            else:
                return connection
        raise AssertionError("unreachable")  # the second trial returns or raises


def make_pool(url: str, settings: Settings) -> Pool:
    """A pool for one worker, not yet opened; its connections are in UTC and bounded in every time they may take."""

    async def configure(connection: psycopg.AsyncConnection) -> None:
        tolerate_moments(connection)
        async with asyncio.timeout(settings.database_wait_seconds):
            await connection.execute(query("configure_connection", **_limits(settings)))

    async def check(connection: Connection) -> None:
        if pool.is_sure(connection):
            return
        try:
            async with asyncio.timeout(settings.database_wait_seconds / 2):  # leaves time for another connection
                await AsyncConnectionPool.check_connection(connection)
        except TimeoutError:
            await pool.drain()  # what happened to one silent line has happened to the others
            raise

    pool = Pool(
        url,
        seconds=settings.transaction_seconds,
        min_size=settings.pool_min,
        max_size=max(settings.pool_min, settings.pool_max),
        timeout=settings.database_wait_seconds,
        reconnect_timeout=settings.database_wait_seconds,  # whoever asks next tries anew, without its growing pauses
        configure=configure,
        check=check,
        kwargs={
            "autocommit": True,  # a transaction begins with `transaction`, in one trip with its locks
            "connect_timeout": math.ceil(settings.database_wait_seconds),
            "application_name": "vernissage",
            "client_encoding": "UTF8",  # whatever the database is in: ids are quoted in it, and hash alike everywhere
        },
        open=False,
    )
    return pool


def _limits(settings: Settings) -> dict[str, str]:
    """What the server itself ends: a long statement, and a transaction whose client is gone without its knowledge."""
    return {
        "statement_ms": str(settings.statement_timeout_ms),
        "idle_ms": str(math.ceil(settings.transaction_seconds * 1000)),
    }


@contextlib.asynccontextmanager
async def transaction(pool: Pool, users: Sequence[str] = ()) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection from the pool in a transaction that orders the requests of ``users``; commits, or rolls back.

    The locks are taken in a statement of their own, so that the next one's snapshot is taken after the wait, and in
    order of user id, so that no two transactions wait for each other. The same goes for the clock: leases are judged by
    statement_timestamp(), since now() is when the wait began.

    Raises DatabaseUnavailableError when the database is away, be it before or in the middle, or does not answer.
    """
    try:
        async with pool.transaction(users) as connection:
            yield connection
    except TimeoutError as error:
        raise DatabaseUnavailableError(reason="it does not answer in time") from error
    except UNREACHABLE as error:
        raise DatabaseUnavailableError(reason=_first_line(error)) from error


def _begin(users: Sequence[str], connection: psycopg.AsyncConnection[Any]) -> bytes:
    """What begins a transaction, with the locks of the users: one trip, since it has no parameters."""
    if not users:
        return b"BEGIN"
    quote = Escaping(connection.pgconn).escape_literal
    return _LOCKED % b",".join(quote(user.encode()) for user in sorted(set(users)))


def _first_line(error: Exception) -> str:
    """The driver's message without its tail, or the error's name when it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
