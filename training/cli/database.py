"""`vernissage db ...` and `vernissage migrate`: the embedded PostgreSQL and the schema; nothing about its contents."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from features.settings import Settings, read_settings

group = typer.Typer(
    name="db", help="The embedded PostgreSQL: start it, stop it, look at it.", no_args_is_help=True
)  # with DATABASE_URL set there is nothing to start or stop


@group.command()
def start() -> None:
    """Start the embedded PostgreSQL, making it the first time. Does not migrate."""
    from features import postgres

    settings = read_settings()
    if settings.database_url:
        typer.echo(f"nothing to start, DATABASE_URL is set: {_place(settings.database_url)}")
        return
    with Console(stderr=True).status("starting PostgreSQL"):
        postgres.start(settings)
    _print_status(settings)


@group.command()
def stop() -> None:
    """Stop the embedded PostgreSQL, cutting its sessions. The data stay."""
    from features import postgres

    settings = read_settings()
    if settings.database_url:
        typer.echo(f"nothing to stop, DATABASE_URL is set: {_place(settings.database_url)}")
        return
    with Console(stderr=True).status("stopping PostgreSQL"):
        stopped = postgres.stop(settings)
    typer.echo("stopped" if stopped else "was not running")


@group.command()
def status() -> None:
    """Say whether the database runs, and where. Exit code 3 when it does not."""
    if not _print_status(read_settings()):
        raise typer.Exit(3)


@group.command()
def url() -> None:
    """Print the database's URL, password included: export DATABASE_URL=$(vernissage db url)."""
    from features import postgres

    typer.echo(postgres.database_url(read_settings()))


def migrate(
    standalone: Annotated[
        bool,
        typer.Option(
            "--standalone", help="Also create the host's tables where they are absent (the embedded one implies it)."
        ),
    ] = False,
) -> None:
    """Bring the schema up to date, in DATABASE_URL or in the running embedded PostgreSQL."""
    from features import migrate as migrations
    from features import postgres
    from features.database import connect

    settings = read_settings()
    with connect(postgres.database_url(settings)) as connection, Console(stderr=True).status("migrating"):
        applied = migrations.migrate(connection, standalone=standalone or not settings.database_url)
    for name in applied:
        typer.echo(f"applied {name}")
    if not applied:
        typer.echo("nothing to apply")


def _print_status(settings: Settings) -> bool:
    """Print one line about the database and return whether it runs."""
    from features import postgres

    seen = postgres.status(settings)
    what = f"PostgreSQL {seen.version}".strip() + f" ({seen.source})"
    where = f"{'runs' if seen.running else 'does not answer'} on {_place(seen.url)}" if seen.url else "is not running"
    typer.echo(f"{what} {where}{f', data in {seen.data}' if seen.data else ''}")
    return seen.running


def _place(given: str) -> str:
    """The part of a URL that is no secret: host, port and database."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(given)
    return f"{parts.get('host', 'the local socket')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
