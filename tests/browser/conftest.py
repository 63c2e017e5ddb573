"""Fixtures of the tests in a real browser; without one they are skipped, and say how to install it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from features.database import connect
from tests.browser.screens import HOW_TO_INSTALL, Screen, chromium, find_browser, fresh_context
from tests.host import Host
from tests.service import Service

ARTWORKS = 150
#: Lists come again soon where nothing is left, and a busy machine must not rank late.
ENVIRONMENT = {
    "VERNISSAGE_SECONDS_PER_ARTWORK": "3",
    "VERNISSAGE_CATALOGUE_POLL_SECONDS": "0.1",
    "VERNISSAGE_RANK_DEADLINE_MS": "5000",
}

OpenScreen = Callable[..., Screen]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module: its event loop must not go on under other tests."""
    if find_browser() is None:
        pytest.skip(HOW_TO_INSTALL)
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def displayed(cluster: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a pool of `ARTWORKS`, half of them with DNA of their own."""
    name = f"vernissage_test_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = urlsplit(cluster)._replace(path=f"/{name}").geturl()
        with connect(url, autocommit=True) as connection:
            host = Host(connection)
            host.add_artworks([{"dna_vector": _dna(place) if place % 2 else None} for place in range(ARTWORKS)])
            with Service(url, tmp_path_factory.mktemp("display"), environment=ENVIRONMENT) as service:
                host.wait(service)
                yield service
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def host(displayed: Service) -> Iterator[Host]:
    """The host beside the service."""
    with connect(displayed.database_url, autocommit=True) as connection:
        yield Host(connection)


@pytest.fixture
def user(host: Host) -> str:
    """A user whom the host knows."""
    return host.add_user(f"user-{uuid.uuid4().hex[:8]}", email=f"{uuid.uuid4().hex}@example.org")


@pytest.fixture
def screen(browser: Browser, displayed: Service, user: str) -> Iterator[OpenScreen]:
    """Makes screens of the test's user, all in one context; keyword arguments are the page's options."""
    with contextlib.closing(fresh_context(browser)) as context:

        def make(**options: Any) -> Screen:
            return Screen(context, displayed, user, **options)

        yield make


def _dna(place: int) -> str:
    """A vector of an artwork's own, as the host stores it."""
    return "[" + ",".join(f"{(place * 37 + i * 61) % 100 / 100:.2f}" for i in range(50)) + "]"
