"""What a training leaves beside its bundle: tables and figures of how the model was judged, and no single user."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from training.evaluate import Judged

INK, DUE = "#4878a8", "#d55e00"


def write_report(judged: Judged, folder: Path) -> None:
    """Write metrics.csv, slices.csv and styles.csv, each with its figure where there is something to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    metric_frame(judged).write_csv(folder / "metrics.csv")
    if judged.slices.height:
        judged.slices.write_csv(folder / "slices.csv")
        draw_slices(judged.slices).savefig(folder / "slices.png")
    if judged.styles.height:
        judged.styles.write_csv(folder / "styles.csv")
        draw_styles(judged.styles).savefig(folder / "styles.png")


def metric_frame(judged: Judged) -> pl.DataFrame:
    """One row per metric: metric, value, and the ends of its interval where it is a mean over users."""
    ends = {f"{name}_at_": found for name, found in judged.intervals().items()}
    rows = []
    for name, value in judged.metrics.items():
        found = next((each for start, each in ends.items() if name.startswith(start)), None)
        rows.append((name, value, found and found.low, found and found.high))
    names = {"metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, names, orient="row")


def draw_slices(slices: pl.DataFrame) -> Figure:
    """Recall of each group with its interval."""
    labels = [f"{row['slice']}: {row['group']} ({row['users']:,})" for row in slices.to_dicts()]
    figure = Figure(figsize=(7.0, 1.0 + 0.3 * len(labels)), layout="constrained")
    axes = figure.subplots()
    low, high = slices["recall_low"].to_numpy(), slices["recall_high"].to_numpy()
    places = list(range(len(labels)))
    axes.hlines(places, low, high, color=INK)
    axes.plot(slices["recall"].to_numpy(), places, "o", color=INK)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set(xlim=(0, None), xlabel="recall, 95% interval over users", title="Who is served how well")
    return figure


def draw_styles(styles: pl.DataFrame) -> Figure:
    """Exposure of each style as a multiple of its share of the catalogue, the most starved on top."""
    figure = Figure(figsize=(7.0, 1.0 + 0.22 * styles.height), layout="constrained")
    axes = figure.subplots()
    axes.barh(styles["style"].to_list(), styles["exposure"].to_numpy(), color=INK)
    axes.axvline(1.0, color=DUE)
    axes.invert_yaxis()
    axes.set(xlabel="share of the places over share of the catalogue; 1 is its due", title="Which styles are shown")
    return figure
