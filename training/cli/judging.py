"""`vernissage evaluate` and `compare`: how good models are, on the database or on files of a fixed split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from training.cli.ground import database, progress, status, training_packages
from training.cli.tables import comparison_table, life_tables, metric_table, outcome_table, slice_table, style_table

if TYPE_CHECKING:
    import psycopg

    from features.settings import Settings
    from training.evaluate import Judged
    from training.judging import Outcome
    from training.learner import Given, Learner
    from training.sequential import Lives

ALL = "all"

Files = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A file of 'user item item ...' lines.")]


def evaluate(  # noqa: PLR0917 - one parameter is one option
    models: Annotated[
        str, typer.Option(help="Learners by name, separated by commas, or all. Default: the champion's; of files: all.")
    ] = "",
    train: Files = None,
    test: Files = None,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", dir_okay=False, help="Also write the figures there, a list of one object per model."),
    ] = None,
    lists: Annotated[
        int,
        typer.Option(min=0, help="Also let so many lists follow each other, as the pool is consumed (database only)."),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the fits, and of the sample of users.")] = 0,
) -> None:
    """Judge models by the lists that users would have got, made by the code that serves.

    On the database: each is fitted on the earlier signals and judged on what the same users met later, or
    VERNISSAGE_JUDGED_USERS of them. Of a single model, slices and styles are shown as well.

    With --train and --test: all test users, all signals folded in, each model in a process of its own, so that
    seconds and memory are its own.
    """
    if (train is None) != (test is None):
        raise typer.BadParameter("give both files or none", param_hint="--train --test")
    outcomes = _on_files(models, train, test, seed) if train and test else _on_database(models, lists, seed)
    if json_path is not None:
        json_path.write_text(json.dumps([_plain(outcome) for outcome in outcomes], indent=2) + "\n", "utf-8")
    Console().print(outcome_table(outcomes))
    _say_refusals(outcomes)


def compare(
    versions: Annotated[
        list[int] | None,
        typer.Argument(min=1, help="Numbers of registered versions. Default: the live one and the newest."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample of users.")] = 0,
) -> None:
    """Judge versions side by side, on the signals so far and on the same users.

    Each version's recipe is fitted anew on the earlier signals. Differences are to the first, with 95% intervals over
    users; a star marks those that are told from none.
    """
    with training_packages():
        from training.judging import judge_recipe
        from training.publish import live_version, manifest_of
        from training.run import read_given
        from training.tracking import versions as registered

    with database() as (settings, connection), status("asking the registry") as say:
        live = live_version(connection)
        newest = [version.number for version in registered(settings)[:1]]
        numbers = list(dict.fromkeys(map(str, versions or []))) or list(
            dict.fromkeys([*([live] if live else []), *newest])
        )
        manifests = [manifest_of(number, settings) for number in numbers]
        say("reading signals and pool")
        given = read_given(settings, connection)
        outcomes = [judge_recipe(manifest, given, settings, say, seed) for manifest in manifests]
    if not numbers:
        typer.echo("no versions yet: make one with `vernissage train`")
        return
    Console().print(comparison_table(numbers, outcomes))
    _say_refusals(outcomes)


def _on_files(models: str, train: Path, test: Path, seed: int) -> list[Outcome]:
    """One model after the other, each on its own."""
    with training_packages():
        from training.judging import judge_alone

    names = _names(models or ALL)
    outcomes = []
    with progress() as bar:
        task = bar.add_task("", total=len(names))
        for name in names:
            bar.update(task, description=f"fitting and judging {name}")
            outcomes.append(judge_alone(name, train, test, seed))
            bar.advance(task)
    return outcomes


def _on_database(models: str, lists: int, seed: int) -> list[Outcome]:
    """The champion's recipe, or the named learners, on the split of the signals so far."""
    with training_packages():
        from training.judging import judge_learner
        from training.recipes import make_learner
        from training.run import read_given

    with database() as (settings, connection), status("reading signals and pool") as say:
        given = read_given(settings, connection)
        learners = (
            [make_learner(name, seed=seed, on_step=say) for name in _names(models)]
            if models
            else [_champion(connection)]
        )
        outcomes = [judge_learner(learner, given, settings, seed, say) for learner in learners]
        judged = [learner for learner, outcome in zip(learners, outcomes, strict=True) if not outcome.refused]
        lives = [_live_on(learner, given, settings, lists, seed, say) for learner in judged if lists]
    for learner, life in zip(judged, lives, strict=False):
        for table in life_tables(learner.name, life):
            Console().print(table)
    if len(outcomes) == 1 and not outcomes[0].refused:
        _show_groups(outcomes[0].judged)
    return outcomes


def _live_on(  # noqa: PLR0917 - what a replay needs
    learner: Learner, given: Given, settings: Settings, lists: int, seed: int, say: Callable[[str], None]
) -> Lives:
    """Lists after lists of one learner, fitted on the earlier side."""
    from training.dataset import split
    from training.judging import rules_of
    from training.learner import Given, learn
    from training.sequential import replay_lives

    halves = split(given.snapshot, seed)
    bundle = learn(learner, Given(halves.train, given.pool))
    return replay_lives(
        bundle,
        halves,
        given.pool,
        rules_of(settings, seed),
        lists=lists,
        on_list=lambda number: say(f"{learner.name}: list {number} of {lists} of every user"),
    )


def _champion(connection: psycopg.Connection) -> Learner:
    """What made the live version; the usual learner where nothing is live."""
    from training.publish import live_bundle
    from training.recipes import make_learner, remake_learner

    live = live_bundle(connection)
    return make_learner("blend") if live is None else remake_learner(live.manifest)


def _names(models: str) -> Sequence[str]:
    """The names that were asked for, checked before anything is fitted."""
    from training.recipes import make_learner
    from training.roster import NAMES

    if models == ALL:
        return NAMES
    names = [name.strip() for name in models.split(",") if name.strip()]
    for name in names:
        make_learner(name)
    return names


def _say_refusals(outcomes: Sequence[Outcome]) -> None:
    """Why a model was not judged."""
    for outcome in outcomes:
        if outcome.refused:
            typer.echo(f"{outcome.model}: {outcome.refused}")


def _show_groups(judged: Judged) -> None:
    """All metrics, who is served how well, and which styles are shown."""
    Console().print(metric_table(judged))
    Console().print(slice_table(judged.slices))
    if judged.styles.height:
        Console().print(style_table(judged.styles))


def _plain(outcome: Outcome) -> dict[str, Any]:
    """One model as an object of the JSON list."""
    if outcome.refused:
        return {"model": outcome.model, "refused": outcome.refused}
    metrics, intervals = outcome.judged.metrics, outcome.judged.intervals()
    return {
        "model": outcome.model,
        "recall@20": metrics["recall_at_20"],
        "ndcg@20": metrics["ndcg_at_20"],
        "train_seconds": round(outcome.train_seconds, 3),
        "judge_seconds": round(outcome.judge_seconds, 3),
        "peak_mb": outcome.peak_mb and round(outcome.peak_mb, 1),
        "start_mb": outcome.start_mb and round(outcome.start_mb, 1),
        "intervals": {f"{name}@20": [found.low, found.high] for name, found in intervals.items()},
        "metrics": metrics,
    }
