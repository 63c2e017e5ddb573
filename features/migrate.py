"""Applies sql/migrations in order, once each, under an advisory lock; never touches the host's schema.

Stand-alone mode is the exception: where no host has made its tables, it makes them (sql/host_tables.sql).
"""

from __future__ import annotations

import hashlib
from importlib import resources

import psycopg

from features.errors import HostTablesMissingError, MigrationChangedError

SCHEMA = "vernissage"
HOST_TABLES = "host_tables.sql"  # recorded among the migrations where we made the host's tables
NEEDED_TABLES = ("users", "art_sessions", "user_art_impressions")
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('vernissage.migrations', 0))"


def migrations() -> dict[str, str]:
    """Every migration's text by file name, in order of number."""
    folder = resources.files("features").joinpath("sql/migrations")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return {entry.name: entry.read_text("utf-8") for entry in files}


def migrate(connection: psycopg.Connection, *, standalone: bool = False) -> list[str]:
    """Apply what is missing and return the names applied; all of it commits, or none.

    Raises MigrationChangedError when an applied file has changed since, and HostTablesMissingError when the
    host's tables are absent and ``standalone`` is false.
    """
    with connection.transaction():
        connection.execute(_LOCK)
        made = _make_host_tables(connection, standalone=standalone)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        connection.execute(f"SET LOCAL search_path TO {SCHEMA}, public")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for name in made:
            _record(connection, name, _host_tables())
        return made + _apply_missing(connection)


def _make_host_tables(connection: psycopg.Connection, *, standalone: bool) -> list[str]:
    """Create the host's tables when asked to and when none of them is there."""
    missing = [name for name in NEEDED_TABLES if not _exists(connection, f"public.{name}")]
    if not missing:
        return []
    if not standalone or len(missing) < len(NEEDED_TABLES):
        raise HostTablesMissingError(tables=", ".join(missing))
    connection.execute("SET LOCAL search_path TO public")
    connection.execute(_host_tables())
    return [HOST_TABLES]


def _host_tables() -> str:
    """The text that creates the host's tables."""
    return resources.files("features").joinpath(f"sql/{HOST_TABLES}").read_text("utf-8")


def _apply_missing(connection: psycopg.Connection) -> list[str]:
    """Run each migration that the database does not know yet."""
    known: dict[str, str] = dict(connection.execute("SELECT name, checksum FROM migrations").fetchall())
    applied = []
    for name, text in migrations().items():
        if name not in known:
            connection.execute(text)
            _record(connection, name, text)
            applied.append(name)
        elif known[name] != _checksum(text):
            raise MigrationChangedError(name=name, applied=known[name][:12], found=_checksum(text)[:12])
    return applied


def _record(connection: psycopg.Connection, name: str, text: str) -> None:
    """Note that a file was applied; of HOST_TABLES only that it was, for later the host may change its tables."""
    connection.execute(
        "INSERT INTO migrations (name, checksum) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()",  # made once more
        (name, _checksum(text)),
    )


def _checksum(text: str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def _exists(connection: psycopg.Connection, table: str) -> bool:
    """Whether the table is there."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    return bool(row and row[0])
