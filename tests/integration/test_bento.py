"""The Bento: built from bentofile.yaml without docker, complete without the repository, and it serves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.host import Host
from tests.service import REPOSITORY


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME of its own with a freshly built Bento in it."""
    store = tmp_path_factory.mktemp("store")
    environment = os.environ | {"BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "--version", "tested"]
    built = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return store


def test_a_bento_holds_the_service_alone(store: Path) -> None:
    """Features, serving and their SQL; no training, no tests, nobody's data."""
    source = store / "bentos" / "vernissage" / "tested" / "src"
    names = {path.name for path in source.iterdir()}
    assert {"features", "serving", "README.md", "LICENSE", "pyproject.toml"} <= names
    assert not names & {"training", "tests", "notebooks", ".venv", ".git", ".vernissage"}
    for package in ("features", "serving"):
        expected = {
            path.relative_to(REPOSITORY)
            for path in (REPOSITORY / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        found = {path.relative_to(source) for path in (source / package).rglob("*") if path.is_file()}
        assert found == expected
    requirements = (source.parent / "env" / "python" / "requirements.txt").read_text("utf-8")
    for package in ("scikit-learn", "mlflow", "polars", "notebook"):
        assert f"\n{package}==" not in requirements
    assert "\nbentoml==" in requirements


def test_a_built_bento_serves(store: Path, start: Any, own_host: Host, tmp_path: Path) -> None:
    """From its own files, in a folder that is not the repository: its version is changed to tell them apart."""
    version = store / "bentos" / "vernissage" / "tested" / "src" / "features" / "__init__.py"
    version.write_text('__version__ = "0.0.0+tested"\n', "utf-8")
    own_host.add_artworks(3)
    service = start(application="vernissage:tested", environment={"BENTOML_HOME": str(store)}, folder=tmp_path)
    assert service.next("ada", limit=2)["returned"] == 2
    assert service.stranger.get("/v1/health").json()["version"] == "0.0.0+tested"
