"""Clients that hang up in the middle or never finish: nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import cases
from tests.service import Service


@pytest.fixture(scope="module")
def service(pool_url: str, folder: Path, faults: Path) -> Iterator[Service]:
    """A service with a bundle, which waits two seconds for a body."""
    cases.publish(pool_url, folder, "good")
    environment = {cases.FAULTS: str(faults), "VERNISSAGE_BODY_WAIT_SECONDS": str(cases.BODY_SECONDS)}
    with Service(pool_url, folder / "service", application=cases.FAULTY, environment=environment) as started:
        yield started


def test_clients_that_hang_up_disturb_nobody(service: Service, faults: Path) -> None:
    """While their list is made, and in the middle of their body: counted, no trace, and the user's lock is free."""
    found = cases.clients_that_leave(service, faults)
    assert found.failures == 0
    assert found.facts == {"gone": cases.SLOW_CLIENTS, "traces": 0}
    assert found.slowest < cases.BODY_SECONDS + 2


def test_clients_that_never_finish_their_body_disturb_nobody(service: Service) -> None:
    """The others are served meanwhile, and the slow ones are refused with a code in the end."""
    found = cases.clients_that_dawdle(service)
    assert found.failures == 0
    assert found.slowest < cases.BODY_SECONDS + 2
    assert found.facts["refused"] == cases.SLOW_CLIENTS
    assert found.facts["waited"] < cases.BODY_SECONDS + 3
