"""The database away, silent, killed; a worker killed: what clients meet, and that nothing they were told is lost."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from features import postgres
from features.database import connect
from features.errors import DatabaseUnavailableError
from features.migrate import migrate
from features.settings import Settings
from serving.worker import Worker
from tests.conftest import with_database
from tests.faults import cases
from tests.faults.clients import Report
from tests.proxy import Proxy
from tests.service import Service

DOWN = "database_unavailable"
REQUEST_SECONDS = 10.0  # whatever happens, a request has ended by then
RECOVERY_SECONDS = 6.0


@pytest.fixture(scope="module")
def proxy(pool_url: str) -> Iterator[Proxy]:
    """The line between the service and its database."""
    with Proxy(pool_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def service(pool_url: str, proxy: Proxy, folder: Path, faults: Path) -> Iterator[Service]:
    """A service that is not started yet; every list takes some time, so that requests are always in the middle."""
    faults.write_text("content sleep 0.03", "utf-8")
    environment = {"VERNISSAGE_DATABASE_URL": proxy.url, cases.FAULTS: str(faults)}
    service = Service(pool_url, folder / "service", application=cases.FAULTY, environment=environment)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def durable() -> Iterator[Settings]:
    """Settings of a cluster of its own that runs, durable as in production, with a pool in it."""
    home = Path(tempfile.mkdtemp(prefix="vernissage-faults-"))
    home.chmod(0o711)  # as root the server runs as another account, which must get in
    settings = Settings(home=str(home))
    try:
        url = postgres.start(settings)
        with connect(url) as connection:
            migrate(connection, standalone=True)
        cases.stock(url)
        yield settings
    finally:
        postgres.stop(settings)
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def pair(durable: Settings) -> Iterator[Service]:
    """A service of two workers on the durable cluster."""
    with Service(postgres.url(durable), durable.home_path / "service", workers=2) as service:
        yield service


def assert_nothing_promised_is_broken(found: Report) -> None:
    """What holds in every case."""
    assert found.uncoded == 0
    assert found.acknowledged > 0
    assert found.lost == 0
    assert found.seen_offered == found.repeated_in_list == found.drawn_twice == 0
    assert found.slowest < REQUEST_SECONDS


def test_the_service_starts_without_its_database_and_is_ready_once_it_is_there(service: Service, proxy: Proxy) -> None:
    """Until then it is not ready, and every route says that the database is away."""
    found = cases.start_without_database(service, proxy)
    assert found.uncoded == 0
    assert found.facts["readiness_before"] == 503
    assert (found.facts["refused"], found.facts["codes"]) == (4, [DOWN])
    assert found.facts["health"] == "down"
    assert found.facts["ready_after"] < RECOVERY_SECONDS
    assert found.answers["next 200"] == 1


@pytest.mark.parametrize("manner", ["reset", "stalled"])
def test_a_database_away_for_five_seconds_costs_nobody_anything_acknowledged(
    service: Service, proxy: Proxy, pool_url: str, manner: cases.Manner
) -> None:
    """Connections cut in the middle, or swallowing everything: 503 with a code, then all is well by itself."""
    found = cases.outage(service, proxy, pool_url, manner, manner)
    assert_nothing_promised_is_broken(found)
    assert found.facts["in_outage"] > 0
    assert found.facts["codes"] == [DOWN]
    assert found.facts["recovered_after"] < RECOVERY_SECONDS
    assert found.broken_connections == 0


@pytest.mark.parametrize("hosted", [False, True])
def test_a_database_without_our_schema_is_waited_for(cluster: str, tmp_path: Path, hosted: bool) -> None:
    """Quite empty, or with the host's tables alone: a worker says what it lacks, and is ready once it is there."""
    name = f"vernissage_empty_{uuid.uuid4().hex[:12]}"
    url = with_database(cluster, name)

    async def scene() -> None:
        if hosted:
            with connect(url) as connection:
                connection.execute(resources.files("features").joinpath("sql/host_tables.sql").read_text("utf-8"))
        worker = Worker(Settings(home=str(tmp_path)), url)
        await worker.start()
        with pytest.raises(DatabaseUnavailableError):
            _ = worker.parts
        with connect(url) as connection:
            migrate(connection, standalone=not hosted)
        assert worker._preparing is not None
        await asyncio.wait_for(worker._preparing, RECOVERY_SECONDS)
        assert worker.ready
        await worker.stop()

    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        asyncio.run(scene())
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_service_ends_in_time_while_the_database_is_silent(service: Service, proxy: Proxy) -> None:
    """Nothing waits for an answer that does not come."""
    assert cases.stop_in_a_stall(service, proxy) < 20


def test_a_killed_worker_is_replaced_and_the_other_one_goes_on(pair: Service) -> None:
    """Only what was in the middle at the killed one is broken off; it was not acknowledged, and is sent again."""
    found = cases.worker_killed(pair, pair.database_url)
    assert_nothing_promised_is_broken(found)
    assert found.facts["workers"] == 2
    assert found.facts["served_meanwhile"] > 0
    assert found.failures == found.broken_connections <= 6


def test_a_killed_postgresql_starts_again_with_everything_acknowledged(pair: Service, durable: Settings) -> None:
    """All its processes at once, without a chance to write anything down."""
    found = cases.database_killed(pair, durable)
    assert_nothing_promised_is_broken(found)
    assert found.facts["codes"] in ([], [DOWN])
    assert found.facts["recovered_after"] < RECOVERY_SECONDS
    assert found.broken_connections == 0
