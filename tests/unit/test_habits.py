"""The forecast of a training run: fitted from displays, mapped, judged; refused where there are too few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from features.errors import TooFewSessionsError
from features.settings import Settings
from features.weights import KINDS
from serving.bundle import Bundle, Manifest
from serving.generation.demand import DAY, STORED, forecast_arrays, make_forecast, prior_forecast, wrong_forecast
from serving.generation.foresight import ERROR, foresee
from serving.live import View
from serving.model import Model, make_model
from tests.given import DAY as TODAY
from training.habits import Habits, displays_of, draw_cases, learn_habits
from training.regimes import REGIMES
from training.sim_demand import make_scene

SETTINGS = Settings()
MANIFEST = Manifest(
    kind="content", model="content", version="1", fold_in="none", created_at=datetime.now(UTC).isoformat(),
    snapshot="ab" * 32, half_life_days=90.0, content_version=2, metrics={ERROR: 0.01},
)  # fmt: skip


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """What simulated people displayed, as a snapshot has it."""
    users, at, _ = make_scene(REGIMES["steady"], 3, 21).requests
    stamps = [TODAY + timedelta(seconds=float(second)) for second in at]
    rows = {"user_id": [f"user-{user}" for user in users], "at": pl.Series(stamps, dtype=pl.Datetime("us", "UTC"))}
    return pl.DataFrame(rows).with_columns(kind=pl.lit("displayed").cast(pl.Enum(KINDS)))


@pytest.fixture(scope="module")
def habits(events: pl.DataFrame) -> Habits:
    """What is learnt of them."""
    return learn_habits(events, SETTINGS)


def test_what_is_learnt_is_well_calibrated_on_a_slice_that_it_has_not_seen(habits: Habits) -> None:
    """Good enough to be believed, and the same from the same events."""
    assert 0 < habits.ece < SETTINGS.forecast_max_error
    assert 0 < habits.brier < 0.25


def test_equal_events_give_an_equal_forecast(events: pl.DataFrame, habits: Habits) -> None:
    """In whatever order they come."""
    again = learn_habits(events.sample(fraction=1.0, shuffle=True, seed=1), SETTINGS)
    assert {name: array.tobytes() for name, array in again.arrays.items()} == {
        name: array.tobytes() for name, array in habits.arrays.items()
    }


def test_too_few_displays_teach_nothing(events: pl.DataFrame) -> None:
    """Nor does none at all."""
    for few in (events.head(100), events.head(0)):
        with pytest.raises(TooFewSessionsError):
            learn_habits(few, SETTINGS)


def test_cases_know_nothing_of_what_comes_after_them(events: pl.DataFrame) -> None:
    """The state of a case is the same when what follows its moment is cut off."""
    displays = displays_of(events)
    cut = float(np.quantile(displays.at, 0.7))
    span = (float(displays.at.min()), cut - 2_000)
    whole, early = (
        draw_cases(part, span, 60.0, (110.0, 1_800.0), np.random.default_rng(1))
        for part in (displays, displays.before(cut))
    )
    for name in ("repeats", "recency", "age", "shown"):
        assert np.array_equal(getattr(whole.users, name), getattr(early.users, name))
    assert (whole.users.shown >= 1).all()
    assert (whole.users.recency <= whole.users.age + 60 / DAY).all()


def test_a_forecast_survives_its_bundle(habits: Habits) -> None:
    """The arrays of a bundle make the forecast that was stored."""
    arrays = forecast_arrays(habits.arrays | {"factors": np.zeros(3)})
    assert wrong_forecast(arrays) == ""
    found = make_forecast(arrays)
    assert (found.hazard, found.returns) == (habits.forecast.hazard, habits.forecast.returns)
    assert forecast_arrays({"factors": np.zeros(3)}) == {}


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("hazard", None, "lacks hazard"),
        ("hazard", np.array([1.0]), "hazard must be 2"),
        ("hazard", np.array([1.0, -1.0]), "positive"),
        ("returns", np.array([1.0, 1.0, np.nan, 1.0]), "positive"),
        ("returns", np.array(["a", "b", "c", "d"]), "floating"),
        ("said", np.array([0.0, 0.5, 0.4, 1.0]), "one length"),
        ("said", np.array([0.1, 1.0]), "rise from 0"),
        ("meant", np.array([0.5, 0.2]), "not fall"),
        ("meant", np.array([0.0, 1.5]), "within 0 and 1"),
    ],
)
def test_a_broken_forecast_is_told(name: str, value: np.ndarray | None, word: str) -> None:
    """A bundle that carries it is refused."""
    arrays = prior_forecast(SETTINGS).arrays() | ({} if value is None else {name: value})
    if value is None:
        del arrays[name]
    assert word in wrong_forecast(arrays)


def model(manifest: Manifest, *, forecast: bool = True) -> Model:
    """A model of content, with the prior's forecast or without any."""
    arrays = {STORED + name: array for name, array in prior_forecast(SETTINGS).arrays().items()}
    return make_model(Bundle(manifest, arrays if forecast else {}, "digest"))


def test_only_a_fresh_and_calibrated_forecast_is_used() -> None:
    """Else the rule without a forecast answers, and the reason is told."""
    old = (datetime.now(UTC) - timedelta(hours=SETTINGS.forecast_max_hours + 1)).isoformat()
    changed = msgspec.structs.replace
    for expected, found in {
        "no_model": None,
        "absent": model(MANIFEST, forecast=False),
        "stale": model(changed(MANIFEST, created_at=old)),
        "uncalibrated": model(changed(MANIFEST, metrics={ERROR: 0.2})),
        "used": model(MANIFEST),
    }.items():
        forecast, why = foresee(View(None, found), SETTINGS)  # type: ignore[arg-type] # the pool is not looked at
        assert why == expected
        assert (forecast is not None) == (expected == "used")
    assert foresee(View(None, model(changed(MANIFEST, metrics={}))), SETTINGS)[1] == "uncalibrated"  # type: ignore[arg-type]
