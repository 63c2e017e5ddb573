"""What tests of training stand on: a small world in a real database, an empty registry, and the command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from features.settings import Settings
from training import tracking
from training.cli import app
from training.learner import Learner
from training.run import Trained, train
from training.synth import World, make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

RECIPE = Recipe(seed=3, users=120, artworks=150, days=30, until=datetime(2026, 3, 1, 21, 30, tzinfo=UTC))


@pytest.fixture(scope="module")
def world() -> World:
    """A small world to train on."""
    return make_world(RECIPE)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry without anything in it: making its tables takes seconds, copying it does not."""
    home = tmp_path_factory.mktemp("registry")
    assert tracking.versions(Settings(home=str(home))) == []
    return home / "mlflow.db"


@pytest.fixture
def ready(settings: Settings, connection: psycopg.Connection, world: World, empty_store: Path) -> Settings:
    """Settings with a world in the database and an empty registry at home."""
    settings.home_path.mkdir()
    shutil.copy(empty_store, settings.home_path / "mlflow.db")
    write_world(connection, world)
    return settings


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the `vernissage` command with the test's settings."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("VERNISSAGE_HOME", settings.home)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words), catch_exceptions=False)

    return run


def learn(learner: Learner, settings: Settings, connection: psycopg.Connection) -> Trained:
    """Train without a word."""
    return train(learner, settings, connection, on_step=lambda _: None)
