"""What an experiment has shown, in figures and in words: sample ratio, primary metric, guardrails, matched coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.experiments.definitions import Definition
from serving.experiments.metrics import METRICS
from training.experiments import words
from training.experiments.estimates import Estimate, Values, preference
from training.experiments.guardrails import Guarded, guard
from training.experiments.judging import Compared, compare, counts_of, ratio_is_wrong
from training.experiments.matching import Matched, Tenth, matched_of, tenths_of
from training.experiments.novelty import Change, Span, changes_of, spans_of
from training.experiments.outlook import Outlook, outlook_of
from training.experiments.reading import Exposed
from training.experiments.sequences import ratio_evidence, ratio_track


@dataclass(frozen=True)
class Report:
    """All that is to be said of one version."""

    definition: Definition
    state: str
    reason: str | None  # of a stop
    days: float  # since its start, up to its end
    horizon_days: int | None
    power: float | None  # that was expected at the start
    counts: dict[str, int]  # users by arm; in both arms together where the lists are interleaved
    overridden: int
    lacking: dict[str, int]  # lists and users left out, for an arm's model was not there
    came: Values  # days since the start of each first exposure, shape (n,)
    ratio_evidence: float  # Bayes factor against the arms' weights; over 100 is an alarm
    ratio_is_wrong: bool
    ratio_track: Values  # the Bayes factor after each user, shape (n,)
    primary: list[Compared]
    guardrails: list[Guarded]
    p95_ms: dict[str, float]  # by arm, where any list was timed
    spans: list[Span]
    changes: list[Change]
    tenths: list[Tenth]
    matched: list[Matched]
    outlook: list[Outlook]
    preference: Estimate | None  # of an interleaved experiment: towards its second arm

    @property
    def at_horizon(self) -> bool:
        """Whether it has run as long as was fixed."""
        return self.horizon_days is not None and self.days >= self.horizon_days

    @property
    def verdict(self) -> str:
        """What may be concluded, in words."""
        return words.verdict_of(self)

    @property
    def remarks(self) -> list[str]:
        """What else to know before acting on it: whether it lasts, matched coverage, power left; a sentence each."""
        return words.remarks_of(self)


def make_report(exposed: Exposed) -> Report:
    """Everything from what was read."""
    entry = exposed.entry
    definition, both = entry.definition, entry.definition.design == "interleaved"
    sizes = counts_of(definition, exposed.arms)
    total = sum(arm.weight for arm in definition.arms)
    shares = [arm.weight / total for arm in definition.arms]
    names = [arm.name for arm in definition.arms]
    started = entry.started_at
    days = 0.0 if started is None else (exposed.until - started).total_seconds() / 86_400
    primary = [] if both else compare(definition, exposed.units(METRICS[definition.primary_metric]))
    return Report(
        definition=definition,
        state=entry.state,
        reason=entry.reason,
        days=days,
        horizon_days=entry.horizon_days,
        power=entry.power,
        counts={"both": len(exposed.arms)} if both else dict(zip(names, sizes, strict=True)),
        overridden=exposed.overridden,
        lacking=exposed.lacking,
        came=exposed.days(),
        ratio_evidence=1.0 if both else ratio_evidence(sizes, shares),
        ratio_is_wrong=not both and ratio_is_wrong(definition, sizes),
        ratio_track=np.ones(len(exposed.arms)) if both else ratio_track(exposed.arms, shares),
        primary=primary,
        guardrails=[] if both else guard(definition, exposed),
        p95_ms={} if both else {names[place]: value for place, value in exposed.p95_ms.items()},
        spans=[] if both else spans_of(definition, exposed),
        changes=[] if both else changes_of(definition, exposed),
        tenths=[] if both else tenths_of(definition, exposed),
        matched=[] if both else matched_of(definition, exposed),
        outlook=outlook_of(definition, primary, exposed.days(), days, entry.horizon_days),
        preference=_preference(definition, exposed) if both else None,
    )


def _preference(definition: Definition, exposed: Exposed) -> Estimate:
    """Likes by team and user."""
    place = {user_id: index for index, user_id in enumerate(exposed.user_ids)}
    likes = np.zeros((2, len(place)))
    names = [arm.name for arm in definition.arms]
    for row in exposed.teams:
        if row["user_id"] in place:
            likes[names.index(row["team"]), place[row["user_id"]]] = row["likes"]
    return preference(likes[0], likes[1])
