"""The route that makes a generation plan, and orders it when it is asked to."""

from __future__ import annotations

from serving.api.generation_shapes import PlannedBlock
from serving.api.need_shapes import PlanAnswer, PlanBody, PlannedImage, PoolDiversity, ReusedArtwork
from serving.api.needs import PLANNER
from serving.api.operations import Call, Operation
from serving.generation.diversity import Diversity
from serving.generation.orders import Wish
from serving.generation.planning import GenerationPlan, Reused


async def make_plan(call: Call) -> PlanAnswer:
    """The plan of this epoch; without dry_run it is ordered, once in an epoch, as far as the budget goes."""
    asked: PlanBody = call.body
    worker = call.worker
    left = (await worker.budget.look(worker.pool)).dollars
    dollars = left if asked.dollars is None else asked.dollars
    live = worker.parts.live
    made = await worker.parts.planning.plan(live.view, live.experiments, dollars=dollars, most=asked.most)
    placed: tuple[str, ...] = ()
    if not asked.dry_run:
        placed = await _order(call, made)
    return _answer(made, asked, placed)


async def _order(call: Call, made: GenerationPlan) -> tuple[str, ...]:
    """Place the plan and give back what it reuses; nothing where this epoch was ordered already."""
    parts = call.worker.parts
    placed = await parts.ledger.place(
        made.epoch, made.wishes, call.worker.settings.dispatcher, block=made.block, planned=True
    )
    if placed.first:
        await parts.planning.give_back(made)
    return tuple(str(order_id) for order_id in placed.order_ids)


def _answer(made: GenerationPlan, asked: PlanBody, placed: tuple[str, ...]) -> PlanAnswer:
    """The plan as its schema."""
    return PlanAnswer(
        epoch=made.epoch,
        dry_run=asked.dry_run,
        ordered=list(placed),
        basis=made.basis,
        images=[_image(wish) for wish in made.wishes],
        reused=[_reused(each) for each in made.reused],
        avoided=made.avoided,
        dollars=made.dollars,
        stopped=made.stopped,
        shadow_price=made.shadow_price,
        diversity_before=_diversity(made.before),
        diversity_after=_diversity(made.after),
        experiment=None if made.block is None else PlannedBlock(**made.block.log),
    )


def _image(wish: Wish) -> PlannedImage:
    """A wish as its schema."""
    return PlannedImage(
        near=wish.near,
        dna_vector=[round(float(number), 4) for number in wish.dna],
        styles=list(wish.styles),
        prompt=wish.prompt,
        user_ids=list(wish.user_ids),
        priority=wish.priority,
        benefit=wish.benefit,
        reach=wish.reach,
        cost=wish.cost,
        deadline=wish.deadline,
    )


def _reused(each: Reused) -> ReusedArtwork:
    """An artwork to give back as its schema."""
    return ReusedArtwork(
        artwork_id=each.artwork_id, user_ids=list(each.user_ids), benefit=each.benefit, reach=each.reach
    )


def _diversity(found: Diversity) -> PoolDiversity:
    """Both numbers; rounding must not take one beyond its end."""
    return PoolDiversity(entropy=max(found.entropy, 0.0), spread=min(max(found.spread, 0.0), 2.0))


OPERATIONS = (
    Operation(
        "plans", "POST", "/v1/generation/plans", "What to generate now, for whom, how many",
        make_plan, PlanAnswer, PLANNER, body_types=(PlanBody,),
    ),
)  # fmt: skip
