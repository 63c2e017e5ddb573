"""What the commands on models stand on: settings with a connection, the training packages, a spinner and a bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from features.errors import ExtraMissingError

if TYPE_CHECKING:
    import psycopg

    from features.settings import Settings


@contextlib.contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr, gone when done; yields what changes its text."""
    with Console(stderr=True).status(text) as shown:
        yield shown.update


@contextlib.contextmanager
def database(given: Settings | None = None) -> Iterator[tuple[Settings, psycopg.Connection]]:
    """The settings (default: the environment's) and a connection in autocommit mode."""
    from features import postgres
    from features.database import connect
    from features.settings import read_settings

    settings = given or read_settings()
    with connect(postgres.database_url(settings), autocommit=True) as connection:
        yield settings, connection


@contextlib.contextmanager
def training_packages() -> Iterator[None]:
    """Turn a missing package into the advice to install the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraMissingError(extra="training", module=error.name) from error


def progress() -> Progress:
    """A bar of things done among all, on stderr, gone when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
