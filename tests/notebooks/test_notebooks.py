"""The notebooks as a data scientist runs them: from the first cell to the last, on a small synthetic world."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import psycopg
import pytest
from nbclient import NotebookClient

from features.settings import Settings
from tests.conftest import REPOSITORY
from tests.experiment_log import Lived, write_log
from training.publish import live_version
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FIGURES = {"01_look_at_the_pool": 3, "02_retrain": 1, "03_compare_variants": 3, "04_read_an_experiment": 5}
LEAST_BYTES = 12_000  # of base64, of a figure that shows something; one that only says why it is empty has half as many
WORLD = Recipe(seed=1, users=150, artworks=120, days=30, until=datetime(2026, 6, 1, tzinfo=UTC))


@pytest.fixture
def world(connection: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small world with an experiment in a database of its own, and an environment that names nothing else of ours."""
    write_world(connection, make_world(WORLD))
    write_log(connection, Lived((0.2, 0.3), users=300, visits=(0, 4), over=6))
    for name in [name for name in os.environ if name.startswith("VERNISSAGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("VERNISSAGE_HOME", settings.home)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # else jupyter warns about the names of its folders


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_without_a_word_on_stderr_and_figures_appear(path: Path) -> None:
    """A cell that raises fails in the client; a warning would stand on stderr; a picture is more than a blank one."""
    outputs = _run(path)
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == FIGURES[path.stem]
    assert all(len(picture) > LEAST_BYTES for picture in pictures)


@pytest.mark.usefixtures("world")
def test_retraining_leaves_its_last_model_live(connection: psycopg.Connection) -> None:
    """After the second notebook workers are told to serve the version that it trained last."""
    outputs = _run(FOLDER / "02_retrain.ipynb")
    assert live_version(connection) == "4"
    assert outputs[-1].data["text/plain"] == "'blend:4'"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_task_takes_under_fifteen_lines(path: Path) -> None:
    """What a notebook does is few lines of code, imports and settings aside."""
    _, *cells = _code(path)
    assert sum(len(cell.source.splitlines()) for cell in cells) < 15


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_their_outputs(path: Path) -> None:
    """What a run prints belongs to the machine and the data it ran on."""
    assert all(not cell.outputs and cell.execution_count is None for cell in _code(path))


def _code(path: Path) -> list[Any]:
    """The code cells of a notebook."""
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def _run(path: Path) -> list[Any]:
    """Everything that the cells of a notebook put out, executed in its own folder."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
