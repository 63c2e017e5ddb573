"""Whether the live model should be trained anew: how old it is, and how far the data have moved since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from features.settings import Settings
from serving.bundle import Manifest
from training.dataset import Snapshot


def why_stale(manifest: Manifest | None, snapshot: Snapshot, settings: Settings, now: datetime | None = None) -> str:
    """Why a model that serves should be trained anew, in words; empty where it need not be.

    Equal data give an equal model, so an old one stays as long as nothing happens.
    """
    if manifest is None:
        return "nothing is live"
    if manifest.snapshot == snapshot.digest:
        return ""
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(manifest.created_at)
    if age > timedelta(hours=settings.retrain_hours):
        return f"it is {age / timedelta(hours=1):.0f} hours old"
    moved = drift_since(manifest, snapshot)
    return f"the data have moved by {moved:.1%}" if moved > settings.retrain_drift else ""


def drift_since(manifest: Manifest, snapshot: Snapshot) -> float:
    """How far what people meet has moved since a model's data end, within 0 and 1.

    Total variation distance between each artwork's share of the events up to then and of all: the share of the
    probability that is on other artworks now. 1 where there was nothing then.
    """
    if manifest.snapshot == snapshot.digest or snapshot.events.is_empty():
        return 0.0
    until = manifest.params.get("data_until")
    if not until:
        return 1.0
    cut = pl.col("at") <= datetime.fromisoformat(until)
    counts = snapshot.events.group_by("artwork_id").agg(then=cut.sum(), now=pl.len())
    then, now = (counts[name].to_numpy().astype(float) for name in ("then", "now"))
    if then.sum() == 0:
        return 1.0
    return float(abs(then / then.sum() - now / now.sum()).sum() / 2)
