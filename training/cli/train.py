"""`vernissage train` and `tune`: from signals to a judged and registered version, and a search for settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from features.errors import TooManyArtworksError
from training.cli.ground import database, progress, status, training_packages
from training.cli.tables import SHOWN, score_table, trial_table

if TYPE_CHECKING:
    from features.settings import Settings
    from training.run import Trained

ALL = "--all"


def train(  # noqa: PLR0917 - one parameter is one option
    name: Annotated[
        str,
        typer.Argument(help="A learner, such as nmf, als, ease, popularity or blend; `evaluate --help` lists them."),
    ] = "blend",
    every: Annotated[bool, typer.Option(ALL, help="Train every learner; one table at the end.")] = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the learner, such as penalty=200; may be repeated.")
    ] = None,
    if_stale: Annotated[
        bool,
        typer.Option(
            "--if-stale", help="Do nothing while the live model is young and its data little moved: for cron."
        ),
    ] = False,
    components: Annotated[
        int | None, typer.Option(min=1, help="How many tastes the model may tell apart, where it has such a setting.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Passes over the data, where it has them.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Equal data and seed give equal arrays.")] = 0,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish the version at once, as `vernissage publish` does.")
    ] = False,
) -> None:
    """Train a model on the signals so far, judge it on the latest of them, and register it as a version.

    With --if-stale, VERNISSAGE_RETRAIN_HOURS and VERNISSAGE_RETRAIN_DRIFT say when a live model is due.
    """
    if every:
        if publish:
            raise typer.BadParameter(
                "publish one of them with `vernissage publish VERSION`", param_hint="--all --publish"
            )
        _train_all(seed)
        return
    if if_stale and not _is_stale():
        return
    changed = {
        **_changes(changes or []),
        **({"n_components": components} if components else {}),
        **_passes(name, iterations),
    }
    _train(name, changed, seed, publish=publish)


def tune(
    name: Annotated[str, typer.Argument(help="A learner with a space to search; a wrong one is told which have one.")],
    trials: Annotated[int, typer.Option(min=1, help="How many points of the space are tried at most.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of points, the split and the fits.")] = 0,
) -> None:
    """Search for a learner's settings on the inner validation split; what was tried before is found again.

    Trials are MLflow runs with the tag kind=trial and no versions; train the best with --set.
    """
    with training_packages():
        from training.run import read_given
        from training.search import OBJECTIVE, draw_points, search

    draw_points(name, trials, seed)
    with database() as (settings, connection), progress() as bar:
        task = bar.add_task("reading signals and pool", total=None)
        given = read_given(settings, connection)

        def report(number: int, total: int) -> None:
            bar.update(task, description=f"trying {name}", completed=number - 1, total=total)

        found = search(name, given, settings, trials=trials, seed=seed, on_trial=report)
    Console().print(trial_table(found))
    best = " ".join(f"--set {setting}={value}" for setting, value in found[0].settings.items())
    typer.echo(f"best by {OBJECTIVE}: vernissage train {name} {best}")


def _changes(changes: list[str]) -> dict[str, Any]:
    """Settings from "name=value", the value as JSON has it."""
    found: dict[str, Any] = {}
    for change in changes:
        setting, _, value = change.partition("=")
        try:
            found[setting] = json.loads(value)
        except ValueError as error:
            raise typer.BadParameter(f"{change!r} is not NAME=NUMBER", param_hint="--set") from error
    return found


def _is_stale() -> bool:
    """Whether the live model should be renewed; says why or why not, and notes the drift for the metrics."""
    with training_packages():
        from training.dataset import take_snapshot
        from training.publish import live_bundle, note_drift
        from training.staleness import drift_since, why_stale

    with database() as (settings, connection), status("comparing the data with the live model's"):
        live = live_bundle(connection)
        snapshot = take_snapshot(connection, settings.half_life_days)
        manifest = live.manifest if live else None
        reason = why_stale(manifest, snapshot, settings)
        drift = drift_since(manifest, snapshot) if manifest else 0.0
        note_drift(drift, connection)
    typer.echo(f"training: {reason}" if reason else f"nothing to do: the data have moved by {drift:.1%}")
    return bool(reason)


def train_models(settings: Settings) -> None:
    """Train popularity, NMF and the blend, and publish the blend, unless a model is live: what the demo shows."""
    with training_packages():
        from training.publish import live_version

    with database(settings) as (_, connection):
        if live_version(connection) is not None:
            return
    _train("popularity", {}, 0, publish=False, settings=settings)
    _train("nmf", {}, 0, publish=False, settings=settings)
    _train("blend", {}, 0, publish=True, settings=settings)


def _passes(name: str, iterations: int | None) -> dict[str, int]:
    """The setting that stands for passes over the data: scikit-learn calls it max_iter."""
    if iterations is None:
        return {}
    return {"max_iter" if name.endswith("nmf") else "iterations": iterations}


def _train(
    name: str, changed: Mapping[str, Any], seed: int, *, publish: bool, settings: Settings | None = None
) -> None:
    """Run one training and say what came of it."""
    with training_packages():
        from training.gate import promote
        from training.recipes import make_learner
        from training.run import train

    with database(settings) as (chosen, connection), status("opening the registry") as say:
        learner = make_learner(name, changed, seed, say)
        trained = train(learner, chosen, connection, seed=seed, on_step=say)
        if publish:
            promote(trained.version, chosen, connection, on_step=say)
    if trained.too_little:
        typer.echo(f"{trained.too_little} Content and heuristics only.")
    typer.echo(_sentence(trained, published=publish))


def _train_all(seed: int) -> None:
    """Train every learner on the same snapshot; one that refuses is said and skipped."""
    with training_packages():
        from training.recipes import make_learner
        from training.roster import NAMES
        from training.run import read_given, train_on

    found: list[Trained] = []
    with database() as (settings, connection), status("reading signals and pool") as say:
        given = read_given(settings, connection)
        for place, name in enumerate(NAMES, 1):

            def step(text: str, before: str = f"{place} of {len(NAMES)}: ") -> None:
                say(before + text)

            try:
                trained = train_on(
                    make_learner(name, seed=seed, on_step=step), given, settings, seed=seed, on_step=step
                )
            except TooManyArtworksError as error:
                typer.echo(f"skipped: {error}")
                continue
            if trained.too_little:
                typer.echo(f"{trained.too_little} Content and heuristics only.")
                return
            found.append(trained)
    Console().print(score_table([((trained.version, trained.model), trained.metrics) for trained in found]))
    typer.echo("publish one with `vernissage publish VERSION`")


def _sentence(trained: Trained, *, published: bool) -> str:
    """The last line of a training."""
    state = "is live" if published else "registered"
    judged = f": {_scores(trained.metrics)} ({trained.split} split)" if trained.metrics else ""
    hint = "" if published else f"; publish it with `vernissage publish {trained.version}`"
    return f"version {trained.version} ({trained.model}) {state}{judged}{hint}"


def _scores(metrics: Mapping[str, float]) -> str:
    """The metrics that people compare, such as `recall@20 0.210`."""
    return ", ".join(f"{label} {metrics[name]:.3f}" for name, label in SHOWN.items() if name in metrics)
