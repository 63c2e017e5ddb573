"""What a stock-out costs, by the subscription of whom it happens to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.settings import Settings
from features.tiers import FREE, PLUS, PRO, tier_of
from serving.generation.demand import Numbers


def stockout_costs(plans: Sequence[str | None], settings: Settings) -> Numbers:
    """Dollars per stock-out of users with these plans, shape (n,): the settings' two ends, and between them.

    The middle tier is the geometric mean: as far above the lowest as it is below the highest.
    """
    low, high = settings.stockout_cost, settings.stockout_cost_top
    cost = {FREE: low, PLUS: (low * high) ** 0.5, PRO: high}
    return np.array([cost[tier_of(plan)] for plan in plans], dtype=float)
