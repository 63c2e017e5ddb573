"""Millions of rows into a database in minutes: indexes go first and come back as they were, and nothing is flushed.

Only for a database of the benchmark's own, and for rows that hold to every key by construction. Indexes and constraints
are made again from PostgreSQL's own definitions of them, and compared in the end: what is measured stands on the host's
real index set.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import psycopg

#: Of the filling session alone: sorting in memory, foreign keys not asked.
_SESSION = {"maintenance_work_mem": "1GB", "work_mem": "256MB", "session_replication_role": "replica"}
#: Of the server while it is filled: a crash would lose it all, which then is made anew.
_SERVER = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "8GB"}
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::regclass AND contype IN ('p', 'u') ORDER BY contype, conname
"""
_INDEXES = """
SELECT x.indexrelid::regclass::text, pg_get_indexdef(x.indexrelid) FROM pg_index AS x
WHERE x.indrelid = %s::regclass ORDER BY 1
"""
_PLAIN_INDEXES = """
SELECT x.indexrelid::regclass::text, pg_get_indexdef(x.indexrelid) FROM pg_index AS x
WHERE x.indrelid = %s::regclass AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = x.indexrelid)
ORDER BY 1
"""

Definitions = list[tuple[str, str]]


@contextlib.contextmanager
def careless(connection: psycopg.Connection) -> Iterator[None]:
    """For a while the server does not flush; in the end all is vacuumed, analysed, on the disk and durable again.

    The connection is an autocommit one, here as below.
    """
    for name, value in _SERVER.items():
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    connection.execute("SELECT pg_reload_conf()")
    yield
    connection.execute("VACUUM ANALYZE")
    for name in _SERVER:
        connection.execute(f"ALTER SYSTEM RESET {name}")
    connection.execute("SELECT pg_reload_conf()")
    connection.execute("CHECKPOINT")
    os.sync()


@contextlib.contextmanager
def filling(connection: psycopg.Connection, *tables: str) -> Iterator[None]:
    """For a while these tables have no indexes, and the session asks no foreign keys.

    Raises RuntimeError when the indexes in the end are not what they were.
    """
    before = {table: _all(connection, table) for table in tables}
    constraints = [(table, *each) for table in tables for each in _definitions(connection, _CONSTRAINTS, table)]
    indexes = [each for table in tables for each in _definitions(connection, _PLAIN_INDEXES, table)]
    for name, value in _SESSION.items():
        connection.execute(f"SET {name} = '{value}'")
    for table, name, _ in constraints:
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, definition in indexes:  # first, for these let others read meanwhile
        connection.execute(definition)
    for table, name, definition in constraints:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for name in _SESSION:
        connection.execute(f"RESET {name}")
    if before != {table: _all(connection, table) for table in tables}:
        raise RuntimeError(f"the indexes of {', '.join(tables)} are not what they were")


def _all(connection: psycopg.Connection, table: str) -> Sequence[Definitions]:
    """Every constraint and index of a table."""
    return _definitions(connection, _CONSTRAINTS, table), _definitions(connection, _INDEXES, table)


def _definitions(connection: psycopg.Connection, statement: str, table: str) -> Definitions:
    """Names and definitions."""
    return [(str(name), str(text)) for name, text in connection.execute(statement, (table,)).fetchall()]
