"""Power: how often a known effect is found, with and without CUPED, and how many users an interleaved list saves.

python tests/evidence/power.py [--draws N] [--users N]

The share found is laid beside what the registry would promise for that traffic. For interleaving two rankers of known
quality serve the same people, in two arms and in one list by turns; the users needed are those of the normal
approximation at the spread and difference that were measured.
"""

from __future__ import annotations

import argparse
import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from serving.experiments.interleaving import team_draft
from serving.experiments.power import power
from tests.experiment_worlds import live, make
from tests.stage import conclude
from training.experiments.estimates import preference, scores_of_ratio
from training.experiments.judging import compare

LIFTS = (0.0, 0.05, 0.10, 0.15, 0.20)
WANTED, LEVEL = 0.8, 0.05
PEOPLE, POOL, LISTED = 4_000, 60, 20  # of the interleaving: users, candidates, places
NOISE = (1.0, 0.8)  # of the two rankers' guess of a user's taste, in its deviations: the second is the better one
PROMISED = 0.06  # how far what is found may be from what is promised
LEAST_SAVED = 4.0
console = Console()


def main() -> None:
    """Simulate everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--users", type=int, default=2_000)
    given = parser.parse_args()
    table = Table("lift", "found with CUPED", "without", "promised without", box=None)
    found: dict[str, dict[str, float]] = {}
    for lift in LIFTS:
        shares = _found(lift, given.draws, given.users)
        found[f"{lift:.2f}"] = shares
        table.add_row(f"{lift:.0%}", *(f"{shares[name]:.1%}" for name in ("cuped", "plain", "promised")))
    console.print(table)
    saved = _interleaving()
    shown = Table("design", "difference in deviations", "users for 80%", box=None)
    for name, users in (("two arms", "split_users"), ("one list", "interleaved_users")):
        shown.add_row(name, f"{saved[users.replace('users', 'effect')]:.4f}", f"{saved[users]:,.0f}")
    console.print(shown)
    effects = [found[f"{lift:.2f}"] for lift in LIFTS]
    kept = all(abs(each["plain"] - each["promised"]) <= PROMISED for each in effects)
    better = all(each["cuped"] > each["plain"] for each in effects[1:-1])
    figures: dict[str, Any] = {"draws": given.draws, "users": given.users, "found": found, "interleaving": saved}
    conclude("power", figures, met=bool(kept and better and saved["times_fewer_users"] >= LEAST_SAVED))


def _found(lift: float, draws: int, users: int) -> dict[str, float]:
    """The share of experiments that find the lift, and the share that the registry's formula promises."""
    cuped = plain = 0
    spreads, means = [], []
    for draw in track(range(draws), description=f"lift {lift:.0%}", console=console, transient=True):
        made = make(version=draw + 1, name="power")
        units = live(made, users, np.random.default_rng(draw), lift)
        (compared,) = compare(made, units, LEVEL)
        cuped += compared.estimate.tells
        plain += compared.plain.tells
        control = units.take(units.arms == 0)
        scores = scores_of_ratio(control.numerators, control.denominators)
        spreads.append(scores.std())
        means.append(scores.mean())
    spread = float(np.mean(spreads))
    promised = power(lift * float(np.mean(means)), (spread, (1 + lift) * spread), (users / 2, users / 2), LEVEL)
    return {"cuped": cuped / draws, "plain": plain / draws, "promised": round(promised, 4)}


def _interleaving() -> dict[str, float]:
    """Two rankers on the same people: arms of users, and lists that both share."""
    rng = np.random.default_rng(7)
    shares: list[tuple[float, float]] = []
    teams = np.zeros((2, PEOPLE))
    for person in range(PEOPLE):
        openness, taste = rng.beta(1.5, 8.5), rng.normal(0, 1, POOL)
        rankings = [np.argsort(-(taste + rng.normal(0, noise, POOL))).tolist() for noise in NOISE]
        chance = np.minimum(openness * np.exp(0.6 * taste - 0.18), 1)
        likes = [rng.random(LISTED) < chance[ranked[:LISTED]] for ranked in rankings]
        shares.append((likes[0].mean(), likes[1].mean()))
        picks, whose = team_draft(*rankings, LISTED, person)
        liked = rng.random(LISTED) < chance[picks]
        for team in (0, 1):
            teams[team, person] = liked[np.array(whose) == team].sum()
    one, two = np.array(shares).T
    split = float((two.mean() - one.mean()) / math.sqrt((one.var() + two.var()) / 2))
    lean = preference(teams[0], teams[1])
    told = teams.sum(axis=0) > 0
    spread = _spread(teams[:, told])
    both = lean.difference / spread
    bound = (NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(WANTED)) ** 2
    split_users, both_users = 4 * bound / split**2, bound / both**2 / float(told.mean())
    return {
        "lift_of_the_better_ranker": round(float(two.mean() / one.mean() - 1), 4),
        "split_effect": round(split, 4),
        "interleaved_effect": round(float(both), 4),
        "split_users": round(float(split_users)),
        "interleaved_users": round(float(both_users)),
        "times_fewer_users": round(float(split_users / both_users), 1),
    }


def _spread(teams: NDArray[np.float64]) -> float:
    """The deviation over users of how far they lean."""
    return float(((teams[1] - teams[0]) / teams.sum(axis=0)).std(ddof=1))


if __name__ == "__main__":
    main()
