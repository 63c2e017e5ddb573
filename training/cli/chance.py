"""`vernissage replay` and `off-policy`: one list made again, and what other policies would have come to."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.cli.ground import database, status, training_packages

if TYPE_CHECKING:
    from training.experiments.logged import Drawn, Target
    from training.experiments.off_policy import Judged
    from training.intervals import Interval
    from training.retrace import Retraced


def replay(recommendation_id: Annotated[uuid.UUID, typer.Argument(help="As the list's answer says.")]) -> None:
    """Make a served list again, bit for bit: artworks, order, scores, rungs, chances. Exit code 1 where it cannot be.

    A list that was drawn by chance is drawn again from its log alone (scores of its head, seed). Everything is then
    ranked anew: from the log come filters, leases and settings of lists; from the tables what the user had seen and
    done until then, and the pool up to its newest artwork of then; from this disk the model. Logged hashes tell
    whether pool, artworks, candidates and model are still what they were; what is not, is named.
    """
    from training.retrace import retrace

    with database() as (settings, connection), status("making the list again"):
        found = retrace(connection, settings, recommendation_id)
    console = Console()
    console.print(_about(found))
    console.print(_checks(found))
    for reason in found.gone:
        typer.echo(f"no longer there: {reason}")
    if not found.same:
        typer.echo("it cannot be made again" if found.gone else "the same inputs give another list now")
        raise typer.Exit(1)
    typer.echo("the same, bit for bit")


def off_policy(  # noqa: PLR0917 - options of a command
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="Of the policy to be judged; 0: by rank.")
    ] = 0.0,
    epsilon: Annotated[float, typer.Option(min=0.0, max=1.0, help="Its chance of a slot drawn from all alike.")] = 0.0,
    model: Annotated[
        str | None, typer.Option(help="A version on this disk that it ranks with; else as served.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, max=50, help="How many drawn slots of a list count.")] = 3,
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = 28,
    bandit: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of another log; judged is: all alike.")
    ] = None,
    beside: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of the log of that policy itself.")
    ] = None,
) -> None:
    """Estimate what another policy would have come to, in likes per slot, from the lists that were drawn by chance.

    Judged is how it would have drawn from the same heads for the same requests: what it does to the pool of a user in
    the long run is not in it, nor artworks beyond the logged heads. Refused where the log says too little of it: under
    200 effective slots, or more than 5% of all weight on one. With --bandit the log is a CSV file with the columns
    action, position, reward and pscore (or those of the Open Bandit Dataset), and the policy serves all its actions
    alike.
    """
    with training_packages():
        from training.experiments import logged
        from training.experiments.off_policy import judge

    if bandit is not None:
        found = judge(logged.uniform_over(logged.read_bandit(bandit)), "all alike")
        own = {"its own log": logged.value_of(logged.read_bandit(beside))} if beside else {}
        Console().print(_judged("all alike", found, own))
        return
    name = f"temperature {temperature:g}, epsilon {epsilon:g}" + (f", version {model}" if model else "")
    lists, target, left_out = _drawn(temperature, epsilon, model, days)
    Console().print(_judged(name, judge(logged.of_lists(lists, target, slots), name), {}))
    if left_out:
        typer.echo(f"{left_out:,} lists left out: the model cannot score all that they were drawn from")


def _drawn(temperature: float, epsilon: float, model: str | None, days: int) -> tuple[list[Drawn], Target, int]:
    """The log, the policy to be judged on it, and how many lists it cannot be judged on."""
    from serving.exploration import Sampler
    from training.experiments.drawn import read_drawn, rescore
    from training.experiments.logged import Target

    sampler = Sampler(temperature, epsilon)
    with database() as (settings, connection), status("reading"):
        lists = read_drawn(connection, days)
        if model is None:
            return lists, Target(sampler), 0
        found = rescore(connection, settings, lists, model)
        return found.lists, Target(sampler, found.scores), found.left_out


def _judged(name: str, found: Judged, more: dict[str, Interval]) -> Table:
    """The estimates beside what the logging policy came to."""
    caption = f"{found.slots:,} slots of {found.units:,} units, worth {found.effective:,.0f} of the policy's own; "
    caption += f"the heaviest holds {found.heaviest:.1%}"
    table = Table("policy", "by", "reward per slot", "from", "to", box=None, caption=caption)
    lines = {"IPS": found.ips, "SNIPS": found.snips, "DR": found.dr} | more
    for by, each in lines.items():
        table.add_row(name, by, *(f"{value:.5f}" for value in each))
    table.add_row("as served", "its mean", *(f"{value:.5f}" for value in found.logged))
    return table


def _about(found: Retraced) -> Table:
    """How the list came about."""
    row, sampler = found.row, found.row["sampler"]
    left_out = ", ".join(f"{name} {count:,}" for name, count in row["excluded"].items() if count)
    way = "by rank"
    if sampler is not None:
        way = f"{sampler['drawn']} drawn from {len(row['head_keys'])}, temperature {sampler['temperature']:g}"
        way += f", epsilon {sampler['epsilon']:g}, seed {sampler['seed']}"
    table = Table("", f"{row['recommendation_id']}", box=None)
    table.add_row("served", f"{row['served_at']:%Y-%m-%d %H:%M:%S.%f} UTC")
    table.add_row("asked for", f"{row['requested']}; given {len(row['artwork_keys'])}")
    table.add_row("model", row["model_version"] or "none")
    table.add_row("candidates", f"{row['candidate_size']:,}; left out: {left_out or 'none'}")
    table.add_row("in order", way)
    for name, told in (row["experiments"] or {}).items():
        table.add_row("experiment", f"{name} version {told['version']}: {told.get('arm', 'two take turns')}")
    return table


def _checks(found: Retraced) -> Table:
    """What was held against the log."""
    table = Table("held against the log", "", box=None)
    for what, same in found.checks:
        table.add_row(what, "the same" if same else "another")
    return table
