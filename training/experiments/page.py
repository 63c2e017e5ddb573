"""A report as a folder: its figures as PNG files, and a page with verdict, figures and tables that a browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.experiments.plots import FIGURES
from training.experiments.report import Report

WIDTH = 120  # characters
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; display: block; margin: 1.5rem 0; }} pre {{ overflow-x: auto; font-size: 13px; }}</style>
<h1>{title}</h1><p>{hypothesis}</p><p><strong>{verdict}</strong></p><ul>{remarks}</ul>
{figures}
{tables}
</html>
"""


def write_page(report: Report, tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write every figure and index.html into the folder, which is made; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, draw in FIGURES.items():
        files.append(folder / f"{name}.png")
        draw(report).savefig(files[-1], dpi=110)
    definition = report.definition
    page = PAGE.format(
        title=escape(f"{definition.name} version {definition.version}"),
        hypothesis=escape(definition.hypothesis),
        verdict=escape(report.verdict),
        remarks="".join(f"<li>{escape(remark)}</li>" for remark in report.remarks),
        figures="\n".join(f'<img src="{name}.png" alt="{name.replace("_", " ")}">' for name in FIGURES),
        tables=_as_html(tables),
    )
    files.append(folder / "index.html")
    files[-1].write_text(page, encoding="utf-8")
    return files


def _as_html(tables: Sequence[Table]) -> str:
    """The tables as a terminal has them."""
    console = Console(record=True, file=StringIO(), width=WIDTH)
    for table in tables:
        console.print(table)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
