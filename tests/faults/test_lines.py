"""The pool of connections over a line that breaks: every wait ends, and no broken connection is used again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

import msgspec
import psycopg
import pytest

from features.database import SURE_SECONDS, Pool, connect, make_pool, query, transaction
from features.errors import DatabaseUnavailableError
from features.host import Host, introspect
from features.pool_reading import pool_counts
from features.settings import Settings
from serving.impressions import Impressions, displays
from serving.leases import Leases
from serving.live import Live
from serving.ranking import Ask
from tests.proxy import Proxy

WAIT, LIMIT = 0.4, 1.2  # seconds: for a connection, and for a whole transaction
SLACK = 0.5


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A breakable line to the test's database."""
    with Proxy(database_url) as opened:
        yield opened


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    """Settings that make the tests quick."""
    return msgspec.structs.replace(settings, database_wait_seconds=WAIT, transaction_seconds=LIMIT, pool_max=3)


@contextlib.asynccontextmanager
async def opened(proxy: Proxy, settings: Settings) -> AsyncIterator[Pool]:
    """A pool over the line, with a connection in it that works."""
    pool = make_pool(proxy.url, settings)
    await pool.open(wait=True)
    try:
        await ask(pool)
        yield pool
    finally:
        proxy.refuse()  # so that closing need not wait for connections in the making
        await pool.close()


async def read_columns(pool: Pool) -> Host:
    """The host's tables, as a worker looks at them."""
    async with transaction(pool) as connection:
        return introspect(await (await connection.execute(query("host_columns"))).fetchall())


async def ask(pool: Pool) -> None:
    """One short transaction."""
    async with transaction(pool) as connection:
        await connection.execute("SELECT 1")


def run(scene: Coroutine[None, None, None]) -> None:
    """Play a scene, which must not last for ever if something waits for ever after all."""
    asyncio.run(asyncio.wait_for(scene, 30))


async def seconds_until_down(work: Awaitable[None]) -> float:
    """How long it takes until the work finds the database away."""
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailableError):
        await work
    return time.monotonic() - started


async def seconds_until_up(pool: Pool) -> float:
    """How long it takes until the database answers again."""
    started = time.monotonic()
    while True:
        with contextlib.suppress(DatabaseUnavailableError):
            await ask(pool)
            return time.monotonic() - started
        assert time.monotonic() - started < 20


async def statement(connection: psycopg.AsyncConnection, stall: Callable[[], None]) -> None:
    """A statement that is not answered; nor would a request to cancel it be."""
    stall()
    await connection.execute("SELECT 2")


async def pipeline(connection: psycopg.AsyncConnection, stall: Callable[[], None]) -> None:
    """Several statements at once, as a request reads its user's state."""
    async with connection.pipeline():
        stall()
        await connection.execute("SELECT 2")
        cursor = await connection.execute("SELECT 3")
        await cursor.fetchone()


async def commit(_: psycopg.AsyncConnection, stall: Callable[[], None]) -> None:
    """The commit may have happened or not; it is not acknowledged."""
    stall()


async def rollback(_: psycopg.AsyncConnection, stall: Callable[[], None]) -> None:
    """An error of the caller's own; the rollback after it is not answered."""
    stall()
    raise LookupError


async def something_else(_: psycopg.AsyncConnection, stall: Callable[[], None]) -> None:
    """The caller waits for something that is not the database, and holds its user's lock meanwhile."""
    stall()
    await asyncio.sleep(60)


@pytest.mark.parametrize("what", [statement, pipeline, commit, rollback, something_else])
def test_a_transaction_over_a_black_hole_ends_with_its_limit(
    proxy: Proxy, impatient: Settings, what: Callable[[psycopg.AsyncConnection, Callable[[], None]], Awaitable[None]]
) -> None:
    """Wherever it is when the line begins to swallow everything."""

    async def stalled(pool: Pool) -> None:
        async with transaction(pool) as connection:
            await connection.execute("SELECT 1")
            await what(connection, proxy.stall)

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            assert await seconds_until_down(stalled(pool)) < LIMIT + SLACK

    run(scene())


def test_asking_for_a_connection_in_a_stall_ends_soon(proxy: Proxy, impatient: Settings) -> None:
    """The check of an idle connection is swallowed, and so is every new one."""

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            await asyncio.sleep(2 * SURE_SECONDS)
            proxy.stall()
            for _ in range(3):
                assert await seconds_until_down(ask(pool)) < WAIT + SLACK

    run(scene())


@pytest.mark.parametrize(("manner", "seconds"), [("stall", 0.5), ("refuse", 3.5)])
def test_the_pool_recovers_soon_after_an_outage_however_long(
    proxy: Proxy, impatient: Settings, manner: str, seconds: float
) -> None:
    """No pause between two attempts grows with the outage, and no connection of before is used again."""

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            getattr(proxy, manner)()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with contextlib.suppress(DatabaseUnavailableError):
                    await ask(pool)
                await asyncio.sleep(0.1)
            proxy.restore()
            assert await seconds_until_up(pool) < 2.5  # a pause that doubles each time would be in its fourth second
            for _ in range(20):
                await ask(pool)

    run(scene())


def test_idle_connections_that_a_firewall_forgot_cost_nobody_a_failure(proxy: Proxy, settings: Settings) -> None:
    """The first check that is not answered condemns all of them; its request waits for a new one."""
    several = msgspec.structs.replace(settings, pool_min=6)

    async def scene() -> None:
        async with opened(proxy, several) as pool:
            await asyncio.sleep(2 * SURE_SECONDS)
            proxy.forget()
            started = time.monotonic()
            for _ in range(12):
                await ask(pool)
            assert time.monotonic() - started < settings.database_wait_seconds

    run(scene())


def test_a_reset_in_the_middle_is_one_failure_and_the_next_transaction_works(proxy: Proxy, impatient: Settings) -> None:
    """The broken connection does not come back as a good one."""

    async def reset(pool: Pool) -> None:
        async with transaction(pool) as connection:
            await connection.execute("SELECT 1")
            proxy.cut()
            await connection.execute("SELECT 2")

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            await seconds_until_down(reset(pool))
            for _ in range(5):
                await ask(pool)

    run(scene())


def test_connections_that_end_just_after_use_cost_nobody_a_failure(proxy: Proxy, settings: Settings) -> None:
    """They are not asked first whether they live: what has not begun yet begins on another one."""

    async def scene() -> None:
        async with opened(proxy, settings) as pool:
            for _ in range(3):
                await asyncio.gather(*(ask(pool) for _ in range(4)))
                proxy.cut()
                await ask(pool)

    run(scene())


async def hold_as_a_list_does(pool: Pool, settings: Settings, stall: Callable[[], None]) -> None:
    """The user's lock and state, and then the ranking takes its time."""
    async with Leases(pool, await read_columns(pool), settings).locked([Ask("ada", "s", 1)]):
        stall()
        await asyncio.sleep(60)


async def hold_as_impressions_do(pool: Pool, settings: Settings, stall: Callable[[], None]) -> None:
    """The user's lock and the rows, and then the commit."""
    events = displays("ada", "s", ["artwork"])
    writer = Impressions(pool, await read_columns(pool), settings)
    async with transaction(pool, ["ada"]) as connection:
        await (await connection.execute(writer._record, writer._values(events, ["ada"]))).fetchone()
        stall()


@pytest.mark.parametrize("hold", [hold_as_a_list_does, hold_as_impressions_do])
def test_the_server_frees_the_lock_of_a_client_that_was_lost_in_a_stall(
    proxy: Proxy,
    impatient: Settings,
    database_url: str,
    hold: Callable[[Pool, Settings, Callable[[], None]], Awaitable[None]],
) -> None:
    """It never learns that the client hung up; without its own limit the user would be locked out for hours."""

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            await seconds_until_down(hold(pool, impatient, proxy.stall))
            with connect(database_url) as other:
                other.execute("SET statement_timeout = '5s'")
                other.execute("SELECT pg_advisory_xact_lock(hashtextextended('ada', 0))")

    run(scene())


def test_a_transaction_that_the_server_ended_while_idle_says_that_the_database_is_away(
    proxy: Proxy, impatient: Settings
) -> None:
    """As after a pause of the whole process: not an error of ours, and worth trying again."""

    async def doze(pool: Pool) -> None:
        async with transaction(pool) as connection:
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 100")
            time.sleep(0.4)  # noqa: ASYNC251 - the process is meant to stand still
            await connection.execute("SELECT 1")

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            await seconds_until_down(doze(pool))
            await ask(pool)

    run(scene())


def test_a_cancelled_wait_ends_at_once_and_stays_cancelled(proxy: Proxy, impatient: Settings) -> None:
    """A service that shuts down in a stall does not wait for the database's word."""

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            proxy.stall()
            task = asyncio.create_task(ask(pool))
            await asyncio.sleep(0.1)
            task.cancel()
            started = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - started < 2

    run(scene())


def test_the_background_loops_stop_at_once_in_a_stall(proxy: Proxy, impatient: Settings) -> None:
    """They are all in the middle of a question that nobody answers."""

    async def scene() -> None:
        async with opened(proxy, impatient) as pool:
            host = await read_columns(pool)
            live = Live(pool, host, msgspec.structs.replace(impatient, catalogue_poll_seconds=0.01))
            await live.start()
            assert await pool_counts(pool, host) == (0, 0, 0)
            proxy.stall()
            await asyncio.sleep(0.2)
            started = time.monotonic()
            await live.stop()
            assert time.monotonic() - started < 2

    run(scene())
