"""Kept benchmark results: the README says what they say, and their picture puts each figure on its side of the mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure as Picture

from tests.benchmarks.figures import Figure, as_data
from tests.benchmarks.plot import Mark, draw, marks, save
from tests.benchmarks.table import BEGIN, END, README, filled_in, markdown, newest, read_kept

MACHINE = {"cores": 2, "processor": "a processor", "memory_gb": 23.5, "python": "3.11.7"}
FAST = Figure("lists", 30.0, "/s", "a bare route", 50.0, reach=">= 0.5")
SLOW = Figure("ready", 6.5, "s", reach="<= 5")
TOLD = Figure("bytes", 3.0, "kB")


def result(day: int, commit: str, **benchmarks: list[Figure]) -> dict[str, Any]:
    """One kept run."""
    told = {name: {"summary": "", "figures": as_data(figures)} for name, figures in benchmarks.items()}
    return {"at": f"2026-11-{day:02}T10:00:00+00:00", "commit": commit, "machine": MACHINE, "benchmarks": told}


def test_the_readme_says_what_the_kept_results_say() -> None:
    """Nobody edits the table by hand, and nobody keeps results without it."""
    text = README.read_text("utf-8")
    assert filled_in(text, markdown(read_kept())) == text


def test_each_benchmark_is_told_by_its_newest_result() -> None:
    """Also where the newest run was of others alone; the commits of both are named."""
    kept = newest([result(1, "aaaaaaaaaaaa", next=[FAST], startup=[SLOW]), result(2, "bbbbbbbbbbbb+", startup=[SLOW])])
    assert {name: told["commit"] for name, told in kept.items()} == {"next": "aaaaaaaaaaaa", "startup": "bbbbbbbbbbbb+"}
    first = "Measured on 2 cores of a processor, 24 GB, Python 3.11.7, 2026-11-01 to 2026-11-02"
    assert markdown(kept).splitlines()[0] == f"{first}, commit aaaaaaaaa, bbbbbbbbb+ (+: with files changed)."


def test_a_row_has_the_figure_its_reference_and_whether_it_was_reached() -> None:
    """A figure without a mark has no row."""
    rows = markdown(newest([result(1, "a", all=[FAST, SLOW, TOLD])])).splitlines()[4:]
    assert rows == [
        "| lists | 30 /s | a bare route: 50 /s | 0.60 | ≥ 0.5 | yes |",
        "| ready | 6.5 s |  |  | ≤ 5 | **no** |",
    ]


def test_a_text_without_the_two_marks_is_refused() -> None:
    """And what stands around them stays."""
    assert filled_in(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\nnew\n{END} b"
    with pytest.raises(ValueError, match="must be there once"):
        filled_in("nothing", "new")


@pytest.mark.parametrize(
    ("got", "reach", "share"),
    [(0.3, ">= 0.6", 0.5), (1.2, ">= 0.6", 2.0), (10.0, "<= 5", 0.5), (2.5, "<= 5", 2.0), (0.0, "<= 0", 1.0)],
)
def test_more_than_one_is_better_than_asked(got: float, reach: str, share: float) -> None:
    """Whether more or less of it is better."""
    assert Mark("b", "w", got, reach, reached=share >= 1).share == pytest.approx(share)


def test_a_figure_that_must_be_nothing_and_is_not_falls_short() -> None:
    """Of failures there are none or too many."""
    assert Mark("b", "w", 3.0, "<= 0", reached=False).share == 0


def test_a_run_is_drawn_with_those_before_it() -> None:
    """A bar for each figure with a mark, a point where an earlier run had the same one."""
    run = result(3, "c", all=[FAST, SLOW, TOLD])
    assert [mark.what for mark in marks(run)] == ["lists / a bare route", "ready"]
    picture = draw(run, [result(1, "a", all=[FAST]), result(2, "b", other=[SLOW])])
    axes = picture.axes[0]
    assert len(axes.patches) == 2
    assert [len(points.get_offsets()) for points in axes.collections] == [1]
    assert _title(picture) == "1 of 2 figures come to what is asked of them"
    assert _title(draw(result(1, "a", all=[TOLD]), [])) == ""


def test_a_picture_lies_beside_its_results(tmp_path: Path) -> None:
    """Runs that are newer are not drawn behind it."""
    for day in (1, 2):
        (tmp_path / f"2026110{day}.json").write_text(json.dumps(result(day, "a", all=[SLOW])), "utf-8")
    assert save(tmp_path / "20261101.json") == tmp_path / "20261101.png"
    assert (tmp_path / "20261101.png").stat().st_size > 0


def _title(picture: Picture) -> str:
    """The headline."""
    return picture.get_suptitle()
