"""The routes that tell who is about to run dry, and how the pool stands."""

from __future__ import annotations

from collections import Counter

import numpy as np

from features.coverage import BANDS, Band, Coverage
from serving.api.need_shapes import NeedAnswer, NeedBody, NeedsAnswer, PoolAnswer
from serving.api.operations import Call, Operation
from serving.api.schemas import UserPath
from serving.generation.demand import Numbers
from serving.generation.need import Basis
from serving.generation.needs import Assessed
from serving.generation.prices import stockout_costs
from serving.ranking import Ask

PLANNER = "planner"  # the scope of who watches over need and orders
STEPS = 10  # of the histogram of coverage
EXHAUSTED = BANDS[0][0]
EXHAUSTION_GOAL = 0.01


async def need(call: Call) -> NeedAnswer:
    """One user's need; what the host has shown the user past us is taken over first."""
    user_id, parts = call.path["user_id"], call.worker.parts
    async with parts.leases.locked([Ask(user_id, "", 1)]):
        pass
    return _answers(await parts.needs.assess(parts.live.view, [user_id]))[0]


async def needs(call: Call) -> NeedsAnswer:
    """Many users' need at once."""
    parts = call.worker.parts
    found = await parts.needs.assess(parts.live.view, call.body.user_ids)
    return NeedsAnswer(users=_answers(found), forecast=found.why)


async def pool(call: Call) -> PoolAnswer:
    """The pool as its active users have it."""
    parts, settings = call.worker.parts, call.worker.settings
    view = parts.live.view
    user_ids, active = await parts.needs.situation.active(settings.planned_users)
    flying = await parts.needs.ledger.in_flight()
    found = await parts.needs.assess(view, user_ids, flying)
    here, coverage = found.need.in_session, found.shelf.coverage
    known = coverage[~np.isnan(coverage)]
    worth = found.need.need * stockout_costs(found.people.plans, settings) >= settings.image_cost
    exhausted = float((known >= EXHAUSTED).mean()) if len(known) else None
    return PoolAnswer(
        artworks=view.catalogue.size,
        active_users=active,
        looked_at=len(user_ids),
        in_session=int(here.sum()),
        stock_outs=int((here & (found.stock.unseen == 0)).sum()),
        at_risk=int(worth.sum()),
        coverage_histogram=np.histogram(known, bins=STEPS, range=(0.0, 1.0))[0].tolist(),
        coverage_bands=_bands(found),
        runway_p10=_quantile(found.need.minutes_p50, 0.1),
        runway_p50=_quantile(found.need.minutes_p50, 0.5),
        exhaustion_rate=exhausted,
        exhaustion_goal_met=None if exhausted is None else exhausted < EXHAUSTION_GOAL,
        in_flight=len(flying),
        forecast=found.why,
    )


def _answers(found: Assessed) -> list[NeedAnswer]:
    """One answer per user."""
    need, stock, shelf = found.need, found.stock, found.shelf
    soon, late = _finite(need.minutes_p10), _finite(need.minutes_p50)
    coverage, relevant = _finite(shelf.coverage), _finite(shelf.coverage_relevant)
    return [
        NeedAnswer(
            user_id=user_id,
            need=float(need.need[row]),
            unavoidable=float(need.unavoidable[row]),
            minutes_p10=soon[row],
            minutes_p50=late[row],
            stock=int(stock.unseen[row]),
            in_flight=int(stock.in_flight[row]),
            p_alive=float(need.p_alive[row]),
            in_session=bool(need.in_session[row]),
            coverage=coverage[row],
            coverage_relevant=relevant[row],
            basis=Basis(need.basis[row]),
        )
        for row, user_id in enumerate(found.people.user_ids)
    ]


def _finite(values: Numbers) -> list[float | None]:
    """The values, None for what is not a number or has no end: JSON knows neither."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _quantile(minutes: Numbers, share: float) -> float | None:
    """A quantile that is one of the values; None where it has no end, or there are no values."""
    if not len(minutes):
        return None
    return _finite(np.quantile(minutes, [share], method="inverted_cdf"))[0]


def _bands(found: Assessed) -> dict[Band, int]:
    """How many users are in each band of coverage."""
    shelf = found.shelf
    covered = [Coverage(eligible, seen, 0, 1.0).band for eligible, seen in zip(shelf.eligible, shelf.seen, strict=True)]
    counts = Counter(band for band in covered if band is not None)
    return {band: counts[band] for band in ("ok", *(label for _, label in reversed(BANDS)))}


OPERATIONS = (
    Operation(
        "need", "GET", "/v1/users/{user_id}/need", "How likely a user is to ask for an artwork that does not exist",
        need, NeedAnswer, PLANNER, path_type=UserPath,
    ),
    Operation(
        "needs", "POST", "/v1/need", "The need of up to 10,000 users", needs, NeedsAnswer, PLANNER,
        body_types=(NeedBody,), kind="heavy",
    ),
    Operation(
        "pool", "GET", "/v1/pool", "The pool as its active users have it", pool, PoolAnswer, PLANNER, kind="heavy",
    ),
)  # fmt: skip
