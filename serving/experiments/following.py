"""What of the experiments a worker goes by: those that run, and the models that their arms rank with.

A copy that is safe to lose, renewed by a small loop of serving.live; a request only reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from psycopg.rows import dict_row

from features.database import Pool, query, transaction
from features.errors import BadBundleError, BadFlagError
from features.settings import Settings
from serving import telemetry
from serving.experiments.assignment import Plan, Running
from serving.experiments.definitions import Definition
from serving.experiments.flags import CANARY, Flag, flag_of
from serving.experiments.registry import NO_MODEL, model_alias
from serving.model import Model, load_model


class Follower:
    """Holds the current plan and the models of its arms."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._holdout = settings.experiment_holdout
        self._rows: tuple[list[dict[str, Any]], list[dict[str, Any]]] | None = None  # experiments and flags
        self._refused: dict[str, str] = {}  # digest by version
        self.plan = Plan(holdout=self._holdout)
        self.models: Mapping[str, Model] = {}

    async def refresh(self) -> bool:
        """Follow what runs; whether there are other models now."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("running_experiments"))
            rows = await cursor.fetchall()
            await cursor.execute(query("flags"))
            flags = await cursor.fetchall()
        if (rows, flags) != self._rows:
            running = tuple(each for row in rows if (each := _running(row)) is not None)
            known = tuple(flag for row in flags if (flag := _flag(row)) is not None)
            self.plan = Plan(running, self._holdout, known)
            self._rows = rows, flags
            telemetry.EXPERIMENTS_RUNNING.set(len(running))
            telemetry.EXPERIMENTS_UNREADABLE.set(len(rows) - len(running))
        return await self._follow_models()

    async def _follow_models(self) -> bool:
        """Load what arms name, let go what they name no more."""
        wanted = {version for each in self.plan.running for version in models_of(each.definition)}
        wanted |= {str(flag.on) for flag in self.plan.flags if flag.name == CANARY and flag.share > 0}
        if wanted == set(self.models):
            return False
        found = {version: self.models.get(version) or await self._load(version) for version in wanted}
        models = {version: model for version, model in found.items() if model is not None}
        changed = set(models) != set(self.models)
        self.models = models
        return changed

    async def _load(self, version: str) -> Model | None:
        """The model of a version; None, said once, while its bundle is broken or absent; it is looked at again."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("live_model"), {"alias": model_alias(version)})
            row = await cursor.fetchone()
        digest = row["digest"] if row else ""
        if row is None:
            return None
        try:
            model = await asyncio.to_thread(load_model, Path(row["bundle_path"]), digest)
        except BadBundleError as error:
            if self._refused.get(version) != digest:
                telemetry.BUNDLES.labels("refused").inc()
                telemetry.get_logger().error("bundle of an experiment refused", version=version, reason=str(error))
            self._refused[version] = digest
            return None
        self._refused.pop(version, None)
        return model


def models_of(definition: Definition) -> set[str]:
    """The versions that any arm ranks with."""
    return {arm.policy.model for arm in definition.arms if arm.policy.model is not None} - {NO_MODEL}


def _running(row: dict[str, Any]) -> Running | None:
    """A row as what runs; None, and logged, where this version of the code cannot read it: the others go on."""
    try:
        definition = msgspec.convert(row["definition"], Definition)
    except msgspec.ValidationError as error:
        telemetry.get_logger().error(
            "experiment is unreadable here, left out", experiment=row["name"], reason=str(error)
        )
        return None
    return Running(definition, row["slots"], row["overrides"] or {})


def _flag(row: dict[str, Any]) -> Flag | None:
    """A row as a flag; None, and logged, where this version of the code cannot read it."""
    try:
        return flag_of(row)
    except BadFlagError as error:
        telemetry.get_logger().error("flag is unreadable here, left out", flag=row["name"], reason=str(error))
        return None
