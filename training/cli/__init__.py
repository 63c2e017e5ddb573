"""The `vernissage` command: one sub-module per group of commands, registered here."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import VernissageError
from training.cli import (
    bench,
    chance,
    data,
    database,
    experiments,
    flags,
    generation,
    judging,
    load,
    models,
    service,
    simulation,
    train,
    world,
)

app = typer.Typer(
    name="vernissage",
    help="Next artworks that a user has never seen: data, training, publishing and serving.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(database.group)
app.add_typer(data.group)
app.command()(database.migrate)
app.command()(world.synth)
app.command()(simulation.simulate)
app.command()(service.serve)
app.command()(service.demo)
app.command()(load.load)
app.command()(bench.bench)
app.add_typer(service.keys, name="key")
app.command()(generation.plan)
app.add_typer(generation.group, name="generation")
app.command()(train.train)
app.command()(train.tune)
app.command()(judging.evaluate)
app.command()(judging.compare)
app.command()(models.publish)
app.command()(models.rollback)
app.command("models")(models.models)
app.command()(models.watch)
app.add_typer(experiments.group)
app.add_typer(flags.group)
app.command()(chance.replay)
app.command("off-policy")(chance.off_policy)


def main() -> None:
    """Run the command line; an error of ours becomes one line on stderr and exit code 1."""
    try:
        app()
    except VernissageError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)
