"""`vernissage serve`, `demo` and `key`: running the service and letting clients in."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
import urllib.error
import urllib.request
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from features import postgres
from features.database import connect, query
from features.errors import PortUnusableError, ServiceFailedError
from features.migrate import migrate
from features.settings import Settings, read_settings
from serving.keys import SCOPES, create_key, list_keys, revoke_key
from serving.tokens import mint
from training.cli.processes import Children, children

READY_SECONDS = 60.0
DEMO_TOKEN_SECONDS = 86_400
HIGHEST_PORT = 65_535
keys = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


def serve(
    port: Annotated[
        int | None, typer.Option(min=1, max=HIGHEST_PORT, help="Port; default: VERNISSAGE_PORT or 3000.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; default: VERNISSAGE_WORKERS or 1.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: loopback only.")] = None,
    watch: Annotated[bool, typer.Option(help="Also watch the model registry, where MLflow is installed.")] = True,
) -> None:
    """Serve artworks over HTTP until Ctrl-C; starts the embedded database when no other is named."""
    settings = _with_options(read_settings(), port=port, workers=workers, host=host)
    _check_port(settings)
    with children() as group:
        _serve(group, settings, watch=watch)
        typer.echo(f"READY http://{settings.host}:{settings.port}")
        _fail_when_one_ends(group)
    typer.echo("stopped")


def demo(
    users: Annotated[int, typer.Option(help="Users of the synthetic world.", min=10)] = 2_000,
    artworks: Annotated[int, typer.Option(help="Artworks of the synthetic world.", min=10)] = 2_000,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic world.")] = 1,
    port: Annotated[
        int | None,
        typer.Option(envvar="PORT", min=1, max=HIGHEST_PORT, help="Port; default: VERNISSAGE_PORT or 3000."),
    ] = None,
) -> None:
    """Everything at once: database, synthetic world, training, publishing, service, planning loop. Ctrl-C stops all."""
    settings = _with_options(read_settings(), port=port, workers=None, host=None)
    console = Console()
    _check_port(settings)
    with children() as group:
        with console.status("starting PostgreSQL"):
            _prepare_database(group, settings)
        _prepare_demo(settings, console, users, artworks, seed)
        environment = _serve(group, settings, watch=True)
        group.start("planner", [sys.executable, "-m", "training.cli", "plan", "--loop"], environment)
        _welcome(settings)
        _fail_when_one_ends(group)
    typer.echo("stopped")


@keys.command("create")
def create(
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated.")],
    label: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    wrong = [name for name in scope if name not in SCOPES]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]!r} is not one of {', '.join(SCOPES)}", param_hint="--scope")
    with connect(postgres.database_url(read_settings())) as connection:
        typer.echo(create_key(connection, scope, label))


@keys.command("list")
def show() -> None:
    """List the keys (never the secrets)."""
    table = Table("key id", "scopes", "label", "created", "revoked")
    with connect(postgres.database_url(read_settings())) as connection:
        for key_id, scopes, label, created, revoked in list_keys(connection):
            table.add_row(key_id, ", ".join(scopes), label or "", _time(created), _time(revoked))
    Console().print(table)


@keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The key's id, as `key list` shows it.")]) -> None:
    """Revoke a key; workers forget it within a few seconds."""
    with connect(postgres.database_url(read_settings())) as connection:
        if not revoke_key(connection, key_id):
            raise typer.BadParameter("no such live key", param_hint="KEY_ID")
    typer.echo(f"revoked {key_id}")


def _serve(group: Children, settings: Settings, *, watch: bool) -> dict[str, str]:
    """Start the database if it is ours, the service and the watcher, wait for answers; the environment they have."""
    _prepare_database(group, settings)
    environment = {
        "VERNISSAGE_HOME": str(settings.home_path),
        "VERNISSAGE_WORKERS": str(settings.workers),
        "BENTOML_HOME": str(settings.home_path / "bentoml"),  # two services under one delete each other's metrics
        "BENTOML_DO_NOT_TRACK": "True",
    }
    service = [sys.executable, "-m", "bentoml", "serve", "serving.service:Vernissage"]
    options = ["--host", settings.host, "--port", str(settings.port)]
    group.start("service", [*service, *options, "--timeout-graceful-shutdown", "3"], environment)
    if watch and importlib.util.find_spec("mlflow"):
        group.start("watcher", [sys.executable, "-m", "training.cli", "watch"], environment)
    _wait_until_ready(group, settings)
    return environment


def _check_port(settings: Settings) -> None:
    """Raises PortUnusableError before anything is started in vain."""
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as BentoML does: closing ones do not count
            probe.bind(address)
    except OSError as error:
        raise PortUnusableError(host=settings.host, port=settings.port, reason=error.strerror) from error


def _prepare_database(group: Children, settings: Settings) -> None:
    """Migrate; the embedded database is started, to be stopped in the end, and gets the host's tables too."""

    def stop_in_the_end() -> None:
        group.at_end = lambda: postgres.stop(settings)

    with connect(postgres.start(settings, on_launch=stop_in_the_end)) as connection:
        migrate(connection, standalone=not settings.database_url)


def _prepare_demo(settings: Settings, console: Console, users: int, artworks: int, seed: int) -> None:
    """World and models, unless they are there from an earlier run."""
    from training.cli.train import train_models
    from training.cli.world import make_world

    with console.status(f"making a world of {users:,} users and {artworks:,} artworks"):
        exposures = make_world(settings, seed=seed, users=users, artworks=artworks)
    typer.echo("the world is there already" if exposures is None else f"{exposures:,} displays in the synthetic world")
    train_models(settings)


def _wait_until_ready(group: Children, settings: Settings) -> None:
    """Until /readyz says yes. Raises ServiceFailedError when the service ends or takes too long."""
    end = time.monotonic() + READY_SECONDS
    while not _answers(f"http://{settings.host}:{settings.port}/readyz"):
        if group.ended() == "service":
            raise ServiceFailedError(reason="it ended before it was ready")
        if time.monotonic() > end:
            raise ServiceFailedError(reason=f"it was not ready within {READY_SECONDS:.0f} s")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    """Whether the URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's OK
    except (urllib.error.URLError, OSError):
        return False


def _welcome(settings: Settings) -> None:
    """A key, a request that works, and the line that says so; plain print, so that nothing wraps."""
    base = f"http://{settings.host}:{settings.port}"
    with connect(postgres.database_url(settings)) as connection:
        key = create_key(connection, ["admin"], "demo")
        row = connection.execute(query("installation_secret")).fetchone()
    token = mint(row[0] if row else "", "ada", DEMO_TOKEN_SECONDS)
    typer.echo("\nThe next three artworks for ada, who has never seen them:\n")
    typer.echo(f"curl -s -H 'Authorization: Bearer {key}' '{base}/v1/users/ada/next?limit=3'\n")
    typer.echo("The display, as ada sees it (open it twice: the tabs never show the same artwork):\n")
    typer.echo(f"{base}/display?seconds=10#user=ada&token={token}\n")
    typer.echo(f"Health: {base}/v1/health   Metrics: {base}/metrics   API: {base}/v1/openapi.json   Stop: Ctrl-C\n")
    typer.echo(f"READY {base}")


def _fail_when_one_ends(group: Children) -> None:
    """Wait; a child that ends by itself is a failure."""
    raise ServiceFailedError(reason=f"the {group.wait()} ended by itself")


def _with_options(settings: Settings, *, port: int | None, workers: int | None, host: str | None) -> Settings:
    """The settings with what the command line says instead."""
    import msgspec

    given = {"port": port, "workers": workers, "host": host}
    return msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value is not None})


def _time(at: object) -> str:
    """A time for a table."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"
