"""Planning loops as processes of their own: started beside a service, watched by their log, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from serving.generation.painter import usual_range
from tests.service import REPOSITORY

STOP_SECONDS = 30.0


class Loop:
    """One `vernissage plan --loop` on a database, with the home of the service beside it."""

    def __init__(self, database_url: str, home: Path, log: Path, environment: Mapping[str, str] | None = None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERNISSAGE_")}
        own = {"VERNISSAGE_DATABASE_URL": database_url, "VERNISSAGE_HOME": str(home)}
        self.environment = inherited | own | dict(environment or {})
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it."""
        command = [sys.executable, "-m", "training.cli", "plan", "--loop"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        return self

    def stop(self) -> None:
        """Ask it to end; harmless when it has."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log about one event, in order."""
        text = self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""
        lines = (json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}"))
        return [line for line in lines if line.get("event") == event]

    @property
    def leads(self) -> bool:
        """Whether it said last that it leads."""
        changes = sorted([*self.said("leads"), *self.said("follows")], key=lambda line: str(line["timestamp"]))
        return bool(changes) and changes[-1]["event"] == "leads"


def dna_text(seed: int) -> str:
    """A DNA vector as the host stores it."""
    low, high = usual_range()
    drawn = low + np.random.default_rng(seed).random(len(low)) * (high - low)
    return json.dumps([round(float(number), 4) for number in drawn])
