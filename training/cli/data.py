"""`vernissage import ...`: files of interactions and artworks into the database. Synthetic data are elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from training.import_readers import Format

if TYPE_CHECKING:
    import psycopg

    from training.importing import ImportSummary
    from training.importing import Progress as OnProgress

    Load = Callable[[psycopg.Connection, Path, OnProgress], ImportSummary]

group = typer.Typer(name="import", help="Load real data: interactions and artworks.", no_args_is_help=True)

Paths = Annotated[list[Path], typer.Argument(help="Files to load, one after the other.")]
FileFormat = Annotated[
    Format | None, typer.Option("--format", help="How the files are written. Default: by suffix, then by first line.")
]
Columns = Annotated[
    str | None,
    typer.Option(help="Names of the columns of CSV and TSV files without a header, as in user,item,rating,timestamp."),
]
Rejects = Annotated[
    Path | None,
    typer.Option(help="Where rows that are not taken go, with line number and reason. Default: FILE.rejects.tsv."),
]


@group.command()
def interactions(
    paths: Paths,
    file_format: FileFormat = None,
    columns: Columns = None,
    rejects: Rejects = None,
    like_from: Annotated[
        float, typer.Option(min=0.1, help="A rating of this or more is a like, of less a dislike.")
    ] = 3.0,
) -> None:
    """Load who met which artwork: user, item, optional rating or weight, optional timestamp.

    Files are CSV, TSV, Parquet or JSON lines with named columns, or lines of 'user item item ...'.

    CSV and TSV may lack the header where the first line is numbers: user, item and perhaps weight.

    Timestamps are seconds or milliseconds since 1970, or ISO dates, in UTC; without one it happened now.

    Every row marks the artwork as seen. A weight makes it a like of that strength (it must be above 0).

    A rating makes it a like of strength rating / 5 (1 at most) or a dislike; with neither it is a display.

    Loading a file twice adds nothing: a row is known by its user, artwork, kind and timestamp.

    A stand-alone database gets the users and artworks it lacks; with a host's own tables such rows are rejected.
    """
    from training.importing import import_interactions

    def load(connection: psycopg.Connection, path: Path, on_progress: OnProgress) -> ImportSummary:
        return import_interactions(
            connection,
            path,
            file_format=file_format,
            columns=columns.split(",") if columns else None,
            rejects=rejects,
            like_from=like_from,
            on_progress=on_progress,
        )

    _load_all(paths, rejects, load)


@group.command()
def artworks(paths: Paths, file_format: FileFormat = None, columns: Columns = None, rejects: Rejects = None) -> None:
    """Load artworks into the pool: id, image_url, prompt, and where known styles, dna and more.

    Files are CSV, TSV, JSON lines or Parquet. Also taken: artists, motifs, orientation, quality_score, created_at.

    Lists may be JSON, or text separated by commas, pipes or semicolons. A broken DNA vector is stored, and counted.

    Loading a file twice adds nothing: an artwork that is in the pool stays as it is.
    """
    from training.importing import import_artworks

    def load(connection: psycopg.Connection, path: Path, on_progress: OnProgress) -> ImportSummary:
        return import_artworks(
            connection,
            path,
            file_format=file_format,
            columns=columns.split(",") if columns else None,
            rejects=rejects,
            on_progress=on_progress,
        )

    _load_all(paths, rejects, load)


def _load_all(paths: list[Path], rejects: Path | None, load: Load) -> None:
    """Load one file after the other under a progress bar, with a table for each."""
    from features import postgres
    from features.database import connect
    from features.settings import read_settings

    if rejects and len(paths) > 1:
        raise typer.BadParameter("--rejects names one file, so give one file to load")
    with connect(postgres.database_url(read_settings())) as connection:
        for path in paths:
            with _bar() as bar:
                task = bar.add_task(escape(path.name), total=None)
                summary = load(connection, path, _reporter(bar, task))
            Console().print(_table(path, summary))
            if summary.rejects_path:
                typer.echo(f"rejected rows: {summary.rejects_path}")


def _bar() -> Progress:
    """A progress bar on stderr, gone when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def _reporter(bar: Progress, task: TaskID) -> OnProgress:
    """What moves the bar on."""

    def report(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return report


def _table(path: Path, summary: ImportSummary) -> Table:
    """What one file came to."""
    table = Table(title=escape(path.name), title_justify="left", show_header=False)
    table.add_row("rows", f"{summary.rows:,}")
    table.add_row("new", f"{summary.new:,}")
    table.add_row("known or doubled", f"{summary.known:,}")
    table.add_row("rejected", f"{summary.rejected:,}")
    table.add_row("users made", f"{summary.users:,}")
    table.add_row("artworks made", f"{summary.artworks:,}")
    if summary.broken_dna:
        table.add_row("artworks with broken DNA", f"{summary.broken_dna:,}")
    if summary.unused_columns:
        table.add_row("columns not used", escape(", ".join(summary.unused_columns)))
    table.add_row("seconds", f"{summary.seconds:,.1f}")
    return table
