"""Models that are missing, broken, raising or asleep: the next rung answers, and it is counted and said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from features.database import make_pool, query, transaction
from features.errors import BadBundleError
from features.host import introspect
from features.settings import Settings
from serving import bundle as bundles
from serving.bundle import Manifest
from serving.live import Live
from serving.model import make_model
from tests.faults import cases
from tests.service import Service

COUNT, WIDTH = 4, 2
SOUND = {
    "artwork_ids": np.array(["a", "b", "c", "d"]),
    "factors": np.ones((COUNT, WIDTH), np.float32),
    "prior": np.ones(COUNT, np.float32),
    "projection": np.ones((COUNT, WIDTH), np.float32),
    "gram": np.eye(WIDTH, dtype=np.float32),
}
MANIFEST = Manifest(
    kind="factors",
    model="nmf",
    version="1",
    fold_in="nonnegative",
    created_at="2025-11-01T00:00:00Z",
    snapshot="0" * 64,
    half_life_days=90.0,
)


@pytest.fixture(scope="module")
def service(pool_url: str, folder: Path, faults: Path) -> Iterator[Service]:
    """A service whose rankers can be troubled; no bundle is live at first."""
    environment = {cases.FAULTS: str(faults), "VERNISSAGE_RANK_DEADLINE_MS": "150"}  # for machines that are busy
    with Service(pool_url, folder / "service", application=cases.FAULTY, environment=environment) as started:
        yield started


@pytest.fixture(scope="module")
def ranked(service: Service, pool_url: str, folder: Path) -> Service:
    """The same service, with a good bundle live."""
    cases.publish(pool_url, folder, "good")
    cases.wait_for("the bundle", lambda: cases.live_version(service) == "good")
    return service


def test_without_a_bundle_the_lower_rungs_answer(service: Service) -> None:
    """No model: lists come from rungs 2 to 4, health says so and the absence is counted."""
    found = cases.no_bundle(service)
    assert found.failures == 0
    assert found.facts == {"rungs": [2, 3, 4], "uncounted": 0, "bundle": "absent"}


def test_a_raising_ranker_hands_over_to_the_next_rung(ranked: Service, faults: Path) -> None:
    """The model breaks: nearness answers; that breaks as well: the heuristic does; each is counted as broken."""
    found = cases.raising_rankers(ranked, faults)
    assert found.failures == 0
    assert found.facts == {
        "model_broken_rungs": [2],
        "both_broken_rungs": [4],
        "after_rungs": [1],
        "model_broken": 2,
        "content_broken": 1,
        "bundle": "ok",
    }


def test_a_sleeping_ranker_costs_little_more_than_its_deadline(ranked: Service, faults: Path) -> None:
    """Late, then busy once all threads are stuck; the service stays ready and the model comes back when it wakes."""
    found = cases.sleeping_ranker(ranked, faults)
    assert found.failures == 0
    assert found.facts["late"] == cases.RANK_THREADS
    assert found.facts["busy"] >= cases.RANK_THREADS
    assert found.facts["late_added_ms"] < 3_000
    assert found.facts["busy_added_ms"] < 3_000
    assert found.facts["ready"]
    assert found.facts["woke_after"] < 20


def test_corrupt_bundles_are_refused_and_what_serves_goes_on(pool_url: str, folder: Path) -> None:
    """Each damage is refused once, at the start and later; then a good bundle is loaded without a failed request."""
    found = cases.corrupt_bundles(pool_url, folder / "corrupt")
    assert found.facts["workers"] == 1
    assert found.failures == 0
    assert found.seen_offered == found.drawn_twice == found.lost == 0
    assert found.facts["at_start"] == found.facts["refused"] == "refused"
    assert found.facts["without"] is None
    assert found.facts["kept"] == ["good-1"] * len(cases.DAMAGES)
    assert found.facts["finally_"] == "ok"
    assert found.facts["load_seconds"] < 30
    assert found.facts["lines"] == [f"bad-{number}" for number in range(2 * len(cases.DAMAGES))]
    assert found.facts["refusals"] == 2 * len(cases.DAMAGES)


@pytest.mark.parametrize("damage", cases.DAMAGES)
def test_a_worker_that_starts_with_a_corrupt_bundle_has_none(settings: Settings, tmp_path: Path, damage: str) -> None:
    """Each damage alone; the pool is read all the same."""
    cases.stock(settings.database_url, artworks=8)
    cases.publish_damaged(settings.database_url, tmp_path, "bad", damage)

    async def scene() -> None:
        async with make_pool(settings.database_url, settings) as pool:
            async with transaction(pool) as connection:
                host = introspect(await (await connection.execute(query("host_columns"))).fetchall())
            live = Live(pool, host, settings)
            await live.start()
            await live.stop()
            assert live.view.model is None
            assert "version bad" in (live.refusal or "")
            assert live.view.catalogue.size == 8

    asyncio.run(scene())


@pytest.mark.parametrize(
    "spoilt",
    [
        {"artwork_ids": np.array("a")},
        {"artwork_ids": np.array([["a", "b"], ["c", "d"]])},
        {"factors": np.ones(COUNT, np.float32)},
        {"factors": np.float32(1)},
        {"factors": np.ones((COUNT, WIDTH + 1), np.float32)},
        {"prior": np.ones((COUNT, 1), np.float32)},
        {"projection": np.ones((COUNT, WIDTH + 1), np.float32)},
        {"gram": np.ones((WIDTH, WIDTH + 1), np.float32)},
        {"gram": -np.eye(WIDTH, dtype=np.float32)},
    ],
    ids=lambda spoilt: f"{next(iter(spoilt))}{np.shape(next(iter(spoilt.values())))}",
)
def test_arrays_that_no_ranker_can_score_with_are_refused(tmp_path: Path, spoilt: dict[str, np.ndarray]) -> None:
    """Checksums are right, but what they cover would raise at every request."""
    with pytest.raises(BadBundleError):
        make_model(bundles.save(tmp_path, MANIFEST, SOUND | spoilt))
