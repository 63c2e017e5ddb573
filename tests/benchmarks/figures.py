"""What a benchmark hands back, and how it is shown and kept: rows, a table, and one JSON file per run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from tests.service import REPOSITORY

RESULTS = Path(__file__).parent / "results"
REPEATS = 3
PACKAGES = ("bentoml", "numpy", "psycopg", "scikit-learn", "scipy", "starlette", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Figure:
    """One measured value, beside what it is compared with in the same run."""

    what: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    reach: str = ""  # what the value, or its ratio to the reference, should come to: ">= 0.6", "<= 2"
    samples: tuple[float, ...] = ()  # one per repeat, of the ratio where there is one; their median counts

    @property
    def ratio(self) -> float | None:
        """The median over repeats of value / reference, or the ratio of the two where there were none."""
        if self.reference_value is None:
            return None
        return statistics.median(self.samples) if self.samples else self.value / self.reference_value

    @property
    def reached(self) -> bool | None:
        """Whether it came to what it should; None where nothing is asked."""
        if not self.reach:
            return None
        sign, _, bound = self.reach.partition(" ")
        got = self.value if self.ratio is None else self.ratio
        return got >= float(bound) if sign == ">=" else got <= float(bound)


def compare(
    what: str, unit: str, values: Sequence[float], reference: str, references: Sequence[float], *, reach: str = ""
) -> Figure:
    """Medians of two series that were measured in turns; the ratio is taken within each turn."""
    ratios = tuple(value / other for value, other in zip(values, references, strict=True))
    return Figure(what, statistics.median(values), unit, reference, statistics.median(references), reach, ratios)


def in_turns(
    subjects: Mapping[str, Callable[[], float]], repeats: int = REPEATS, warm: bool = True
) -> dict[str, list[float]]:
    """Run every subject once per turn, so that a slow moment of the machine hits all; first once to warm up."""
    if warm:
        for subject in subjects.values():
            subject()
    found: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name, subject in subjects.items():
            found[name].append(subject())
    return found


def table(name: str, summary: str, figures: Sequence[Figure], seconds: float) -> Table:
    """The rows of one benchmark for a terminal."""
    shown = Table(title=f"{name}: {summary} ({seconds:.0f} s)", title_justify="left", box=None, pad_edge=False)
    for header in ("what", "value", "reference", "", "ratio", "reach"):
        shown.add_column(header, justify="right" if header in {"value", "", "ratio"} else "left")
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        colour = {True: "green", False: "red", None: "default"}[figure.reached]
        shown.add_row(
            figure.what,
            f"{number(figure.value)} {figure.unit}",
            figure.reference,
            "" if figure.reference_value is None else f"{number(figure.reference_value)} {figure.unit}",
            f"[{colour}]{ratio}[/]",
            f"[{colour}]{figure.reach}[/]",
        )
    return shown


def keep(results: Mapping[str, Mapping[str, Any]], on: Mapping[str, Any]) -> Path:
    """Write the results of one run on a machine and return the file, relative to the project."""
    now = datetime.now(UTC)
    commit = _commit()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}-{commit[:9]}.json"
    whole = {"at": now.isoformat(timespec="seconds"), "commit": commit, "machine": on, "benchmarks": results}
    path.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")
    return path.relative_to(REPOSITORY)


def as_data(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The rows of one benchmark for JSON."""
    return [asdict(figure) | {"ratio": figure.ratio, "reached": figure.reached} for figure in figures]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    """The commit that was measured; "+" at its end when files differ from it."""
    head = _git("rev-parse", "HEAD") or "no-commit"
    return head + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    """What git says, or nothing where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def number(value: float) -> str:
    """Three digits or more, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
