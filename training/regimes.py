"""The kinds of demand and supply that generation policies are tried on; a table, nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Regime:
    """One kind. Rates are heterogeneous: per day and user, drawn from Gamma laws; lengths are log-normal."""

    users: int = 200
    tastes: int = 10  # disjoint; an image serves one
    two_tastes: float = 0.3  # share of users with a second one
    visits: float = 0.5  # sessions per day, mean
    unevenness: float = 0.6  # shape of the Gamma law of visits; small: few come often
    length: float = 10.0  # artworks in a session, median
    spread: float = 0.8  # of the logarithm of the length
    binges: float = 0.02  # share of sessions that are six times as long
    leaving: float = 0.08  # chance to leave for ever after a session
    once: float = 0.0  # share of users who come once only, at any time
    evening: float = 0.65  # share of sessions that begin about 20 h
    pool: int = 40  # images per taste at the start
    gap: float = 60.0  # seconds per artwork
    lead_p50: float = 50.0  # seconds
    lead_p95: float = 90.0
    outage_share: float = 0.0  # of the time
    outage_seconds: float = 3_600.0  # each, mean


REGIMES: dict[str, Regime] = {
    "steady": Regime(binges=0.0, evening=0.0),
    "evening binges": Regime(evening=0.95, binges=0.10),
    "one-shot visitors": Regime(users=400, once=0.8, tastes=40, pool=5, length=14.0),
    "one taste": Regime(tastes=1, two_tastes=0.0, pool=300),
    "few heavy users": Regime(users=150, unevenness=0.25, visits=0.6, pool=80),
    "many tastes": Regime(tastes=80, two_tastes=0.6, pool=10),
    "slow generation": Regime(lead_p50=600.0, lead_p95=1_500.0),
    "outages": Regime(outage_share=0.03),
    "drop-out": Regime(leaving=0.35, visits=1.0, pool=20),
}
