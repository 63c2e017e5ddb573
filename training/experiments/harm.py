"""Stops experiments that do harm: the guardrails and the sample ratio of those that say `stop_on_harm`.

Its sequences are valid at all times together, so that it may look as often as it likes. Several at once do no harm, and
while none runs the experiments go on.
"""

from __future__ import annotations

import asyncio
import threading
from typing import NamedTuple

from features.database import connect, make_pool, query
from features.errors import ExperimentConflictError
from features.settings import Settings
from serving.experiments.registry import Registry
from serving.telemetry import get_logger
from training.experiments.reading import read_exposed
from training.experiments.report import make_report
from training.experiments.words import alarm_of

ACTOR = "stop on harm"  # whom the audit log names


class Looked(NamedTuple):
    """An experiment that was looked at, and why it was stopped; None: it goes on."""

    name: str
    version: int
    reason: str | None


class Guard:
    """Looks again and again; what is away is tried again at the next look, and said once."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._settings = settings
        self._database_url = database_url
        self._trouble = ""

    def run(self, stopped: threading.Event) -> None:
        """Look every `experiment_guard_seconds` until stopped."""
        while not stopped.is_set():
            self._look()
            stopped.wait(self._settings.experiment_guard_seconds)

    def _look(self) -> None:
        """One look and a line for what it came to."""
        trouble = ""
        try:
            found = stop_harmful(self._settings, self._database_url)
        except Exception as error:  # noqa: BLE001 - a guard that dies would let harm go on unnoticed
            found, trouble = [], type(error).__name__
            if trouble != self._trouble:
                get_logger().error("experiments cannot be guarded, trying again", reason=f"{trouble}: {error}")
        self._trouble = trouble
        for each in found:
            if each.reason is not None:
                get_logger().warning("experiment stopped", name=each.name, version=each.version, reason=each.reason)


def stop_harmful(settings: Settings, database_url: str) -> list[Looked]:
    """Look at every experiment that is to be guarded, and stop those that surely do harm.

    Raises DatabaseUnavailableError.
    """
    with connect(database_url, autocommit=True) as connection:
        guarded = connection.execute(query("guarded_experiments")).fetchall()
        alarms = [
            (name, version, alarm_of(make_report(read_exposed(connection, name, version)))) for name, version in guarded
        ]
    harmful = [(name, version, reason) for name, version, reason in alarms if reason is not None]
    stopped = asyncio.run(_stop(settings, database_url, harmful)) if harmful else set()
    return [Looked(name, version, reason if name in stopped else None) for name, version, reason in alarms]


async def _stop(settings: Settings, database_url: str, harmful: list[tuple[str, int, str]]) -> set[str]:
    """Stop them, but for those that somebody else has stopped meanwhile; the names of ours."""
    pool = make_pool(database_url, settings)
    await pool.open(wait=False)
    stopped = set()
    try:
        for name, version, reason in harmful:
            try:
                await Registry(pool, settings).stop(name, ACTOR, reason, version)
            except ExperimentConflictError:
                continue
            stopped.add(name)
    finally:
        await pool.close()
    return stopped
