"""What a worker ranks with right now: the pool's snapshot and the live model, kept up to date by small loops.

Everything here is a copy that is safe to lose. A bundle that cannot be loaded is refused: the old one stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from psycopg.rows import dict_row

from features import pool_reading
from features.catalogue import Catalogue, empty
from features.database import Pool, query, transaction
from features.errors import BadBundleError, VernissageError
from features.host import Host
from features.memory import give_back
from features.settings import Settings
from serving import telemetry
from serving.bundle import Bundle
from serving.erasure import erase_departed
from serving.experiments.assignment import Plan
from serving.experiments.following import Follower
from serving.model import Model, load_model

CHAMPION = "champion"
RESTS = 10  # times as long as it took: until the pool is looked at, or read, again
Loop = tuple[str, Callable[[], Awaitable[None]], float]


@dataclass(frozen=True)
class View:
    """A consistent pair: pool and model as one request sees them."""

    catalogue: Catalogue
    model: Model | None
    beside: Mapping[str, Model] = field(default_factory=dict)  # models of experiments and of the canary, by version


class Live:
    """Holds the current View and the tasks that renew it."""

    def __init__(self, pool: Pool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._host = host
        self._settings = settings
        self._full_at = 0.0  # when the pool is read as a whole again, monotonic seconds
        self._look_at = 0.0  # when its counts are looked at again
        self._checked_at = 0.0  # when the snapshot was last true
        self._digest = ""
        self._refused = ""  # digest of the row's bundle when it is broken
        self._broken: str | None = None  # what is wrong with it
        self._noted: tuple[str, datetime] | None = None  # the watcher's refusal
        self._noted_reason: str | None = None
        self._experiments = Follower(pool, settings)
        self._showing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.view = View(empty(), None)
        self.moved_at: datetime | None = None
        self.ready = asyncio.Event()

    @property
    def refusal(self) -> str | None:
        """Why the newest bundle does not serve; None when it does."""
        return self._broken or self._noted_reason

    @property
    def experiments(self) -> Plan:
        """What is tried on whom."""
        return self._experiments.plan

    def view_for(self, user_id: str) -> View:
        """The view, with the model that is tried on the user before it is live for all."""
        version = self.experiments.canary(user_id)
        if version is None:
            return self.view
        model = self.view.beside.get(version)
        telemetry.CANARY.labels("no_model" if model is None else "served").inc()
        return self.view if model is None else replace(self.view, model=model)

    async def start(self, *more: Loop) -> None:
        """Read pool and model once (as far as the database answers) and keep them fresh from then on.

        ``more`` runs beside: name, step, seconds between two rounds.
        """
        loops: tuple[Loop, ...] = (
            ("catalogue", self.refresh_catalogue, self._settings.catalogue_poll_seconds),
            ("bundle", self.refresh_model, self._settings.bundle_poll_seconds),
            ("experiments", self.refresh_experiments, self._settings.experiment_poll_seconds),
            ("erasure", partial(erase_departed, self._pool), self._settings.erasure_poll_seconds),
            *more,
        )
        for name, step, _ in loops:
            await self._guarded(name, step)
        self._tasks = [asyncio.create_task(self._repeat(name, step, seconds)) for name, step, seconds in loops]

    async def stop(self) -> None:
        """End the loops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pool_age(self) -> float:
        """Seconds since the snapshot was last found to be true."""
        return time.monotonic() - self._checked_at

    async def refresh_catalogue(self) -> None:
        """Bring the snapshot up to date when the counts moved, and in any case now and then.

        Either reads a large pool through: each rests the longer the longer it took.
        """
        now, old = time.monotonic(), self.view.catalogue
        if now < self._full_at and (now < self._look_at or await self._is_as_before(old)):
            return
        begun = time.monotonic()
        new = await pool_reading.refresh(old, self._pool, self._host)
        self._checked_at = time.monotonic()
        rest = max(self._settings.catalogue_full_seconds, RESTS * (self._checked_at - begun))
        self._full_at = self._checked_at + min(rest, RESTS * self._settings.catalogue_full_seconds)
        await self._show(catalogue=new)
        self.ready.set()
        telemetry.POOL_SIZE.set(new.size)
        telemetry.POOL_READ.set(time.time())

    async def _is_as_before(self, catalogue: Catalogue) -> bool:
        """Whether the pool's counts are what they were; looked at again after a rest."""
        begun = time.monotonic()
        same = await pool_reading.pool_counts(self._pool, self._host) == catalogue.counts
        now = time.monotonic()
        self._look_at = now + min(RESTS * (now - begun), self._settings.catalogue_full_seconds)
        if same:
            self._checked_at = now
        return same

    async def refresh_model(self) -> None:
        """Load the bundle that the champion's row names when it changed; note a refusal by the watcher."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("live_model"), {"alias": CHAMPION})
            row = await cursor.fetchone()
        if row is None:
            return
        self._note_refusal(row["refused_version"], row["refused_reason"], row["refused_at"])
        telemetry.MODEL_DRIFT.set(row["drift"] or 0.0)
        if row["digest"] == self._digest:
            self._refused, self._broken = "", None  # as after a rollback from a broken one
            return
        await self._load(Path(row["bundle_path"]), row["digest"], row["version"], row["moved_at"])

    async def refresh_experiments(self) -> None:
        """Follow what runs, with the models of its arms."""
        if await self._experiments.refresh():
            await self._show()

    async def _load(self, folder: Path, digest: str, version: str, moved_at: datetime) -> None:
        """Load and check in a thread, then swap one reference; a broken one is refused, and looked at again later."""
        try:
            model = await asyncio.to_thread(load_model, folder, digest)
        except BadBundleError as error:
            if self._refused != digest:
                self._refused, self._broken = digest, _refuse(version, str(error))
            return
        await self._show(model=model)
        await asyncio.to_thread(give_back)
        self.moved_at = moved_at
        self._digest, self._refused, self._broken = digest, "", None
        telemetry.BUNDLES.labels("loaded").inc()
        telemetry.MODEL_MOVED.set(moved_at.timestamp())
        telemetry.MODEL_DATA.set(_data_until(model.bundle))
        telemetry.get_logger().info("bundle loaded", model=model.bundle.label, digest=digest[:12])

    def _note_refusal(self, version: str | None, reason: str | None, at: datetime | None) -> None:
        """Count and log each refusal by the watcher once; none in the row: it is over."""
        if version is None or at is None:
            self._noted, self._noted_reason = None, None
        elif self._noted != (version, at):
            self._noted, self._noted_reason = (version, at), _refuse(version, reason or "")

    async def _show(self, *, catalogue: Catalogue | None = None, model: Model | None = None) -> None:
        """Swap in a new snapshot or a new model, with the rows of every model extended to it (in a thread)."""
        async with self._showing:
            catalogue, model = catalogue or self.view.catalogue, model or self.view.model
            tried = {version: self.view.beside.get(version, each) for version, each in self._experiments.models.items()}
            self.view = await asyncio.to_thread(_aligned, View(catalogue, model, tried))

    async def _repeat(self, name: str, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Run ``step`` for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self._guarded(name, step)

    async def _guarded(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        """One round: a failure is counted and logged, and the loop lives on."""
        try:
            await step()
        except VernissageError as error:
            telemetry.BACKGROUND_ERRORS.labels(name).inc()
            telemetry.get_logger().warning("background task failed", task=name, error=str(error))
        except Exception:  # noqa: BLE001 - a loop that dies silently would freeze pool and model for ever
            telemetry.BACKGROUND_ERRORS.labels(name).inc()
            telemetry.get_logger().exception("background task failed", task=name)


def _aligned(view: View) -> View:
    """The view with every model's rows extended to its pool."""
    ids, vectors = view.catalogue.ids, view.catalogue.vectors
    model = None if view.model is None else view.model.aligned(ids, vectors)
    return View(view.catalogue, model, {version: each.aligned(ids, vectors) for version, each in view.beside.items()})


def _refuse(version: str, reason: str) -> str:
    """A metric and a line for a refusal, and how it is named; whatever served goes on."""
    telemetry.BUNDLES.labels("refused").inc()
    telemetry.get_logger().error("bundle refused, the old one keeps serving", version=version, reason=reason)
    return f"version {version}: {reason}"


def _data_until(bundle: Bundle) -> float:
    """Seconds since 1970 of the newest event that the bundle was trained on; 0 where it does not say."""
    until = str(bundle.manifest.params.get("data_until") or "")
    return datetime.fromisoformat(until).timestamp() if until else 0.0
