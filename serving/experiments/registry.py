"""The experiments in the database: created, started, ramped, stopped, archived; each change audited, none in place.

What cannot be valid beside the others, or cannot be seen at this traffic, is refused here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.database import Pool, query, transaction
from features.errors import BadExperimentError, ExperimentConflictError, UnknownExperimentError
from features.settings import Settings
from serving.experiments.definitions import CHANCE, SERVED, Definition
from serving.experiments.metrics import METRICS
from serving.experiments.overrides import check_override, check_user_id
from serving.experiments.power import LEAST, WANTED, Horizon, Traffic, horizon, traffic_of

State = Literal["draft", "running", "stopped", "archived"]
NO_MODEL = "none"


@dataclass(frozen=True)
class Entry:
    """How one version of an experiment stands."""

    definition: Definition
    state: State
    slots: int  # how many of its slots the ramp has got to
    horizon_days: int | None  # fixed at the start
    power: float | None  # expected at the start, of the smallest effect at the horizon
    reason: str | None  # of a stop
    at: datetime  # of the last change
    started_at: datetime | None
    stopped_at: datetime | None


class Registry:
    """Reads and changes experiments; ``actor`` is who the audit log names."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    async def entries(self) -> list[Entry]:
        """Every version of every experiment that this code can read, by name, the newest version first."""
        async with transaction(self._pool) as connection:
            rows = await _rows(connection)
        return [entry_of(row) for row in rows if _is_readable(row)]

    async def versions(self, name: str) -> list[Entry]:
        """Every version of one experiment, the newest first. Raises UnknownExperimentError."""
        async with transaction(self._pool) as connection:
            return await _versions(connection, name)

    async def create(self, definition: Definition, actor: str) -> Entry:
        """A new draft; the same definition again changes nothing. Raises ExperimentConflictError."""
        name, version = definition.name, definition.version
        async with self._changing() as connection:
            before = {entry.definition.version: entry for entry in await _entries(connection, name)}
            if version in before and before[version].definition == definition:
                return before[version]
            if version in before:
                rule = f"version {version} is there with another definition, and stays as it is: raise `version`"
                raise ExperimentConflictError(name=name, rule=rule)
            if version != max(before, default=0) + 1:
                raise ExperimentConflictError(name=name, rule=f"the next version is {max(before, default=0) + 1}")
            row = {"name": name, "version": version, "definition": Jsonb(msgspec.to_builtins(definition))}
            await connection.execute(query("create_experiment"), row)
            draft = Entry(definition, "draft", 0, None, None, None, datetime.now(UTC), None, None)
            return await _note(connection, draft, "draft", "create", actor)

    async def start(self, name: str, actor: str, slots: int | None = None) -> Entry:
        """Run the newest version on so many of its slots (all, where none are named).

        Raises ExperimentConflictError where it cannot be valid beside what runs or cannot be seen at this traffic.
        """
        async with self._changing() as connection:
            newest, *older = await _versions(connection, name)
            definition = newest.definition
            if newest.state != "draft":
                rule = f"version {definition.version} is {newest.state}; only a draft starts"
                raise ExperimentConflictError(name=name, rule=rule)
            if any(entry.state == "running" for entry in older):
                raise ExperimentConflictError(name=name, rule="an earlier version runs: stop it first")
            running = [entry_of(row) for row in await _rows(connection) if row["state"] == "running"]
            _check_beside(definition, running)
            await _check_models(connection, definition)
            using = _slots(definition, definition.slots.count if slots is None else slots)
            days, power = await self._horizon(connection, definition)
            begun = replace(newest, slots=using, horizon_days=days, power=power)
            return await _note(connection, begun, "running", "start", actor)

    async def ramp(self, name: str, actor: str, slots: int) -> Entry:
        """Give the running version more of its slots. Raises ExperimentConflictError."""
        async with self._changing() as connection:
            running = _running(name, await _versions(connection, name))
            if slots <= running.slots:
                rule = f"it has {running.slots} slots, and a ramp only grows: who has been in it stays in it"
                raise ExperimentConflictError(name=name, rule=rule)
            grown = replace(running, slots=_slots(running.definition, slots))
            return await _note(connection, grown, "running", "ramp", actor)

    async def stop(self, name: str, actor: str, reason: str, version: int | None = None) -> Entry:
        """End the running version for good; with ``version`` only that one. Raises ExperimentConflictError."""
        async with self._changing() as connection:
            running = _running(name, await _versions(connection, name))
            if version not in {None, running.definition.version}:
                raise ExperimentConflictError(name=name, rule=f"version {version} does not run any more")
            ended = replace(running, reason=reason)
            return await _note(connection, ended, "stopped", "stop", actor)

    async def archive(self, name: str, actor: str) -> Entry:
        """Put the newest version away, run or not. Raises ExperimentConflictError."""
        async with self._changing() as connection:
            newest = (await _versions(connection, name))[0]
            if newest.state not in {"draft", "stopped"}:
                raise ExperimentConflictError(name=name, rule=f"it is {newest.state}")
            return await _note(connection, newest, "archived", "archive", actor)

    async def override(self, name: str, actor: str, user_id: str, arm: str | None) -> None:
        """Choose a user's arm, or with None leave it to the hash again.

        While it holds, the user is in no other experiment of the layer. Raises BadExperimentError and
        ExperimentConflictError.
        """
        check_user_id(user_id)
        async with self._changing() as connection:
            newest = (await _versions(connection, name))[0]
            row = {"name": name, "user_id": user_id, "arm": arm}
            if arm is not None:
                await check_override(connection, newest.definition, row)
            await connection.execute(query("unset_override" if arm is None else "set_override"), row)
            await _audit(
                connection, actor, "override", name, {"arm": arm}
            )  # who it is, an append-only log must not keep

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A transaction that no other change runs beside."""
        async with transaction(self._pool) as connection:
            await connection.execute(query("lock_experiments"))
            yield connection

    async def _horizon(self, connection: psycopg.AsyncConnection, definition: Definition) -> tuple[int, float | None]:
        """After how many days it is judged, and with which power; of blocks of time nothing foretells the power."""
        if definition.blocks is not None:
            return definition.blocks.days, None
        found = _seen_by_then(definition, await self._traffic(connection, definition), self._settings)
        return found.days, found.power

    async def _traffic(self, connection: psycopg.AsyncConnection, definition: Definition) -> Traffic:
        """The users of the last days."""
        ratio, days = METRICS[definition.primary_metric], self._settings.experiment_traffic_days
        parts = {"parts": query("metric_parts"), "numerator": ratio.numerator, "denominator": ratio.denominator}
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("experiment_traffic", **parts), {"days": days})
            return traffic_of(await cursor.fetchall(), days)


def _check_beside(definition: Definition, running: list[Entry]) -> None:
    """Disjoint slots within a layer, and no knob that an experiment of another layer turns too."""
    for entry in running:
        other = entry.definition
        if other.layer != definition.layer:
            both = definition.knobs & other.knobs
            if both:
                rule = f"{other.name} in the layer {other.layer} sets {', '.join(sorted(both))} too: use its layer"
                raise ExperimentConflictError(name=definition.name, rule=rule)
            if definition.design == other.design == "interleaved":
                rule = f"the lists of {other.name} are interleaved already: use its layer {other.layer}"
                raise ExperimentConflictError(name=definition.name, rule=rule)
        elif definition.slots.first < other.slots.end and other.slots.first < definition.slots.end:
            rule = f"slots {other.slots.first} to {other.slots.end - 1} of the layer {other.layer} are {other.name}'s"
            raise ExperimentConflictError(name=definition.name, rule=rule)


async def _check_models(connection: psycopg.AsyncConnection, definition: Definition) -> None:
    """Workers must be able to load what an arm ranks with."""
    for arm in definition.arms:
        version = arm.policy.model
        if version is None or version == NO_MODEL:
            continue
        cursor = await connection.execute(query("model_is_delivered"), {"alias": model_alias(version)})
        row = await cursor.fetchone()
        if row is None or not row[0]:
            rule = f"version {version} is not delivered to the workers: `vernissage experiment start` does that"
            raise ExperimentConflictError(name=definition.name, rule=rule)


def model_alias(version: str) -> str:
    """The name of the row that tells workers where a version's bundle is."""
    return f"version-{version}"


def _slots(definition: Definition, slots: int) -> int:
    """As many slots as asked for, when it owns them."""
    if not 1 <= slots <= definition.slots.count:
        raise BadExperimentError(field="slots", rule=f"it owns {definition.slots.count}, not {slots}")
    if definition.blocks is not None and slots != definition.slots.count:
        raise BadExperimentError(field="slots", rule="blocks of time are for all users: it has no ramp")
    return slots


def _seen_by_then(definition: Definition, traffic: Traffic, settings: Settings) -> Horizon:
    """The horizon. Raises ExperimentConflictError where the smallest effect would hardly be seen."""
    longest = settings.experiment_longest_days
    found = horizon(definition, traffic, holdout=settings.experiment_holdout, longest=longest)
    if found.power >= LEAST:
        return found
    users = traffic.within(longest)
    rule = f"in {longest} days and with {users:,.0f} users it would find its effect with a power of {found.power:.0%}"
    rule += f"; {WANTED:.0%} " + (f"takes {found.wanted_days} days" if found.wanted_days else "is out of reach")
    if definition.design == "split" and definition.knobs <= SERVED - CHANCE:
        rule += "; the design interleaved needs about an eighth of the users"
    raise ExperimentConflictError(name=definition.name, rule=rule)


def _running(name: str, versions: list[Entry]) -> Entry:
    """The version that runs. Raises ExperimentConflictError."""
    for entry in versions:
        if entry.state == "running":
            return entry
    raise ExperimentConflictError(name=name, rule=f"it does not run: it is {versions[0].state}")


async def _note(connection: psycopg.AsyncConnection, entry: Entry, state: State, action: str, actor: str) -> Entry:
    """Write the next state and its audit entry, and return how things stand."""
    name, version = entry.definition.name, entry.definition.version
    row = {
        "name": name,
        "version": version,
        "state": state,
        "slots": entry.slots,
        "horizon_days": entry.horizon_days,
        "power": entry.power,
        "reason": entry.reason,
    }
    await connection.execute(query("set_experiment_state"), row)
    detail = {field: value for field, value in row.items() if field != "name" and value is not None}
    await _audit(connection, actor, action, name, detail)
    versions = await _versions(connection, name)
    return next(found for found in versions if found.definition.version == version)


async def _audit(
    connection: psycopg.AsyncConnection, actor: str, action: str, name: str, detail: dict[str, Any]
) -> None:
    """One entry of the audit log."""
    row = {"actor": actor, "action": f"experiment {action}", "subject": name, "detail": Jsonb(detail)}
    await connection.execute(query("audit"), row)


async def _versions(connection: psycopg.AsyncConnection, name: str) -> list[Entry]:
    """Every version, the newest first. Raises UnknownExperimentError."""
    found = await _entries(connection, name)
    if not found:
        raise UnknownExperimentError(name=name)
    return found


async def _entries(connection: psycopg.AsyncConnection, name: str) -> list[Entry]:
    """Every version of one experiment, the newest first."""
    return [entry_of(row) for row in await _rows(connection, name)]


async def _rows(connection: psycopg.AsyncConnection, name: str | None = None) -> list[dict[str, Any]]:
    """The rows of one experiment's versions, or of all."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query("experiments" if name is None else "experiment"), {"name": name})
        return await cursor.fetchall()


def entry_of(row: dict[str, Any]) -> Entry:
    """A row of the view experiments_now as an entry. Raises ExperimentConflictError where it cannot be read."""
    names = ("state", "slots", "horizon_days", "power", "reason", "at", "started_at", "stopped_at")
    try:
        definition = msgspec.convert(row["definition"], Definition)
    except msgspec.ValidationError as error:
        rule = f"version {row['version']} was defined by another version of the service: {error}"
        raise ExperimentConflictError(name=row["name"], rule=rule) from error
    return Entry(definition, **{name: row[name] for name in names})


def _is_readable(row: dict[str, Any]) -> bool:
    """Whether this code knows such definitions; workers count those that run and that they cannot read."""
    try:
        entry_of(row)
    except ExperimentConflictError:
        return False
    return True
