"""`vernissage load`: displays as an open loop against a running service, and what came of it."""

from __future__ import annotations

import ipaddress
import json
import socket
import uuid
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from features.errors import LoadFailedError
from training.cli.ground import database, status

OK = 200
MOST_MINUTES = 240
NEARLY_NONE = 0.1  # of the answers are a success: such a run says nothing of the service
ADVICE = {401: "give a key that is alive: --key or LOAD_KEY", 403: "the key needs the scope frontend"}


def load(  # noqa: PLR0917 - options of a command
    url: Annotated[str, typer.Argument(help="Where the service is: http://127.0.0.1:3000")],
    key: Annotated[str, typer.Option(envvar="LOAD_KEY", help="An API key with the scope frontend.")] = "",
    sessions: Annotated[int, typer.Option(min=1, max=100_000, help="Displays that look at the same time.")] = 10_000,
    seconds_per_artwork: Annotated[float, typer.Option(min=0.05, help="How long each artwork is shown.")] = 6.0,
    minutes: Annotated[
        float, typer.Option(min=0.05, max=MOST_MINUTES, help="How long is measured, after the warm-up of two lists.")
    ] = 10.0,
    batch: Annotated[
        int, typer.Option(min=1, max=10, help="Artworks claimed at once and told of at once: 1, 2, 5, 10.")
    ] = 10,
    connections: Annotated[int, typer.Option(min=1, max=4_096, help="Connections that all sessions share.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    elsewhere: Annotated[bool, typer.Option(help="Load a service that is not on this machine, too.")] = False,
) -> None:
    """Load a service as many displays do, and check afterwards that nothing was lost and nothing shown twice.

    Arrivals do not wait for answers, and latencies run from when a request was due.

    It needs the service's database (DATABASE_URL, or the embedded one of the same home, running), adds its people to
    the host's users, and leaves them and what they saw there: load only what is there to be tested.

    It ends with code 1 when anything was lost or repeated, or nearly nothing was answered with success.
    """
    from training.load.crowd import Load

    if 10 % batch:
        raise typer.BadParameter("must divide 10, the artworks of a list that are shown", param_hint="--batch")
    if not (elsewhere or _is_loopback(url)):
        raise typer.BadParameter("is not on this machine; --elsewhere loads it all the same", param_hint="URL")
    asked = Load(
        sessions=sessions,
        seconds_per_artwork=seconds_per_artwork,
        seconds=minutes * 60,
        batch=batch,
        connections=connections,
    )
    found = _run(asked, url, key)
    _check_answers(found["all"])
    _show(found, as_json=as_json)
    if found["lost"] or found["lost_signals"] or found["repeated"]:
        raise typer.Exit(1)


def _run(asked: Any, url: str, key: str) -> dict[str, Any]:
    """Add people, drive, and compare with the database. Raises LoadFailedError when the service does not serve us."""
    from training.load.checks import add_people, measure, settle
    from training.load.crowd import drive
    from training.load.report import figures

    name = f"load-{uuid.uuid4().hex[:8]}"
    _ask_once(f"{url.rstrip('/')}/v1/users/{name}/coverage", key)
    with database() as (_, connection):
        add_people(connection, name, asked.sessions)
        before = measure(connection)
        whole = asked.warm_seconds + asked.seconds
        with status(
            f"{asked.sessions:,} sessions for {whole:.0f} s, the warm-up of {asked.warm_seconds:.0f} s included"
        ):
            try:
                run = drive(asked, url, key, people=name, visit=f"{name}-tab")
            except OSError as error:
                raise LoadFailedError(reason=f"{url} does not answer: {error}") from error
        after = measure(connection)
        account = settle(connection, run)
    thousands = max(account.displays / 1000, 1)
    return figures(run, account) | {
        "database_mb": round(after.stored / 1e6, 1),
        "database_kb_per_1000_displays": round((after.stored - before.stored) / 1e3 / thousands, 1),
        "wal_kb_per_1000_displays": round((after.written - before.written) / 1e3 / thousands, 1),
    }


def _ask_once(address: str, key: str) -> None:
    """Ask what changes nothing, before anybody is added. Raises LoadFailedError unless it is answered with success."""
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answered = httpx.get(address, headers=headers, timeout=15).status_code
    except httpx.HTTPError as error:
        raise LoadFailedError(reason=f"{address} does not answer: {error}") from error
    if answered != OK:
        raise LoadFailedError(reason=f"a first request was answered with {_explain(answered)}")


def _check_answers(whole: dict[str, Any]) -> None:
    """Raises LoadFailedError when nearly no request was answered with success."""
    failures = {int(status): count for status, count in whole["failures"].items()}
    answers = whole["successes"] + sum(failures.values())
    if failures and whole["successes"] < NEARLY_NONE * answers:
        worst = max(failures, key=lambda status: failures[status])
        found = f"of {answers:,} requests {whole['successes']:,} were answered with success"
        raise LoadFailedError(reason=f"{found}, {failures[worst]:,} with {_explain(worst)}")


def _explain(status: int) -> str:
    """A status in words, and what to do about it where we know; 0: no answer came."""
    words = f"status {status}" if status else "nothing"
    return f"{words}: {ADVICE[status]}" if status in ADVICE else words


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    """The table, or JSON."""
    if as_json:
        typer.echo(json.dumps(found))
        return
    from training.load.report import table

    Console().print(table(found))
    typer.echo(
        f"database {found['database_mb']:,.0f} MB; per 1,000 displays {found['database_kb_per_1000_displays']:,.0f} KB"
        f" more, and {found['wal_kb_per_1000_displays']:,.0f} KB of log"
    )


def _is_loopback(url: str) -> bool:
    """Whether every address that the URL's host has is this machine's own. Raises BadParameter for no such URL."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise typer.BadParameter(f"must be http://HOST:PORT, not {url!r}", param_hint="URL")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise typer.BadParameter(f"{parts.hostname} has no address: {error}", param_hint="URL") from error
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in found)
