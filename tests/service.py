"""The real service as a process of its own, for tests and evidence scripts: started, asked and surely stopped.

    with Service(database_url, home) as service:
        service.client.get("/v1/users/ada/next", params={"limit": 3})

BentoML puts each worker in a session of its own, so that killing a process group would leave them behind. Every
process of a service therefore carries a mark in its environment, and what still carries it in the end is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from features.database import connect
from serving.keys import create_key

REPOSITORY = Path(__file__).parents[1]
APPLICATION = "serving.service:Vernissage"
MARK = "SERVICE_MARK"
READY_SECONDS = 60.0
STOP_SECONDS = 15.0
STARTED = "Completed async startup hook"  # BentoML's line about a worker that listens from now on
PORT_TAKEN = "Address already in use"
TAIL = 4_000  # characters of the log that a failure shows


class Service:
    """One service on one database.

    ``database_url`` is also where `make_key` writes; a service that is to reach it by another way (a proxy) gets that
    as ``environment["VERNISSAGE_DATABASE_URL"]``. ``environment`` overrides everything, an empty value removes a key.
    """

    def __init__(
        self,
        database_url: str,
        home: Path,
        *,
        application: str = APPLICATION,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        folder: Path = REPOSITORY,
    ) -> None:
        self.database_url = database_url
        self.home = home
        self.application = application
        self.workers = workers
        self.environment = dict(environment or {})
        self.log = log or home / "service.log"
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._mark = uuid.uuid4().hex
        self._log_start = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> Self:
        """Start it and, with ``wait``, return when it is ready. Raises RuntimeError with the log's tail."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._log_start = len(self.read_log())
        self._launch()
        if wait:
            self.wait_until_ready()
        return self

    def _launch(self) -> None:
        """Start the process."""
        options = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [sys.executable, "-m", "bentoml", "serve", self.application, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--timeout-graceful-shutdown", "3"],
                cwd=self.folder,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self, seconds: float = READY_SECONDS) -> None:
        """Until every worker has started and /readyz says yes.

        Raises RuntimeError when the service ends by itself or takes longer than ``seconds``.
        """
        end = time.monotonic() + seconds
        while not (self.started_workers() >= self.workers and self.is_ready()):
            ended = self.process is None or self.process.poll() is not None
            if (
                ended and PORT_TAKEN in self.read_log()[self._log_start :]
            ):  # BentoML draws ports for itself; a rare race
                self._log_start = len(self.read_log())
                self._launch()
            elif ended:
                raise RuntimeError(f"the service ended by itself:\n{self.read_log()[-TAIL:]}")
            if time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"the service was not ready within {seconds:g} s:\n{self.read_log()[-TAIL:]}")
            time.sleep(0.05)

    def wait_until_listening(self, seconds: float = READY_SECONDS) -> None:
        """Until the workers have started, ready or not. Raises RuntimeError with the log's tail."""
        end = time.monotonic() + seconds
        while self.started_workers() < self.workers:
            if time.monotonic() > end:
                raise RuntimeError(f"the service did not start:\n{self.read_log()[-TAIL:]}")
            time.sleep(0.05)

    def started_workers(self) -> int:
        """How many workers have started since `start`, replaced ones counted too."""
        return self.read_log()[self._log_start :].count(STARTED)

    def is_ready(self) -> bool:
        """Whether /readyz answers 200."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> float:
        """Ask it to end, kill what does not, and return the seconds that took; harmless when it has ended."""
        started = time.monotonic()
        for client in (self.__dict__.pop("client", None), self.__dict__.pop("stranger", None)):
            if client is not None:
                client.close()
        if self.process is not None:
            self._wake()
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(STOP_SECONDS)
            self.kill()
        return time.monotonic() - started

    def kill(self) -> None:
        """End every process of the service at once (SIGKILL)."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def processes(self) -> list[psutil.Process]:
        """The living processes of the service: BentoML's supervisor, its helpers and the workers."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def worker_processes(self) -> list[psutil.Process]:
        """The processes that answer requests."""
        return [process for process in self.processes() if "_bentoml_impl.worker.service" in process.cmdline()]

    def make_key(self, *scopes: str) -> str:
        """A new API key."""
        with connect(self.database_url) as connection:
            return create_key(connection, list(scopes), "test")

    @cached_property
    def key(self) -> str:
        """A key that may do everything."""
        return self.make_key("admin")

    @cached_property
    def client(self) -> httpx.Client:
        """A client that carries the key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    @cached_property
    def stranger(self) -> httpx.Client:
        """A client without a key."""
        return httpx.Client(base_url=self.url, timeout=30)

    def next(self, user_id: str, session_id: str = "", **parameters: Any) -> dict[str, Any]:
        """A list for a user. Raises httpx.HTTPStatusError unless it is answered 200."""
        asked = {"session_id": session_id} | parameters
        return self.client.get(f"/v1/users/{user_id}/next", params=asked).raise_for_status().json()

    def display(self, user_id: str, artwork_ids: Sequence[str], session_id: str | None = None) -> dict[str, Any]:
        """Record that the user was shown these artworks. Raises httpx.HTTPStatusError unless it is answered 200."""
        body = {"user_id": user_id, "artwork_ids": list(artwork_ids), "session_id": session_id}
        return self.client.post("/v1/impressions", json=body).raise_for_status().json()

    def record(self, *events: Mapping[str, Any]) -> dict[str, Any]:
        """Record events. Raises httpx.HTTPStatusError unless it is answered 200."""
        return self.client.post("/v1/impressions", json={"events": list(events)}).raise_for_status().json()

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics, by name with its labels as Prometheus writes them."""
        lines = self.stranger.get("/metrics").raise_for_status().text.splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def read_log(self) -> str:
        """Everything that all its processes have written."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def log_lines(self) -> Iterator[dict[str, Any]]:
        """The lines of our own log, parsed; BentoML's are left out."""
        for line in self.read_log().splitlines():
            if line.startswith("{"):
                yield json.loads(line)

    def _environment(self) -> dict[str, str]:
        """The environment of the process: ours without any setting, then what this service is to have."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("VERNISSAGE_") and name not in {"DATABASE_URL", "PROMETHEUS_MULTIPROC_DIR"}
        }
        own = {
            "VERNISSAGE_DATABASE_URL": self.database_url,
            "VERNISSAGE_HOME": str(self.home),
            "VERNISSAGE_WORKERS": str(self.workers),
            "BENTOML_HOME": str(self.home / "bentoml"),  # two services under one would delete each other's metrics
            "BENTOML_DO_NOT_TRACK": "True",
            MARK: self._mark,
        }
        return {name: value for name, value in (inherited | own | self.environment).items() if value}

    def _wake(self) -> None:
        """Resume what a test has suspended, so that it can hear that it is to end."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether a process carries this service's mark."""
        try:
            return process.environ().get(MARK) == self._mark
        except (psutil.AccessDenied, psutil.NoSuchProcess, OSError):
            return False


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
