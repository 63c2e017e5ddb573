"""Need: probabilities of running dry, and the floor where there is no forecast."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.settings import Settings
from serving.generation.demand import Users, prior_forecast
from serving.generation.need import Basis, LeadTime, Stock, floor_orders, heuristic_need, need_of, short

SETTINGS = Settings()
FORECAST = prior_forecast(SETTINGS)
LEAD = LeadTime(50.0, 90.0)


def watchers(count: int, tabs: float = 1.0) -> Users:
    """Users ten displays into a session, or none where ``tabs`` is 0."""
    columns = (5.0, 9.0, 9.0, 10.0 * (tabs > 0), tabs, 60.0)
    return Users(*(np.full(count, value) for value in columns))


def stock(*unseen: int, in_flight: int = 0, arriving: int = 0) -> Stock:
    """So much for each user."""
    count = len(unseen)
    return Stock(np.array(unseen), np.full(count, in_flight), np.full(count, arriving))


@given(level=st.integers(0, 60), wait=st.floats(0, 3_600), share=st.floats(0, 1), tabs=st.integers(0, 2))
@settings(deadline=None)
def test_need_falls_with_stock_and_rises_with_time(level: int, wait: float, share: float, tabs: int) -> None:
    """Within 0 and 1, whatever the outages."""
    users, lead = watchers(1, float(tabs)), LeadTime(50.0, 90.0, share)
    now, stocked, later = (
        float(short(FORECAST, users, np.array([n]), lead, w)[0])
        for n, w in ((level, wait), (level + 1, wait), (level, wait + 60))
    )
    assert 0 <= stocked <= now + 1e-9
    assert now <= later + 1e-6 <= 1 + 2e-6


def test_who_watches_with_an_empty_stock_needs_and_who_has_enough_does_not() -> None:
    """In flight counts as stock; what arrives too late does not help at once."""
    found = need_of(FORECAST, watchers(3), stock(0, 1, 50), LEAD, 60.0)
    assert found.need[0] > found.need[1] > found.need[2] == 0
    assert found.unavoidable[0] > 0.5
    assert found.basis.tolist() == [Basis.POSTERIOR] * 3
    ordered = need_of(FORECAST, watchers(1), stock(0, in_flight=50), LEAD, 60.0)
    assert ordered.need[0] == 0
    assert ordered.unavoidable[0] == found.unavoidable[0]


def test_who_is_away_hardly_needs() -> None:
    """A return in these two minutes is improbable."""
    away, here = (need_of(FORECAST, watchers(1, tabs), stock(0), LEAD, 60.0).need[0] for tabs in (0.0, 1.0))
    assert away < 0.01
    assert here > 0.5


def test_stock_is_told_in_minutes() -> None:
    """Thirty artworks last thirty minutes at least; the median comes later; who stays away: never."""
    found = need_of(FORECAST, watchers(1), stock(30), LEAD, 60.0)
    assert 30 <= found.minutes_p10[0] < found.minutes_p50[0]
    away = need_of(FORECAST, Users(*(np.zeros(1) for _ in range(5)), np.ones(1)), stock(2_000), LEAD, 60.0)
    assert np.isinf(away.minutes_p50[0])


def test_an_outage_raises_need_for_a_stock_that_a_normal_lead_time_leaves_alone() -> None:
    """Ten artworks are ample for two minutes and not for half an hour."""
    users, level = watchers(1), np.array([10])
    assert short(FORECAST, users, level, LEAD, 60.0)[0] == 0
    assert 0 < short(FORECAST, users, level, LeadTime(50.0, 90.0, 0.05), 60.0)[0] < 0.05


@given(p50=st.floats(1, 1e4), ratio=st.floats(1, 10), share=st.floats(0, 1))
def test_the_lead_time_is_a_law(p50: float, ratio: float, share: float) -> None:
    """Weights sum to 1, points are positive, and the middle one is the median."""
    points = LeadTime(p50, p50 * ratio, share).points
    assert sum(weight for _, weight in points) == pytest.approx(1)
    assert all(seconds > 0 for seconds, _ in points)
    assert points[1][0] == pytest.approx(p50)


def test_without_a_forecast_who_is_in_session_is_kept_above_the_floor() -> None:
    """Floor: ceil((90 + 60) / 60) + 20 = 23, and four more at once; who is away gets nothing."""
    here, away = watchers(4), watchers(1, 0.0)
    assert floor_orders(here, np.array([23, 22, 10, 0]), LEAD, SETTINGS).tolist() == [0, 5, 17, 27]
    assert floor_orders(away, np.array([0]), LEAD, SETTINGS).tolist() == [0]


def test_without_a_forecast_need_orders_the_queue() -> None:
    """The emptier the more urgent, and the basis says where it comes from."""
    found = heuristic_need(watchers(3), stock(0, 10, 40), LEAD, SETTINGS)
    assert found.need[0] == 1 > found.need[1] > found.need[2] == 0
    assert found.unavoidable.tolist() == [1, 0, 0]
    assert set(found.basis) == {Basis.HEURISTIC}
    assert heuristic_need(watchers(1, 0.0), stock(0), LEAD, SETTINGS).need[0] == 0
