"""`vernissage plan` and `vernissage generation ...`: what to make next, the loop that has it made, and its switch."""

from __future__ import annotations

import asyncio
import getpass
import signal
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from serving.generation.orders import Placed
    from serving.generation.planning import GenerationPlan
    from serving.worker import Worker

group = typer.Typer(help="Generation as a whole: stop it, start it, look at it.", no_args_is_help=True)


def plan(
    loop: Annotated[
        bool, typer.Option("--loop", help="Plan, order and deliver until Ctrl-C; of several loops one leads.")
    ] = False,
    order: Annotated[bool, typer.Option("--order", help="Place the plan; a loop delivers what was placed.")] = False,
) -> None:
    """Show what would be ordered now, for whom and why; orders nothing unless told to."""
    from features import postgres
    from features.settings import read_settings
    from serving.telemetry import configure_logging
    from serving.worker import Worker

    if loop and order:
        raise typer.BadParameter("--loop orders anyway", param_hint="--order")
    configure_logging()
    settings = read_settings()
    worker = Worker(settings, postgres.database_url(settings))
    asyncio.run(_loop(worker) if loop else _once(worker, order=order))


@group.command()
def stop() -> None:
    """Order and send nothing more, here and everywhere; orders that were not sent yet are cancelled."""
    _switch(stopped=True)


@group.command()
def start() -> None:
    """Let generation go on."""
    _switch(stopped=False)


@group.command()
def status() -> None:
    """Budget, switch and orders in flight."""
    from features import postgres
    from features.settings import read_settings
    from serving.worker import Worker

    settings = read_settings()
    asyncio.run(_status(Worker(settings, postgres.database_url(settings))))


def _switch(*, stopped: bool) -> None:
    """Turn the switch."""
    from serving.generation.budget import switch
    from training.cli.ground import database

    with database() as (_, connection):
        changed = switch(connection, getpass.getuser(), stopped=stopped)
    state = "stopped" if stopped else "on"
    typer.echo(f"generation is {state}" if changed else f"generation was {state} already")


async def _loop(worker: Worker) -> None:
    """The loop, until SIGINT or SIGTERM."""
    from serving.generation.loop import run

    task = asyncio.ensure_future(run(worker))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        typer.echo("stopped")


async def _once(worker: Worker, *, order: bool) -> None:
    """Plan, print, and place where that is asked for."""
    from serving.generation.loop import make_plan, place_plan

    await worker.start()
    try:
        made = await make_plan(worker)
        placed = await place_plan(worker, made) if order else None
    finally:
        await worker.stop()
    _print(made, placed)


async def _status(worker: Worker) -> None:
    """Print what is left and what is on its way."""
    await worker.start()
    try:
        left = await worker.budget.look(worker.pool)
        orders = await worker.parts.ledger.open_orders()
        breakers = await worker.parts.breakers.states()
    finally:
        await worker.stop()
    table = Table("what", "figure", box=None)
    switched = f"stopped by {left.stopped_by} at {left.stopped_at:%Y-%m-%d %H:%M}" if left.stopped else "on"
    table.add_row("generation", switched)
    table.add_row("may go now", f"${left.dollars:.2f}, {int(left.hour_images)} images")
    table.add_row("spent today", f"${left.day_spent:.2f} of ${left.day_dollars:.2f}{' (alert)' if left.alert else ''}")
    table.add_row("orders in flight", str(len(orders)))
    for name, breaker in breakers.items():
        table.add_row(f"breaker of {name}", str(breaker.phase))
    Console().print(table)


def _print(made: GenerationPlan, placed: Placed | None) -> None:
    """The plan as a table, and what became of it."""
    table = Table(box=None, title=f"epoch {made.epoch}, by {made.basis}")
    for header in ("", "for", "benefit", "reach", "need", "cost", "styles", "near"):
        table.add_column(header, no_wrap=header != "styles")
    for place, wish in enumerate(made.wishes):
        users = wish.user_ids[0] if len(wish.user_ids) == 1 else f"{len(wish.user_ids)} users"
        figures = (f"${wish.benefit:.3f}", f"{wish.reach:.1f}", f"{wish.priority:.3f}", f"${wish.cost:.2f}")
        table.add_row(str(place), escape(users), *figures, escape(", ".join(wish.styles)), escape(wish.near))
    Console().print(table)
    typer.echo(f"{len(made.wishes)} images for ${made.dollars:.2f}, {made.avoided} avoided; ended by {made.stopped}")
    if made.block is not None:
        typer.echo(f"by the arm {made.block.arm.name} of {made.block.definition.name}, block {made.block.number}")
    if placed is None:
        typer.echo("nothing was ordered; --order places the plan")
    elif not placed.first:
        typer.echo("nothing was ordered: this epoch was planned before")
    else:
        typer.echo(f"{len(placed.order_ids)} ordered; `vernissage plan --loop` has them made")
