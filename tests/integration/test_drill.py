"""The small version of the never-repeat drill: `tests/evidence/never_repeat.py` is the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drill import LEASES, Drill, prepare, run
from tests.service import Service

QUICK = {"pause_seconds": 0.8, "kill_seconds": 5.0, "cut_seconds": 1.0, "crash_seconds": 0.3, "most_seconds": 120.0}


@pytest.fixture
def workers(database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A service of two worker processes with short leases, on a pool of its own."""
    prepare(database_url, Drill(displays=3_000))
    with Service(database_url, tmp_path / "home", workers=2, environment=LEASES) as started:
        yield started


def test_whatever_breaks_no_tab_repeats_what_its_user_saw_and_nothing_acknowledged_is_lost(
    workers: Service, tmp_path: Path
) -> None:
    """3,000 displays, by the tabs' own records, while tabs sleep and crash and workers and connections are killed."""
    verdict = run(workers, Drill(displays=3_000, **_quick()), tmp_path / "record")
    assert verdict.displays >= 3_000
    assert (verdict.repeated, verdict.lost, verdict.unlogged, verdict.inconsistent) == (0, 0, 0, 0), verdict
    for trouble in ("sleeps past the lease", "tabs lost", "reloads", "workers killed", "connections cut", "claims refused"):
        assert verdict.counts[trouble] > 0, verdict


def test_without_the_fence_the_same_drill_shows_repeats(workers: Service, tmp_path: Path) -> None:
    """So the drill can fail."""
    verdict = run(workers, Drill(displays=1_500, fenced=False, **_quick()), tmp_path / "record")
    assert verdict.repeated > 10, verdict


def _quick() -> dict[str, Any]:
    """Everything breaks sooner, for there is less time."""
    return dict(QUICK)
