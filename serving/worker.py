"""Everything that one worker process holds, built once; it starts without the database and waits for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
import psycopg

from features.coverage import Coverage
from features.database import Pool, make_pool, query, transaction
from features.errors import DatabaseUnavailableError, SchemaMissingError, VernissageError
from features.host import Host, introspect
from features.settings import Settings
from serving import telemetry, tokens
from serving.experiments.registry import Registry
from serving.generation.breakers import Breakers
from serving.generation.budget import Budget
from serving.generation.needs import Needs
from serving.generation.orders import Ledger
from serving.generation.planning import Planning
from serving.generation.watch import GenerationWatch
from serving.host_lists import HostLists
from serving.host_monitor import HostMonitor
from serving.host_sightings import HostSightings
from serving.impressions import Impressions
from serving.keys import Key, KeyRing
from serving.leases import Leases
from serving.library import Library
from serving.live import Live
from serving.ranking import Ask, choose_candidates
from serving.recommend import Recommender
from serving.sessions import Sessions
from serving.signing import load_hook

RETRY_SECONDS = 0.5
AHEAD_SECONDS = 1.0  # between two rounds of reading artworks ahead


@dataclass(frozen=True)
class Parts:
    """What needs the database to be built."""

    host: Host
    leases: Leases
    live: Live
    recommender: Recommender
    impressions: Impressions
    sessions: Sessions
    library: Library
    host_lists: HostLists
    host_sightings: HostSightings
    host_monitor: HostMonitor
    needs: Needs
    planning: Planning
    ledger: Ledger
    breakers: Breakers
    watch: GenerationWatch
    registry: Registry
    secret: str  # the installation's own: pseudonyms in logs, signatures of tokens


class Worker:
    """One worker's parts and their life."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self.settings = settings
        self.pool: Pool = make_pool(database_url, settings)
        self.keys = KeyRing(self.pool, settings.key_cache_seconds)
        self.resign = load_hook(settings.resign_hook)
        self.budget = Budget(settings)
        self.stopping = asyncio.Event()  # what goes on for long ends by itself
        self._parts: Parts | None = None
        self._preparing: asyncio.Task[None] | None = None

    @property
    def parts(self) -> Parts:
        """The parts. Raises DatabaseUnavailableError while the database has not been seen yet."""
        if self._parts is None:
            raise DatabaseUnavailableError(reason="not reached yet since the service started")
        return self._parts

    @property
    def ready(self) -> bool:
        """Whether the pool has been read."""
        return self._parts is not None and self._parts.live.ready.is_set()

    async def start(self) -> None:
        """Open the pool and prepare; when the database is away, go on trying in the background."""
        await self.pool.open(wait=False)
        try:
            await self._prepare()
        except VernissageError as error:
            telemetry.get_logger().warning("waiting for the database", error=str(error))
            self._preparing = asyncio.create_task(self._prepare_later())

    async def stop(self) -> None:
        """Stop the loops and close the pool."""
        if self._preparing:
            self._preparing.cancel()
        if self._parts:
            await self._parts.live.stop()
            self._parts.recommender.close()
        await self.pool.close()

    async def caller(self, token: str) -> Key | None:
        """Who sends this bearer token: a key's holder, or a browser with a token for one user."""
        if not token.startswith(tokens.PREFIX):
            return await self.keys.find(token)
        user_id = tokens.user_of(self.parts.secret, token)
        return None if user_id is None else Key("token", frozenset({"frontend"}), user_id)

    def pseudonym(self, user_id: str) -> str:
        """What stands for a user in our logs; a dash until the installation's secret has been read."""
        return telemetry.pseudonym(self._parts.secret, user_id) if self._parts else "-"

    async def coverage(self, user_id: str) -> Coverage:
        """The user's coverage of what is eligible for the user."""
        parts = self.parts
        ask = Ask(user_id, "", 1)
        async with parts.leases.locked([ask]) as (_, (state,)):
            pass
        catalogue = parts.live.view.catalogue
        candidates = choose_candidates(catalogue, state, ask)
        eligible_seen = candidates.eligible - candidates.unseen_total
        held = int(np.isin(candidates.rows, catalogue.rows(state.held)).sum())  # those that left the pool do not count
        leased = candidates.excluded["leased"] + held
        return Coverage(candidates.eligible, eligible_seen, leased, self.settings.seconds_per_artwork)

    async def database_answers(self) -> float | None:
        """Seconds that the database took to answer, or None when it is away."""
        start = time.perf_counter()
        try:
            async with transaction(self.pool) as connection:
                await connection.execute("SELECT 1")
        except DatabaseUnavailableError:
            return None
        return time.perf_counter() - start

    async def _prepare(self) -> None:
        """Look at the host's tables, say in one line what they lack, and start what reads them."""
        try:
            async with transaction(self.pool) as connection:
                host = introspect(await (await connection.execute(query("host_columns"))).fetchall())
                row = await (await connection.execute(query("installation_secret"))).fetchone()
        except psycopg.errors.UndefinedTable as error:
            raise SchemaMissingError from error
        if host.missing:
            telemetry.get_logger().info("the host's tables lack " + ", ".join(host.missing))
        live = Live(self.pool, host, self.settings)
        ledger = Ledger(self.pool, self.budget, self.settings)
        breakers = Breakers(self.pool, self.settings)
        watch = GenerationWatch(self.pool, self.budget, ledger, breakers)
        leases = Leases(self.pool, host, self.settings)
        await live.start(
            ("generation", watch.refresh, self.settings.generation_poll_seconds),
            ("artworks", lambda: leases.look_ahead(live.view.catalogue.active_keys), AHEAD_SECONDS),
        )
        recommender = Recommender(leases, live, self.settings)
        impressions = Impressions(self.pool, host, self.settings)
        self._parts = Parts(
            host=host,
            leases=leases,
            live=live,
            recommender=recommender,
            impressions=impressions,
            sessions=Sessions(self.pool, self.settings),
            library=Library(self.pool, host),
            host_lists=HostLists(self.pool, host, recommender, self.settings),
            host_sightings=HostSightings(self.pool, impressions, self.settings),
            host_monitor=HostMonitor(self.pool, host),
            needs=Needs(self.pool, host, self.settings),
            planning=Planning(self.pool, host, self.settings),
            ledger=ledger,
            breakers=breakers,
            watch=watch,
            registry=Registry(self.pool, self.settings),
            secret=row[0] if row else "",
        )

    async def _prepare_later(self) -> None:
        """Try again until it works."""
        while self._parts is None:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self._prepare()
            except VernissageError as error:
                telemetry.BACKGROUND_ERRORS.labels("prepare").inc()
                telemetry.get_logger().warning("still waiting for the database", error=str(error))
            except Exception:  # noqa: BLE001 - a task that dies silently would leave the worker unready for ever
                telemetry.BACKGROUND_ERRORS.labels("prepare").inc()
                telemetry.get_logger().exception("still waiting for the database")
