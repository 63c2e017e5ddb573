"""Fixtures of the tests that ask a real service: one per module, on a fresh database, and the host beside it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from features.database import connect
from tests.host import Host
from tests.learning import command, empty_store, ready, world  # noqa: F401 - fixtures
from tests.service import Service

#: Tests wait for the snapshot often, and must not fail because a busy machine ranked late.
BRISK = {"VERNISSAGE_CATALOGUE_POLL_SECONDS": "0.05", "VERNISSAGE_RANK_DEADLINE_MS": "5000"}

Start = Callable[..., Service]


@pytest.fixture(scope="module")
def module_database(cluster: str, template: str) -> Iterator[str]:
    """URL of a fresh migrated stand-alone database for one module's service."""
    with _fresh(cluster, template) as url:
        yield url


@pytest.fixture(scope="module")
def service(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The module's service: one worker, quick to see the pool change, every request logged."""
    environment = BRISK | {"VERNISSAGE_LOG_SAMPLE": "1"}
    with Service(module_database, tmp_path_factory.mktemp("service"), environment=environment) as started:
        yield started


@pytest.fixture(scope="module")
def host(module_database: str) -> Iterator[Host]:
    """The host beside the module's service."""
    with connect(module_database, autocommit=True) as connection:
        yield Host(connection)


@pytest.fixture
def own_host(database_url: str) -> Iterator[Host]:
    """The host of one test's own database."""
    with connect(database_url, autocommit=True) as connection:
        yield Host(connection)


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts services on the test's own database: keyword arguments as `Service` has them, and `wait`."""
    with contextlib.ExitStack() as stack:

        def started(*, environment: Mapping[str, str] | None = None, wait: bool = True, **options: Any) -> Service:
            home = tmp_path / uuid.uuid4().hex[:8]
            service = Service(database_url, home, environment=BRISK | dict(environment or {}), **options)
            stack.callback(service.stop)
            return service.start(wait=wait)

        yield started


@pytest.fixture
def user() -> str:
    """The id of a user whom the host does not know."""
    return f"user-{uuid.uuid4()}"


@contextlib.contextmanager
def _fresh(cluster: str, template: str) -> Iterator[str]:
    """A database made from the template, dropped whoever is still connected."""
    name = f"vernissage_test_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield urlsplit(cluster)._replace(path=f"/{name}").geturl()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
