"""Runs the benchmarks: `make bench`, or `python -m tests.benchmarks NAME ...` for some of them.

Each figure is a ratio to a reference measured in the same run, in turns with it. Nothing is asserted: what is reached
is coloured, and everything is kept as JSON and drawn under tests/benchmarks/results. What the README says is made from
there by `python -m tests.benchmarks.table`.
"""

from __future__ import annotations

import argparse
import importlib
import time
from typing import Any

from rich.console import Console

from tests.benchmarks.figures import as_data, keep, machine, table
from tests.benchmarks.plot import save
from tests.service import REPOSITORY

WIDTH = 140  # of a table that goes into a file
BENCHMARKS = {
    "next": ("next_list", "lists of 20 at 97.7% seen of 10,000"),
    "pools": ("pools", "lists in pools of 1,000 to 1,000,000, beside 10,000"),
    "history": ("history", "lists and impressions with 10 million rows of past, beside 1 million"),
    "batches": ("batches", "impressions by the 200, and by other sizes"),
    "singles": ("singles", "impressions one by one, durable"),
    "choices": ("choices", "grouped commits, gzip bodies, a covering index, a cache of lists: with and without"),
    "need": ("demand", "the need of 100,000 users"),
    "ranking": ("ranking", "one list out of 100,000 x 50, without the database"),
    "nearest": ("nearest", "the nearest unseen by content, with an index and without"),
    "startup": ("startup", "ready with 10,000 artworks; swapping models under load"),
    "training": ("learning", "NMF and ALS of a million interactions, from the database to a published bundle"),
}


def main() -> None:
    """Run the named benchmarks, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    on = machine()
    console.print(f"{on['cores']} cores, {on['processor']}, {on['memory_gb']} GB, Python {on['python']}\n")
    results = {name: run_benchmark(name, console) for name in names}
    kept = keep(results, on)
    console.print(f"kept in {kept}, drawn in {save(REPOSITORY / kept).relative_to(REPOSITORY)}")


def run_benchmark(name: str, console: Console) -> dict[str, Any]:
    """One benchmark: run, shown, and returned as data."""
    module, summary = BENCHMARKS[name]
    started = time.monotonic()
    with console.status(f"{name}: {summary}"):
        figures = importlib.import_module(f"tests.benchmarks.{module}").run()
    seconds = time.monotonic() - started
    console.print(table(name, summary, figures, seconds))
    console.print()
    return {"summary": summary, "seconds": round(seconds, 1), "figures": as_data(figures)}


if __name__ == "__main__":
    main()
