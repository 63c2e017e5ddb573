"""What simulated policies came to, side by side: rows and a table. Nothing is simulated here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from scipy.special import stdtrit

from training.simulate import CLAIRVOYANT, Outcome


@dataclass(frozen=True)
class Line:
    """One policy in one regime at one price: means over the runs."""

    policy: str
    images: float
    stockouts: float  # per 1,000 requests
    waste: float  # share of the images
    regret: float  # images over the clairvoyant's
    cost: float  # dollars in all
    against_best: float  # cost over the cheapest policy's, the clairvoyant's left out
    low: float  # the same: the mean's 95% interval over runs
    high: float
    per_impression: float  # dollars


def lines(runs: Sequence[Sequence[Outcome]], image: float, stockout: float) -> list[Line]:
    """One line per policy from one list of outcomes per run; every list names the same policies.

    The best policy is the one whose cost summed over the runs is least; the interval is Student's over the runs.
    """
    by_policy = {each.policy: [one for run in runs for one in run if one.policy == each.policy] for each in runs[0]}
    costs = {name: np.array([one.cost(image, stockout) for one in ones]) for name, ones in by_policy.items()}
    best = min((cost for name, cost in costs.items() if name != CLAIRVOYANT), key=lambda cost: float(cost.sum()))
    least = max(sum(one.images for one in by_policy[CLAIRVOYANT]), 1.0)
    return [_line(ones, costs[name], best, least, image) for name, ones in by_policy.items()]


def _line(ones: Sequence[Outcome], cost: np.ndarray, best: np.ndarray, least: float, image: float) -> Line:
    ratios = cost / best
    images = sum(one.images for one in ones)
    half = (
        float(stdtrit(len(ratios) - 1, 0.975)) * float(ratios.std(ddof=1)) / np.sqrt(len(ratios))
        if len(ratios) > 1
        else np.nan
    )
    return Line(
        policy=ones[0].policy,
        images=images / len(ones),
        stockouts=1_000 * sum(one.stockouts for one in ones) / sum(one.requests for one in ones),
        waste=sum(one.wasted for one in ones) / max(images, 1),
        regret=images / least,
        cost=float(cost.mean()),
        against_best=float(cost.sum() / best.sum()),
        low=float(ratios.mean() - half),
        high=float(ratios.mean() + half),
        per_impression=image * images / sum(one.requests - one.stockouts for one in ones),
    )


def table(title: str, found: Sequence[Line]) -> Table:
    """All policies of one regime, cheapest first; stock-outs per 1,000 requests, dollars per 1,000 displays."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("policy", no_wrap=True)
    for header in ("images", "out / 1,000", "waste", "regret", "cost $", "/ best", "± 95%", "$ / 1,000"):
        shown.add_column(header, justify="right")
    for line in sorted(found, key=lambda one: one.cost):
        shown.add_row(
            line.policy,
            f"{line.images:,.0f}",
            f"{line.stockouts:.2f}",
            f"{line.waste:.1%}",
            f"{line.regret:.2f}",
            f"{line.cost:,.2f}",
            f"{line.against_best:.3f}",
            "" if np.isnan(line.low) else f"{(line.high - line.low) / 2:.3f}",
            f"{1_000 * line.per_impression:.2f}",
        )
    return shown
