"""`vernissage flag ...`: feature flags and the canary of a model, turned on for a growing share of the users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from training.cli.ground import database, status, training_packages

if TYPE_CHECKING:
    from serving.experiments.flags import Flag

group = typer.Typer(name="flag", help="Feature flags, and the canary of a model.", no_args_is_help=True)
Share = Annotated[float, typer.Option(min=0, max=1, help="Of the users; it only grows, but 0 turns it off.")]


@group.command("set")
def change(
    name: Annotated[str, typer.Argument(help="Small letters, digits and dashes.")],
    share: Share,
    on: Annotated[str | None, typer.Option(help="The share's value, as JSON; default: as before, or true.")] = None,
    off: Annotated[str | None, typer.Option(help="The others' value, as JSON; default: as before, or false.")] = None,
) -> None:
    """Make a flag, or grow its share; who has got it keeps it."""
    from serving.experiments.flags import Flag, find_flag, set_flag

    given = {part: _json(name, text) for part, text in (("on", on), ("off", off)) if text is not None}
    with database() as (_, connection):
        old = find_flag(connection, name) or Flag(name, share)
        flag = msgspec.structs.replace(old, share=share, **given)
        set_flag(connection, flag)
    _say(flag)


@group.command()
def canary(
    version: Annotated[int, typer.Argument(min=1, help="Number of a registered version.")],
    share: Share,
) -> None:
    """Rank for a share of the users with another version than the live one; publish it when it does well."""
    from serving.experiments.flags import CANARY, Flag, set_flag

    with training_packages():
        from training.publish import deliver_for_experiment

    with database() as (settings, connection):
        with status(f"delivering version {version}"):
            deliver_for_experiment(str(version), settings, connection)
        flag = Flag(CANARY, share, on=str(version), off="live")
        set_flag(connection, flag)
    _say(flag)


@group.command("list")
def show() -> None:
    """List the flags."""
    from serving.experiments.flags import read_flags

    with database() as (_, connection):
        flags = read_flags(connection)
    table = Table("flag", "share", "on", "off", box=None)
    for flag in flags:
        values = (msgspec.json.encode(value).decode() for value in (flag.on, flag.off))
        table.add_row(flag.name, f"{flag.share:.2%}", *map(escape, values))
    Console().print(table)


def _json(name: str, text: str) -> Any:
    """A value from the command line. Raises BadFlagError."""
    from features.errors import BadFlagError

    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadFlagError(
            name=name, rule=f"{text!r} is not JSON ({error}); a text needs quotes: '\"text\"'"
        ) from error


def _say(flag: Flag) -> None:
    """One line on how a flag stands."""
    typer.echo(f"{flag.name}: {msgspec.json.encode(flag.on).decode()} for {flag.share:.2%} of the users")
