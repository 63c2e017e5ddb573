"""A picture of a run: how near each figure came to its mark, with earlier runs behind it, so that commits compare.

`python -m tests.benchmarks.plot [FILE ...]` draws kept results again, all by default, as .png beside the .json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FuncFormatter

from tests.benchmarks.figures import RESULTS, number
from training.plots import ACCENT, CALM, FAINT, INK, PALE, drawn, headline, only_words

Result = Mapping[str, Any]
LEAST, MOST = 0.1, 10.0  # of the scale: what lies beyond is drawn at its end
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
MOST_EARLIER = 8  # runs behind this one


@dataclass(frozen=True)
class Mark:
    """A figure that should come to something; ``share`` is 1 where it just does, and more where it does better."""

    benchmark: str
    what: str
    got: float
    reach: str
    reached: bool

    @property
    def share(self) -> float:
        """What was got over what was asked, or the other way about where less is better."""
        sign, _, bound = self.reach.partition(" ")
        over, under = (self.got, float(bound)) if sign == ">=" else (float(bound), self.got)
        if under == 0:
            return 1.0 if self.reached else 0.0
        return over / under

    @property
    def told(self) -> str:
        """In words."""
        return f"{number(self.got)} ({self.reach.replace('<=', '≤').replace('>=', '≥')})"


def main() -> None:
    """Draw the named runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    for path in parser.parse_args().files or sorted(RESULTS.glob("*.json")):
        print(save(path))  # noqa: T201 - what was made


def save(path: Path) -> Path:
    """Draw one run with the runs that are older than it, which lie beside it; returns the picture's file."""
    earlier = [other for other in sorted(path.parent.glob("*.json")) if other.name < path.name]
    picture = draw(_read(path), [_read(other) for other in earlier])
    drawn_to = path.with_suffix(".png")
    picture.savefig(drawn_to)
    return drawn_to


@drawn
def draw(run: Result, earlier: Sequence[Result]) -> Picture:
    """A bar for each figure with a mark, from the mark (1) to what was got; points are earlier runs, oldest palest."""
    found = list(marks(run))
    if not found:
        return only_words("No figure of this run has a mark to reach")
    picture = Picture(figsize=(11.0, 1.3 + 0.34 * len(found)), layout="constrained")
    headline(picture, _title(found), _note(run, len(earlier)))
    axes = picture.subplots()
    for place, mark in enumerate(found):
        _draw_bar(axes, place, mark)
    _draw_earlier(axes, found, earlier[-MOST_EARLIER:])
    _frame(axes, found)
    return picture


def marks(run: Result) -> Iterator[Mark]:
    """The figures of a run that have a mark to reach."""
    for name, benchmark in run["benchmarks"].items():
        for figure in benchmark["figures"]:
            if figure["reach"]:
                got = figure["value"] if figure["ratio"] is None else figure["ratio"]
                yield Mark(name, _what(figure), got, figure["reach"], figure["reached"])


def _draw_bar(axes: Axes, place: int, mark: Mark) -> None:
    """One figure, and beside its bar what it came to."""
    ink = CALM if mark.reached else ACCENT
    end = float(np.clip(mark.share, LEAST, MOST))
    axes.barh(place, end - 1, left=1, height=0.55, color=ink)
    right = mark.share >= 1
    axes.annotate(
        mark.told, (end if right else 1, place), (6, 0), textcoords="offset points", va="center", fontsize=8, color=ink
    )


def _draw_earlier(axes: Axes, found: Sequence[Mark], earlier: Sequence[Result]) -> None:
    """What the same figures came to before, below their bars."""
    place_of = {(mark.benchmark, mark.what, mark.reach): place for place, mark in enumerate(found)}
    for age, run in enumerate(reversed(earlier)):
        points = [
            (float(np.clip(mark.share, LEAST, MOST)), place)
            for mark in marks(run)
            if (place := place_of.get((mark.benchmark, mark.what, mark.reach))) is not None
        ]
        if points:
            shares, places = zip(*points, strict=True)
            axes.scatter(shares, np.array(places) + 0.38, s=14, color=INK, alpha=0.6 * 0.75**age, linewidths=0)


def _frame(axes: Axes, found: Sequence[Mark]) -> None:
    """Scale, names and the line of the marks."""
    axes.axvline(1, color=FAINT, linewidth=1)
    axes.set_xscale("log")
    axes.set(xlim=(LEAST * 0.93, MOST * 1.9), ylim=(len(found) - 0.3, -0.6), xlabel="times what is asked")
    axes.set_xticks(TICKS)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(found)), [f"{mark.benchmark}: {mark.what}" for mark in found], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)


def _what(figure: Mapping[str, Any]) -> str:
    """What was measured, beside what."""
    return f"{figure['what']} / {figure['reference']}" if figure["reference"] else str(figure["what"])


def _title(found: Sequence[Mark]) -> str:
    """What the run says."""
    return f"{sum(mark.reached for mark in found)} of {len(found)} figures come to what is asked of them"


def _note(run: Result, earlier: int) -> str:
    """What was measured, and the legend."""
    machine = run["machine"]
    before = f"; points: {min(earlier, MOST_EARLIER)} earlier runs, the older the paler" if earlier else ""
    return (
        f"commit {run['commit'][:9]}{'+' if run['commit'].endswith('+') else ''}, {run['at'][:16]}, {machine['cores']}"
        f" cores of {machine['processor']}; in brackets what is asked; right of the line is better{before}"
    )


def _read(path: Path) -> Result:
    """A kept run."""
    run: Result = json.loads(path.read_text("utf-8"))
    return run


if __name__ == "__main__":
    main()
