"""A/A: how often experiments that try nothing find something, at the horizon and looked at every day.

python tests/evidence/aa.py [--experiments N] [--users N]

Users are drawn anew for each experiment, put into arms by the code that serves and judged by the code that reports.
They come over four weeks; each is judged by one complete window after the first exposure. What `stop_on_harm` would do
is judged by six guardrails of two windows each, half of them of rare things; the arms are the same in all.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom, ttest_ind

from tests.experiment_worlds import guarded, live, make
from tests.stage import conclude
from training.experiments.judging import Units, compare, counts_of, follow, ratio_is_wrong
from training.experiments.sequences import sequence

DAYS = 28
LEVEL = 0.05
PEEKING_AT_LEAST, RATIO_AT_MOST = 0.20, 0.01
console = Console()


def main() -> None:
    """Simulate everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=1_000)
    parser.add_argument("--users", type=int, default=2_000)
    given = parser.parse_args()
    count = given.experiments
    found = dict.fromkeys(
        ("horizon", "horizon_without_cuped", "daily_t_test", "daily_sequence", "sample_ratio", "stop_on_harm"), 0
    )
    for version in track(range(1, count + 1), description="experiments", console=console):
        for name, alarmed in _judged(version, given.users).items():
            found[name] += alarmed
    low, high = (int(end) for end in binom.interval(1 - LEVEL, count, LEVEL))
    shares: dict[str, float] = {name: alarms / count for name, alarms in found.items()}
    table = Table("looked at", "false alarms", "asked", box=None)
    asked = {
        "horizon": f"{low / count:.1%} to {high / count:.1%}",
        "daily_t_test": f"{PEEKING_AT_LEAST:.0%} or more: why nobody should",
        "daily_sequence": f"{LEVEL:.0%} or less",
        "sample_ratio": f"under {RATIO_AT_MOST:.0%}",
        "stop_on_harm": f"{LEVEL:.0%} or less",
    }
    for name, share in shares.items():
        table.add_row(name.replace("_", " "), f"{share:.1%}", asked.get(name, ""))
    console.print(table)
    right = low <= found["horizon"] <= high
    safe = max(shares["daily_sequence"], shares["stop_on_harm"]) <= LEVEL and shares["sample_ratio"] < RATIO_AT_MOST
    figures: dict[str, Any] = {"experiments": count, "users": given.users, "days": DAYS, "false_alarms": shares}
    figures["binomial_interval"] = [low / count, high / count]
    conclude("aa", figures, met=right and safe and shares["daily_t_test"] >= PEEKING_AT_LEAST)


def _judged(version: int, users: int) -> dict[str, bool]:
    """Which of the ways to look find something in an experiment that tries nothing."""
    made = make(version=version % 9_999 + 1, name=f"aa-{version}")
    rng = np.random.default_rng(version)
    units = live(made, users, rng)
    (compared,) = compare(made, units, LEVEL)
    ends = [users * day // DAYS for day in range(1, DAYS + 1)]
    told = follow(made, units, 1, LEVEL).tells
    return {
        "horizon": compared.estimate.tells,
        "horizon_without_cuped": compared.plain.tells,
        "daily_t_test": any(_t_test(units, end) for end in ends),
        "daily_sequence": bool(told[[end - 1 for end in ends]].any()),
        "sample_ratio": any(ratio_is_wrong(made, counts_of(made, units.arms[:end])) for end in ends),
        "stop_on_harm": _stopped(units, rng),
    }


def _stopped(units: Units, rng: np.random.Generator) -> bool:
    """Whether any guardrail says harm at any time."""
    tracks = guarded(len(units.arms), rng)
    level = LEVEL / len(tracks)
    return any(bool((sequence(values, units.arms == 1, 0.5, level).low > 0).any()) for values in tracks)


def _t_test(units: Units, end: int) -> bool:
    """Whether the usual test finds something among the first users."""
    values, treated = units.numerators[:end] / units.denominators[:end], units.arms[:end] == 1
    return bool(ttest_ind(values[treated], values[~treated], equal_var=False).pvalue < LEVEL)


if __name__ == "__main__":
    main()
