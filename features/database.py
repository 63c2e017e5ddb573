"""Connections, named queries and transactions; driver errors become ours here and nowhere else.

Queries live in sql/queries.sql under `-- name:` lines. Every connection runs in UTC, and nothing needs a
session-level lock or setting to be correct, so that a transaction pooler may sit in between.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib import resources
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from features.errors import DatabaseUnavailableError
from features.settings import Settings

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

UNREACHABLE = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


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


def make_pool(url: str, settings: Settings) -> AsyncConnectionPool:
    """A pool for one worker, not yet opened; its connections are in UTC and bounded in statement time."""

    async def configure(connection: psycopg.AsyncConnection) -> None:
        await connection.execute(
            f"SET TIME ZONE 'UTC'; SET statement_timeout = {settings.statement_timeout_ms}; SET jit = off"
        )
        await connection.commit()

    return AsyncConnectionPool(
        url,
        min_size=settings.pool_min,
        max_size=max(settings.pool_min, settings.pool_max),
        timeout=settings.database_wait_seconds,
        reconnect_timeout=60,
        configure=configure,
        check=AsyncConnectionPool.check_connection,
        kwargs={"connect_timeout": 5, "application_name": "vernissage"},
        open=False,
    )


@contextlib.asynccontextmanager
async def transaction(pool: AsyncConnectionPool) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection from the pool; commits at the end, rolls back on error.

    Raises DatabaseUnavailableError when the database is away, be it before or in the middle.
    """
    try:
        async with pool.connection() as connection:
            yield connection
    except UNREACHABLE as error:
        raise DatabaseUnavailableError(reason=_first_line(error)) from error


def _first_line(error: Exception) -> str:
    """The driver's message without its tail, or the error's name when it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
