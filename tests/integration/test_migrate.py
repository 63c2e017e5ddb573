"""Migrations on real databases: applied once, never changed, serialised, and the host's tables left alone."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from features import migrate
from features.database import connect
from features.errors import HostTablesMissingError, MigrationChangedError

REPOSITORY = Path(__file__).parents[2]
MIGRATE = (
    "import sys; from features.database import connect; from features.migrate import migrate\n"
    "with connect(sys.argv[1]) as connection: print(len(migrate(connection, standalone=True)))"
)
#: The host ten days earlier: no styles, artists, is_library, orientation, ..., and an integer quality score.
OLDER_HOST = """
CREATE TABLE users (id varchar PRIMARY KEY, email varchar UNIQUE);
CREATE TABLE art_sessions (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    session_id varchar NOT NULL,
    image_url text NOT NULL,
    prompt text NOT NULL,
    dna_vector text,
    quality_score integer DEFAULT 50,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE user_art_impressions (
    id varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    user_id varchar NOT NULL REFERENCES users ON DELETE CASCADE,
    artwork_id varchar NOT NULL REFERENCES art_sessions ON DELETE CASCADE,
    viewed_at timestamp NOT NULL DEFAULT now(),
    UNIQUE (user_id, artwork_id)
);
"""
#: Everything of schema public that a migration could touch, as text.
PUBLIC = """
SELECT 'column ' || concat_ws(' ', table_name, column_name, data_type, column_default, is_nullable)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT concat_ws(' ', 'trigger', tgrelid::regclass, tgfoid::regproc, tgconstrrelid::regclass)
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
ORDER BY 1
"""


@pytest.fixture
def empty_url(cluster: str) -> Iterator[str]:
    """URL of a database with nothing in it."""
    name = f"vernissage_empty_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield urlsplit(cluster)._replace(path=f"/{name}").geturl()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty(empty_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to a database with nothing in it."""
    with connect(empty_url, autocommit=True) as opened:
        yield opened


def replace_migrations(monkeypatch: pytest.MonkeyPatch, **texts: str) -> None:
    """Let the project have these migrations instead of its own."""
    monkeypatch.setattr(migrate, "migrations", lambda: {f"{name}.sql": text for name, text in texts.items()})


def public(connection: psycopg.Connection) -> list[str]:
    """What schema public holds."""
    return [line for (line,) in connection.execute(PUBLIC)]


def recorded(connection: psycopg.Connection) -> list[str]:
    """The names of the applied migrations."""
    return [name for (name,) in connection.execute("SELECT name FROM vernissage.migrations ORDER BY name")]


def exists(connection: psycopg.Connection, name: str) -> bool:
    """Whether there is such a table."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    assert row is not None
    return bool(row[0])


def test_every_migration_is_applied_once(empty: psycopg.Connection) -> None:
    """The second run finds nothing to do."""
    assert migrate.migrate(empty, standalone=True) == ["host_tables.sql", *migrate.migrations()]
    assert migrate.migrate(empty, standalone=True) == []
    assert migrate.migrate(empty) == []
    assert set(migrate.migrations()) <= set(recorded(empty))


def test_migrations_are_numbered_without_gap_or_double() -> None:
    """Two people who add one at the same time must notice."""
    numbers = [int(name.split("_")[0]) for name in migrate.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_only_a_new_migration_is_applied(empty: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was applied is not run again."""
    replace_migrations(monkeypatch, a="CREATE TABLE first (id int)")
    migrate.migrate(empty, standalone=True)
    replace_migrations(monkeypatch, a="CREATE TABLE first (id int)", b="CREATE TABLE second (id int)")
    assert migrate.migrate(empty, standalone=True) == ["b.sql"]
    assert exists(empty, "vernissage.second")


def test_a_changed_migration_is_refused(empty: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was applied with another text; and nothing after it is applied."""
    replace_migrations(monkeypatch, a="CREATE TABLE first (id int)")
    migrate.migrate(empty, standalone=True)
    replace_migrations(monkeypatch, a="CREATE TABLE first (id bigint)", b="CREATE TABLE second (id int)")
    with pytest.raises(MigrationChangedError, match=r"Migration a\.sql was applied with another text"):
        migrate.migrate(empty, standalone=True)
    assert not exists(empty, "vernissage.second")


def test_a_migration_that_fails_leaves_nothing_behind(
    empty: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a run commits, or none: also the host tables and the schema."""
    replace_migrations(monkeypatch, a="CREATE TABLE first (id int)", b="CREATE TABLE second (id nonsense)")
    with pytest.raises(psycopg.errors.UndefinedObject):
        migrate.migrate(empty, standalone=True)
    assert not exists(empty, "public.users")
    assert not exists(empty, "vernissage.first")
    replace_migrations(monkeypatch, a="CREATE TABLE first (id int)")
    assert migrate.migrate(empty, standalone=True) == ["host_tables.sql", "a.sql"]


def test_two_processes_at_once_are_serialised(empty_url: str, empty: psycopg.Connection) -> None:
    """Both are made to wait for the lock; then one applies everything and the other finds nothing to do."""
    with connect(empty_url) as holder:
        holder.execute(migrate._LOCK)
        command = [sys.executable, "-c", MIGRATE, empty_url]
        both = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        wait_for_waiting(empty, 2)
    answers = sorted(int(each.communicate(timeout=60)[0]) for each in both)
    assert [each.returncode for each in both] == [0, 0]
    assert answers == [0, 1 + len(migrate.migrations())]


def wait_for_waiting(connection: psycopg.Connection, count: int) -> None:
    """Look until so many sessions wait for an advisory lock of this database."""
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    deadline = time.monotonic() + 30
    while connection.execute(waiting).fetchone() != (count,):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_the_host_s_tables_it_is_an_error_that_names_them(empty: psycopg.Connection) -> None:
    """A wrong database is the likeliest reason, so nothing is made in it."""
    with pytest.raises(HostTablesMissingError, match=r"users, art_sessions, user_art_impressions .*--standalone"):
        migrate.migrate(empty)
    assert public(empty) == []
    assert not exists(empty, "vernissage.migrations")


def test_half_of_a_host_is_not_completed_even_when_stand_alone(empty: psycopg.Connection) -> None:
    """Tables of the same name may be another application's."""
    empty.execute("CREATE TABLE public.users (id varchar PRIMARY KEY)")
    before = public(empty)
    with pytest.raises(HostTablesMissingError, match="art_sessions, user_art_impressions"):
        migrate.migrate(empty, standalone=True)
    assert public(empty) == before


@pytest.mark.parametrize("standalone", [False, True])
def test_the_host_s_tables_are_not_touched(empty: psycopg.Connection, standalone: bool) -> None:
    """Beside an older host, with fewer columns, schema public is the same before and after; rows too."""
    empty.execute(OLDER_HOST)
    empty.execute("INSERT INTO users VALUES ('49396329', 'a@example.org')")
    before = public(empty)
    assert migrate.migrate(empty, standalone=standalone) == list(migrate.migrations())
    assert public(empty) == before
    assert empty.execute("TABLE users").fetchall() == [("49396329", "a@example.org")]


def test_the_host_can_still_change_and_drop_its_tables(empty: psycopg.Connection) -> None:
    """No foreign key, view or trigger of ours stands in the way of the host's own migrations."""
    empty.execute(OLDER_HOST)
    migrate.migrate(empty)
    empty.execute("ALTER TABLE art_sessions ALTER COLUMN quality_score TYPE numeric(3,1)")
    empty.execute("DROP TABLE user_art_impressions, art_sessions, users RESTRICT")


def test_the_stand_alone_tables_are_the_host_s_own(connection: psycopg.Connection) -> None:
    """Spot checks that a client of the host cannot tell the difference."""
    connection.execute("INSERT INTO users (id) VALUES ('u')")
    connection.execute("INSERT INTO art_sessions (id, session_id, image_url, prompt) VALUES ('a', 's', '/a.png', 'p')")
    row = connection.execute(
        "SELECT quality_score::text, pool_status, motifs, is_library, created_at - now() AT TIME ZONE 'UTC' < '1 min'"
        " FROM art_sessions"
    ).fetchone()
    assert row == ("50.0", "active", [], False, True)
    connection.execute("INSERT INTO user_art_impressions (user_id, artwork_id) VALUES ('u', 'a')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO user_art_impressions (user_id, artwork_id) VALUES ('u', 'a')")
    connection.execute("DELETE FROM users")
    assert connection.execute("SELECT count(*) FROM user_art_impressions").fetchone() == (0,)


def test_each_test_has_a_database_of_its_own(connection: psycopg.Connection) -> None:
    """The rows of the test before are not here, and the connection is in UTC."""
    assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    assert connection.execute("SHOW TIME ZONE").fetchone() == ("UTC",)
