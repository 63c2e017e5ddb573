"""The budget of generation, kept in one row that no number of planners can overspend.

The rolling hour is a token bucket: a share of the hour's budget may go at once, the rest flows in over the hour, so
that no hour ever has more than its budget. Above it stands the local day's budget, and a switch that stops all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from psycopg.rows import dict_row

from features.database import Pool, query, transaction
from features.errors import BadSettingError, BudgetTooSmallError
from features.settings import PREFIX, Settings
from serving import telemetry
from serving.keys import audit


@dataclass(frozen=True)
class BudgetState:
    """What is left."""

    hour_dollars: float  # that may go now
    hour_images: float
    day_spent: float  # dollars
    day_dollars: float  # the day's budget
    alert: bool  # the day's budget is nearly gone
    stopped: bool
    stopped_by: str | None
    stopped_at: datetime | None

    @property
    def dollars(self) -> float:
        """What one plan may cost now."""
        return 0.0 if self.stopped else max(min(self.hour_dollars, self.day_dollars - self.day_spent), 0.0)


class Budget:
    """Takes from the row and gives back."""

    def __init__(self, settings: Settings) -> None:
        self._day_dollars = settings.budget_day_dollars
        self._alert = settings.budget_alert
        self._limits = limits_of(settings)

    async def spend(self, connection: psycopg.AsyncConnection, dollars: float) -> bool:
        """Take one image's dollars, in the caller's transaction; False where hour, day or switch forbid it."""
        asked = self._limits | {"cost": _exact(dollars)}
        row = await (await connection.execute(query("spend"), asked)).fetchone()
        if row is None:
            telemetry.BUDGET_REFUSED.inc()
        elif self._is_alert(float(row[0])) and not self._is_alert(float(row[0]) - dollars):
            telemetry.get_logger().warning("the day's budget is nearly gone", spent=float(row[0]), of=self._day_dollars)
        return row is not None

    async def refund(self, connection: psycopg.AsyncConnection, order_id: UUID) -> None:
        """Give an order's dollars back, in the caller's transaction, which makes sure that it happens once."""
        await connection.execute(query("refund"), self._limits | {"order_id": order_id})

    async def look(self, pool: Pool) -> BudgetState:
        """What is left now."""
        async with transaction(pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query("budget_now"), self._limits)
            row = await cursor.fetchone()
        assert row is not None  # noqa: S101 - the migration makes the row
        return BudgetState(
            hour_dollars=max(row["dollars"], 0.0),
            hour_images=max(row["images"], 0.0),
            day_spent=row["day_spent"],
            day_dollars=self._day_dollars,
            alert=self._is_alert(row["day_spent"]),
            stopped=row["stopped"],
            stopped_by=row["stopped_by"],
            stopped_at=row["stopped_at"],
        )

    def _is_alert(self, day_spent: float) -> bool:
        """Whether so much is nearly all of a day's budget."""
        return round(day_spent / self._day_dollars, 9) >= self._alert


def switch(connection: psycopg.Connection, actor: str, *, stopped: bool) -> bool:
    """Stop all generation, or let it go on; noted in the audit log. False when it was so already."""
    changed = connection.execute(query("switch_generation"), {"stopped": stopped, "actor": actor}).rowcount == 1
    if changed:
        audit(connection, "generation stop" if stopped else "generation start", "generation", {})
    return changed


def limits_of(settings: Settings) -> dict[str, Any]:
    """The limits as the statements take them. Raises BadSettingError and BudgetTooSmallError."""
    try:
        ZoneInfo(settings.budget_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: Europe is a folder of zones
        rule = "it must be a zone of the IANA database, like Europe/Vienna"
        raise BadSettingError(key=f"{PREFIX}BUDGET_ZONE", value=settings.budget_zone, rule=rule) from error
    limits: dict[str, Any] = {"zone": settings.budget_zone, "day_dollars": _exact(settings.budget_day_dollars)}
    hours = {
        "dollars": (settings.budget_hour_dollars, settings.image_cost),
        "images": (float(settings.budget_hour_images), 1.0),
    }
    for what, (hour, least) in hours.items():
        at_once = settings.budget_burst * hour
        if at_once < least:
            raise BudgetTooSmallError(field=f"budget_burst x budget_hour_{what}", value=at_once, least=least)
        limits |= {f"{what}_at_once": _exact(at_once), f"{what}_per_hour": _exact(hour - at_once)}
    return limits


def _exact(number: float) -> Decimal:
    """The decimal that the number reads as: 0.02, and not the binary fraction beside it."""
    return Decimal(repr(round(number, 9)))
