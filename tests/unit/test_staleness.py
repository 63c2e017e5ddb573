"""How far data move from a model, and what its bundle says of their age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from features.settings import Settings
from serving.bundle import Bundle
from serving.live import _data_until
from tests.given import DAY, checkerboard, given_likes
from training import popularity
from training.dataset import Snapshot, make_snapshot
from training.learner import learn
from training.staleness import drift_since, why_stale

NOW = datetime(2026, 4, 1, tzinfo=UTC)


def trained(hours: float = 0.0) -> tuple[Bundle, Snapshot]:
    """A bundle that was made so many hours ago, and what it was trained on."""
    given = given_likes(checkerboard())
    bundle = learn(popularity.make_learner(), given)
    params = {"data_until": given.snapshot.newest}
    made = (NOW - timedelta(hours=hours)).isoformat()
    return Bundle(msgspec.structs.replace(bundle.manifest, params=params, created_at=made), {}, ""), given.snapshot


def later(snapshot: Snapshot, artworks: list[str]) -> Snapshot:
    """The snapshot with as many events again, a day later, on these artworks in turn."""
    count = snapshot.events.height
    more = snapshot.events.with_columns(
        artwork_id=pl.Series([artworks[place % len(artworks)] for place in range(count)]), at=DAY + timedelta(days=1)
    ).with_columns(pl.col("at").cast(snapshot.events["at"].dtype))
    return make_snapshot(pl.concat([snapshot.events, more]).sort("user_id", "artwork_id", "at"), 90.0)


def test_drift_is_the_share_that_moved() -> None:
    """Half of the events are on an artwork nobody had met: one half. The same again: nothing, though data differ."""
    bundle, snapshot = trained()
    assert drift_since(bundle.manifest, snapshot) == 0
    assert drift_since(bundle.manifest, later(snapshot, ["new"])) == pytest.approx(0.5)
    again = later(snapshot, snapshot.events["artwork_id"].to_list())
    assert drift_since(bundle.manifest, again) == pytest.approx(0)
    assert again.digest != snapshot.digest


def test_age_counts_only_where_the_data_are_others() -> None:
    """An old model of equal data would be trained to the same bytes."""
    settings = Settings(retrain_hours=24.0, retrain_drift=0.6)
    old, snapshot = trained(hours=30)
    assert why_stale(old.manifest, snapshot, settings, NOW) == ""
    assert why_stale(old.manifest, later(snapshot, ["new"]), settings, NOW) == "it is 30 hours old"
    young, _ = trained(hours=1)
    assert why_stale(young.manifest, later(snapshot, ["new"]), settings, NOW) == ""
    strict = Settings(retrain_drift=0.4)
    assert why_stale(young.manifest, later(snapshot, ["new"]), strict, NOW) == "the data have moved by 50.0%"


def test_the_age_of_the_data_is_a_metric() -> None:
    """Seconds since 1970, and 0 for a bundle that does not say."""
    bundle, _ = trained()
    assert _data_until(bundle) == DAY.timestamp()
    assert _data_until(Bundle(msgspec.structs.replace(bundle.manifest, params={}), {}, "")) == 0
