"""The figure of simulated policies: cost over the cheapest one's, by the price of a stock-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from training.sim_report import Line

INK, CALM, ACCENT, PALE = "#2b2b2b", "#4878a8", "#d55e00", "#bdbdbd"
MOST_SHOWN = 2.0  # times the best policy's cost; what is dearer leaves the panel


def figure(found: Mapping[str, Mapping[float, Sequence[Line]]]) -> Figure:
    """Cost over the cheapest policy's, by the price of a stock-out; one panel per regime, the newsvendor in colour."""
    columns = min(len(found), 3)
    rows = -(-len(found) // columns)
    drawn = Figure(figsize=(4.4 * columns, 3.2 * rows), layout="constrained")
    panels = drawn.subplots(rows, columns, squeeze=False).ravel()
    for panel, (regime, prices) in zip(panels, found.items(), strict=False):
        for policy in [line.policy for line in next(iter(prices.values()))]:
            points = [line.against_best for ones in prices.values() for line in ones if line.policy == policy]
            chosen = policy in {"newsvendor", "floor"}
            ink = {"newsvendor": ACCENT, "floor": CALM}.get(policy, PALE)
            panel.plot(list(prices), points, marker="o", markersize=3, color=ink, zorder=2 + chosen)
            if points[-1] < MOST_SHOWN:
                panel.annotate(policy, (list(prices)[-1], points[-1]), fontsize=6, color=INK)
        panel.set(title=regime, xscale="log", ylim=(0.6, MOST_SHOWN), xlabel="price of a stock-out ($)")
        panel.set_ylabel("cost / best")
        panel.set_xticks(list(prices), [f"{price:g}" for price in prices])
        panel.minorticks_off()
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    return drawn
