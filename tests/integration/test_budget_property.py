"""Whatever is asked for and whenever, no hour and no day gets more than its budget."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.database import connect, query
from features.settings import Settings
from serving.generation.budget import limits_of

HOUR_DOLLARS, HOUR_IMAGES, DAY_DOLLARS = 1.0, 50, 3.0
LIMITS = limits_of(Settings(budget_hour_dollars=HOUR_DOLLARS, budget_day_dollars=DAY_DOLLARS))
HOUR = 3_600.0
SLACK = 0.05  # dollars that flow in while the test runs: it takes less than three minutes

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 1.5 * HOUR)),
        st.tuples(st.just("spend"), st.sampled_from([0.01, 0.02, 0.05, 0.3])),
        st.tuples(st.just("rush"), st.sampled_from([0.01, 0.02])),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def opened(module_database: str) -> Iterator[psycopg.Connection]:
    """A connection to the module's database."""
    with connect(module_database, autocommit=True) as connection:
        yield connection


def spend(connection: psycopg.Connection, cost: float) -> bool:
    """Ask for one image."""
    return connection.execute(query("spend"), LIMITS | {"cost": cost}).fetchone() is not None


@given(STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_hour_and_no_day_is_overspent(opened: psycopg.Connection, steps: list[tuple[str, float]]) -> None:
    """Time passes by moving the bucket's own clock back; the day stays the same."""
    opened.execute("UPDATE vernissage.budget SET dollars = NULL, images = NULL, levelled_at = NULL, day_dollars = 0")
    now, spent = 0.0, list[tuple[float, float]]()
    for what, amount in steps:
        if what == "wait":
            now += amount
            opened.execute(
                "UPDATE vernissage.budget SET levelled_at = levelled_at - make_interval(secs => %s)", (amount,)
            )
            continue
        for _ in range(30 if what == "rush" else 1):
            if spend(opened, amount):
                spent.append((now, amount))
    for end, _ in spent:
        within = [cost for at, cost in spent if end - HOUR < at <= end]
        assert sum(within) <= HOUR_DOLLARS + SLACK
        assert len(within) <= HOUR_IMAGES + SLACK * HOUR_IMAGES
    assert sum(cost for _, cost in spent) <= DAY_DOLLARS + 1e-9


def test_what_flows_in_can_be_spent_again(opened: psycopg.Connection) -> None:
    """Half of the hour's budget at once, and the other half within the hour."""
    opened.execute("UPDATE vernissage.budget SET dollars = NULL, images = NULL, levelled_at = NULL, day_dollars = 0")
    assert sum(spend(opened, 0.02) for _ in range(60)) == 25
    opened.execute("UPDATE vernissage.budget SET levelled_at = levelled_at - interval '1 hour'")
    assert sum(spend(opened, 0.02) for _ in range(60)) == 25
