"""Calibration of demand: simulated people on a held-out time slice, and returns of real reviewers (stamps are days).

python tests/evidence/calibration.py [--seeds N] [--plot FILE]

The forecast is fitted on the past, its isotonic map on what came in the slice after it, and judged on the slice after
that; nothing of the last one is seen before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Column, Table

from features.visits import session_counts
from serving.generation.demand import DAY, Counts, Forecast, Hazard, Numbers, Users
from tests.stage import conclude
from training.forecast import calibrate, fit_forecast, fit_returns
from training.regimes import REGIMES
from training.reliability import Reliability, reliability
from training.sim_demand import Scene, make_scene

REVIEWS = Path(__file__).parents[3] / "shared/data/amazon_music/interactions.parquet"
GOAL = 0.05
FIRST_SEED = 500  # none of these runs was looked at before
DAYS = 28  # simulated: two weeks teach the map, two weeks judge
MOMENTS = 60  # at which everybody is asked about, in each slice
SESSION_MOMENTS = 500  # at which who is in session is asked about: any time after a display until the next
QUESTIONS: dict[str, tuple[float, int, bool]] = {  # seconds, artworks, of who is in session (else: of everybody)
    "in session, 1 in 2 minutes": (110.0, 1, True),
    "in session, 2 in 2 minutes": (110.0, 2, True),
    "in session, 10 in 15 minutes": (900.0, 10, True),
    "anybody, 1 in a day": (DAY, 1, False),
    "anybody, 10 in a day": (DAY, 10, False),
    "anybody, 30 in a week": (7 * DAY, 30, False),
}
WINDOW = 180.0  # days in which reviewers return or do not
ANY = Hazard(1.2, 12.0)  # of no weight where one artwork is asked about
console = Console()


@dataclass(frozen=True)
class Judged:
    """One question: before the map and after."""

    raw: Reliability
    mapped: Reliability


def main() -> None:
    """Judge everything and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each regime")
    parser.add_argument("--plot", type=Path, help="where the reliability plot goes")
    given = parser.parse_args()
    found = {f"simulated: {question}": judged for question, judged in _simulated(given.seeds).items()}
    if REVIEWS.exists():
        found["reviewers: back in half a year"] = _reviewers()
    table = Table(
        *(
            Column(name, no_wrap=name == "question")
            for name in ("question", "cases", "share that came", "ECE raw", "ECE", "Brier raw", "Brier")
        )
    )
    for name, judged in found.items():
        raw, mapped = judged.raw, judged.mapped
        came = float(np.average(mapped.came, weights=mapped.counts))
        cells = (f"{came:.3f}", *(f"{value:.4f}" for value in (raw.ece, mapped.ece, raw.brier, mapped.brier)))
        table.add_row(name, f"{mapped.counts.sum():,}", *cells)
    console.print(table)
    if given.plot:
        _plot(found).savefig(given.plot)
    figures: dict[str, Any] = {
        name: {
            "ece_raw": round(judged.raw.ece, 4),
            "ece": round(judged.mapped.ece, 4),
            "brier": round(judged.mapped.brier, 4),
        }
        for name, judged in found.items()
    }
    figures["goal_ece"] = GOAL
    conclude("calibration", figures, met=REVIEWS.exists() and all(one.mapped.ece < GOAL for one in found.values()))


def _simulated(seeds: int) -> dict[str, Judged]:
    """Every question over all regimes and seeds together; every run has a map of its own for each question."""
    said: dict[str, list[tuple[Numbers, Numbers, Any]]] = {question: [] for question in QUESTIONS}
    for regime in REGIMES.values():
        for seed in range(1, seeds + 1):
            scene = make_scene(regime, FIRST_SEED + seed, DAYS)
            past = scene.sessions.before(0.0)
            forecast = fit_forecast(past.users, past.started, past.lengths, 0.0)
            rng = np.random.default_rng(seed)
            half, end = DAYS / 2 * DAY, DAYS * DAY
            for question, (seconds, wanted, in_session) in QUESTIONS.items():
                spans = ((0.0, half - seconds), (half, end - seconds))
                slices = [_moments(scene, rng, span, in_session=in_session) for span in spans]
                learn, judge = (_asked(scene, forecast, times, seconds, wanted, in_session) for times in slices)
                said[question].append((judge[0], calibrate(forecast, *learn).calibrated(judge[0]), judge[1]))
    return {question: _judged(parts) for question, parts in said.items()}


def _moments(scene: Scene, rng: np.random.Generator, span: tuple[float, float], *, in_session: bool) -> Numbers:
    """When to ask: at random, or at random displays and not in step with them."""
    if not in_session:
        return rng.uniform(*span, MOMENTS)
    at = scene.requests[1]
    shown = at[(at >= span[0]) & (at < span[1] - scene.regime.gap)]
    return rng.choice(shown, SESSION_MOMENTS) + rng.uniform(0, scene.regime.gap, SESSION_MOMENTS)


def _judged(parts: Sequence[tuple[Numbers, Numbers, Any]]) -> Judged:
    raw, mapped, came = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Judged(reliability(raw, came), reliability(mapped, came))


def _asked(  # noqa: PLR0917 - one question
    scene: Scene, forecast: Forecast, times: Numbers, seconds: float, wanted: int, in_session: bool
) -> tuple[Numbers, Any]:
    """What the forecast says at these moments of everybody whom it knows, and what came."""
    requesters, at, _ = scene.requests
    chances, outcomes = [], []
    for moment in times:
        users, rows = _known(scene, moment)
        kept = np.flatnonzero(users.in_session) if in_session else np.arange(len(users))
        if not len(kept):
            continue
        inside = (at > moment) & (at <= moment + seconds)
        came = np.bincount(requesters[inside], minlength=len(scene.likes))[rows[kept]]
        chances.append(forecast.at_least(users.take(kept), seconds, wanted))
        outcomes.append(came >= wanted)
    return np.concatenate(chances), np.concatenate(outcomes)


def _known(scene: Scene, moment: float) -> tuple[Users, Counts]:
    """Who came before this moment, as the forecast sees them: in session for one gap after the last display."""
    sessions, gap = scene.sessions.before(moment), scene.regime.gap
    count = len(scene.likes)
    repeats, recency, age = session_counts(sessions.users, sessions.started, moment, count)
    shown = np.zeros(count)
    displayed = np.floor((moment - sessions.started) / gap) + 1
    running = displayed <= sessions.lengths
    shown[sessions.users[running]] = displayed[running]
    rows = np.unique(sessions.users)
    columns = (repeats, recency, age, shown, (shown > 0).astype(float), np.full(count, gap))
    return Users(*(column[rows] for column in columns)), rows


def _reviewers() -> Judged:
    """Returns alone: fitted and mapped before the last slice; a day with a review is a session."""
    days = pl.read_parquet(REVIEWS).select("user", day=pl.col("ts") // int(DAY)).unique().sort("day", "user")
    _, rows = np.unique(days["user"].to_numpy(), return_inverse=True)
    starts = days["day"].to_numpy() * DAY
    taught = float(np.quantile(starts, 0.6))
    judged = taught + WINDOW * DAY
    forecast = Forecast(ANY, fit_returns(*_state(rows, starts, taught)[1]))
    learn, judge = (_returned(forecast, rows, starts, moment) for moment in (taught, judged))
    mapped = calibrate(forecast, *learn).calibrated(judge[0])
    return _judged([(judge[0], mapped, judge[1])])


def _state(rows: Counts, starts: Numbers, moment: float) -> tuple[Counts, tuple[Numbers, Numbers, Numbers]]:
    """Who reviewed until then, and their repeats, recency and age."""
    known = np.unique(rows[starts <= moment])
    counts = session_counts(rows, starts, moment, int(rows.max()) + 1)
    return known, (counts[0][known], counts[1][known], counts[2][known])


def _returned(forecast: Forecast, rows: Counts, starts: Numbers, moment: float) -> tuple[Numbers, Any]:
    """P(another review within the window) of everybody known by then, and whether it came."""
    known, (repeats, recency, age) = _state(rows, starts, moment)
    nothing = np.zeros(len(known))
    users = Users(repeats, recency, age, nothing, nothing, np.ones(len(known)))
    back = np.unique(rows[(starts > moment) & (starts <= moment + WINDOW * DAY)])
    return forecast.at_least(users, WINDOW * DAY, 1), np.isin(known, back)


def _plot(found: dict[str, Judged]) -> Figure:
    """What came over what was said, a panel per question."""
    figure = Figure(figsize=(14, 7), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    for panel, (name, judged) in zip(panels, found.items(), strict=False):
        panel.plot([0, 1], [0, 1], color="#bdbdbd", linewidth=0.8)
        for part, ink, label in ((judged.raw, "#4878a8", "raw"), (judged.mapped, "#d55e00", "calibrated")):
            panel.plot(part.said, part.came, marker="o", markersize=3, color=ink, label=f"{label}, ECE {part.ece:.3f}")
        panel.set(title=name, xlabel="said", ylabel="came")
        panel.legend(fontsize=7, frameon=False)
    return figure


if __name__ == "__main__":
    main()
