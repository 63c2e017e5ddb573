"""The commands that run the service, as real processes: what they start they stop, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from features import postgres
from features.settings import Settings
from tests.service import REPOSITORY, free_port

WAIT_SECONDS = 60.0


@pytest.fixture
def home() -> Iterator[Settings]:
    """Settings with an empty home that every account can enter; its server is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="vernissage-commands-"))
    folder.chmod(0o711)
    settings = Settings(home=str(folder))
    try:
        yield settings
    finally:
        postgres.stop(settings)
        shutil.rmtree(folder)


def vernissage(home: Settings, *words: str, **environment: str) -> subprocess.Popen[str]:
    """The command as a process of its own, on the embedded database of a home."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "training.cli", *words],
        cwd=REPOSITORY,
        env=inherited | {"VERNISSAGE_HOME": home.home} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def serving(home: Settings, port: int) -> Iterator[None]:
    """A `vernissage serve` that is ready, and is asked to stop in the end."""
    process = vernissage(home, "serve", "--no-watch", "--port", str(port))
    assert process.stdout is not None
    try:
        assert any(line.startswith("READY") for line in process.stdout)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, said


def is_ready(port: int) -> bool:
    """Whether the service there has its database."""
    return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).is_success


def test_a_second_service_leaves_the_database_of_the_first_one_running(home: Settings) -> None:
    """Be it refused for its port or stopped; only the one that started the database stops it."""
    first, second = free_port(), free_port()
    with serving(home, first):
        said, _ = vernissage(home, "serve", "--port", str(first)).communicate(timeout=WAIT_SECONDS)
        assert "Name another: `--port`" in said
        assert postgres.status(home).running
        with serving(home, second):
            assert is_ready(second)
        assert postgres.status(home).running
        assert is_ready(first)
    assert not postgres.status(home).running


def test_a_database_that_was_started_by_hand_is_not_stopped(home: Settings) -> None:
    """`vernissage db start` came first, and `vernissage db stop` is to end it."""
    postgres.start(home, fast=True)
    with serving(home, free_port()):
        pass
    assert postgres.status(home).running


def test_an_unreadable_database_url_is_one_line_and_no_traceback(home: Settings) -> None:
    """Whatever the command, it says which variable it is."""
    process = vernissage(home, "migrate", DATABASE_URL="nonsense")
    said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1
    assert said.startswith("error: DATABASE_URL cannot be read")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_taken_port_is_said_in_one_line_before_anything_is_started(home: Settings, command: str) -> None:
    """No database is made and no traceback printed; the error says how to name another port."""
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = str(squatter.getsockname()[1])
        process = vernissage(home, command, VERNISSAGE_PORT=port, PORT=port)
        said, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 1
    assert len(said.splitlines()) == 1
    assert f"127.0.0.1:{port} cannot be had: Address already in use" in said
    assert "`--port`, `PORT=... make demo`" in said
    assert list(home.home_path.iterdir()) == []
