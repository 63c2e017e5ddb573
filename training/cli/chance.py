"""`vernissage replay`: how one list came about, and the same list again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.cli.ground import database, status

if TYPE_CHECKING:
    from training.retrace import Retraced


def replay(recommendation_id: Annotated[uuid.UUID, typer.Argument(help="As the list's answer says.")]) -> None:
    """Make a served list again, bit for bit: artworks, order, scores, rungs, chances. Exit code 1 where it cannot be.

    A list that was drawn by chance is drawn again from its log alone (scores of its head, seed). Everything is then
    ranked anew: from the log come filters, leases and settings of lists; from the tables what the user had seen and
    done until then, and the pool up to its newest artwork of then; from this disk the model. Logged hashes tell
    whether pool, artworks, candidates and model are still what they were; what is not, is named.
    """
    from training.retrace import retrace

    with database() as (settings, connection), status("making the list again"):
        found = retrace(connection, settings, recommendation_id)
    console = Console()
    console.print(_about(found))
    console.print(_checks(found))
    for reason in found.gone:
        typer.echo(f"no longer there: {reason}")
    if not found.same:
        typer.echo("it cannot be made again" if found.gone else "the same inputs give another list now")
        raise typer.Exit(1)
    typer.echo("the same, bit for bit")


def _about(found: Retraced) -> Table:
    """How the list came about."""
    row, sampler = found.row, found.row["sampler"]
    left_out = ", ".join(f"{name} {count:,}" for name, count in row["excluded"].items() if count)
    way = "by rank"
    if sampler is not None:
        way = f"{sampler['drawn']} drawn from {len(row['head_keys'])}, temperature {sampler['temperature']:g}"
        way += f", epsilon {sampler['epsilon']:g}, seed {sampler['seed']}"
    table = Table("", f"{row['recommendation_id']}", box=None)
    table.add_row("served", f"{row['served_at']:%Y-%m-%d %H:%M:%S.%f} UTC")
    table.add_row("asked for", f"{row['requested']}; given {len(row['artwork_keys'])}")
    table.add_row("model", row["model_version"] or "none")
    table.add_row("candidates", f"{row['candidate_size']:,}; left out: {left_out or 'none'}")
    table.add_row("in order", way)
    for name, told in (row["experiments"] or {}).items():
        table.add_row("experiment", f"{name} version {told['version']}: {told.get('arm', 'two take turns')}")
    return table


def _checks(found: Retraced) -> Table:
    """What was held against the log."""
    table = Table("held against the log", "", box=None)
    for what, same in found.checks:
        table.add_row(what, "the same" if same else "another")
    return table
