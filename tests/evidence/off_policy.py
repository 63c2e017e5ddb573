"""What other policies would have come to, from logs: beside a truth that is known, and beside a shop's own test.

python tests/evidence/off_policy.py [--repetitions N] [--users N] [--data FOLDER]

Lists are drawn by the sampler that serves, from heads whose likes are known by construction; the same estimators then
judge policies near to the one that logged and one far from it. The second part takes the Open Bandit Dataset's log by
Thompson sampling for what the uniform policy is worth, and holds it against the log of the uniform policy itself.

Met: no estimate is further off on average than four of its Monte-Carlo errors, 95% intervals hold the truth as often as
the binomial law allows (99.9%), the near are never refused and the far always; of the shop, that men's is reported with
intervals that meet the uniform policy's own, and that women's is refused. Without the data the second part is left out,
and the last line says so.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom

from features.errors import WeakEvidenceError
from serving.exploration import Sampler
from tests.bandit_worlds import SLOTS, make_bandit_world
from tests.service import REPOSITORY
from tests.stage import conclude
from training.experiments.logged import Target, of_lists, read_bandit, uniform_over, value_of
from training.experiments.off_policy import Judged, effective_size, judge, snips
from training.intervals import Interval

LOGGING = Sampler(1.0, 0.1)
NEAR = {"a little colder": Sampler(0.75, 0.1), "hotter": Sampler(2.0, 0.1), "all alike": Sampler(1.0, 1.0)}
FAR = {"by rank": Sampler(0.0, 0.0)}
ESTIMATORS = ("ips", "snips", "dr")
ERRORS = 4.0
SURE = 0.999
console = Console()


def main() -> None:
    """Judge everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data" / "open_bandit")
    given = parser.parse_args()
    known, right = _known(given.repetitions, given.users)
    figures: dict[str, Any] = {"known_world": known}
    if given.data.is_dir():
        figures["open_bandit"], agrees = _shop(given.data)
    else:
        figures["open_bandit"], agrees = "left out: the data are not here", True
        console.print("The Open Bandit Dataset is not here: its part is left out.")
    conclude("off-policy", figures, met=right and agrees)


def _known(repetitions: int, users: int) -> tuple[dict[str, Any], bool]:
    """Errors and coverage in the world whose truth is known."""
    world = make_bandit_world()
    truths = {name: world.worth(Target(sampler)) for name, sampler in (NEAR | FAR).items()}
    judged: dict[str, list[Judged]] = {name: [] for name in truths}
    refused = dict.fromkeys(truths, 0)
    naive, sizes, forced = [], [], []
    for seed in track(range(repetitions), description="logs", console=console):
        lists = world.log(LOGGING, users, np.random.default_rng(seed))
        naive.append(float(np.mean([sum(each.rewards.values()) for each in lists])) / SLOTS)
        far = of_lists(lists, Target(FAR["by rank"]), SLOTS)
        sizes.append(effective_size(far.weights))
        forced.append(snips(far))
        for name, sampler in (NEAR | FAR).items():
            try:
                judged[name].append(judge(of_lists(lists, Target(sampler), SLOTS), name))
            except WeakEvidenceError:
                refused[name] += 1
    figures: dict[str, Any] = {
        "repetitions": repetitions,
        "lists_per_log": users * 2,
        "slots": SLOTS,
        "worth_of_logging": round(world.worth(Target(LOGGING)), 5),
        "refused": refused,
        "effective_slots_of_far": round(float(np.mean(sizes)), 1),
        "far_had_it_been_reported": _line(forced, truths["by rank"]) | {"truth": round(truths["by rank"], 5)},
    }
    low, high = (int(end) / repetitions for end in binom.interval(SURE, repetitions, 0.95))
    figures["coverage_allowed"] = [round(low, 4), round(high, 4)]
    table = Table("policy", "truth", "by", "bias", "its error", "RMSE", "covered", "effective", box=None)
    table.caption = f"covered: asked {low:.1%} to {high:.1%}; the logging policy's own mean taken for it: RMSE naive"
    right = all(refused[name] == repetitions for name in FAR) and not any(refused[name] for name in NEAR)
    for name in NEAR:
        off = np.array(naive) - truths[name]
        found: dict[str, Any] = {
            "truth": round(truths[name], 5),
            "rmse_naive": round(float(np.sqrt((off**2).mean())), 5),
        }
        for by in ESTIMATORS:
            line = _line([getattr(each, by) for each in judged[name]], truths[name])
            found[by] = line
            right &= abs(line["bias"]) <= ERRORS * line["error_of_bias"] and low <= line["covered"] <= high
            effective = np.mean([each.effective for each in judged[name]])
            cells = (f"{line['bias']:+.5f}", f"{line['error_of_bias']:.5f}", f"{line['rmse']:.5f}")
            table.add_row(name, f"{truths[name]:.5f}", by, *cells, f"{line['covered']:.1%}", f"{effective:,.0f}")
        table.add_row(name, f"{truths[name]:.5f}", "naive", "", "", f"{found['rmse_naive']:.5f}", "", "")
        figures[name.replace(" ", "_")] = found
    console.print(table)
    for name in FAR:
        console.print(f"{name}: refused in {refused[name]} of {repetitions} logs; {np.mean(sizes):.1f} effective slots")
        wrong = figures["far_had_it_been_reported"]
        console.print(f"had it been reported: RMSE {wrong['rmse']:.5f}, intervals that hold it {wrong['covered']:.1%}")
    return figures, bool(right)


def _line(intervals: list[Interval], truth: float) -> dict[str, float]:
    """How far off estimates are, and how often their intervals hold the truth."""
    means = np.array([each.mean for each in intervals])
    held = np.array([each.low <= truth <= each.high for each in intervals])
    return {
        "bias": round(float(means.mean() - truth), 6),
        "error_of_bias": round(float(means.std(ddof=1)) / len(means) ** 0.5, 6),
        "rmse": round(float(np.sqrt(((means - truth) ** 2).mean())), 6),
        "covered": round(float(held.mean()), 4),
    }


def _shop(data: Path) -> tuple[dict[str, Any], bool]:
    """The uniform policy of a real shop, from the log of another policy and from its own."""
    figures: dict[str, Any] = {}
    table = Table("campaign", "by", "clicks per slot", "from", "to", box=None)
    for campaign in ("men", "women"):
        log = uniform_over(read_bandit(data / "bts" / campaign))
        itself = value_of(read_bandit(data / "random" / campaign))
        table.add_row(campaign, "its own log", *_ends(itself))
        figures[campaign] = {"own_log": _rounded(itself), "effective": round(effective_size(log.weights), 1)}
        try:
            found = judge(log, f"uniform ({campaign})")
        except WeakEvidenceError as error:
            figures[campaign]["refused"] = str(error)
            table.add_row(campaign, "the other's log", "refused", "", "")
            continue
        for by in ESTIMATORS:
            figures[campaign][by] = _rounded(getattr(found, by))
            table.add_row(campaign, by, *_ends(getattr(found, by)))
        figures[campaign]["meets"] = all(_meet(getattr(found, by), itself) for by in ESTIMATORS)
        figures[campaign]["within"] = {by: _within(itself.mean, getattr(found, by)) for by in ESTIMATORS}
    console.print(table)
    console.print(figures["women"].get("refused", "women: not refused"))
    return figures, figures["men"].get("meets", False) and "refused" in figures["women"]


def _meet(one: Interval, other: Interval) -> bool:
    """Whether intervals overlap."""
    return one.low <= other.high and other.low <= one.high


def _within(value: float, interval: Interval) -> bool:
    """Whether an interval holds a value."""
    return interval.low <= value <= interval.high


def _rounded(interval: Interval) -> list[float]:
    """Mean and ends."""
    return [round(value, 5) for value in interval]


def _ends(interval: Interval) -> tuple[str, str, str]:
    """The same for a table."""
    mean, low, high = (f"{value:.5f}" for value in interval)
    return mean, low, high


if __name__ == "__main__":
    main()
