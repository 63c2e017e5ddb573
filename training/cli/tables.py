"""Tables that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import polars as pl

    from training.evaluate import Judged
    from training.intervals import Interval
    from training.judging import Outcome
    from training.search import Trial
    from training.sequential import Lives

#: Metrics that people compare, and how they are called at a terminal; the others are in the JSON and in MLflow.
SHOWN = {"recall_at_20": "recall@20", "ndcg_at_20": "ndcg@20", "auc_shown": "auc"}
MORE = {"recall_cold_at_20": "cold", "coverage_at_20": "coverage", "diversity_at_20": "diversity"}
CAPTION = "20 places a list; cold: recall of artworks new since training; coverage: share of the pool that is listed"


def score_table(rows: Sequence[tuple[tuple[str, str], Mapping[str, float]]]) -> Table:
    """Models, each a version or "" and a name, beside their metrics; a column that nobody has is left out."""
    named = {**SHOWN, **MORE}
    columns = [metric for metric in named if any(metric in metrics for _, metrics in rows)]
    table = Table(box=None, caption=CAPTION)
    for header in ("version", "model", *(named[metric] for metric in columns)):
        table.add_column(header, no_wrap=True)
    for (version, model), metrics in rows:
        table.add_row(version, escape(model), *(_number(metrics.get(metric)) for metric in columns))
    return table


def trial_table(trials: Sequence[Trial]) -> Table:
    """Points of a search, the best first."""
    table = Table(box=None, caption="on the inner validation split; found: run by an earlier search")
    for header in (*trials[0].settings, "recall@20", "ndcg@20", "s", ""):
        table.add_column(header, no_wrap=True)
    for trial in trials:
        figures = (f"{trial.metrics[name]:.4f}" for name in ("recall_at_20", "ndcg_at_20"))
        seconds = f"{trial.metrics['trial_seconds']:.1f}"
        table.add_row(*map(str, trial.settings.values()), *figures, seconds, "found" if trial.again else "")
    return table


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Judged models, the best NDCG first, half the 95% interval beside; refused ones at the end, with the reason."""
    judged = [outcome for outcome in outcomes if not outcome.refused]
    columns = [metric for metric in MORE if any(metric in outcome.judged.metrics for outcome in judged)]
    table = Table(box=None, caption=CAPTION)
    for header in ("model", "recall@20", "±", "ndcg@20", "±", *(MORE[metric] for metric in columns), "fit s", "MB"):
        table.add_column(header, no_wrap=True)
    for outcome in sorted(judged, key=lambda each: -each.judged.metrics["ndcg_at_20"]):
        intervals = outcome.judged.intervals()
        table.add_row(
            escape(outcome.model),
            *(text for name in ("recall", "ndcg") for text in _with_half(intervals[name])),
            *(_number(outcome.judged.metrics.get(metric)) for metric in columns),
            f"{outcome.train_seconds:.1f}",
            "" if outcome.peak_mb is None else f"{outcome.peak_mb:.0f}",
        )
    for outcome in outcomes:
        if outcome.refused:
            table.add_row(escape(outcome.model), "refused")
    return table


def comparison_table(numbers: Sequence[str], outcomes: Sequence[Outcome]) -> Table:
    """Versions beside the first: each figure, and its difference over the same users with its interval."""
    from training.intervals import paired_interval

    table = Table(box=None, caption="differences to the first, 95% intervals over the same users; * is a difference")
    for header in ("version", "model", "metric", "", "difference", "from", "to", ""):
        table.add_column(header, no_wrap=True)
    first = outcomes[0].judged.users
    for number, outcome in zip(numbers, outcomes, strict=True):
        users = outcome.judged.users
        for metric in ("recall", "ndcg", "recall_cold", "diversity"):
            if metric not in users.columns or users[metric].count() == 0:
                continue
            row = [number, escape(outcome.model), metric, f"{users[metric].drop_nulls().to_numpy().mean():.4f}"]
            if users is not first and metric in first.columns:
                told = (frame[metric].cast(float).fill_null(float("nan")).to_numpy() for frame in (users, first))
                found = paired_interval(*told)
                row += [f"{value:+.4f}" for value in found] + ["*" if found.tells else ""]
            table.add_row(*row)
    return table


def metric_table(judged: Judged) -> Table:
    """Every metric of one model, with its interval where it is a mean over users."""
    intervals = {f"{name}_at_20": found for name, found in judged.intervals().items()}
    table = Table(box=None, caption="95% intervals over users")
    for header in ("metric", "", "from", "to"):
        table.add_column(header, no_wrap=True)
    for name, value in judged.metrics.items():
        found = intervals.get(name)
        ends = () if found is None else (f"{found.low:.4f}", f"{found.high:.4f}")
        table.add_row(name, f"{value:,.4f}".removesuffix(".0000"), *ends)
    return table


def life_tables(model: str, lives: Lives) -> list[Table]:
    """How one list after the other goes, and first lists beside later ones at the same coverage."""
    found = lives.hits_per_life()
    life = f"{found.mean:.2f} liked ({found.low:.2f} to {found.high:.2f}) a user in all lists"
    on = Table(box=None, title=escape(model), caption=life)
    for header in ("list", "users", "coverage", "hits a place", "found of what was left"):
        on.add_column(header, no_wrap=True)
    for row in lives.by_list().to_dicts():
        figures = (_number(row[name]) for name in ("coverage", "hits_per_place", "found"))
        on.add_row(str(row["list"]), f"{row['users']:,}", *figures)
    matched = Table(box=None, caption="hits a place of a user's first three lists and of later ones, as much seen")
    for header in ("coverage", "first", "later"):
        matched.add_column(header, no_wrap=True)
    for row in lives.at_matched_coverage().to_dicts():
        matched.add_row(row["coverage"], _number(row["first"]), _number(row["later"]))
    return [on, matched]


def slice_table(slices: pl.DataFrame) -> Table:
    """How users and artworks of each group fare."""
    table = Table(box=None, caption="coverage: share of the pool that the user had seen")
    for header in ("slice", "group", "users", "recall@20", "ndcg@20", "hit rate", "mrr"):
        table.add_column(header, no_wrap=True)
    for row in slices.to_dicts():
        recall = f"{row['recall']:.3f} ({row['recall_low']:.3f} to {row['recall_high']:.3f})"
        rest = (_number(row[name]) for name in ("ndcg", "hit_rate", "mrr"))
        table.add_row(row["slice"], row["group"], f"{row['users']:,}", recall, *rest)
    return table


def style_table(styles: pl.DataFrame) -> Table:
    """Which styles are shown more or less than their share of the catalogue."""
    table = Table(box=None, caption="exposure: share of the places over share of the catalogue; 1 is its due")
    for header in ("style", "of catalogue", "of places", "exposure", "liked", "recall@20"):
        table.add_column(header, no_wrap=True)
    for row in styles.to_dicts():
        shares = (f"{row['catalogue']:.1%}", f"{row['listed']:.1%}", f"{row['exposure']:.2f}")
        table.add_row(escape(row["style"]), *shares, f"{row['relevant']:,}", _number(row["recall"]))
    return table


def _with_half(found: Interval) -> tuple[str, str]:
    """A mean, and half of its interval's width."""
    return f"{found.mean:.4f}", f"{(found.high - found.low) / 2:.4f}"


def _number(value: float | None) -> str:
    """Three digits, and nothing for nothing."""
    return "" if value is None else f"{value:.3f}"
