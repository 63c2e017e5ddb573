"""A report in sentences that a person understands who has never met a confidence interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.experiments.estimates import LEVEL, Estimate

if TYPE_CHECKING:
    from training.experiments.judging import Compared
    from training.experiments.novelty import Change, Span
    from training.experiments.outlook import Outlook
    from training.experiments.report import Report

LOWER_IS_BETTER = {"skips_per_display"}
METRIC_WORDS = {
    "likes_per_display": "likes per artwork shown",
    "skips_per_display": "skips per artwork shown",
    "dwell_per_display": "seconds looked at an artwork",
    "likes_per_user": "likes per user",
    "displays_per_user": "artworks shown to a user",
}
GUARDRAIL_WORDS = {
    "fill_rate": "how full the lists are",
    "stockout_rate": "how often nothing unseen is left",
    "display_freshness": "how often a display is the first of its artwork",
    "p95_latency": "how slow the slowest lists are",
    "error_rate": "how often the ranking fails",
    "cost_per_impression": "what a display costs",
    "displays_per_user": "how many artworks users are shown",
    "skips_per_display": "how often users skip",
}


def verdict_of(report: Report) -> str:
    """What may be concluded."""
    if not sum(report.counts.values()):
        return "Nobody has been exposed: there is nothing to say."
    alarm = alarm_of(report)
    if alarm is not None:
        return alarm
    if not report.at_horizon:
        late = "was stopped" if report.state in {"stopped", "archived"} else "is"
        return f"It {late} at day {report.days:.1f} of {report.horizon_days or 0}: too early to decide."
    return _preferred(report) if report.preference is not None else _compared(report)


def alarm_of(report: Report) -> str | None:
    """Why to stop at once: a wrong sample ratio, or guardrails that are surely harmed; None where all is well."""
    if report.ratio_is_wrong:
        return "The arms are not as large as their weights say: believe nothing of this, and look for what is lost."
    harmed = dict.fromkeys((each.guardrail, each.arm) for each in report.guardrails if each.harmed)
    if not harmed:
        return None
    told = (f"{name} by {arm} ({GUARDRAIL_WORDS[name]})" for name, arm in harmed)
    return f"Harm is certain enough to stop: {', '.join(told)}."


def remarks_of(report: Report) -> list[str]:
    """What else a reader should know before acting on the verdict."""
    said = [] if report.reason is None else [f"It was stopped: {report.reason}"]
    if report.ratio_is_wrong or not sum(report.counts.values()):
        return said
    metric = METRIC_WORDS[report.definition.primary_metric]
    if report.at_horizon:  # their intervals are for one look
        said += [_changed(each, metric) for each in report.changes]
        said += [text for text in (_matched(report, each.arm) for each in report.primary) if text is not None]
    said += [_power(report, each) for each in report.outlook]
    if report.lacking["lists"]:
        lists, users = report.lacking["lists"], report.lacking["users"]
        said.append(
            f"{lists:,} lists of {users:,} users had to do without an arm's model; they are left out of every arm."
        )
    return said


def relative(found: Estimate, mean: float) -> str:
    """A difference with its interval as shares of a mean."""
    if not mean or np.isnan(found.difference):
        return "unknown"
    change, low, high = (value / abs(mean) for value in found[:3])
    return f"{change:+.1%} ({low:+.1%} to {high:+.1%})"


def _preferred(report: Report) -> str:
    """Of an interleaved experiment."""
    found = report.preference
    if found is None or not found.tells:
        return "Users prefer neither ranking."
    return f"Users prefer {report.definition.arms[int(found.difference > 0)].name}."


def _compared(report: Report) -> str:
    """Of arms of users."""
    metric = report.definition.primary_metric
    said = [_said(each, metric) for each in report.primary if each.p_value < LEVEL]
    if said:
        return " ".join(said)
    power = "" if report.power is None else f" with a chance of {report.power:.0%}"
    return f"No difference was found; {report.definition.smallest_effect:.0%} would have been{power}."


def _said(found: Compared, metric: str) -> str:
    """One arm that differs."""
    better = (found.estimate.difference > 0) != (metric in LOWER_IS_BETTER)
    change = relative(found.estimate, found.control_mean)
    return f"{found.arm} is {'better' if better else 'worse'}: {METRIC_WORDS[metric]} {change}."


def _changed(found: Change, metric: str) -> str:
    """Whether an effect lasts."""
    first, last = found.first, found.last
    told = f"{metric} {_short(first)} on the first day, {_short(last)} on {_days(last)}"
    if not found.estimate.tells:
        return f"No sign that {found.arm}'s effect changes with time: {told}."
    if abs(last.estimate.difference) < abs(first.estimate.difference):
        return f"{found.arm}'s effect fades: {told}. Part of it was that it was new; trust the later figure."
    return f"{found.arm}'s effect grows: {told}. Users need time for it; run on before you decide."


def _short(span: Span) -> str:
    """A change without its interval."""
    return f"{span.estimate.difference / span.control_mean:+.1%}" if span.control_mean else "unknown"


def _days(span: Span) -> str:
    """The days of a span."""
    return f"days {span.first_day} to {span.last_day}"


def _matched(report: Report, arm: str) -> str | None:
    """Whether the difference is one of how much of the pool was seen."""
    found = next((each for each in report.matched if each.arm == arm), None)
    if found is None or report.definition.primary_metric != "likes_per_display":
        return None
    told = f"Where users had seen as much of the pool, {arm}'s likes per artwork shown differ by "
    told += relative(found.estimate, found.control_mean)
    plain = next(each for each in report.primary if each.arm == arm).estimate
    if plain.tells and (not found.estimate.tells or plain.difference * found.estimate.difference < 0):
        return (
            told + ": one arm has spent more of the good artworks, and nothing is shown twice. Do not act on this yet."
        )
    return told + "."


def _power(report: Report, found: Outlook) -> str:
    """What could be seen, and what will be."""
    effect = report.definition.smallest_effect
    told = (
        f"With the {found.users:,} users of {found.arm} and the control a change of {found.detectable:.0%} would be "
        f"found with a chance of 80%, and one of {effect:.0%} with {found.power:.0%}"
    )
    if report.at_horizon or report.state in {"stopped", "archived"}:
        return told + "."
    return told + f"; in {found.days_left:.0f} days, with about {found.users_then:,}, with {found.power_then:.0%}."
