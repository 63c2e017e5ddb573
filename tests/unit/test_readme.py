"""The README's examples: they can be pasted, one after the other, with nothing that was never said."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from training.cli import app

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SHELL = "".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
COMMANDS = re.findall(r"^\.venv/bin/vernissage (.*)$", SHELL, re.MULTILINE)
FILES = ("more-variety.yaml", "pool.jsonl", "history.parquet")


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_an_example_is_complete(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is such a command, and it has every argument and option that it needs."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        (tmp_path / name).touch()
    words = shlex.split(line, comments=True)
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "resolve_command"):
        context = typer.Context(command, parent=context)
        _, command, words = command.resolve_command(context, words)
    command.make_context(command.name, words, parent=context)


def test_every_variable_of_an_example_is_set_in_one_before() -> None:
    """A key that is never made answers 401."""
    for found in re.finditer(r"\$(\w+)", SHELL):
        assert re.search(rf"^(export )?{found[1]}=", SHELL[: found.start()], re.MULTILINE), found[0]


def test_the_examples_show_every_step_of_an_experiment() -> None:
    """Each with what it needs."""
    steps = {line.split()[1] for line in COMMANDS if line.startswith("experiment ")}
    assert steps == {"create", "start", "ramp", "override", "report", "stop"}
