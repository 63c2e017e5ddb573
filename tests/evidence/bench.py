"""Every benchmark in one go: each figure as a ratio to a reference of the same run, and which were reached.

python tests/evidence/bench.py [NAME ...]

`met` when every figure that has a mark to reach has reached it.
"""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from tests.benchmarks.__main__ import BENCHMARKS, WIDTH, run_benchmark
from tests.benchmarks.figures import keep, machine
from tests.benchmarks.plot import save
from tests.service import REPOSITORY
from tests.stage import conclude


def main() -> None:
    """Run them, show their tables, keep the results, and say what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    console = Console(width=WIDTH)
    on = machine()
    results = {name: run_benchmark(name, console) for name in names}
    save(REPOSITORY / keep(results, on))
    figures: dict[str, Any] = {}
    missed = []
    for name, result in results.items():
        for figure in result["figures"]:
            if not figure["reach"]:
                continue
            label = f"{name}: {figure['what']}" + (f" / {figure['reference']}" if figure["reference"] else "")
            got = figure["value"] if figure["ratio"] is None else figure["ratio"]
            figures[label] = {"got": round(got, 3), "reach": figure["reach"], "reached": figure["reached"]}
            if not figure["reached"]:
                missed.append(label)
    console.print(f"{len(figures) - len(missed)} of {len(figures)} reached")
    conclude("bench", figures, met=not missed)


if __name__ == "__main__":
    main()
