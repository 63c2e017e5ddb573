"""The table that `vernissage experiment report` prints of blocks of time."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from training.experiments.switchback import SwitchbackReport


def switchback_table(report: SwitchbackReport) -> Table:
    """Each outcome, arm beside arm."""
    definition = report.definition
    title = f"{definition.name} version {definition.version}, {report.state}, {report.blocks} of {report.wanted} blocks"
    caption = (
        f"means over blocks, washout left out; 95% t intervals of pairs; p by randomisation;"
        f" {report.strays} of {report.orders} orders of another arm than their block's"
    )
    table = Table(box=None, title=escape(title), caption=caption)
    for header in ("outcome", "pairs", *(arm.name for arm in definition.arms), "difference", "from", "to", "p"):
        table.add_column(escape(header), no_wrap=True, justify="left" if header == "outcome" else "right")
    for each in report.compared:
        means = (f"{value:.4f}" for value in (each.control_mean, each.mean))
        ends = (f"{value:+.4f}" for value in (each.difference, each.low, each.high))
        table.add_row(each.outcome, str(each.pairs), *means, *ends, f"{each.p_value:.3f}")
    return table
