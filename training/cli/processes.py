"""Child processes that end when we end: started in order, stopped in reverse, killed when they do not listen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

STOP_SECONDS = 10.0
LOOK_SECONDS = 0.2


class Stopped(BaseException):
    """SIGTERM or SIGINT asks us to end; not an Exception, so that nothing takes it for a failure."""


@contextlib.contextmanager
def children() -> Iterator[Children]:
    """A group of processes, stopped on leaving, then its ``at_end`` is called; SIGINT and SIGTERM end it quietly."""
    group = Children()
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield group
    except Stopped:
        pass  # what was asked for
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave anything running
        group.stop()
        if group.at_end is not None:
            group.at_end()
        for number, handler in before.items():
            signal.signal(number, handler)


class Children:
    """The processes started so far."""

    def __init__(self) -> None:
        self.at_end: Callable[[], object] | None = None  # called once all are stopped
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start one, in a session of its own, so that Ctrl-C reaches us alone and we stop it in turn."""
        process = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)  # noqa: S603 - ours
        self._running.append((name, process))

    def wait(self) -> str:
        """Block until one ends by itself, and return its name."""
        while True:
            for name, process in self._running:
                if process.poll() is not None:
                    return name
            time.sleep(LOOK_SECONDS)

    def ended(self) -> str | None:
        """The name of one that has ended, if any has."""
        return next((name for name, process in self._running if process.poll() is not None), None)

    def stop(self) -> None:
        """End all, the last one first."""
        for _, process in reversed(self._running):
            _end(process)
        self._running.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process, then kill its whole session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _stop(number: int, _: FrameType | None) -> None:
    """The signal handler."""
    raise Stopped(number)
