"""Runs, versions and aliases in MLflow; the only module that imports it. What a bundle means is not its business.

Without `tracking_uri` the store is sqlite under home, with the artifacts beside it.
"""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

for _key, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # no phone-home
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is away is said within seconds, not minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}.items():
    os.environ.setdefault(_key, _value)  # before mlflow is imported, which reads them

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies deprecate each other; not our user's concern
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

from features.errors import BadBundleError, TrackingError  # noqa: E402 - after the environment is set
from features.settings import Settings  # noqa: E402 - the same

EXPERIMENT = "vernissage"
BUNDLE, REPORT = "bundle", "judged"  # the artifact folders of a run
_ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.ERROR)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Version:
    """One registered version; ``number`` is the registry's, as text."""

    number: str
    model: str
    created_at: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def _quiet(function: Callable[P, T]) -> Callable[P, T]:
    """Keep MLflow's warnings in, and turn its errors into TrackingError."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function(*args, **kwargs)
        except (TrackingError, BadBundleError):
            raise
        except Exception as error:  # it lets errors of sqlalchemy, requests and file systems through
            raise TrackingError(reason=_first_line(error)) from error

    return wrapped


@_quiet
def log_run(
    settings: Settings,
    *,
    name: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    bundle_folder: Path,
    report_folder: Path | None = None,
) -> str:
    """Record one run with the bundle as its artifact, register it, and return the version's number.

    ``tags`` go on the run and on the version; "model" among them names the kind of model. What is in
    ``report_folder``, tables and figures for people, becomes artifacts of the run alone.
    """
    client = _client(settings)
    run = client.create_run(_experiment(client, settings), run_name=name)
    run_id, now = run.info.run_id, run.info.start_time
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
        params=[Param(key, str(value)) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    client.log_artifacts(run_id, str(bundle_folder), BUNDLE)
    if report_folder is not None:
        client.log_artifacts(run_id, str(report_folder), REPORT)
    client.set_terminated(run_id)
    return _register(client, settings.registered_model, run, tags)


@_quiet
def log_trial(
    settings: Settings, name: str, params: Mapping[str, Any], metrics: Mapping[str, float], tags: Mapping[str, str]
) -> None:
    """Record one trial of a search: a run without a bundle and without a version."""
    client = _client(settings)
    run = client.create_run(_experiment(client, settings), run_name=f"{name} trial")
    now = run.info.start_time
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(key, value, now, 0) for key, value in metrics.items()],
        params=[Param(key, str(value)) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    client.set_terminated(run.info.run_id)


@_quiet
def trials(settings: Settings, tags: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Metrics of the finished trials that carry these tags, by their tag "point"."""
    client = _client(settings)
    wanted = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
    where = [_experiment(client, settings)]
    found = client.search_runs(where, f"{wanted} and attributes.status = 'FINISHED'", max_results=1_000)
    return {run.data.tags["point"]: dict(run.data.metrics) for run in found}


@_quiet
def download(settings: Settings, number: str, target: Path) -> Path:
    """Bring a version's bundle into the folder ``target`` and return where it is.

    Raises TrackingError when there is no such version or no registry, BadBundleError when the version has no files.
    """
    try:
        uri = _client(settings).get_model_version_download_uri(settings.registered_model, number)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        known = "`vernissage models` lists those that there are"
        raise TrackingError(reason=f"there is no version {number}; {known}") from error
    target.mkdir(parents=True, exist_ok=True)
    try:
        found = mlflow.artifacts.download_artifacts(uri, dst_path=str(target), tracking_uri=_uri(settings))
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise BadBundleError(path=uri, reason="the registry holds no such files") from error
    return Path(found)


@_quiet
def alias(settings: Settings, name: str) -> str | None:
    """The number of the version that the alias stands for, or None."""
    return _aliases(_client(settings), settings.registered_model).get(name)


@_quiet
def move_alias(settings: Settings, name: str, number: str) -> None:
    """Let the alias stand for this version. Raises TrackingError when there is no such version."""
    _client(settings).set_registered_model_alias(settings.registered_model, name, number)


@_quiet
def versions(settings: Settings) -> list[Version]:
    """Every registered version, newest first."""
    client = _client(settings)
    named = _aliases(client, settings.registered_model)
    found = client.search_model_versions(f"name = '{settings.registered_model}'", max_results=1_000)
    listed = [_describe(client, version, named) for version in found]
    return sorted(listed, key=lambda version: int(version.number), reverse=True)


def _describe(client: MlflowClient, version: Any, named: Mapping[str, str]) -> Version:
    """What MLflow knows of one version; versions registered by hand may lack a run."""
    number = str(version.version)
    return Version(
        number=number,
        model=version.tags.get("model", ""),
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        aliases=tuple(sorted(name for name, target in named.items() if target == number)),
        tags=dict(version.tags),
        metrics=dict(client.get_run(version.run_id).data.metrics) if version.run_id else {},
    )


def _register(client: MlflowClient, model: str, run: Any, tags: Mapping[str, str]) -> str:
    """Make the run's bundle a version of the registered model, which is made when absent."""
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model, description="Ranking bundles of Vernissage")
    source = f"{run.info.artifact_uri}/{BUNDLE}"
    version = client.create_model_version(model, source=source, run_id=run.info.run_id, tags=dict(tags))
    return str(version.version)


def _aliases(client: MlflowClient, model: str) -> dict[str, str]:
    """Every alias of the registered model and its version; none while there is no such model."""
    found = client.search_registered_models(f"name = '{model}'")
    return {name: str(number) for entry in found for name, number in entry.aliases.items()}


def _experiment(client: MlflowClient, settings: Settings) -> str:
    """The id of our experiment, made when absent; a server decides itself where artifacts go."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    place = None if settings.tracking_uri else (settings.home_path / "artifacts").as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=place))


def _uri(settings: Settings) -> str:
    """The store's URI."""
    return settings.tracking_uri or f"sqlite:///{settings.home_path / 'mlflow.db'}"


def _client(settings: Settings) -> MlflowClient:
    """A client of the store; making the sqlite store takes seconds the first time."""
    if not settings.tracking_uri:
        settings.home_path.mkdir(parents=True, exist_ok=True)
    return _cached_client(_uri(settings))


@functools.cache
def _cached_client(uri: str) -> MlflowClient:
    """One client per store and process."""
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _first_line(error: Exception) -> str:
    """An error's message without its tail, or its name when it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
