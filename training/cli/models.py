"""`vernissage train`, `publish`, `rollback`, `models` and `watch`: models from fit to workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from features.errors import ExtraMissingError

if TYPE_CHECKING:
    import psycopg

    from features.settings import Settings
    from training.learner import Learner
    from training.run import Trained
    from training.tracking import Version

SHOWN = {"recall_at_20": "recall@20", "ndcg_at_20": "ndcg@20", "auc_shown": "auc"}

group = typer.Typer(name="train", help="Train a model on the signals so far and register it.", no_args_is_help=True)

Publish = Annotated[bool, typer.Option("--publish", help="Publish the version at once, as `vernissage publish` does.")]
Seed = Annotated[int, typer.Option(min=0, help="Equal data and seed give equal arrays.")]


@group.command()
def nmf(
    components: Annotated[int, typer.Option(min=1, help="How many tastes the model may tell apart.")] = 50,
    iterations: Annotated[int, typer.Option(min=1, help="Passes over the data at most.")] = 200,
    seed: Seed = 0,
    publish: Publish = False,
) -> None:
    """Non-negative matrix factorisation: who liked what, in a few tastes."""
    with _training_packages():
        from training.nmf import NmfConfig, make_learner

    learner = make_learner(NmfConfig(n_components=components, max_iter=iterations, seed=seed))
    _train(learner, seed, publish=publish)


@group.command()
def popularity(seed: Seed = 0, publish: Publish = False) -> None:
    """The most liked first, the same for everybody: the yardstick."""
    with _training_packages():
        from training.popularity import make_learner

    _train(make_learner(), seed, publish=publish)


def publish(version: Annotated[int, typer.Argument(min=1, help="Number of a registered version.")]) -> None:
    """Verify a version, deliver it and move the alias champion to it; workers take it over within seconds."""
    with _training_packages():
        from training.publish import publish as publish_version

    with _database() as (settings, connection), _status(f"publishing version {version}"):
        delivered = publish_version(str(version), settings, connection)
    typer.echo(f"version {version} ({delivered.bundle.manifest.model}) is live")


def rollback() -> None:
    """Publish the version that was live before the present one."""
    with _training_packages():
        from training.publish import rollback as roll_back

    with _database() as (settings, connection), _status("rolling back"):
        delivered = roll_back(settings, connection)
    manifest = delivered.bundle.manifest
    typer.echo(f"version {manifest.version} ({manifest.model}) is live again")


def models() -> None:
    """List the registered versions, newest first, with their metrics, their aliases and which one is live."""
    with _training_packages():
        from training.publish import live_version
        from training.tracking import versions

    with _database() as (settings, connection), _status("asking the registry"):
        found, live = versions(settings), live_version(connection)
    if not found:
        typer.echo("no versions yet: make one with `vernissage train nmf`")
        return
    Console().print(_table(found, live))


def watch() -> None:
    """Make the live model follow the alias champion, whoever moves it. Runs until stopped; logs on stderr."""
    with _training_packages():
        from training.watch import Watcher, run_until_stopped

    from features import postgres
    from features.settings import read_settings
    from serving.telemetry import configure_logging

    configure_logging()
    settings = read_settings()
    run_until_stopped(Watcher(settings, postgres.database_url(settings)))


def train_models(settings: Settings) -> None:
    """Train popularity and NMF and publish NMF, unless a model is live already: what the demo shows."""
    with _training_packages():
        from training import nmf as nmf_model
        from training import popularity as popularity_model
        from training.publish import live_version

    with _database(settings) as (_, connection):
        if live_version(connection) is not None:
            return
    _train(popularity_model.make_learner(), 0, publish=False, settings=settings)
    _train(nmf_model.make_learner(nmf_model.NmfConfig()), 0, publish=True, settings=settings)


def _train(learner: Learner, seed: int, *, publish: bool, settings: Settings | None = None) -> None:
    """Run one training and say what came of it."""
    with _training_packages():
        from training.publish import publish as publish_version
        from training.run import train

    with _database(settings) as (chosen, connection), _status("opening the registry") as say:
        trained = train(learner, chosen, connection, seed=seed, on_step=say)
        if publish:
            say(f"publishing version {trained.version}")
            publish_version(trained.version, chosen, connection)
    if trained.too_little:
        typer.echo(f"{trained.too_little} Content and heuristics only.")
    typer.echo(_sentence(trained, published=publish))


def _sentence(trained: Trained, *, published: bool) -> str:
    """The last line of a training."""
    state = "is live" if published else "registered"
    judged = f": {_scores(trained.metrics)} ({trained.split} split)" if trained.metrics else ""
    hint = "" if published else f"; publish it with `vernissage publish {trained.version}`"
    return f"version {trained.version} ({trained.model}) {state}{judged}{hint}"


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


def _scores(metrics: Mapping[str, float]) -> str:
    """The metrics that people compare, such as `recall@20 0.210`."""
    return ", ".join(f"{label} {metrics[name]:.3f}" for name, label in SHOWN.items() if name in metrics)


def _minutes(moment: datetime) -> str:
    """A moment without its seconds."""
    return f"{moment:%Y-%m-%d %H:%M}"


@contextlib.contextmanager
def _status(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr, gone when done; yields what changes its text."""
    with Console(stderr=True).status(text) as status:
        yield status.update


@contextlib.contextmanager
def _database(given: Settings | None = None) -> Iterator[tuple[Settings, psycopg.Connection]]:
    """The settings (default: the environment's) and a connection in autocommit mode."""
    from features import postgres
    from features.database import connect
    from features.settings import read_settings

    settings = given or read_settings()
    with connect(postgres.database_url(settings), autocommit=True) as connection:
        yield settings, connection


@contextlib.contextmanager
def _training_packages() -> Iterator[None]:
    """Turn a missing package into the advice to install the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraMissingError(extra="training", module=error.name) from error
