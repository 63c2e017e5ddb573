"""What a switchback has shown: each block of time is one unit, compared with the other one of its pair.

An image that is ordered in one block is shown in later ones too, so that a block's start, in which orders of the
other arm still arrive, is left out; what lasts longer than that makes the arms look more alike than they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from scipy import stats

from features.database import query
from serving.experiments.blocks import Blocks
from serving.experiments.definitions import Definition
from serving.experiments.metrics import Ratio
from serving.experiments.registry import Entry
from serving.experiments.switchback import Block, arm_of_block
from training.experiments.estimates import LEVEL, Values

#: What blocks are judged by; the first three of lists and money, and less is better, but for the fill rate.
OUTCOMES = {
    "stockout_rate": Ratio("stockouts", "lists"),
    "cost_per_impression": Ratio("dollars", "displays"),
    "waste": Ratio("unshown", "delivered"),  # so far; the blocks of a pair are about as old
    "fill_rate": Ratio("returned", "asked"),
}
COLUMNS = ("lists", "asked", "returned", "stockouts", "displays", "orders", "dollars", "delivered", "unshown", "strays")
DRAWS = 9_999  # of a randomisation test; up to 13 pairs all of them are tried
STRAYS = 0.01  # share of orders that another arm than the block's may have planned


class Paired(NamedTuple):
    """The second arm less the first, over pairs of blocks; NaN where fewer than two pairs can say."""

    outcome: str
    pairs: int  # in which both blocks have it
    control_mean: float  # over the blocks
    mean: float
    difference: float
    low: float
    high: float
    p_value: float  # of the randomisation test


@dataclass(frozen=True)
class Switched:
    """The blocks of one version that are over, in order, two by two; arrays of shape (n,)."""

    entry: Entry
    treated: np.ndarray[tuple[int], np.dtype[np.bool_]]  # whether a block was the second arm's
    sums: dict[str, Values]


@dataclass(frozen=True)
class SwitchbackReport:
    """All that is to be said of one version."""

    definition: Definition
    state: str
    blocks: int  # that are over
    wanted: int
    orders: int
    strays: int
    compared: list[Paired]

    @property
    def verdict(self) -> str:
        """What may be concluded, in words."""
        if self.strays > STRAYS * self.orders:
            return f"{self.strays} of {self.orders} orders are not of their block's arm: believe nothing of this."
        if self.blocks < self.wanted:
            late = "was stopped after" if self.state in {"stopped", "archived"} else "is at"
            return f"It {late} {self.blocks} of {self.wanted} blocks: too early to decide."
        primary = next(each for each in self.compared if each.outcome == self.definition.primary_metric)
        if not primary.p_value < LEVEL:
            return f"No difference in {primary.outcome} was found over {primary.pairs} pairs of blocks."
        better = "better" if primary.difference < 0 else "worse"
        ends = f"{primary.difference:+.4g} ({primary.low:+.4g} to {primary.high:+.4g})"
        return f"{self.definition.arms[1].name} is {better}: {primary.outcome} {ends}."


def read_switched(connection: psycopg.Connection, entry: Entry) -> Switched:
    """The blocks of a version that are over by now, or by its stop."""
    definition, blocks = entry.definition, _blocks_of(entry)
    until = entry.stopped_at or datetime.now(UTC)
    first = blocks.first_after(entry.started_at.timestamp()) if entry.started_at else 0
    over = min(blocks.number_at(until.timestamp()) - first, blocks.count) // 2 * 2 if entry.started_at else 0
    numbers = range(first, first + max(over, 0))
    arms = [arm_of_block(definition, number) for number in numbers]
    logs = [Block(definition, number, arm).log for number, arm in zip(numbers, arms, strict=True)]
    asked = {
        "seconds": blocks.seconds,
        "washout": blocks.washout_minutes * 60,
        "start": datetime.fromtimestamp(numbers.start * blocks.seconds, UTC),
        "finish": datetime.fromtimestamp(numbers.stop * blocks.seconds, UTC),
        "blocks": list(numbers),
        "experiments": [Jsonb(log) for log in logs],
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query("switchback_blocks"), asked).fetchall()
    sums = {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS}
    return Switched(entry, np.array([arm == definition.arms[1] for arm in arms], dtype=bool), sums)


def report_switchback(found: Switched) -> SwitchbackReport:
    """Every outcome over the pairs."""
    return SwitchbackReport(
        definition=found.entry.definition,
        state=found.entry.state,
        blocks=len(found.treated),
        wanted=_blocks_of(found.entry).count,
        orders=int(found.sums["orders"].sum()),
        strays=int(found.sums["strays"].sum()),
        compared=[_compare(found, outcome) for outcome in OUTCOMES],
    )


def pair_up(values: Values, treated: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Values, Values]:
    """The values of the first arm's blocks and of the second's, pair by pair, shape (n / 2,) each.

    >>> pair_up(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, True, False]))[1].tolist()
    [2.0, 3.0]
    """
    return values[~treated], values[treated]  # each pair has one of each


def paired(outcome: str, controls: Values, treatments: Values, level: float = LEVEL) -> Paired:
    """Differences of pairs: the t interval of their mean, and the share of all draws of turns that differ as much.

    The randomisation test rests on nothing but the draw of which block of a pair came first (Bojinov, Simchi-Levi &
    Zhao 2023, section 4): under no effect at all each difference could as well have had the other sign. NaN in a block
    leaves its pair out.
    """
    known = ~np.isnan(controls + treatments)
    controls, treatments = controls[known], treatments[known]
    differences, pairs = treatments - controls, len(controls)
    if pairs < 2:  # noqa: PLR2004 - a spread
        return Paired(outcome, pairs, *[np.nan] * 6)
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / pairs**0.5
    half = float(stats.t.ppf(1 - level / 2, pairs - 1)) * error
    tested = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=DRAWS, axis=0,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    means = (float(controls.mean()), float(treatments.mean()))
    return Paired(outcome, pairs, *means, mean, mean - half, mean + half, float(tested.pvalue))


def _compare(found: Switched, outcome: str) -> Paired:
    """One outcome, a ratio in each block."""
    numerator, denominator = (found.sums[name] for name in OUTCOMES[outcome])
    ratios = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return paired(outcome, *pair_up(ratios, found.treated))


def _blocks_of(entry: Entry) -> Blocks:
    """The blocks that every switchback has."""
    assert entry.definition.blocks is not None  # noqa: S101 - checked when it was defined
    return entry.definition.blocks
