"""Fixtures of the fault tests: a database for a whole module, with a pool in it, and the file that troubles rankers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.database import connect
from tests.conftest import with_database
from tests.faults.cases import stock


@pytest.fixture(scope="module")
def pool_url(cluster: str, template: str) -> Iterator[str]:
    """URL of a migrated database with a pool of artworks, for all tests of a module."""
    name = f"vernissage_faults_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = with_database(cluster, name)
        stock(url)
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all tests of a module."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def faults(folder: Path) -> Path:
    """The file that tests.faulty reads; nothing is in trouble yet."""
    path = folder / "faults"
    path.write_text("", "utf-8")
    return path
