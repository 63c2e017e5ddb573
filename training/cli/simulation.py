"""`vernissage simulate`: generation policies on simulated people, in a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from features.errors import ExtraMissingError
from features.settings import read_settings
from training.cli.ground import training_packages


def simulate(  # noqa: PLR0917 - options of a command
    regime: Annotated[list[str] | None, typer.Option(help="Kind of demand and supply; may be repeated. All.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often each is drawn, with another seed.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 1,
    days: Annotated[int, typer.Option(min=1, help="How long each run is, after two weeks of history.")] = 14,
    stockout: Annotated[
        list[float] | None, typer.Option(min=0.0, help="Price of a stock-out in dollars; may be repeated.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Where a figure of all costs goes: a .png or .svg file.")] = None,
) -> None:
    """Compare generation policies on the same simulated people: images, stock-outs, waste, regret, cost.

    The newsvendor and the floor are the code that serves. Nothing is read from or written to the database.
    """
    with training_packages():
        from training.regimes import REGIMES
        from training.sim_report import lines, table
        from training.simulate import sweep

    settings = read_settings()
    names, prices = regime or list(REGIMES), stockout or [0.10, 0.50]
    for name in names:
        if name not in REGIMES:
            raise typer.BadParameter(f"--regime must be one of {', '.join(REGIMES)}, not {name!r}")
    found = {}
    for name in names:
        swept = [
            sweep(REGIMES[name], seed + number, days, settings, prices)
            for number in track(range(runs), name, console=Console(stderr=True), transient=True)
        ]
        found[name] = {price: lines([run[price] for run in swept], settings.image_cost, price) for price in prices}
        for price in prices:
            Console().print(table(f"{name}, ${price:.2f} a stock-out", found[name][price]))
    if plot:
        try:
            from training.sim_plot import figure
        except ModuleNotFoundError as error:
            raise ExtraMissingError(module=error.name, extra="notebooks") from error
        figure(found).savefig(plot)
        typer.echo(f"figure: {plot}")
