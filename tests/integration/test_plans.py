"""No statement of a request reads a growing table from end to end, whatever its values: told by EXPLAIN.

In a database of 20,000 artworks and 220,000 impressions, in which one user has seen 97.7% of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from features.database import connect
from tests.crowd import DEVOTED, ORDINARY, Statement, crowd, need_statements, statements, verdict

NAMES = (
    "user_states", "check_absorbed", "absorb_keys", "absorb_marks", "note_absorbed", "supersede", "lease_lists",
    "host_artworks", "record_events", "heartbeat", "end_session", "history", "replay",
    "favourites", "set_favourite", "unset_favourite",
)  # fmt: skip


@pytest.fixture(scope="module")
def crowded(module_database: str) -> Iterator[psycopg.Connection]:
    """A connection to the crowded database."""
    with connect(module_database, autocommit=True) as connection:
        crowd(connection)
        yield connection


def statement_of(connection: psycopg.Connection, name: str, user: str) -> Statement:
    """One statement by its name."""
    return next(statement for statement in statements(connection, user) if statement.name == name)


@pytest.mark.parametrize("generic", [False, True], ids=["for its values", "for any values"])
@pytest.mark.parametrize("user", [ORDINARY, DEVOTED, "stranger"])
@pytest.mark.parametrize("name", NAMES)
def test_a_request_never_reads_a_growing_table_from_end_to_end(
    crowded: psycopg.Connection, name: str, user: str, generic: bool
) -> None:
    """Neither row by row nor by an index without a condition."""
    assert verdict(crowded, statement_of(crowded, name, user), generic=generic).faults == []


@pytest.mark.parametrize("generic", [False, True], ids=["for its values", "for any values"])
@pytest.mark.parametrize("name", ["demand_state", "taste_state"])
def test_need_never_reads_a_growing_table_from_end_to_end(
    crowded: psycopg.Connection, name: str, generic: bool
) -> None:
    """For twenty users in one statement."""
    users = [ORDINARY, DEVOTED, *(f"user-{number}" for number in range(101, 119))]
    statement = next(one for one in need_statements(crowded, users) if one.name == name)
    assert verdict(crowded, statement, generic=generic).faults == []


def test_the_active_users_are_found_by_the_end_of_their_leases(crowded: psycopg.Connection) -> None:
    """Where most sessions ended long ago."""
    with crowded.transaction(force_rollback=True):
        old = "UPDATE vernissage.sessions SET expires_at = now() - interval '30 days' WHERE session_id <> 'tab-49'"
        crowded.execute(old)
        crowded.execute("ANALYZE vernissage.sessions")
        statement = next(one for one in need_statements(crowded, []) if one.name == "active_users")
        assert verdict(crowded, statement, generic=False).faults == []


def test_every_statement_is_looked_at(crowded: psycopg.Connection) -> None:
    """The names above are all."""
    assert tuple(statement.name for statement in statements(crowded, ORDINARY)) == NAMES


@pytest.mark.parametrize(
    ("index", "name", "fault"),
    [
        ("vernissage.seen_bits DROP CONSTRAINT seen_bits_pkey", "user_states", "Seq Scan on seen_bits"),
        ("vernissage.events DROP CONSTRAINT events_pkey", "record_events", "Seq Scan on events"),
        ("vernissage.sessions DROP CONSTRAINT sessions_pkey", "heartbeat", "Seq Scan on sessions"),
    ],
)
def test_a_lost_index_is_told(crowded: psycopg.Connection, index: str, name: str, fault: str) -> None:
    """So these tests can fail."""
    with crowded.transaction(force_rollback=True):
        crowded.execute(f"ALTER TABLE {index}")
        assert fault in verdict(crowded, statement_of(crowded, name, ORDINARY), generic=False).faults
