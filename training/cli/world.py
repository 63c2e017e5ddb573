"""`vernissage synth`: a believable world from a seed into the database. Real data come by `vernissage import`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress


def synth(
    seed: Annotated[int, typer.Option(min=0, help="The same seed and sizes make the same world.")] = 1,
    users: Annotated[int, typer.Option(min=1, help="How many people there are.")] = 2_000,
    artworks: Annotated[int, typer.Option(min=1, help="How many artworks the pool holds.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="How many days of history there are.")] = 60,
    until: Annotated[
        str,
        typer.Option(help="When the history ends: an ISO date or time, UTC unless it says otherwise. Default: now."),
    ] = "",
) -> None:
    """Make a synthetic world: artworks, people with tastes, what they were shown and what they did about it.

    What is shown follows a policy and never taste; dwell, votes, favourites and skips follow taste.

    The first people are called ada, ben, chloe, dao and emil; emil has seen nearly everything.

    The pool must be empty. Where the same world is there already, nothing happens.
    """
    from features import postgres
    from features.database import connect
    from features.settings import read_settings
    from training.synth import make_world
    from training.synth_recipe import Recipe
    from training.synth_store import holds_world, write_world

    recipe = Recipe(seed=seed, users=users, artworks=artworks, days=days, until=_moment(until))
    console = Console(stderr=True)
    with connect(postgres.database_url(read_settings())) as connection:
        if holds_world(connection, recipe):
            typer.echo(f"the world of seed {seed} is there already")
            return
        with console.status("making the world"):
            world = make_world(recipe)
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("writing exposures", total=len(world.exposures))
            write_world(connection, world, lambda rows: bar.advance(task, rows))
    typer.echo(f"wrote {users:,} users, {artworks:,} artworks and {len(world.exposures):,} exposures of seed {seed}")


def _moment(text: str) -> datetime:
    """The time that ``text`` names, in UTC where it names no zone; now when it is empty."""
    if not text:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--until must be an ISO date or time, not {text!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
