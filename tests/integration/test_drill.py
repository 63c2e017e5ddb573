"""The small version of the never-repeat drill: `tests/evidence/never_repeat.py` is the whole one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drill import LEASES, Drill, prepare, run
from tests.service import Service

QUICK = Drill(
    displays=3_000, pause_seconds=0.8, kill_seconds=5.0, cut_seconds=1.0, crash_seconds=0.3, most_seconds=180.0
)


@pytest.fixture(scope="module")
def workers(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of two worker processes with short leases, on a pool that is enough for both drills."""
    prepare(module_database, dataclasses.replace(QUICK, displays=2 * QUICK.displays))
    with Service(module_database, tmp_path_factory.mktemp("drill"), workers=2, environment=LEASES) as started:
        yield started


def test_whatever_breaks_no_tab_repeats_what_its_user_saw_and_nothing_acknowledged_is_lost(
    workers: Service, tmp_path: Path
) -> None:
    """3,000 displays, by the tabs' own records, while tabs sleep and crash and workers and connections are killed."""
    verdict = run(workers, QUICK, tmp_path / "record")
    assert verdict.displays >= 3_000
    assert (verdict.repeated, verdict.lost, verdict.unlogged, verdict.inconsistent) == (0, 0, 0, 0), verdict
    troubles = ("sleeps past the lease", "claims refused", "tabs lost", "reloads", "workers killed", "connections cut")
    for trouble in troubles:
        assert verdict.counts[trouble] > 0, verdict


def test_without_the_fence_the_same_drill_shows_repeats(workers: Service, tmp_path: Path) -> None:
    """So the drill can fail."""
    verdict = run(workers, dataclasses.replace(QUICK, displays=2_000, fenced=False), tmp_path / "record")
    assert verdict.repeated > 10, verdict
