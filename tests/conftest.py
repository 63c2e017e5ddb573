"""Fixtures of the whole suite: one real PostgreSQL per session, and a fresh migrated database per test."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from features import postgres
from features.database import connect
from features.migrate import migrate
from features.settings import Settings

REPOSITORY = Path(__file__).parents[1]


def with_database(url: str, name: str) -> str:
    """The same server's URL with another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """URL of the server that the databases are made on: DATABASE_URL's, else an embedded one without fsync.

    Without any PostgreSQL the session fails with PostgresNotFoundError: these tests are not optional.
    """
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    home = Path(tempfile.mkdtemp(prefix="vernissage-tests-"))
    home.chmod(0o711)  # as root the server runs as another account, which must get in
    settings = Settings(home=str(home), pg_bin=os.environ.get("VERNISSAGE_PG_BIN", ""))
    try:
        yield postgres.start(settings, fast=True)
    finally:
        postgres.stop(settings)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def template(cluster: str) -> Iterator[str]:
    """Name of a migrated stand-alone database that nobody is connected to."""
    name = f"vernissage_template_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        with connect(with_database(cluster, name)) as fresh:
            migrate(fresh, standalone=True)
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(cluster: str, template: str) -> Iterator[str]:
    """URL of a fresh migrated stand-alone database, dropped afterwards whoever is still connected."""
    name = f"vernissage_test_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield with_database(cluster, name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings with a database of their own and an empty home."""
    return Settings(database_url=database_url, home=str(tmp_path / "home"))


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection in UTC to the test's database."""
    with connect(database_url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def shared() -> Path:
    """The folder ../shared that developers and CI have; the test is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder ../shared is absent")
    return folder
