"""The tables that `vernissage experiment report` prints."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from training.experiments.estimates import Estimate
from training.experiments.report import Report

WIDTH = 76  # characters, so that a short table's caption is one line


def report_tables(report: Report) -> list[Table]:
    """Who was exposed, then whatever there is to say."""
    tables = [_exposed(report)]
    if report.preference is not None:
        tables.append(_preference(report.definition.arms[1].name, report.preference))
    if report.primary:
        tables.append(_primary(report))
    if report.guardrails:
        tables.append(_guardrails(report))
    if report.spans:
        tables.append(_spans(report))
    if report.tenths:
        tables.append(_tenths(report))
    return tables


def _exposed(report: Report) -> Table:
    """Users by arm."""
    definition = report.definition
    alarm = "wrong" if report.ratio_is_wrong else "as it should be"
    caption = (
        f"sample ratio {alarm} (Bayes factor {report.ratio_evidence:.3g}); {report.overridden} overridden left out"
    )
    title = f"{definition.name} version {definition.version}, {report.state}, day {report.days:.1f}"
    table = Table(box=None, title=escape(title), caption=caption, min_width=WIDTH)
    table.add_column("arm", no_wrap=True)
    table.add_column("users", justify="right")
    for arm, users in report.counts.items():
        table.add_row(escape(arm), f"{users:,}")
    return table


def _primary(report: Report) -> Table:
    """The primary metric with CUPED, and without."""
    caption = f"{report.definition.primary_metric}: differences to the control, 95% intervals; p by Holm"
    table = Table(box=None, caption=caption)
    for header in ("arm", "", "control", "arm's", "difference", "from", "to", "p"):
        table.add_column(header, no_wrap=True)
    for each in report.primary:
        means = (f"{each.control_mean:.4f}", f"{each.mean:.4f}")
        table.add_row(escape(each.arm), "with CUPED", *means, *_ends(each.estimate), _p_value(each.p_value))
        table.add_row("", "without", "", "", *_ends(each.plain), "")
    return table


def _guardrails(report: Report) -> Table:
    """By confidence sequences."""
    times = ", ".join(f"{escape(arm)} {value:.1f} ms" for arm, value in report.p95_ms.items())
    caption = "confidence sequences, 95% for all of them together and at all times; of users' first days"
    table = Table(box=None, caption=f"{caption}\n95th percentile of lists: {times}" if times else caption)
    for header in ("guardrail", "arm", "days", "users", "difference", "from", "to", ""):
        table.add_column(header, no_wrap=True)
    for each in report.guardrails:
        told = (each.difference, each.low, each.high) if each.users else ()
        ends = [f"{value:+.4f}" for value in told] or ["none yet", "", ""]
        harmed = "harmed" if each.harmed else ""
        table.add_row(each.guardrail, escape(each.arm), str(each.window_days), f"{each.users:,}", *ends, harmed)
    return table


def _spans(report: Report) -> Table:
    """By days since the first exposure."""
    table = Table(box=None, caption=f"{report.definition.primary_metric} by each user's days in the experiment")
    for header in ("days", "arm", "users", "control", "difference", "from", "to"):
        table.add_column(header, no_wrap=True)
    for each in report.spans:
        days = "1" if each.last_day == 1 else f"{each.first_day} to {each.last_day}"
        table.add_row(days, escape(each.arm), f"{each.users:,}", f"{each.control_mean:.4f}", *_ends(each.estimate))
    return table


def _tenths(report: Report) -> Table:
    """At matched coverage."""
    caption = "likes per display where users had seen as much of the pool: a better ranker spends the good ones first"
    table = Table(box=None, caption=caption)
    for header in ("seen", "arm", "displays", "difference", "from", "to"):
        table.add_column(header, no_wrap=True)
    for each in report.tenths:
        seen = f"{each.tenth * 10} to {each.tenth * 10 + 10}%"
        table.add_row(seen, escape(each.arm), f"{each.displays:,}", *_ends(each.estimate))
    for found in report.matched:
        table.add_row("together", escape(found.arm), "", *_ends(found.estimate))
    return table


def _preference(second: str, found: Estimate) -> Table:
    """Of interleaved lists."""
    table = Table(
        box=None, caption=f"1: all likes go to {escape(second)}'s picks, -1: none do; 95% interval over users"
    )
    for header in ("preference", "from", "to", "p"):
        table.add_column(header, no_wrap=True)
    table.add_row(*_ends(found), _p_value(found.p_value))
    return table


def _p_value(value: float) -> str:
    """Three digits of it."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004 - what three digits can tell


def _ends(found: Estimate) -> tuple[str, str, str]:
    """A difference and its interval."""
    return f"{found.difference:+.4f}", f"{found.low:+.4f}", f"{found.high:+.4f}"
