"""What an experiment has shown, in figures and in words: sample ratio, primary metric, guardrails, matched coverage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from serving.experiments.definitions import Definition, Guardrail
from serving.experiments.metrics import METRICS, Ratio
from training.experiments.estimates import LEVEL, Estimate, preference, scores_of_ratio, welch
from training.experiments.judging import Compared, compare, counts_of, follow, ratio_is_wrong
from training.experiments.reading import Exposed
from training.experiments.sequences import ratio_evidence

LOWER_IS_BETTER = {"skips_per_display"}
#: Each guardrail's parts, and whether more of it is harm.
GUARDRAILS: Mapping[Guardrail, tuple[Ratio, bool]] = {
    "fill_rate": (Ratio("returned", "asked"), False),
    "stockout_rate": (Ratio("stockouts", "lists"), True),
    "displays_per_user": (METRICS["displays_per_user"], False),
    "skips_per_display": (METRICS["skips_per_display"], True),
}


class Guarded(NamedTuple):
    """A guardrail of one arm beside the control, by its confidence sequence; NaN before anybody's window was over."""

    guardrail: str
    arm: str
    users: int
    difference: float
    low: float
    high: float
    harmed: bool  # at any time so far


class Tenth(NamedTuple):
    """Likes per display of one arm beside the control, of users who had seen as much of the pool."""

    tenth: int
    arm: str
    displays: int
    estimate: Estimate


@dataclass(frozen=True)
class Report:
    """All that is to be said of one version."""

    definition: Definition
    state: str
    days: float  # since its start, up to its end
    horizon_days: int | None
    power: float | None
    counts: dict[str, int]  # users by arm; in both arms together where the lists are interleaved
    overridden: int
    ratio_evidence: float  # Bayes factor against the arms' weights; over 100 is an alarm
    ratio_is_wrong: bool
    primary: list[Compared]
    guardrails: list[Guarded]
    tenths: list[Tenth]
    preference: Estimate | None  # of an interleaved experiment: towards its second arm

    @property
    def at_horizon(self) -> bool:
        """Whether it has run as long as was fixed."""
        return self.horizon_days is not None and self.days >= self.horizon_days

    @property
    def verdict(self) -> str:
        """What may be concluded, in words."""
        if not sum(self.counts.values()):
            return "Nobody has been exposed: there is nothing to say."
        if self.ratio_is_wrong:
            return "The arms are not as large as their weights say: believe nothing of this, and look for what is lost."
        harmed = [f"{each.guardrail} by {each.arm}" for each in self.guardrails if each.harmed]
        if harmed:
            return f"Harm is certain enough to stop: {', '.join(harmed)}."
        if not self.at_horizon:
            late = "was stopped" if self.state in {"stopped", "archived"} else "is"
            return f"It {late} at day {self.days:.1f} of {self.horizon_days or 0}: too early to decide."
        return self._preferred() if self.preference is not None else self._compared()

    def _preferred(self) -> str:
        """Of an interleaved experiment."""
        found = self.preference
        if found is None or not found.tells:
            return "Users prefer neither ranking."
        return f"Users prefer {self.definition.arms[int(found.difference > 0)].name}."

    def _compared(self) -> str:
        """Of arms of users."""
        said = [_said(each, self.definition.primary_metric) for each in self.primary if each.p_value < LEVEL]
        if said:
            return " ".join(said)
        power = "" if self.power is None else f" with a chance of {self.power:.0%}"
        return f"No difference was found; {self.definition.smallest_effect:.0%} would have been{power}."


def make_report(exposed: Exposed) -> Report:
    """Everything from what was read."""
    entry = exposed.entry
    definition, both = entry.definition, entry.definition.design == "interleaved"
    sizes = counts_of(definition, exposed.arms)
    total = sum(arm.weight for arm in definition.arms)
    started = entry.started_at
    return Report(
        definition=definition,
        state=entry.state,
        days=0.0 if started is None else (exposed.until - started).total_seconds() / 86_400,
        horizon_days=entry.horizon_days,
        power=entry.power,
        counts={"both": len(exposed.arms)} if both else _by_arm(definition, sizes),
        overridden=exposed.overridden,
        ratio_evidence=1.0 if both else ratio_evidence(sizes, [arm.weight / total for arm in definition.arms]),
        ratio_is_wrong=not both and ratio_is_wrong(definition, sizes),
        primary=[] if both else compare(definition, exposed.units(METRICS[definition.primary_metric])),
        guardrails=[] if both else _guarded(definition, exposed),
        tenths=[] if both else _tenths(definition, exposed),
        preference=_preference(definition, exposed) if both else None,
    )


def _by_arm(definition: Definition, sizes: list[int]) -> dict[str, int]:
    """Sizes with their arms' names."""
    return {arm.name: size for arm, size in zip(definition.arms, sizes, strict=True)}


def _guarded(definition: Definition, exposed: Exposed) -> list[Guarded]:
    """Each guardrail of each arm."""
    found = []
    for name in definition.guardrails:
        ratio, more_is_harm = GUARDRAILS[name]
        units = exposed.in_windows(*ratio)
        for place, arm in enumerate(definition.arms[1:], start=1):
            track = follow(definition, units, place)
            harmed = (track.low > 0) if more_is_harm else (track.high < 0)
            difference, low, high = (float(part[-1]) if len(part) else np.nan for part in track)
            found.append(Guarded(name, arm.name, len(track.low), difference, low, high, bool(harmed.any())))
    return found


def _tenths(definition: Definition, exposed: Exposed) -> list[Tenth]:
    """Likes per display at matched coverage, in the tenths where both have users."""
    arm_of = dict(zip(exposed.user_ids, exposed.arms.tolist(), strict=True))
    found = []
    for tenth in range(10):
        rows = [row for row in exposed.tenths if row["tenth"] == tenth]
        scores = [
            _scores([row for row in rows if arm_of[row["user_id"]] == place]) for place in range(len(definition.arms))
        ]
        for place, arm in enumerate(definition.arms[1:], start=1):
            shown = sum(row["displays"] for row in rows if arm_of[row["user_id"]] == place)
            if min(len(scores[0]), len(scores[place])) > 1:
                found.append(Tenth(tenth, arm.name, shown, welch(scores[0], scores[place])))
    return found


def _scores(rows: list[dict[str, float]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Likes per display, one value per user."""
    likes, displays = (np.array([float(row[name]) for row in rows]) for name in ("likes", "displays"))
    return scores_of_ratio(likes, displays)


def _preference(definition: Definition, exposed: Exposed) -> Estimate:
    """Likes by team and user."""
    place = {user_id: index for index, user_id in enumerate(exposed.user_ids)}
    likes = np.zeros((2, len(place)))
    names = [arm.name for arm in definition.arms]
    for row in exposed.teams:
        if row["user_id"] in place:
            likes[names.index(row["team"]), place[row["user_id"]]] = row["likes"]
    return preference(likes[0], likes[1])


def _said(found: Compared, metric: str) -> str:
    """One arm that differs."""
    mean = found.control_mean
    change, low, high = (value / mean if mean else np.nan for value in found.estimate[:3])
    better = (found.estimate.difference > 0) != (metric in LOWER_IS_BETTER)
    return f"{found.arm} is {'better' if better else 'worse'}: {metric} {change:+.1%} ({low:+.1%} to {high:+.1%})."
