"""The README's table of figures, made from kept results: `python -m tests.benchmarks.table` fills it in.

The newest result of each benchmark under tests/benchmarks/results is taken, written into kept.json, which is the one
file of results in git, and from there into README.md. `--print` shows the table of kept.json and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import RESULTS, number
from tests.service import REPOSITORY

KEPT = Path(__file__).parent / "kept.json"
README = REPOSITORY / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
_PLACE = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
_HEAD = ("| what | got | reference, same run | ratio | reach | reached |", "|---|---|---|---|---|---|")

Result = Mapping[str, Any]


def main() -> None:
    """Fill in, or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="print the table of kept.json and change nothing")
    if parser.parse_args().print:
        print(markdown(read_kept()))  # noqa: T201 - what was asked for
        return
    kept = newest(read_results())
    if not kept:
        parser.error("there are no results yet: run `make bench`")
    KEPT.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    README.write_text(filled_in(README.read_text("utf-8"), markdown(kept)), "utf-8")


def read_results() -> list[Result]:
    """Every kept run, oldest first."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def read_kept() -> dict[str, Result]:
    """The results in git."""
    kept: dict[str, Result] = json.loads(KEPT.read_text("utf-8"))
    return kept


def newest(results: Sequence[Result]) -> dict[str, Result]:
    """The last result of each benchmark, with the commit and the machine it was measured on."""
    found: dict[str, Result] = {}
    for result in results:
        about = {"at": result["at"], "commit": result["commit"], "machine": result["machine"]}
        for name, benchmark in result["benchmarks"].items():
            found[name] = {**benchmark, **about}
    return dict(sorted(found.items()))


def markdown(kept: Mapping[str, Result]) -> str:
    """What was measured on what, and a row for each figure that has a mark to reach."""
    rows = [_row(figure) for result in kept.values() for figure in result["figures"] if figure["reach"]]
    return "\n".join([_measured_on(kept), "", *_HEAD, *rows])


def filled_in(text: str, told: str) -> str:
    """The text with what stands between its two marks replaced. Raises ValueError where they are not there once."""
    if len(_PLACE.findall(text)) != 1:
        raise ValueError(f"{BEGIN} and {END} must be there once")
    return _PLACE.sub(lambda _: f"{BEGIN}\n{told}\n{END}", text)


def _row(figure: Mapping[str, Any]) -> str:
    """One figure."""
    beside = ""
    if figure["reference_value"] is not None:
        beside = f"{figure['reference']}: {_with_unit(figure['reference_value'], figure['unit'])}"
    ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f}"
    reach = figure["reach"].replace("<=", "≤").replace(">=", "≥")
    cells = (figure["what"], _with_unit(figure["value"], figure["unit"]), beside, ratio, reach)
    return f"| {' | '.join(cells)} | {'yes' if figure['reached'] else '**no**'} |"


def _measured_on(kept: Mapping[str, Result]) -> str:
    """Machines and commits; one of each, where the results are of one go."""
    machines = {_machine(result["machine"]) for result in kept.values()}
    commits = {result["commit"][:9] + ("+" if result["commit"].endswith("+") else "") for result in kept.values()}
    days = sorted({result["at"][:10] for result in kept.values()})
    changed = " (+: with files changed)" if any(commit.endswith("+") for commit in commits) else ""
    return (
        f"Measured on {'; '.join(sorted(machines))}, {' to '.join(dict.fromkeys((days[0], days[-1])))},"
        f" commit {', '.join(sorted(commits))}{changed}."
    )


def _machine(machine: Mapping[str, Any]) -> str:
    """Processor, memory and Python."""
    return (
        f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']:.0f} GB, Python {machine['python']}"
    )


def _with_unit(value: float, unit: str) -> str:
    """A figure as people read it."""
    return f"{number(value)} {unit}".strip()


if __name__ == "__main__":
    main()
