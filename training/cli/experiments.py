"""`vernissage experiment ...`: define, start, ramp, stop, archive, list; and choose a user's arm by hand."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.cli.ground import database, status, training_packages

if TYPE_CHECKING:
    from serving.experiments.registry import Entry, Registry

T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="The experiment's name.")]
group = typer.Typer(
    name="experiment", help="Experiments: define, start, ramp, stop, archive, list.", no_args_is_help=True
)


@group.command()
def create(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML or JSON.")]) -> None:
    """Define an experiment, or with a higher `version` its next one, as a draft."""
    from serving.experiments.definitions import read_definition

    definition = read_definition(file.read_bytes())
    _say(_with_registry(lambda registry: registry.create(definition, getpass.getuser())))


@group.command()
def start(
    name: Name,
    slots: Annotated[int | None, typer.Option(min=1, help="How many of its slots; default: all.")] = None,
) -> None:
    """Run the newest version. Refused where it overlaps with another or cannot be seen at this traffic."""
    _deliver_models(name)
    _say(_with_registry(lambda registry: registry.start(name, getpass.getuser(), slots)))


@group.command()
def ramp(name: Name, slots: Annotated[int, typer.Argument(min=1, help="More than now.")]) -> None:
    """Give the running version more of its slots; who is in it stays in it."""
    _say(_with_registry(lambda registry: registry.ramp(name, getpass.getuser(), slots)))


@group.command()
def stop(name: Name, reason: Annotated[str, typer.Option(help="Why, for those who look later.")]) -> None:
    """End the running version for good."""
    _say(_with_registry(lambda registry: registry.stop(name, getpass.getuser(), reason)))


@group.command()
def archive(name: Name) -> None:
    """Put the newest version away."""
    _say(_with_registry(lambda registry: registry.archive(name, getpass.getuser())))


@group.command()
def override(
    name: Name,
    user_id: Annotated[str, typer.Argument(help="Whose arm.")],
    arm: Annotated[str | None, typer.Argument(help="Which; left out: by the hash again.")] = None,
) -> None:
    """Choose a user's arm by hand; such users are left out of the analysis."""
    _with_registry(lambda registry: registry.override(name, getpass.getuser(), user_id, arm))
    typer.echo(f"{user_id}: {arm or 'by the hash'}")


@group.command("list")
def show() -> None:
    """List every version of every experiment."""
    entries = _with_registry(lambda registry: registry.entries())
    if not entries:
        typer.echo("no experiments yet: define one with `vernissage experiment create FILE`")
        return
    Console().print(_table(entries))


@group.command()
def report(
    name: Name,
    version: Annotated[int | None, typer.Option(min=1, help="Default: the newest that ran.")] = None,
    plots: Annotated[
        Path | None, typer.Option(file_okay=False, help="Also write figures and a page, index.html, into this folder.")
    ] = None,
) -> None:
    """Say what an experiment has shown: sample ratio, primary metric, guardrails, whether it lasts, verdict."""
    with training_packages():
        from training.cli.experiment_tables import report_tables
        from training.cli.switchback_tables import switchback_table
        from training.experiments.page import write_page
        from training.experiments.reading import read_entry, read_exposed
        from training.experiments.report import make_report
        from training.experiments.switchback import read_switched, report_switchback

    with database() as (_, connection), status("reading"):
        entry = read_entry(connection, name, version)
        if entry.definition.unit == "block":
            switched = report_switchback(read_switched(connection, entry))
            made, tables, words = None, [switchback_table(switched)], [switched.verdict]
        else:
            made = make_report(read_exposed(connection, name, version))
            tables, words = report_tables(made), [made.verdict, *made.remarks]
    console = Console()
    for table in tables:
        console.print(table)
    for said in words:
        typer.echo(said)
    if plots is not None and made is not None:
        typer.echo(f"written: {write_page(made, tables, plots)[-1]}")


@group.command()
def guard() -> None:
    """Stop the experiments that surely do harm, of those with `stop_on_harm`; `vernissage watch` does it by itself."""
    with training_packages():
        from training.experiments.harm import stop_harmful

    from features import postgres
    from features.settings import read_settings

    settings = read_settings()
    with status("reading"):
        looked = stop_harmful(settings, postgres.database_url(settings))
    if not looked:
        typer.echo("no experiment runs that says stop_on_harm")
    for each in looked:
        typer.echo(f"{each.name} version {each.version}: {each.reason or 'no harm seen; it goes on'}")


def _deliver_models(name: str) -> None:
    """Bring the versions that the arms rank with to the workers."""
    from serving.experiments.following import models_of

    versions = models_of(_with_registry(lambda registry: registry.versions(name))[0].definition)
    if not versions:
        return
    with training_packages():
        from training.publish import deliver_for_experiment

    with database() as (settings, connection):
        for version in sorted(versions):
            with status(f"delivering version {version}"):
                deliver_for_experiment(version, settings, connection)


def _with_registry(work: Callable[[Registry], Awaitable[T]]) -> T:
    """What ``work`` returns, on the settings' database."""
    from features import postgres
    from features.database import make_pool
    from features.settings import read_settings
    from serving.experiments.registry import Registry

    settings = read_settings()

    async def run() -> T:
        pool = make_pool(postgres.database_url(settings), settings)
        await pool.open(wait=False)
        try:
            return await work(Registry(pool, settings))
        finally:
            await pool.close()

    return asyncio.run(run())


def _say(entry: Entry) -> None:
    """One line on how a version stands."""
    definition = entry.definition
    line = f"{definition.name} version {definition.version}: {entry.state}"
    if entry.state == "running":
        line += f" on {entry.slots} of its {definition.slots.count} slots"
    if entry.state == "running" and entry.horizon_days is not None and entry.power is not None:
        line += f"; judged after {entry.horizon_days} days, power {entry.power:.0%}"
    typer.echo(line)


def _table(entries: list[Entry]) -> Table:
    """The versions as a table."""
    table = Table(box=None, caption="slots in use of those that it owns; judged so many days after the start")
    table.add_column("experiment", no_wrap=True)
    for header in ("version", "state", "layer", "slots", "arms", "started (UTC)", "judged"):
        table.add_column(header)
    for entry in entries:
        definition = entry.definition
        table.add_row(
            escape(definition.name),
            str(definition.version),
            entry.state,
            escape(definition.layer),
            f"{entry.slots} of {definition.slots.first} to {definition.slots.end - 1}",
            escape(", ".join(arm.name for arm in definition.arms)),
            "" if entry.started_at is None else f"{entry.started_at:%Y-%m-%d %H:%M}",
            "" if entry.horizon_days is None else str(entry.horizon_days),
        )
    return table
