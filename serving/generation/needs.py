"""The need of many users on the running service: people, stock, orders and forecast brought together."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.database import Pool, query, transaction
from features.host import Host
from features.settings import Settings
from serving.generation.breakers import Breakers
from serving.generation.budget import Budget
from serving.generation.demand import Forecast
from serving.generation.foresight import Why, foresee
from serving.generation.need import LeadTime, Need, Stock, expected_lead, heuristic_need, need_of
from serving.generation.orders import InFlight, Ledger
from serving.generation.situation import People, Situation
from serving.generation.stock import Shelf, score_shelf, shelf_of, unclear
from serving.live import View

MADE = 2_000  # latest deliveries that count as relevant to those they were made for
TIMED = 200  # latest deliveries that the lead time is told from
LEAST_TIMED = 20  # with fewer the settings tell it


@dataclass(frozen=True)
class Assessed:
    """n users and their need."""

    people: People
    shelf: Shelf
    stock: Stock
    need: Need
    forecast: Forecast | None
    why: Why  # a forecast was used or not
    lead: LeadTime


class Needs:
    """Assesses users for one host; it takes no lock and writes nothing."""

    def __init__(self, pool: Pool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._breakers = Breakers(pool, settings)
        self.ledger = Ledger(pool, Budget(settings), settings)
        self.situation = Situation(pool, host, settings)

    async def assess(self, view: View, user_ids: Sequence[str], flying: Sequence[InFlight] | None = None) -> Assessed:
        """The need of these users, in this order. Raises DatabaseUnavailableError.

        ``flying``: the orders in flight, where the caller has read them already.
        """
        people = await self.situation.people(user_ids)
        flying = await self.ledger.in_flight() if flying is None else flying
        lead = await self.lead()
        shelf = await self._shelf(view, people)
        forecast, why = foresee(view, self._settings)
        stock = _stock(people, shelf, flying)
        need = await asyncio.to_thread(self._need, forecast, people, stock, lead)
        return Assessed(people, shelf, stock, need, forecast, why, lead)

    async def _shelf(self, view: View, people: People) -> Shelf:
        """What each has left; only those who may have little are scored."""
        shelf = await asyncio.to_thread(shelf_of, view, people)
        rows = unclear(view, shelf)
        if not len(rows):
            return shelf
        some = people.take(rows)
        tastes, made = await self.situation.tastes(some.user_ids), await self._made_for()
        scored = await asyncio.to_thread(score_shelf, view, some, tastes, made)
        return shelf.with_rows(rows, scored)

    async def lead(self) -> LeadTime:
        """From order to artwork: as the latest deliveries took, once there are enough, else as the settings say.

        An outage lasts as long as the settings say, and is as likely as the provider's breaker was open of late.
        """
        share = await self._breakers.open_share(self._settings.dispatcher)
        async with transaction(self._pool) as connection:
            row = await (await connection.execute(query("lead_times"), {"orders": TIMED})).fetchone()
        if row is None or row[0] < LEAST_TIMED:
            return expected_lead(self._settings, share)
        p50 = max(row[1], 1.0)
        return LeadTime(p50, max(row[2], p50), share, self._settings.outage_seconds)

    async def _made_for(self) -> dict[str, list[int]]:
        """The keys of the latest artworks that were made for each user."""
        async with transaction(self._pool) as connection:
            rows = await (await connection.execute(query("made_for"), {"orders": MADE})).fetchall()
        found: dict[str, list[int]] = defaultdict(list)
        for user_ids, key in rows:
            for user_id in user_ids:
                found[user_id].append(key)
        return found

    def _need(self, forecast: Forecast | None, people: People, stock: Stock, lead: LeadTime) -> Need:
        if forecast is None:
            return heuristic_need(people.users, stock, lead, self._settings)
        return need_of(forecast, people.users, stock, lead, self._settings.planning_seconds)


def _stock(people: People, shelf: Shelf, flying: Sequence[InFlight]) -> Stock:
    """Stock with what is ordered for each user; all of it was ordered before whatever is ordered now."""
    ordered = Counter(user_id for order in flying for user_id in order.user_ids)
    coming = np.array([ordered[user_id] for user_id in people.user_ids], dtype=np.int64)
    return Stock(shelf.unseen, coming, coming)
