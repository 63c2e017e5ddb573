"""Models that are missing, broken, raising or asleep: the next rung answers, and it is counted and said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import cases
from tests.service import Service


@pytest.fixture(scope="module")
def service(pool_url: str, folder: Path, faults: Path) -> Iterator[Service]:
    """A service whose rankers can be troubled; no bundle is live at first."""
    environment = {cases.FAULTS: str(faults)}
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
    assert found.facts == {"rungs": [2, 3, 4], "missing": 3, "bundle": "absent"}


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
    assert found.facts["late_added_ms"] < 500
    assert found.facts["busy_added_ms"] < 500
    assert found.facts["ready"]
    assert found.facts["woke_after"] < 5


def test_corrupt_bundles_are_refused_and_what_serves_goes_on(pool_url: str, folder: Path) -> None:
    """Each damage is refused once, at the start and later; then a good bundle is loaded without a failed request."""
    found = cases.corrupt_bundles(pool_url, folder / "corrupt")
    assert found.failures == 0
    assert found.seen_offered == found.drawn_twice == found.lost == 0
    assert found.facts["at_start"] == found.facts["refused"] == "refused"
    assert found.facts["without"] is None
    assert found.facts["kept"] == ["good-1"] * len(cases.DAMAGES)
    assert found.facts["finally_"] == "ok"
    assert found.facts["load_seconds"] < 10
    assert found.facts["lines"] == [f"bad-{number}" for number in range(2 * len(cases.DAMAGES))]
    assert found.facts["refusals"] == 2 * len(cases.DAMAGES)
