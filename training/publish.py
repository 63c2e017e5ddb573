"""Brings a registered version to the workers: verify, deliver, move the alias, write the row that they watch.

The row in vernissage.live_models is what counts; the alias in the registry is the wish. `deliver` makes the row
follow the alias, whoever moved it. What fails verification is refused, and the row stays as it was.

Connections must be in autocommit mode: row and audit log change together, in one transaction that begins here.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from features.database import query
from features.errors import BadBundleError, NoEarlierVersionError
from features.settings import Settings
from serving import bundle as bundles
from serving.bundle import Bundle, Manifest
from serving.experiments.registry import model_alias
from serving.live import CHAMPION
from training import tracking
from training.probes import check_probes

Action = Literal["publish", "rollback", "refuse"]


@dataclass(frozen=True)
class Outcome:
    """What became of a version; ``reason`` says why it was refused."""

    action: Action
    version: str
    reason: str = ""


@dataclass(frozen=True)
class Delivered:
    """A verified bundle in its final folder."""

    bundle: Bundle
    folder: Path


def publish(
    version: str, settings: Settings, connection: psycopg.Connection, note: Mapping[str, str] | None = None
) -> Delivered:
    """Verify a version, deliver it and move the alias to it; ``note`` goes into the audit log beside its digest.

    Whether it is good enough is training.gate's question, which asks it first. Raises BadBundleError (noted in the
    audit log; nothing moves) or TrackingError.
    """
    return _bring(version, "publish", settings, connection, note or {})


def rollback(settings: Settings, connection: psycopg.Connection) -> Delivered:
    """Publish the version that was live before the present one. Raises NoEarlierVersionError when there is none."""
    line = live_line(_history(connection))
    if len(line) < 2:  # noqa: PLR2004 - the present one and one before it
        raise NoEarlierVersionError(reason=f"live so far: {', '.join(line) or 'none'}")
    return _bring(line[-2], "rollback", settings, connection, {})


def live_line(history: list[Outcome]) -> list[str]:
    """The versions that led to the present one, which is the last; a rollback takes away what it undid.

    >>> said = [("publish", "1"), ("publish", "2"), ("refuse", "9"), ("publish", "3"), ("rollback", "2")]
    >>> live_line([Outcome(action, version) for action, version in said])
    ['1', '2']
    """
    line: list[str] = []
    for outcome in history:
        if outcome.action == "refuse" or line[-1:] == [outcome.version]:
            continue
        if outcome.action == "rollback" and outcome.version in line:
            while line[-1] != outcome.version:
                line.pop()
        else:
            line.append(outcome.version)
    return line


def deliver(settings: Settings, connection: psycopg.Connection) -> Outcome | None:
    """Look at the alias once and make the live row follow it; None when there was nothing to do.

    A broken version is refused once: the row stays, with the refusal noted on it and in the audit log. Raises
    TrackingError when the registry is away.
    """
    with _one_at_a_time(connection):
        version = tracking.alias(settings, CHAMPION)
        if version is None or _is_delivered(version, connection):
            return None
        if _history(connection)[-1:] == [Outcome("refuse", version)]:
            return None
        try:
            delivered = fetch(version, settings)
        except BadBundleError as error:
            _refuse(version, error, connection)
            return Outcome("refuse", version, str(error))
        _set_live(version, "publish", delivered, connection, {})
        return Outcome("publish", version)


def deliver_for_experiment(version: str, settings: Settings, connection: psycopg.Connection) -> Delivered:
    """Bring a version to the workers for the arm of an experiment; what is live stays.

    Raises BadBundleError or TrackingError.
    """
    with _one_at_a_time(connection):
        delivered = fetch(version, settings)
        row = {"alias": model_alias(version), "version": version, "bundle_path": str(delivered.folder)}
        connection.execute(query("set_live_model"), {**row, "digest": delivered.bundle.digest})
        return delivered


def fetch(version: str, settings: Settings) -> Delivered:
    """Download a version, verify it, and put it, marked with its version, into a folder of its own in one step.

    Raises BadBundleError or TrackingError. The folder is named by version and digest, so that it never changes.
    """
    settings.bundles_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=settings.bundles_path) as scratch:
        found = bundles.load(tracking.download(settings, version, Path(scratch) / "download"))
        check_probes(found, Path(f"version {version}"))
        manifest = msgspec.structs.replace(found.manifest, version=version)
        ready = bundles.save(Path(scratch) / "ready", manifest, found.arrays)
        folder = settings.bundles_path / f"{version}-{ready.digest[:12]}"
        _settle(Path(scratch) / "ready", folder, ready)
    return Delivered(ready, folder)


def _settle(ready: Path, folder: Path, bundle: Bundle) -> None:
    """Move a complete bundle to its place; a sound one that is there already stays, a damaged one goes."""
    if folder.exists():
        if _is_sound(folder, bundle.digest):
            return
        shutil.rmtree(folder)
    ready.rename(folder)


def _is_sound(folder: Path, digest: str) -> bool:
    """Whether the folder holds exactly this bundle."""
    try:
        return bundles.load(folder).digest == digest
    except BadBundleError:
        return False


def _bring(
    version: str, action: Action, settings: Settings, connection: psycopg.Connection, note: Mapping[str, str]
) -> Delivered:
    """Verify first and move the alias then; should the row fail after that, the watcher writes it."""
    with _one_at_a_time(connection):
        try:
            delivered = fetch(version, settings)
        except BadBundleError as error:
            _refuse(version, error, connection)
            refusal = error
        else:
            tracking.move_alias(settings, CHAMPION, version)
            _set_live(version, action, delivered, connection, note)
            return delivered
    raise refusal


@contextlib.contextmanager
def _one_at_a_time(connection: psycopg.Connection) -> Iterator[None]:
    """One transaction, one publisher or watcher at a time: else both would write what one of them did."""
    with connection.transaction():
        connection.execute(query("lock_publishing"))
        yield


def _set_live(
    version: str, action: Action, delivered: Delivered, connection: psycopg.Connection, note: Mapping[str, str]
) -> None:
    """Write the row that workers watch, and the audit log."""
    row = {"alias": CHAMPION, "version": version, "bundle_path": str(delivered.folder)}
    connection.execute(query("set_live_model"), {**row, "digest": delivered.bundle.digest})
    audit(action, version, {"digest": delivered.bundle.digest, **note}, connection)


def _refuse(version: str, error: BadBundleError, connection: psycopg.Connection) -> None:
    """Note the refusal beside the live row, which stays; workers log and count it from there."""
    reason = str(error)
    connection.execute(query("refuse_model"), {"alias": CHAMPION, "version": version, "reason": reason})
    audit("refuse", version, {"reason": reason}, connection)


def audit(
    action: Action | Literal["hold"], version: str, detail: Mapping[str, str], connection: psycopg.Connection
) -> None:
    """Write one entry in the name of the account that runs this."""
    entry = {"actor": _account(), "action": action, "subject": version, "detail": Jsonb(dict(detail))}
    connection.execute(query("audit"), entry)


def _account() -> str:
    """The account's name, or its number where it has none, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def live_version(connection: psycopg.Connection) -> str | None:
    """The version that workers are told to serve, or None."""
    row = connection.execute(query("live_model"), {"alias": CHAMPION}).fetchone()
    return None if row is None else str(row[0])


def note_drift(drift: float, connection: psycopg.Connection) -> None:
    """Write beside the live row how far the data have moved; workers report it as a metric."""
    connection.execute(query("note_drift"), {"alias": CHAMPION, "drift": drift})


def manifest_of(version: str, settings: Settings) -> Manifest:
    """What a registered version says of itself. Raises BadBundleError or TrackingError."""
    with tempfile.TemporaryDirectory(prefix="vernissage-") as scratch:
        return bundles.load(tracking.download(settings, version, Path(scratch))).manifest


def live_bundle(connection: psycopg.Connection) -> Bundle | None:
    """The bundle that workers are told to serve, or None. Raises BadBundleError when this machine lacks it."""
    row = connection.execute(query("live_model"), {"alias": CHAMPION}).fetchone()
    return None if row is None else bundles.load(Path(row[1]))


def _is_delivered(version: str, connection: psycopg.Connection) -> bool:
    """Whether the live row names this version and its bundle is there."""
    row = connection.execute(query("live_model"), {"alias": CHAMPION}).fetchone()
    return row is not None and row[0] == version and (Path(row[1]) / bundles.MANIFEST).is_file()


def _history(connection: psycopg.Connection) -> list[Outcome]:
    """What happened to the models so far, oldest first."""
    rows = connection.execute(query("model_history")).fetchall()
    return [Outcome(action, version) for action, version in rows]
