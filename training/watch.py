"""The watcher: one small process that makes the live model follow the registry's alias, whoever moves it.

It answers no requests. While it is down, workers go on with what they have; several at once do no harm.
"""

from __future__ import annotations

import re
import signal
import threading
from typing import Protocol

from features.database import connect
from features.settings import Settings
from serving.telemetry import get_logger
from training.publish import Outcome, deliver

_ADDRESS = re.compile(r"0x[0-9a-f]+")  # in some drivers' messages; it would make each trouble a new one


class Watcher:
    """Looks at the alias again and again; says each trouble once, until it is over."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._settings = settings
        self._database_url = database_url
        self._trouble = ""

    def run(self, stopped: threading.Event) -> None:
        """Look every `registry_poll_seconds` until stopped."""
        get_logger().info("watching the registry", model=self._settings.registered_model)
        while not stopped.is_set():
            self.look()
            stopped.wait(self._settings.registry_poll_seconds)

    def look(self) -> None:
        """One look; whatever is away is tried again at the next."""
        try:
            with connect(self._database_url, autocommit=True) as connection:
                outcome = deliver(self._settings, connection)
        except Exception as error:  # noqa: BLE001 - a watcher that dies would freeze the live model unnoticed
            self._note(_ADDRESS.sub("...", f"{type(error).__name__}: {error}"))
            return
        self._note("")
        if outcome is not None:
            _say(outcome)

    def _note(self, trouble: str) -> None:
        """Say a new trouble, and the end of one."""
        if trouble and trouble != self._trouble:
            get_logger().error("the alias cannot be followed, trying again", reason=trouble)
        if self._trouble and not trouble:
            get_logger().info("the alias is followed again")
        self._trouble = trouble


class Loop(Protocol):
    """What runs until it is told to stop."""

    def run(self, stopped: threading.Event) -> None:
        """Until the event is set."""


def run_until_stopped(*loops: Loop) -> None:
    """Run side by side until SIGINT or SIGTERM; the looks under way are finished first."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    beside = [threading.Thread(target=loop.run, args=(stopped,)) for loop in loops[1:]]
    for thread in beside:
        thread.start()
    loops[0].run(stopped)
    for thread in beside:
        thread.join()


def _say(outcome: Outcome) -> None:
    """One line for what became of a version."""
    if outcome.action == "refuse":
        get_logger().error("bundle refused, the old one keeps serving", version=outcome.version, reason=outcome.reason)
    else:
        get_logger().info("version is live", version=outcome.version)
