"""What a run came to, as figures and as a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.table import Table

from training.load.checks import Account
from training.load.crowd import OK, Run, Seen
from training.load.tab import KINDS

HEADERS = ("settled", "p50 ms", "p95 ms", "p99 ms", "max ms", "first\ntry", "no\nanswer", "not\n200")
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1.0}


def figures(run: Run, account: Account) -> dict[str, Any]:
    """Everything in one mapping: latencies in ms from when requests were due, rates per second, counts."""
    load = run.load
    routes = {kind: _of_route(run.seen[kind]) for kind in KINDS}
    return {
        "sessions": load.sessions,
        "seconds_per_artwork": load.seconds_per_artwork,
        "seconds": load.seconds,
        "batch": load.batch,
        "displays_per_list": load.displays_per_list,
        "connections": load.connections,
        "displays_per_second_asked": round(load.rate, 1),
        "displays_per_second": round(run.displays / load.seconds, 1),
        "routes": routes,
        "all": _of_route(_together(run)),
        "generator_late_p99_ms": _milliseconds(np.array(run.late), 0.99),
        "displays": account.displays,
        "signals": account.signals,
        "sent_twice": run.beacons,
        "lost": account.lost,
        "lost_signals": account.lost_signals,
        "repeated": account.repeated,
        "claims_refused": sum(tab.refused for tab in run.tabs),
        "run_dry": sum(tab.dry for tab in run.tabs),
    }


def table(found: dict[str, Any]) -> Table:
    """The routes of one run, a row each; it fits a terminal of 80 columns."""
    title = (
        f"{found['sessions']:,} sessions, an artwork every {found['seconds_per_artwork']:g} s, "
        f"{found['seconds']:.0f} s: {found['displays_per_second']:,.0f} displays/s of "
        f"{found['displays_per_second_asked']:,.0f}; lost {found['lost'] + found['lost_signals']}, "
        f"repeated {found['repeated']}, refused {found['claims_refused']}, run dry {found['run_dry']}; "
        f"generator late by {found['generator_late_p99_ms']:g} ms (p99)"
    )
    shown = Table("requests", title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in HEADERS:
        shown.add_column(name, justify="right")
    for name, route in (found["routes"] | {"all": found["all"]}).items():
        shown.add_row(
            name,
            f"{route['settled']:,}",
            *(_short(route[quantile]) for quantile in QUANTILES),
            f"{route['first_try_share']:.2%}",
            f"{route['unanswered']:,}",
            "\n".join(f"{status}: {count:,}" for status, count in route["failures"].items()) or "none",
        )
    return shown


def _short(milliseconds: float) -> str:
    """At most six characters; a tenth of a millisecond is nothing beside a second."""
    return f"{milliseconds:,.0f}" if milliseconds >= 1000 else f"{milliseconds:.1f}"  # noqa: PLR2004 - a second


def _of_route(seen: Seen) -> dict[str, Any]:
    """One kind of request."""
    took, asked = np.array(seen.took), len(seen.took) + seen.unanswered
    return {
        "settled": len(took),
        **{name: _milliseconds(took, quantile) for name, quantile in QUANTILES.items()},
        "first_try_share": round(seen.first_tries / asked, 5) if asked else 1.0,
        "unanswered": seen.unanswered,
        "successes": seen.statuses[OK],
        "failures": {str(status): count for status, count in sorted(seen.statuses.items()) if status != OK},
    }


def _together(run: Run) -> Seen:
    """All kinds as one."""
    whole = Seen()
    for seen in run.seen.values():
        whole.took.extend(seen.took)
        whole.first_tries += seen.first_tries
        whole.unanswered += seen.unanswered
        whole.statuses.update(seen.statuses)
    return whole


def _milliseconds(seconds: np.ndarray[Any, Any], quantile: float) -> float:
    """A quantile; 0 of nothing."""
    return round(float(np.quantile(seconds, quantile)) * 1000, 1) if len(seconds) else 0.0
