"""Generation policies: the cost of one newsvendor in many regimes, beside the host's rule and the clairvoyant.

python tests/evidence/policies.py [--runs N] [--days N] [--plot FILE] [--prices ...]

Every regime is drawn with several seeds; within a draw all policies meet the same people, lead times and outages.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from features.settings import Settings
from tests.stage import conclude
from training.regimes import REGIMES
from training.sim_plot import figure
from training.sim_report import Line, lines, table
from training.simulate import CLAIRVOYANT, Outcome, sweep

PRICES = (0.10, 0.50)
WORST, MEAN = 1.05, 1.03  # cost over the best policy's: in each regime, and the geometric mean over them
LEAST_REGIMES = 6
OURS = "newsvendor"
console = Console()


def main() -> None:
    """Simulate everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="seeds of each regime")
    parser.add_argument("--days", type=int, default=10, help="of each run, after two weeks of history")
    parser.add_argument("--prices", type=float, nargs="+", default=PRICES)
    parser.add_argument("--plot", type=Path, help="where the sensitivity to the price goes")
    given = parser.parse_args()
    found = _simulated(given.runs, given.days, given.prices)
    for regime, by_price in found.items():
        for price, ones in by_price.items():
            console.print(table(f"{regime}, ${price:.2f} a stock-out, {given.runs} runs", ones))
    if given.plot:
        figure(found).savefig(given.plot)
    figures: dict[str, Any] = {"runs": given.runs, "days": given.days, "regimes": len(found)}
    reached = []
    for price in given.prices:
        ours = {regime: _line(by_price[price], OURS) for regime, by_price in found.items()}
        ratios = {regime: line.against_best for regime, line in ours.items()}
        mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
        figures[f"p_{price:.2f}"] = {
            "newsvendor_over_best": {regime: round(ratio, 4) for regime, ratio in ratios.items()},
            "interval_95": {regime: [round(line.low, 3), round(line.high, 3)] for regime, line in ours.items()},
            "geometric_mean": round(mean, 4),
            "lost_to_another": [regime for regime, ratio in ratios.items() if ratio > 1],
            "others_geometric_mean": _others(found, price),
            "image_regret_to_clairvoyant": {regime: round(line.regret, 3) for regime, line in ours.items()},
            "cost_over_clairvoyant": {
                regime: round(line.cost / _line(found[regime][price], CLAIRVOYANT).cost, 3)
                for regime, line in ours.items()
            },
            "waste": {regime: round(line.waste, 3) for regime, line in ours.items()},
            "stockouts_per_1000": {regime: round(line.stockouts, 2) for regime, line in ours.items()},
        }
        reached.append(max(ratios.values()) <= WORST and mean <= MEAN)
    enough = given.runs >= 5 and len(found) >= LEAST_REGIMES and set(PRICES) <= set(given.prices)
    conclude("policies", figures, met=enough and all(reached))


def _simulated(runs: int, days: int, prices: list[float]) -> dict[str, dict[float, list[Line]]]:
    """The lines of every regime and price. At low priority, so that the machine stays usable."""
    settings = Settings()
    jobs = [(regime, seed) for regime in REGIMES for seed in range(1, runs + 1)]
    with ProcessPoolExecutor(initializer=os.nice, initargs=(10,)) as pool:
        futures = {job: pool.submit(sweep, REGIMES[job[0]], job[1], days, settings, prices) for job in jobs}
        swept: dict[tuple[str, int], dict[float, list[Outcome]]] = {
            job: futures[job].result() for job in track(jobs, "runs", console=console, transient=True)
        }
    return {
        regime: {
            price: lines([swept[regime, seed][price] for seed in range(1, runs + 1)], settings.image_cost, price)
            for price in prices
        }
        for regime in REGIMES
    }


def _line(ones: list[Line], policy: str) -> Line:
    return next(line for line in ones if line.policy == policy)


def _others(found: dict[str, dict[float, list[Line]]], price: float) -> dict[str, float]:
    """The geometric mean of every policy's cost over the best one's."""
    names = [line.policy for line in next(iter(found.values()))[price]]
    ratios = {name: [_line(by_price[price], name).against_best for by_price in found.values()] for name in names}
    return {name: round(float(np.exp(np.mean(np.log(values)))), 3) for name, values in ratios.items()}


if __name__ == "__main__":
    main()
