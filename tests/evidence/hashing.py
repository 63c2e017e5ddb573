"""Arms that do not hang together, ramps as small as they say, nothing carried over: 200,000 ids through the hash.

python tests/evidence/hashing.py [--ids N]

Beside it what the first byte of an unsalted md5 gives, which is the usual short way.
"""

from __future__ import annotations

import argparse
import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from serving.experiments.hashing import pick, place
from tests.stage import conclude

RAMP, WITHIN = 0.01, 0.0007
SURE = 4.0  # standard errors of a correlation of two coins; both are fixed numbers, so this is no matter of luck
CARRIED = 0.10  # effect of an old experiment on its treated users, in deviations of a user
console = Console()


def main() -> None:
    """Count everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=200_000)
    count = parser.parse_args().ids
    ids = [f"user-{number}" for number in range(count)]
    one, two, again = (_coins(salt, ids) for salt in ("one/1", "two/1", "one/2"))
    bytes_ = np.array([hashlib.md5(unit.encode(), usedforsecurity=False).digest()[0] for unit in ids])
    ramp = sum(place("lists", unit, 10_000) < 10_000 * RAMP for unit in ids) / count
    most = SURE / math.sqrt(count)
    figures: dict[str, Any] = {
        "ids": count,
        "correlation_of_two_experiments": _correlation(one, two),
        "correlation_of_two_versions": _correlation(one, again),
        "correlation_of_arm_and_slot": _correlation(one, np.array([place("lists", unit, 10_000) for unit in ids])),
        "most_by_chance": round(most, 5),
        "ramp_of_1_percent": round(ramp, 5),
        "share_of_one_arm": round(float(one.mean()), 5),
        "carried_over_with_a_new_salt": _carried(one, again),
        "carried_over_with_the_old_salt": _carried(one, one),
        "md5_byte_ramp_of_1_percent": [round(float((bytes_ < least).mean()), 5) for least in (2, 3)],
        "md5_byte_correlation_of_two_experiments": _correlation(bytes_ % 2, bytes_ % 2),
    }
    table = Table("what", "found", box=None)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    console.print(table)
    independent = all(abs(value) <= most for name, value in figures.items() if name.startswith("correlation"))
    clean = abs(figures["carried_over_with_a_new_salt"]) <= 2 * most
    conclude("hashing", figures, met=independent and clean and abs(ramp - RAMP) <= WITHIN)


def _coins(salt: str, ids: list[str]) -> NDArray[np.int64]:
    """The arm of each id, two of equal weight."""
    return np.array([pick(salt, unit, [1, 1]) for unit in ids])


def _correlation(one: NDArray[np.int64], two: NDArray[np.int64]) -> float:
    """Pearson's."""
    return round(float(np.corrcoef(one, two)[0, 1]), 5)


def _carried(old: NDArray[np.int64], new: NDArray[np.int64]) -> float:
    """The false effect that an experiment shows whose users still feel the one before, in deviations."""
    outcome = CARRIED * old
    return round(float(outcome[new == 1].mean() - outcome[new == 0].mean()), 5)


if __name__ == "__main__":
    main()
