"""The need of many users at once, on one core: milliseconds, and whether it grows no faster than they do."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from features.settings import Settings
from serving.generation.demand import Users, prior_forecast
from serving.generation.need import LeadTime, Stock, short
from tests.benchmarks.figures import Figure, compare, in_turns

SIZES = (10_000, 100_000)
REPEATS = 7


def run() -> list[Figure]:
    """Milliseconds for each number of users."""
    with threadpool_limits(1):
        found = in_turns({str(size): partial(_milliseconds, *people(size)) for size in SIZES}, repeats=REPEATS)
    small, large = (found[str(size)] for size in SIZES)
    each = [[1_000 * value / size for value in values] for size, values in zip(SIZES, (small, large), strict=True)]
    return [
        Figure(f"need of {SIZES[1]:,} users", float(np.median(large)), "ms", reach="<= 100"),
        compare(f"each of {SIZES[1]:,}", "us", each[1], f"each of {SIZES[0]:,}", each[0]),
    ]


def people(count: int, *, at_risk: bool = False) -> tuple[Users, Stock]:
    """Users of every history, a third of them in session; all of them with next to nothing left where ``at_risk``."""
    rng = np.random.default_rng(1)
    repeats, age = rng.poisson(5, count).astype(float), rng.uniform(1, 60, count)
    here = np.ones(count) if at_risk else (rng.random(count) < 1 / 3).astype(float)
    users = Users(
        repeats=repeats,
        recency=np.where(here, age, age * rng.random(count)) * (repeats > 0),
        age=age,
        shown=here * rng.integers(1, 40, count),
        tabs=here,
        gap=np.full(count, 60.0),
    )
    nothing = np.zeros(count, dtype=np.int64)
    return users, Stock(rng.integers(0, 2 if at_risk else 30, count), nothing, nothing)


def _milliseconds(users: Users, stock: Stock) -> float:
    """One scoring of all of them."""
    settings = Settings()
    forecast = prior_forecast(settings)
    lead = LeadTime(settings.lead_p50_seconds, settings.lead_p95_seconds, 0.01)
    started = time.perf_counter()
    short(forecast, users, stock.level, lead, 60.0)
    return (time.perf_counter() - started) * 1_000
