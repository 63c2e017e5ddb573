"""`vernissage bench`: the project's own benchmarks, which come with a clone and not with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from features.errors import BenchmarksMissingError

CLONE = Path(__file__).parents[2]


Names = Annotated[list[str] | None, typer.Argument(help="Which of them; all by default.", show_default=False)]


def bench(names: Names = None) -> None:
    """Measure speed on this machine, each figure beside a reference of the same run; results are kept and drawn."""
    if not (CLONE / "tests" / "benchmarks").is_dir():
        raise BenchmarksMissingError(folder=CLONE)
    command = [sys.executable, "-m", "tests.benchmarks", *(names or [])]
    done = subprocess.run(command, cwd=CLONE, check=False)  # noqa: S603 - our own module, no shell
    raise typer.Exit(done.returncode)
