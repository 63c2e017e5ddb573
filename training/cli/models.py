"""`vernissage publish`, `rollback`, `models` and `watch`: registered versions and which one is live."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.cli.ground import database, status, training_packages
from training.cli.tables import SHOWN

if TYPE_CHECKING:
    from training.tracking import Version


def publish(
    version: Annotated[int, typer.Argument(min=1, help="Number of a registered version.")],
    force: Annotated[
        bool, typer.Option("--force", help="Publish although a guardrail metric fell; the audit log remembers.")
    ] = False,
) -> None:
    """Compare a version with the live one, verify and deliver it, and move the alias champion to it.

    It is refused where a guardrail metric fell by more than its threshold: recall, NDCG, recall of new artworks,
    coverage, diversity, repeats. Workers take it over within seconds.
    """
    with training_packages():
        from training.gate import promote

    with database() as (settings, connection), status(f"looking at version {version}") as say:
        delivered, verdict = promote(str(version), settings, connection, force=force, on_step=say)
    typer.echo(f"compared {verdict.ground}" if verdict.ground.startswith("beside") else verdict.ground)
    typer.echo(f"version {version} ({delivered.bundle.manifest.model}) is live")


def rollback() -> None:
    """Publish the version that was live before the present one."""
    with training_packages():
        from training.publish import rollback as roll_back

    with database() as (settings, connection), status("rolling back"):
        delivered = roll_back(settings, connection)
    manifest = delivered.bundle.manifest
    typer.echo(f"version {manifest.version} ({manifest.model}) is live again")


def models() -> None:
    """List the registered versions, newest first, with their metrics, their aliases and which one is live."""
    with training_packages():
        from training.publish import live_version
        from training.tracking import versions

    with database() as (settings, connection), status("asking the registry"):
        found, live = versions(settings), live_version(connection)
    if not found:
        typer.echo("no versions yet: make one with `vernissage train nmf`")
        return
    Console().print(_table(found, live))


def watch() -> None:
    """Make the live model follow the alias champion, and stop experiments that do harm (where they say so).

    Runs until stopped; logs on stderr.
    """
    with training_packages():
        from training.experiments.harm import Guard
        from training.watch import Watcher, run_until_stopped

    from features import postgres
    from features.settings import read_settings
    from serving.telemetry import configure_logging

    configure_logging()
    settings = read_settings()
    url = postgres.database_url(settings)
    run_until_stopped(Watcher(settings, url), Guard(settings, url))


def _table(found: list[Version], live: str | None) -> Table:
    """The versions as a table."""
    table = Table(box=None, caption="recall and ndcg at 20 places; more in MLflow")
    headers = [label.removesuffix("@20") for label in SHOWN.values()]
    for header in ("version", "model", "created (UTC)", *headers, "state"):
        table.add_column(header, no_wrap=True)
    for version in found:
        state = [*version.aliases, *(["live"] if version.number == live else [])]
        table.add_row(
            version.number,
            escape(version.model),
            _minutes(version.created_at),
            *(f"{version.metrics[name]:.3f}" if name in version.metrics else "" for name in SHOWN),
            escape(", ".join(state)),
        )
    return table


def _minutes(moment: datetime) -> str:
    """A moment without its seconds."""
    return f"{moment:%Y-%m-%d %H:%M}"
