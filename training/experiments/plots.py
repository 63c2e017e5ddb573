"""Figures of a report: the effect, guardrails and sample ratio over time, matched coverage, whether an effect lasts.

Each function takes a report and gives a matplotlib Figure; where there is nothing to draw, one that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from training.experiments.estimates import Estimate
from training.experiments.guardrails import GUARDRAILS, Guarded
from training.experiments.novelty import Span
from training.experiments.report import Report
from training.experiments.sequences import RATIO_LEVEL
from training.experiments.words import GUARDRAIL_WORDS, METRIC_WORDS
from training.plots import ACCENT, CALM, FAINT, INK, PALE, STYLE_INKS, drawn, headline, only_words

WIDTH = 8.0  # inches
POINTS = 400  # of a line that is drawn
ACROSS = 3  # panels beside each other
VIEW = 4.0  # a sequence's panel is so many times as high as its last half width


@drawn
def effect(report: Report) -> Figure:
    """Each arm's change of the primary metric: with CUPED, without, and where users had seen as much of the pool."""
    if report.preference is not None:
        return _preference(report, report.preference)
    told = [each for each in report.primary if not np.isnan(each.estimate.difference) and each.control_mean]
    if not told:
        return only_words("Too few users for an effect")
    rows: list[tuple[str, str, Estimate, float, str]] = []
    for each in told:
        rows.append((each.arm, "with CUPED", each.estimate, each.control_mean, _ink(each.estimate)))
        rows.append((each.arm, "without", each.plain, each.control_mean, FAINT))
        matched = next((found for found in report.matched if found.arm == each.arm), None)
        if matched is not None and matched.control_mean:
            rows.append((each.arm, "likes at matched coverage", matched.estimate, matched.control_mean, STYLE_INKS[2]))
    figure, axes = _figure(1.5 + 0.42 * len(rows), report.verdict, _note(report))
    for place, (_, _, found, mean, ink) in enumerate(rows):
        _draw_interval(axes, found, mean, place, ink)
    smallest = report.definition.smallest_effect
    for end in (-smallest, smallest):
        axes.axvline(end, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.text(smallest, -0.75, " worth finding", fontsize=8, color=FAINT, va="center")
    axes.set_yticks(range(len(rows)), [f"{arm}, {how}" for arm, how, _, _, _ in rows])
    axes.set(ylim=(len(rows) - 0.4, -1.0), xlabel=f"change of {METRIC_WORDS[report.definition.primary_metric]}")
    _in_percent(axes)
    return figure


@drawn
def guardrails(report: Report) -> Figure:
    """The confidence sequence of each guardrail of each arm, after every user; where a band leaves 0, it is sure."""
    panels: dict[tuple[str, str], list[Guarded]] = {}
    for each in report.guardrails:
        if len(each.days):
            panels.setdefault((each.guardrail, each.arm), []).append(each)
    if not panels:
        return only_words("No user's first day is over: no guardrail says anything")
    others = len(report.definition.arms) - 1
    across = ACROSS if others == 1 else min(others, ACROSS)
    high = -(-len(panels) // across)
    harmed = sorted({each.guardrail for each in report.guardrails if each.harmed})
    title = f"Harmed: {', '.join(harmed)}" if harmed else "No guardrail is harmed"
    note = "difference to the control by days since the start; bands hold the truth at all times together (95%)"
    figure = Figure(figsize=(WIDTH + 1.5, 0.9 + 2.1 * high), layout="constrained")
    headline(figure, title, f"{note}\nblue: each user's first day; dashed: first week; orange: harmed")
    grid = figure.subplots(high, across, squeeze=False).ravel()
    for axes, ((_, arm), tracks) in zip(grid, panels.items(), strict=False):
        _draw_tracks(axes, tracks, f", {arm}" if others > 1 else "")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return figure


@drawn
def sample_ratio(report: Report) -> Figure:
    """How much likelier the arms' sizes are if users are not drawn by the weights, after each user."""
    if not len(report.ratio_track) or report.preference is not None:
        return only_words("No arms of users whose ratio could be wrong")
    counts = ", ".join(f"{arm} {count:,}" for arm, count in report.counts.items())
    fine = "The arms are as large as they should be" if not report.ratio_is_wrong else "The arms' sizes are wrong"
    figure, axes = _figure(3.4, f"{fine}: {counts}", "Bayes factor after each user; over the line nothing is believed")
    shown = _thinned(len(report.came))
    axes.plot(report.came[shown], report.ratio_track[shown], color=ACCENT if report.ratio_is_wrong else CALM)
    axes.axhline(1 / RATIO_LEVEL, color=ACCENT, linewidth=1.0, linestyle=(0, (3, 3)))
    axes.annotate(
        "alarm", (1.0, 1 / RATIO_LEVEL), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
        color=ACCENT, ha="right", fontsize=9,
    )  # fmt: skip
    axes.set(yscale="log", xlabel="days since the start", ylabel="against the weights")
    low, top = axes.get_ylim()
    axes.set_ylim(min(low, 0.1), max(top, 3 / RATIO_LEVEL))
    return figure


@drawn
def coverage(report: Report) -> Figure:
    """The difference in likes per display by how much of the pool users had seen."""
    if not report.tenths:
        return only_words("No part of the pool that users of both arms have seen")
    arms = [arm.name for arm in report.definition.arms[1:]]
    figure, axes = _figure(3.8, _coverage_title(report), "95% intervals over users; size: displays of the arm")
    most = max(each.displays for each in report.tenths)
    for arm, ink, shift in zip(arms, STYLE_INKS, _shifts(len(arms)), strict=False):
        rows = [each for each in report.tenths if each.arm == arm]
        at = np.array([10 * each.tenth + 5 for each in rows]) + 2 * shift
        _draw_points(axes, at, [each.estimate for each in rows], ink, arm)
        sizes = [20 + 90 * each.displays / most for each in rows]
        axes.scatter(at, [each.estimate.difference for each in rows], s=sizes, color=ink, zorder=3)
    axes.set(xlim=(0, 100), xlabel="share of the pool already seen", ylabel="likes per display,\nless the control's")
    axes.xaxis.set_major_formatter(PercentFormatter())
    _name(axes, arms)
    return figure


@drawn
def novelty(report: Report) -> Figure:
    """The effect by days since each user's first exposure."""
    told = [each for each in report.spans if each.control_mean and not np.isnan(each.estimate.difference)]
    if not told:
        return only_words("Too few users have lived through a day")
    arms = [arm.name for arm in report.definition.arms[1:]]
    figure, axes = _figure(3.8, _novelty_title(report), "95% intervals over the users whose days these were")
    spans = sorted({(each.first_day, each.last_day) for each in told})
    for arm, ink, shift in zip(arms, STYLE_INKS, _shifts(len(arms)), strict=False):
        rows = [each for each in told if each.arm == arm]
        at = np.array([spans.index((each.first_day, each.last_day)) for each in rows]) + 0.25 * shift
        _draw_points(axes, at, [_relative(each.estimate, each.control_mean) for each in rows], ink, arm, "o-")
    axes.set_xticks(range(len(spans)), [_span_name(told, span) for span in spans])
    axes.set(xlim=(-0.5, len(spans) - 0.5), ylabel=f"change of\n{METRIC_WORDS[report.definition.primary_metric]}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _name(axes, arms)
    return figure


#: Every figure, by the name of its file.
FIGURES: Mapping[str, Callable[[Report], Figure]] = {
    "effect": effect,
    "guardrails": guardrails,
    "sample_ratio": sample_ratio,
    "coverage": coverage,
    "novelty": novelty,
}


def _preference(report: Report, found: Estimate) -> Figure:
    """Of interleaved lists: whose picks are liked."""
    if np.isnan(found.difference):
        return only_words("Too few users liked anything")
    one, two = (arm.name for arm in report.definition.arms)
    figure, axes = _figure(1.9, report.verdict, f"{_note(report)}; -1: all likes go to {one}'s picks, 1: to {two}'s")
    _draw_interval(axes, found, 1.0, 0, _ink(found), "{:+.2f}")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks([0], [f"{two} rather than {one}"])
    axes.set(ylim=(0.6, -0.6), xlabel="preference")
    return figure


def _figure(height: float, title: str, note: str) -> tuple[Figure, Axes]:
    """One pair of axes under a headline, which is broken where it is long; inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    headline(figure, _broken(title), note)
    return figure, figure.subplots()


def _broken(text: str, most: int = 96) -> str:
    """The text in lines of so many characters at most."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def _note(report: Report) -> str:
    """What it is made from."""
    users = f"{sum(report.counts.values()):,} users"
    return (
        f"{report.definition.name} version {report.definition.version}, day {report.days:.0f}; {users}; 95% intervals"
    )


def _ink(found: Estimate) -> str:
    """Whether it tells."""
    return ACCENT if found.tells else CALM


def _relative(found: Estimate, mean: float) -> Estimate:
    """As a share of the control's mean."""
    difference, low, high, p_value = found
    return Estimate(difference / abs(mean), low / abs(mean), high / abs(mean), p_value)


def _draw_interval(  # noqa: PLR0917 - one row of a figure
    axes: Axes, found: Estimate, mean: float, place: int, ink: str, form: str = "{:+.1%}"
) -> None:
    """One estimate with its interval and its number."""
    value, low, high, _ = _relative(found, mean)
    axes.plot([low, high], [place, place], color=ink, linewidth=2.2, alpha=0.55, solid_capstyle="round")
    axes.plot(value, place, "o", color=ink, markersize=6)
    axes.annotate(form.format(value), (high, place), (6, 0), textcoords="offset points", va="center", fontsize=8)


def _in_percent(axes: Axes) -> None:
    """A scale of changes around nothing."""
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)


def _draw_points(  # noqa: PLR0917 - a series
    axes: Axes, at: np.ndarray, found: Sequence[Estimate], ink: str, label: str, form: str = "o"
) -> None:
    """Estimates with their intervals."""
    means = np.array([each.difference for each in found])
    reach = [means - [each.low for each in found], [each.high for each in found] - means]
    axes.errorbar(at, means, yerr=reach, fmt=form, color=ink, markersize=5, elinewidth=1.6, linewidth=1.0, label=label)


def _shifts(count: int) -> list[float]:
    """Places beside each other, around 0."""
    return [place - (count - 1) / 2 for place in range(count)]


def _name(axes: Axes, arms: Sequence[str]) -> None:
    """The line of no difference, and the legend where there is more than one arm."""
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    if len(arms) > 1:
        axes.legend(frameon=False, fontsize=9)


def _draw_tracks(axes: Axes, tracks: Sequence[Guarded], arm: str) -> None:
    """The windows of one guardrail and arm as bands."""
    half = 0.0
    for each, calm, line in zip(tracks, (STYLE_INKS[0], STYLE_INKS[3]), ("-", "--"), strict=False):
        known = np.flatnonzero(np.isfinite(each.track.low))
        ink = ACCENT if each.harmed else calm
        if not len(known):
            continue
        shown = known[_thinned(len(known))]
        days, (middle, low, high) = each.days[shown], (part[shown] for part in each.track)
        axes.fill_between(days, low, high, color=ink, alpha=0.18, linewidth=0)
        axes.plot(days, middle, line, color=ink, linewidth=1.2)
        half = max(half, VIEW * (each.high - each.low) / 2, 1.4 * abs(each.difference))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set(xlim=(0, None), ylim=(-half or -1.0, half or 1.0))
    axes.set_title(f"{tracks[0].guardrail}{arm}", color=ACCENT if any(each.harmed for each in tracks) else INK)
    more = "more" if GUARDRAILS[tracks[0].guardrail][1] else "less"
    axes.set_xlabel(f"{_half_of(GUARDRAIL_WORDS[tracks[0].guardrail])}; {more} is harm", fontsize=7, color=FAINT)
    axes.yaxis.set_major_locator(MaxNLocator(4) if half else FixedLocator([0.0]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(labelsize=8)


def _half_of(text: str) -> str:
    """A long text in two lines."""
    return _broken(text, 40)


def _coverage_title(report: Report) -> str:
    """Whether like compared with like differs."""
    told = [each for each in report.matched if each.estimate.tells]
    if not told:
        return "Where users had seen as much of the pool, no arm is liked more or less than the control"
    words = (f"{each.arm} {'more' if each.estimate.difference > 0 else 'less'}" for each in told)
    return f"Where users had seen as much of the pool, they like {' and '.join(words)} than the control"


def _novelty_title(report: Report) -> str:
    """Whether an effect lasts."""
    told = [each for each in report.changes if each.estimate.tells]
    if not report.changes:
        return "Too early to say whether the effect lasts"
    if not told:
        return "No sign that the effect changes with time"
    fades = {each.arm: abs(each.last.estimate.difference) < abs(each.first.estimate.difference) for each in told}
    return "; ".join(f"{arm}'s effect {'fades' if fading else 'grows'} with time" for arm, fading in fades.items())


def _span_name(told: Sequence[Span], span: tuple[int, int]) -> str:
    """A span's days and how many users it has at most."""
    users = max(each.users for each in told if (each.first_day, each.last_day) == span)
    days = f"day {span[0]}" if span[0] == span[1] else f"days {span[0]} to {span[1]}"
    return f"{days}\n({users:,} users)"


def _thinned(count: int) -> np.ndarray:
    """At most POINTS places among so many, the last one among them."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))
