"""Need on the real service: who is about to run dry, who is not, and what the pool looks like."""

from __future__ import annotations

from typing import Any

import pytest

from features.database import query
from tests.host import Host
from tests.service import Service

ORDER = """
WITH placed AS (
    INSERT INTO vernissage.orders (order_id, epoch, place, dispatcher, user_ids, near, dna, styles, prompt, benefit,
                                   reach, priority, cost, deadline)
    VALUES (gen_random_uuid(), 1, %s, 'local', %s, 'a', '{}', '{}', '', 0, 0, 0, 0.02, now() + interval '1 hour')
    RETURNING order_id
)
INSERT INTO vernissage.order_versions (order_id, version, state) SELECT order_id, 1, 'planned' FROM placed
"""
POOL = 60
LEFT = 2  # artworks of a user near exhaustion


def need(service: Service, user_id: str) -> dict[str, Any]:
    """One user's need."""
    found: dict[str, Any] = service.client.get(f"/v1/users/{user_id}/need").raise_for_status().json()
    return found


def needs(service: Service, *user_ids: str) -> list[dict[str, Any]]:
    """Several users' need."""
    answer = service.client.post("/v1/need", json={"user_ids": user_ids}).raise_for_status().json()
    found: list[dict[str, Any]] = answer["users"]
    return found


@pytest.fixture
def pool(service: Service, host: Host) -> list[str]:
    """A fresh pool, nobody in session, nothing ordered."""
    for table in ("sessions", "orders", "planning_epochs"):
        host.connection.execute(f"DELETE FROM vernissage.{table}")
    return host.fill(service, POOL)


@pytest.fixture
def drained(service: Service, pool: list[str], user: str) -> str:
    """A user in session who has all but seen everything."""
    service.next(user, "tab", limit=1)
    service.display(user, pool[:-LEFT], "tab")
    return user


def test_who_is_about_to_run_dry_needs_and_who_has_everything_left_does_not(service: Service, drained: str) -> None:
    """Without a model there is no forecast, and the basis says so."""
    service.next("fresh", "tab", limit=1)
    dry, fresh, away = needs(service, drained, "fresh", "away")
    assert dry["need"] > 0.9
    assert (dry["stock"], dry["in_session"]) == (LEFT, True)
    assert dry["coverage"] == pytest.approx(1 - LEFT / POOL)
    assert dry["minutes_p10"] == LEFT
    assert (fresh["need"], fresh["stock"], fresh["in_session"]) == (0, POOL, True)
    assert (away["need"], away["in_session"], away["minutes_p10"], away["minutes_p50"]) == (0, False, None, None)
    assert {one["basis"] for one in (dry, fresh, away)} == {"heuristic"}


def test_one_user_and_many_are_answered_alike_in_the_order_asked_for(service: Service, drained: str) -> None:
    """Unknown ones and repeated ones too."""
    found = needs(service, "nobody", drained, "nobody", drained)
    assert [one["user_id"] for one in found] == ["nobody", drained, "nobody", drained]
    assert found[1] == found[3] == need(service, drained)


def test_need_ends_with_the_session(service: Service, drained: str) -> None:
    """Who has gone asks for nothing in the next minutes."""
    assert need(service, drained)["need"] > 0.9
    service.client.delete("/v1/sessions/tab", params={"user_id": drained}).raise_for_status()
    found = need(service, drained)
    assert (found["need"], found["in_session"], found["stock"]) == (0, False, LEFT)


def test_what_is_ordered_for_a_user_counts_as_stock(service: Service, host: Host, drained: str) -> None:
    """Until the order is over."""
    before = need(service, drained)
    for place in range(30):
        host.connection.execute(ORDER, (place, [drained, "another"]))
    found = need(service, drained)
    assert found["in_flight"] == 30
    assert found["need"] == 0 < before["need"]
    assert found["stock"] == LEFT
    host.connection.execute("INSERT INTO vernissage.order_versions (order_id, version, state) "
                            "SELECT order_id, 2, 'cancelled' FROM vernissage.orders")  # fmt: skip
    assert need(service, drained)["need"] == before["need"]


def test_what_the_host_showed_past_us_is_no_stock(service: Service, host: Host, pool: list[str], user: str) -> None:
    """It is taken over when one user is asked about."""
    host.add_user(user)
    host.see(user, pool[:50])
    assert (need(service, user)["stock"], need(service, user)["coverage"]) == (POOL - 50, pytest.approx(50 / POOL))


def test_only_what_fits_the_users_orientation_is_stock(service: Service, host: Host, user: str) -> None:
    """An artwork without an orientation fits all."""
    shapes = ["portrait"] * 5 + ["landscape"] * 7 + [None]
    host.fill(service, [{"orientation": shape} for shape in shapes])
    host.add_user(user, preferred_orientation="portrait")
    assert need(service, user)["stock"] == 6


def test_asking_writes_nothing(service: Service, host: Host, drained: str) -> None:
    """No row of ours comes or changes; the whole table of users may be asked about in one call."""
    tables = ("seen", "sessions", "events", "served_lists", "orders", "absorbed", "artwork_keys", "hosted_users")
    count = " UNION ALL ".join(f"SELECT count(*), max(xmin::text::bigint) FROM vernissage.{table}" for table in tables)
    before = host.connection.execute(count).fetchall()
    found = needs(service, *(f"user-{number}" for number in range(9_999)), drained)
    assert len(found) == 10_000
    assert found[-1]["need"] > 0.9
    service.client.get("/v1/pool").raise_for_status()
    assert host.connection.execute(count).fetchall() == before


def test_the_pool_is_told_as_its_users_have_it(service: Service, pool: list[str], drained: str) -> None:
    """One is nearly out, one has nothing left, one has just come; nobody else counts."""
    service.next("just come", "tab", limit=1)
    service.next("out", "tab", limit=1)
    service.display("out", pool, "tab")
    found = service.client.get("/v1/pool").raise_for_status().json()
    assert (found["artworks"], found["active_users"], found["looked_at"], found["in_session"]) == (POOL, 3, 3, 3)
    assert (found["stock_outs"], found["at_risk"]) == (1, 2)
    assert found["coverage_histogram"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found["coverage_bands"] == {"ok": 1, "watch": 0, "high": 0, "critical": 2}
    assert (found["exhaustion_rate"], found["exhaustion_goal_met"]) == (pytest.approx(2 / 3), False)
    assert (found["runway_p10"], found["runway_p50"]) == (0, LEFT)
    assert found["forecast"] == "no_model"
    assert drained


def test_an_empty_pool_and_no_users_have_no_figures(service: Service, host: Host, user: str) -> None:
    """Null, never NaN or infinity."""
    host.connection.execute("DELETE FROM vernissage.sessions")
    host.fill(service, 0)
    found = service.client.get("/v1/pool").raise_for_status().json()
    assert (found["active_users"], found["exhaustion_rate"], found["runway_p50"]) == (0, None, None)
    one = need(service, user)
    assert (one["coverage"], one["coverage_relevant"], one["stock"]) == (None, None, 0)


def test_why_there_is_no_forecast_is_counted(service: Service) -> None:
    """By basis and reason."""
    name = 'vernissage_forecasts_total{basis="heuristic",why="no_model"}'
    before = service.metrics().get(name, 0.0)
    needs(service, "anybody")
    assert service.metrics()[name] == before + 1


@pytest.mark.usefixtures("pool")
def test_the_lead_time_is_the_provider_s_without_the_wait_for_a_closed_breaker(host: Host) -> None:
    """Sent an hour after it was ordered and again once the provider was back: what counts is from then to delivery."""
    for place in range(3):
        host.connection.execute(ORDER, (place, ["ada"]))
    for version, (state, seconds) in enumerate((("sent", 100), ("sent", 3_600), ("delivered", 3_640)), start=2):
        host.connection.execute(
            "INSERT INTO vernissage.order_versions (order_id, version, state, at)"
            " SELECT order_id, %s, %s, ordered_at + make_interval(secs => %s) FROM vernissage.orders",
            (version, state, seconds),
        )
    row = host.connection.execute(query("lead_times"), {"orders": 200}).fetchone()
    assert row == (3, pytest.approx(40), pytest.approx(40))
