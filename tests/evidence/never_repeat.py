"""Never repeat: 100,000 displays by 50 tabs of 5 users while everything breaks, then again without the fence.

python tests/evidence/never_repeat.py [--displays N] [--seed N]
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.drill import LEASES, Drill, Verdict, prepare, run
from tests.service import Service
from tests.stage import conclude, stage

WITHOUT_FENCE = 0.1  # share of the displays that the drill without the fence needs to fail
WORKERS = 2
console = Console()


def main() -> None:
    """Do both drills and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--displays", type=int, default=100_000, help="how many artworks are drawn, at least")
    parser.add_argument("--seed", type=int, default=1, help="of what the tabs do")
    given = parser.parse_args()
    drill = Drill(displays=given.displays, seed=given.seed)
    fenced = _drilled(drill, "with the fence")
    unfenced = _drilled(
        dataclasses.replace(drill, displays=max(int(given.displays * WITHOUT_FENCE), 2_000), fenced=False),
        "without the fence",
    )
    _show(fenced, unfenced)
    fine = fenced.displays >= given.displays and not (fenced.repeated or fenced.lost or fenced.unlogged)
    conclude("never-repeat", _figures(fenced, unfenced), met=bool(fine and unfenced.repeated))


def _drilled(drill: Drill, title: str) -> Verdict:
    """One drill on a durable database and a service of its own."""
    with stage() as settings:
        prepare(settings.database_url, drill)
        record = Path(settings.home).parent / "record"
        service = Service(settings.database_url, settings.home_path, workers=WORKERS, environment=LEASES)
        with service, _progress() as progress:
            task = progress.add_task(title, total=drill.displays)
            return run(service, drill, record, lambda displays: progress.update(task, completed=displays))


def _progress() -> Progress:
    """A bar with the displays so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _show(fenced: Verdict, unfenced: Verdict) -> None:
    """Both verdicts side by side."""
    table = Table("", "with the fence", "without")
    one, other = dataclasses.asdict(fenced), dataclasses.asdict(unfenced)
    for name, value in one.items():
        if isinstance(value, dict):
            for part in sorted(value.keys() | other[name].keys()):
                table.add_row(f"  {part}", str(value.get(part, 0)), str(other[name].get(part, 0)))
        else:
            table.add_row(name, str(value), str(other[name]))
    console.print(table)


def _figures(fenced: Verdict, unfenced: Verdict) -> dict[str, Any]:
    """What others read."""
    return {
        "displays": fenced.displays,
        "repeated": fenced.repeated,
        "lost": fenced.lost,
        "unlogged": fenced.unlogged,
        "inconsistent_answers": fenced.inconsistent,
        "wasted_share": fenced.wasted_share,
        "wasted_because": fenced.wasted_because,
        "claimed_not_drawn": fenced.claimed_not_drawn,
        "repeated_without_fence": unfenced.repeated,
        "displays_without_fence": unfenced.displays,
        "seconds": fenced.seconds,
        "database": "durable",
        "workers": WORKERS,
        **fenced.counts,
    }


if __name__ == "__main__":
    main()
