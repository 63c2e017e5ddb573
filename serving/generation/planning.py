"""What to order now, for the whole service: need, candidates and prices put together into one plan of an epoch.

It reads and computes; what is placed of a plan is the ledger's (serving.generation.orders).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from psycopg.rows import dict_row

from features.arrays import Floats
from features.catalogue import Catalogue
from features.content import content_vectors, tokens_of
from features.database import Pool, query, transaction
from features.dna import LENGTH, DnaKind, parse_dna
from features.host import Host
from features.pool_reading import catalogue_query
from features.settings import Settings
from serving import telemetry
from serving.experiments.assignment import Plan as Experiments
from serving.experiments.switchback import Block, block_at
from serving.generation.candidates import find_candidates
from serving.generation.diversity import Diversity, diversity_of
from serving.generation.needs import Assessed, Needs
from serving.generation.orders import Wish
from serving.generation.planner import Levels, Pick, Plan, Prices, Stopped, Wanted, floor_levels, levels_of, plan
from serving.generation.prices import stockout_costs
from serving.generation.reuse import Archive, reusable_for
from serving.generation.situation import Taste
from serving.generation.wishes import PROMPT, Looks, Medoid, looks_in, looks_of, new_dna, style_hints
from serving.live import View

Basis = Literal["forecast", "heuristic"]
NEIGHBOURS = 8  # artworks around a medoid whose styles are looked at
RECENT_ORDERS = 2_000  # whose looks no new order may have


@dataclass(frozen=True)
class Reused:
    """An existing artwork that is worth giving back to these users: an order avoided."""

    artwork_id: str
    user_ids: tuple[str, ...]
    benefit: float  # dollars of stock-outs avoided, expected
    reach: float  # users who get to it within the horizon, expected


@dataclass(frozen=True)
class GenerationPlan:
    """The images worth their cost in one planning epoch, best first."""

    epoch: int  # whole planning intervals since 1970
    basis: Basis
    wishes: tuple[Wish, ...]
    reused: tuple[Reused, ...]
    stopped: Stopped
    shadow_price: float  # net benefit per dollar of the best image that the budget turned away
    before: Diversity  # of the active pool
    after: Diversity  # with the plan's images in it
    block: Block | None  # whose arm it was planned by, while a switchback runs

    @property
    def avoided(self) -> int:
        """Orders that an existing artwork made unnecessary."""
        return len(self.reused)

    @property
    def images(self) -> int:
        """New and old ones together."""
        return len(self.wishes) + len(self.reused)

    @property
    def dollars(self) -> float:
        """What the plan's images cost."""
        return sum(wish.cost for wish in self.wishes)


@dataclass(frozen=True)
class Situated:
    """Everything that a plan is made from, read at one moment."""

    epoch: int
    now: datetime
    catalogue: Catalogue
    found: Assessed
    tastes: Sequence[Taste]
    archive: Archive
    ordered: Floats  # (m, 50): DNA of the latest orders
    block: Block | None
    settings: Settings  # under the block's arm


class Planning:
    """Makes the plans of one process; the same question within one epoch gets the same plan."""

    def __init__(self, pool: Pool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._host = host
        self._settings = settings
        self._needs = Needs(pool, host, settings)
        self._rows_of = catalogue_query(host)
        self._made: dict[tuple[int, float, int, Block | None], GenerationPlan] = {}
        self._one_at_a_time = asyncio.Lock()

    async def plan(self, view: View, experiments: Experiments, *, dollars: float, most: int) -> GenerationPlan:
        """The plan of this epoch: at most ``most`` images for at most ``dollars``.

        By the arm that has its turn, where a switchback runs. Raises DatabaseUnavailableError.
        """
        async with self._one_at_a_time:
            epoch = int(time.time() // self._settings.planning_seconds)
            block = block_at(experiments, epoch * self._settings.planning_seconds)
            asked = (epoch, dollars, most, block)
            made = self._made.get(asked)
            if made is None:
                made = await self._make(await self._read(view, epoch, block), dollars, most)
                self._made = {key: old for key, old in self._made.items() if key[0] == epoch}
                self._made[asked] = made
        return made

    async def give_back(self, made: GenerationPlan) -> int:
        """Make the artworks active again that the plan reuses; how many there were. Raises DatabaseUnavailableError."""
        if not made.reused:
            return 0
        asked = {"artwork_ids": [each.artwork_id for each in made.reused]}
        async with transaction(self._pool) as connection:
            return (await connection.execute(query("give_back"), asked)).rowcount

    async def _make(self, at: Situated, dollars: float, most: int) -> GenerationPlan:
        """Choose, and bring what was chosen into words and numbers."""
        levels = await asyncio.to_thread(self._levels, at)
        wanted = await asyncio.to_thread(find_candidates, at.catalogue, at.found.people, at.tastes, levels.need[:, 0])
        medoids = await self._medoids(at.catalogue, wanted)
        kept = np.array([row in medoids for row in wanted.artwork_rows.tolist()], dtype=bool)
        wanted = Wanted(wanted.artwork_rows[kept], wanted.users[kept])
        made = await asyncio.to_thread(self._choose, at, levels, wanted, medoids, dollars, most)
        telemetry.PLANS.labels(made.basis, made.stopped).inc()
        telemetry.WISHES.labels("wished").inc(len(made.wishes))
        telemetry.WISHES.labels("reused").inc(len(made.reused))
        return made

    async def _read(self, view: View, epoch: int, block: Block | None) -> Situated:
        """The users who are planned for, and what is there for them."""
        user_ids, _ = await self._needs.situation.active(self._settings.planned_users)
        found = await self._needs.assess(view, user_ids)
        if block is not None and block.by_floor:
            found = replace(found, forecast=None)
        tastes = await self._needs.situation.tastes(user_ids)
        archive = await Archive.read(self._pool, self._host, reuse=self._settings.reuse_archived)
        async with transaction(self._pool) as connection:
            rows = await (await connection.execute(query("ordered_looks"), {"orders": RECENT_ORDERS})).fetchall()
        ordered = np.array([dna for (dna,) in rows], dtype=np.float32).reshape(len(rows), LENGTH)
        settings = self._settings if block is None else block.under(self._settings)
        return Situated(epoch, datetime.now(UTC), view.catalogue, found, tastes, archive, ordered, block, settings)

    def _levels(self, at: Situated) -> Levels:
        """How urgent and how useful further images are to each user, by the forecast or by the floor."""
        found, settings = at.found, at.settings
        users, level = found.people.users, found.stock.level
        if found.forecast is None:
            return floor_levels(users, level, found.lead, settings)
        return levels_of(
            found.forecast,
            users,
            level,
            found.lead,
            planning_seconds=settings.planning_seconds,
            horizon_days=settings.horizon_days,
        )

    async def _medoids(self, catalogue: Catalogue, wanted: Wanted) -> dict[int, Medoid]:
        """The medoids by their rows, as the host has them now; one that is gone by now is left out."""
        rows = wanted.artwork_rows
        around = await asyncio.to_thread(_neighbours, catalogue, rows)
        keys = catalogue.keys[np.unique(np.concatenate([rows, *around.values()]))] if len(rows) else rows
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._rows_of, {"keys": keys.tolist()})
            by_key = {row["artwork_key"]: row for row in await cursor.fetchall()}
        found: dict[int, Medoid] = {}
        for row in rows.tolist():
            own = by_key.get(int(catalogue.keys[row]))
            if own is not None:
                near = [by_key[key] for key in catalogue.keys[around[row]].tolist() if key in by_key]
                found[row] = _medoid(own, near)
        return found

    def _choose(  # noqa: PLR0917 - what a plan is made of
        self, at: Situated, levels: Levels, wanted: Wanted, medoids: dict[int, Medoid], dollars: float, most: int
    ) -> GenerationPlan:
        """The plan; while it would narrow the pool too much it is spread over more medoids, as far as none is lost."""
        before = diversity_of(at.catalogue)
        reusable = reusable_for(at.archive, at.catalogue, wanted, at.found.people)
        prices = Prices(at.settings.image_cost, stockout_costs(at.found.people.plans, at.settings))
        made: GenerationPlan | None = None
        alike, refused = max(most, 1), 0
        while alike:
            chosen = plan(levels, wanted, prices, budget=dollars, most=most, most_alike=alike, reusable=reusable)
            wishes = self._wishes(at, chosen.orders, medoids)
            after = diversity_of(at.catalogue, _vectors(wishes), [wish.styles for wish in wishes])
            found = self._told(at, chosen, wishes, (before, after))
            if made is not None and found.images < made.images:
                break  # to run dry is worse than to see more of the same
            made, refused = found, len(chosen.orders) - len(wishes)
            alike = 0 if after.keeps(self._settings.least_diversity, before) else alike // 2
        telemetry.WISHES.labels("refused").inc(refused)
        assert made is not None  # noqa: S101 - the loop runs once at least
        return made

    def _told(
        self, at: Situated, chosen: Plan, wishes: list[Wish], diversity: tuple[Diversity, Diversity]
    ) -> GenerationPlan:
        user_ids = at.found.people.user_ids
        reused = [
            Reused(
                at.archive.ids[pick.artwork_row],
                tuple(user_ids[row] for row in pick.user_rows.tolist()),
                pick.benefit,
                pick.reach,
            )
            for pick in chosen.reused
        ]
        catalogue = at.catalogue
        nothing = not wishes and not (catalogue.active & (catalogue.dna_kinds == DnaKind.REAL)).any()
        return GenerationPlan(
            epoch=at.epoch,
            basis="heuristic" if at.found.forecast is None else "forecast",
            wishes=tuple(wishes),
            reused=tuple(reused),
            stopped=Stopped.NO_DNA if nothing else chosen.stopped,
            shadow_price=chosen.shadow_price,
            before=diversity[0],
            after=diversity[1],
            block=at.block,
        )

    def _wishes(self, at: Situated, picks: Sequence[Pick], medoids: dict[int, Medoid]) -> list[Wish]:
        """The picks as wishes; one whose looks would be those of something else is left out."""
        looks = Looks(self._settings.order_distance, [looks_in(at.catalogue), looks_of(at.ordered)])
        wishes = []
        for place, pick in enumerate(picks):
            medoid = medoids[pick.artwork_row]
            dna = new_dna(medoid, looks, (at.epoch, place), self._settings.order_jitter)
            if dna is not None:
                wishes.append(self._wish(at, pick, medoid, dna))
        return wishes

    def _wish(self, at: Situated, pick: Pick, medoid: Medoid, dna: Floats) -> Wish:
        user_ids = at.found.people.user_ids
        return Wish(
            user_ids=tuple(user_ids[row] for row in pick.user_rows.tolist()),
            near=medoid.artwork_id,
            dna=dna,
            styles=medoid.styles,
            prompt=medoid.prompt,
            benefit=pick.benefit,
            reach=pick.reach,
            priority=pick.priority,
            cost=self._settings.image_cost,
            deadline=at.now + self._time_left(at.found, pick),
        )

    def _time_left(self, found: Assessed, pick: Pick) -> timedelta:
        """Until the first of an image's users may have run out, but time to make it, and no longer than an outage."""
        soonest = float(np.min(found.need.minutes_p10[pick.user_rows], initial=np.inf)) * 60
        latest = found.lead.p95 + self._settings.outage_seconds
        return timedelta(seconds=min(max(soonest, found.lead.p95), latest))


def _neighbours(catalogue: Catalogue, rows: np.ndarray) -> dict[int, np.ndarray]:
    """The active artworks nearest to each of ``rows``."""
    active = np.flatnonzero(catalogue.active).astype(np.int32)
    around = catalogue.space.directions(active)
    found = {}
    for row in rows.tolist():
        nearness = around @ catalogue.space.directions(np.array([row], dtype=np.int32))[0]
        found[row] = active[np.argsort(-nearness, kind="stable")[:NEIGHBOURS]]
    return found


def _medoid(own: dict[str, Any], near: Sequence[dict[str, Any]]) -> Medoid:
    """A medoid from its row and its neighbours' rows."""
    return Medoid(
        artwork_id=own["id"],
        artwork_key=own["artwork_key"],
        dna=parse_dna(own["dna_vector"]),
        styles=style_hints(own["styles"] or (), [row["styles"] or () for row in near]),
        prompt=own["prompt"][:PROMPT],
    )


def _vectors(wishes: Sequence[Wish]) -> Floats:
    """Content vectors of what is wished for, (k, 128), as those of the pool."""
    tokens = [tokens_of(wish.styles, (), (), wish.prompt) for wish in wishes]
    dna = np.array([wish.dna for wish in wishes], dtype=np.float32).reshape(len(wishes), LENGTH)
    return content_vectors([DnaKind.REAL] * len(wishes), dna, tokens)
