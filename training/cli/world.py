"""`vernissage synth`: a believable world from a seed into the database. Real data come by `vernissage import`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from features.settings import Settings, read_settings

DAYS = 60


def synth(
    seed: Annotated[int, typer.Option(min=0, help="The same seed and sizes make the same world.")] = 1,
    users: Annotated[int, typer.Option(min=1, help="How many people there are.")] = 2_000,
    artworks: Annotated[int, typer.Option(min=1, help="How many artworks the pool holds.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="How many days of history there are.")] = DAYS,
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
    moment = _moment(until)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("making the world", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, description="writing exposures", completed=done, total=total)

        shown = make_world(
            read_settings(),
            seed=seed,
            users=users,
            artworks=artworks,
            days=days,
            until=moment,
            on_progress=report,
        )
    if shown is None:
        typer.echo(f"the world of seed {seed} is there already")
        return
    typer.echo(f"wrote {users:,} users, {artworks:,} artworks and {shown:,} exposures of seed {seed}")


def make_world(
    settings: Settings,
    *,
    seed: int,
    users: int,
    artworks: int,
    days: int = DAYS,
    until: datetime | None = None,
    on_progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> int | None:
    """Write the world that ends at ``until`` (now) and return its number of exposures; None when it is there already.

    Raises PoolNotEmptyError when the database holds another pool, BadRecipeError for impossible sizes.
    """
    from features import postgres
    from features.database import connect
    from training.synth import make_world as imagine
    from training.synth_recipe import Recipe
    from training.synth_store import holds_world, write_world

    recipe = Recipe(seed=seed, users=users, artworks=artworks, days=days, until=until or datetime.now(UTC))
    with connect(postgres.database_url(settings)) as connection:
        if holds_world(connection, recipe):
            return None
        world = imagine(recipe)
        return len(world.exposures) if write_world(connection, world, on_progress) else None


def _moment(text: str) -> datetime | None:
    """The time that ``text`` names, in UTC where it names no zone; None when it is empty."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"--until must be an ISO date or time, not {text!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
