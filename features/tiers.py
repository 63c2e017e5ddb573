"""Subscription tiers: what the host's many plan names come to here, and what a client of each tier is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tier:
    """One tier."""

    name: str
    flush_delay_ms: int  # how long a client may gather impressions before it sends them
    batch_size: int  # how many it may send at once


FREE = Tier("free", flush_delay_ms=5_000, batch_size=200)
PLUS = Tier("plus", flush_delay_ms=2_000, batch_size=200)
PRO = Tier("pro", flush_delay_ms=1_000, batch_size=200)

#: The host's plans and those of other plans of the same product, by the name they are stored under.
TIERS = {
    "free": FREE,
    "starter": PLUS, "plus": PLUS, "premium": PLUS, "enthusiast": PLUS, "business_basic": PLUS,
    "pro": PRO, "ultimate": PRO, "viral": PRO, "business_premium": PRO,
}  # fmt: skip


def tier_of(plan: str | None) -> Tier:
    """The tier of a plan's name, whatever its case; the lowest for one that nobody knows, and for none."""
    return TIERS.get((plan or "").strip().casefold(), FREE)
