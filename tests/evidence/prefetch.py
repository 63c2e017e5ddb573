"""Prefetch: accuracy and recall per depth, bytes wasted per network, on simulated sessions against the real service.

python tests/evidence/prefetch.py [--sessions N]

A session keeps `depth` artworks ahead: it asks for a plan before its first display and after each one, and loads what
the plan lists. The lengths of the sessions are the quantiles of a heavy-tailed distribution that the service is not
told: once the one of its own prior, once a log-normal one that the prior does not fit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.special import ndtri

from features.database import connect
from features.settings import Settings
from serving.prefetch import THRESHOLDS, Network, shown_probabilities
from tests.crowd import FILL
from tests.service import Service
from tests.stage import conclude, stage
from tests.tab import claim_of

DEPTHS = (5, 10, 20, 50)
DEFAULT_DEPTH = 10
GOAL = 0.70  # accuracy at the default depth
POOL = 3_000
LONGEST = 500  # displays; the tail beyond would only make all figures better
CLAIMS = 20  # at most, in one request
console = Console()


@dataclass
class Count:
    """What one kind of session came to, summed over all of them."""

    leased: int = 0
    displayed: int = 0
    in_time: int = 0  # loaded before the tick that showed them
    loaded_bytes: int = 0
    wasted_bytes: int = 0
    promised: float = 0.0  # p_shown of the first plans, summed
    kept: int = 0  # of the first plans, shown

    @property
    def figures(self) -> dict[str, float]:
        """As shares."""
        return {
            "accuracy": round(self.displayed / max(self.leased, 1), 4),
            "recall": round(self.in_time / max(self.displayed, 1), 4),
            "bytes_wasted": round(self.wasted_bytes / max(self.loaded_bytes, 1), 4),
            "promised_over_kept": round(self.promised / max(self.kept, 1), 3),
        }


def main() -> None:
    """Simulate all sessions and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=60, help="simulated sessions of each kind")
    given = parser.parse_args()
    with stage() as settings:
        with connect(settings.database_url, autocommit=True) as connection:
            connection.execute(FILL[0], {"artworks": POOL})
        with Service(settings.database_url, settings.home_path) as service:
            counts = _simulated(service, settings, given.sessions)
    _show(counts)
    figures: dict[str, Any] = {
        f"{name}_{kind}": value for kind, count in counts.items() for name, value in count.figures.items()
    }
    accuracy = [count.figures["accuracy"] for kind, count in counts.items() if kind.endswith(f"_depth_{DEFAULT_DEPTH}")]
    figures["tick_to_picture"] = "see slow_3g_tick_to_picture_ms of the evidence browser"
    conclude("prefetch", figures, met=min(accuracy) >= GOAL)


def _simulated(service: Service, settings: Settings, sessions: int) -> dict[str, Count]:
    """The counts of every kind of session."""
    kinds: list[tuple[str, int, Network]] = [(f"depth_{depth}", depth, "4g") for depth in DEPTHS]
    kinds += [(network, max(DEPTHS), network) for network in THRESHOLDS if network != "4g"]
    counts = {}
    for shape, lengths in _lengths(settings, sessions).items():
        for name, depth, network in kinds:
            count = counts[f"{shape}_{name}"] = Count()
            for number, length in enumerate(track(lengths, f"{shape}, {name}", console=console, transient=True)):
                user = f"{shape}-{name}-{number}"
                _live(service, user, int(length), depth, network, count)
    return counts


def _lengths(settings: Settings, sessions: int) -> dict[str, np.ndarray]:
    """How many artworks each session shows, at least one: the quantiles of two distributions, cut at LONGEST."""
    shares = (np.arange(sessions) + 0.5) / sessions
    longer = shown_probabilities(0, LONGEST, settings.session_alpha, settings.session_beta)  # P(length > 1, 2, ...)
    prior = 1 + np.searchsorted(-longer, shares - 1.0)
    other = np.ceil(25 * np.exp(1.2 * ndtri(shares)))
    return {"prior": np.minimum(prior, LONGEST), "lognormal": np.minimum(other, LONGEST)}


def _live(service: Service, user: str, length: int, depth: int, network: Network, count: Count) -> None:  # noqa: PLR0917 - one kind of session
    """One session. What is displayed between two plans is claimed at once: the leases come out the same."""
    loaded: dict[str, int] = {}
    shown: set[str] = set()
    plan = _planned(service, user, depth, network)
    count.promised += sum(item["p_shown"] for item in plan)
    first = [item["artwork"]["artwork_id"] for item in plan]
    while True:
        loaded |= {item["artwork"]["artwork_id"]: item["bytes"] for item in plan}
        if len(shown) == length:
            break
        ids = _displayed(service, user, plan[: min(length - len(shown), CLAIMS)])
        count.in_time += sum(artwork in loaded for artwork in (ids if shown else ids[1:]))  # the first is waited for
        shown.update(ids)
        plan = _planned(service, user, depth, network)
    count.leased += len(shown | _held(service, user))
    count.displayed += len(shown)
    count.loaded_bytes += sum(loaded.values())
    count.wasted_bytes += sum(size for artwork, size in loaded.items() if artwork not in shown)
    count.kept += sum(artwork in shown for artwork in first)


def _planned(service: Service, user: str, depth: int, network: Network) -> list[dict[str, Any]]:
    """The items of a plan."""
    body = {"session_id": "tab", "depth": depth, "network": network}
    plan = service.client.post(f"/v1/users/{user}/prefetch", json=body).raise_for_status().json()
    items: list[dict[str, Any]] = plan["items"]
    return items


def _displayed(service: Service, user: str, plan: Sequence[dict[str, Any]]) -> list[str]:
    """Claim these, or the best one that nobody planned where the plan is empty; their ids."""
    items = [item["artwork"] for item in plan] or service.next(user, "tab", limit=1)["items"]
    claims = [claim_of(user, "tab", item) for item in items]
    answer = service.client.post("/v1/claims", json={"claims": claims}).raise_for_status().json()
    assert {claim["status"] for claim in answer["claims"]} == {"claimed"}
    return [item["artwork_id"] for item in items]


def _held(service: Service, user: str) -> set[str]:
    """What the session has on lease and has not displayed."""
    answer = service.client.post("/v1/sessions/tab/heartbeat", json={"user_id": user}).raise_for_status()
    return set(answer.json()["held"])


def _show(counts: dict[str, Count]) -> None:
    """All kinds, one a line."""
    table = Table("sessions", "displays", "accuracy", "recall", "bytes wasted", "promised / kept of the first plan")
    for kind, count in counts.items():
        shares = count.figures
        table.add_row(kind, str(count.displayed), *[str(value) for value in shares.values()])
    console.print(table)


if __name__ == "__main__":
    main()
