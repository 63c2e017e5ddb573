"""Prefetch plans from the real service: what a browser should load now, on lease, so that it never causes a repeat."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from features.settings import Settings
from serving.prefetch import THRESHOLDS, WINDOW, shown_probabilities
from tests.host import Host
from tests.service import Service
from tests.tab import assert_lost, claim_of, items_of, seen_of, send

PRIOR = Settings()


def plan_of(service: Service, user: str, session: str = "tab", **asked: Any) -> dict[str, Any]:
    """A prefetch plan."""
    answer = service.client.post(f"/v1/users/{user}/prefetch", json={"session_id": session} | asked)
    plan: dict[str, Any] = answer.raise_for_status().json()
    return plan


def ids(plan: dict[str, Any]) -> list[str]:
    """The artwork ids of a plan, in order."""
    return [item["artwork"]["artwork_id"] for item in plan["items"]]


def leased_to(host: Host, user: str, session: str) -> set[str]:
    """What a session holds."""
    rows = host.connection.execute(
        "SELECT k.artwork_id FROM vernissage.sessions AS s, unnest(s.held) AS h (artwork_key)"
        " JOIN vernissage.artwork_keys AS k USING (artwork_key) WHERE s.user_id = %s AND s.session_id = %s",
        (user, session),
    ).fetchall()
    return {row[0] for row in rows}


class TestPlan:
    """What stands in a plan."""

    def test_it_lists_artworks_with_all_that_drawing_needs(self, service: Service, host: Host, user: str) -> None:
        """Image, DNA, probability, bytes, expiry; the first has priority."""
        dna = [round(0.02 * number, 2) for number in range(50)]
        host.fill(service, 12, dna_vector=json.dumps(dna), width=1000, height=800)
        plan = plan_of(service, user)
        assert (plan["requested"], plan["leased"], plan["shortfall"], plan["reason"]) == (10, 10, 0, None)
        assert (plan["user_id"], plan["session_id"], plan["unseen_total"]) == (user, "tab", 12)
        assert len(plan["items"]) == 10
        assert [item["priority"] for item in plan["items"]] == ["high", *["low"] * 9]
        for item in plan["items"]:
            assert item["artwork"]["dna_vector"] == dna
            assert item["artwork"]["lease_id"] == plan["recommendation_id"]
            assert item["bytes"] == 160_000
            assert item["artwork"]["expires_at"]

    def test_an_image_without_a_size_is_taken_for_a_usual_one(self, service: Service, host: Host, user: str) -> None:
        """Either side may be missing."""
        host.fill(service, [{}, {"width": 1000}, {"width": 0, "height": 800}])
        assert {item["bytes"] for item in plan_of(service, user)["items"]} == {PRIOR.artwork_bytes}

    def test_the_probabilities_are_those_of_the_prior_for_the_displays_so_far(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Who has stayed for long stays longer: after four displays every probability is higher."""
        host.fill(service, 30)
        first = plan_of(service, user)
        expected = shown_probabilities(0, 10, PRIOR.session_alpha, PRIOR.session_beta)
        assert [item["p_shown"] for item in first["items"]] == pytest.approx(expected.tolist())
        claims = [claim_of(user, "tab", item["artwork"]) for item in first["items"][:4]]
        send(service, *claims).raise_for_status()
        later = plan_of(service, user)
        expected = shown_probabilities(4, 10, PRIOR.session_alpha, PRIOR.session_beta)
        assert [item["p_shown"] for item in later["items"]] == pytest.approx(expected.tolist())
        assert later["items"][0]["p_shown"] > first["items"][0]["p_shown"]

    @pytest.mark.parametrize("network", THRESHOLDS)
    def test_a_slower_network_gets_a_shorter_plan_of_the_same_lease(
        self, service: Service, host: Host, user: str, network: str
    ) -> None:
        """Nothing under the threshold; what is beyond the plan stays on lease and is planned later."""
        host.fill(service, 60)
        plan = plan_of(service, user, depth=50, network=network)
        threshold = THRESHOLDS[network]  # type: ignore[index] # the parameter is one of its keys
        chances = shown_probabilities(0, 50, PRIOR.session_alpha, PRIOR.session_beta)
        assert plan["threshold"] == threshold
        assert len(plan["items"]) == (chances >= threshold).sum()
        assert all(item["p_shown"] >= threshold for item in plan["items"])
        assert plan["leased"] == 50
        assert ids(plan_of(service, user, depth=50, network="4g"))[: len(plan["items"])] == ids(plan)

    def test_who_saves_data_gets_the_next_one_only(self, service: Service, host: Host, user: str) -> None:
        """Whatever the network."""
        host.fill(service, 12)
        assert len(plan_of(service, user, save_data=True)["items"]) == 1

    @pytest.mark.parametrize(("budget", "planned"), [(0, 0), (159_999, 0), (160_000, 1), (500_000, 3), (9_999_999, 10)])
    def test_a_byte_budget_is_not_exceeded(
        self, service: Service, host: Host, user: str, budget: int, planned: int
    ) -> None:
        """160,000 bytes each."""
        host.fill(service, 12, width=1000, height=800)
        assert len(plan_of(service, user, byte_budget=budget)["items"]) == planned

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"depth": 0}, "depth"),
            ({"depth": 51}, "depth"),
            ({"depth": 2.5}, "depth"),
            ({"network": "5g"}, "network"),
            ({"byte_budget": -1}, "byte_budget"),
            ({"save_data": "yes"}, "save_data"),
            ({"orientation": "diagonal"}, "orientation"),
        ],
    )
    def test_bad_input_names_the_field(self, service: Service, user: str, asked: dict[str, Any], field: str) -> None:
        """And its rule."""
        answer = service.client.post(f"/v1/users/{user}/prefetch", json=asked)
        assert (answer.status_code, answer.json()["field"]) == (400, field)

    def test_an_empty_pool_gives_an_empty_plan_that_says_why(self, service: Service, host: Host, user: str) -> None:
        """No error."""
        host.fill(service, 0)
        plan = plan_of(service, user)
        assert (plan["items"], plan["leased"], plan["shortfall"], plan["reason"]) == ([], 0, 10, "exhausted")
        assert plan["rank_traded"] == 0.0


class TestLease:
    """Prefetching leases what it lists and changes nothing else."""

    def test_what_is_planned_is_on_lease_and_can_be_claimed(self, service: Service, host: Host, user: str) -> None:
        """By that session and no other."""
        host.fill(service, 12)
        plan = plan_of(service, user, depth=4)
        assert leased_to(host, user, "tab") == set(ids(plan))
        items_of(service, user, "other", 1)
        assert_lost(send(service, claim_of(user, "other", plan["items"][0]["artwork"])))
        assert send(service, claim_of(user, "tab", plan["items"][0]["artwork"])).status_code == 200

    def test_planned_artworks_are_not_seen(self, service: Service, host: Host, user: str) -> None:
        """Only drawing them counts."""
        host.fill(service, 12)
        host.add_user(user)
        plan_of(service, user)
        assert seen_of(host, user) == set()
        coverage = service.client.get(f"/v1/users/{user}/coverage").json()
        assert (coverage["seen"], coverage["unseen"], coverage["leased"]) == (0, 12, 10)

    def test_others_may_get_everything_but_the_leases(self, service: Service, host: Host, user: str) -> None:
        """The user's other session the rest, another user all, however often the plan is asked for."""
        pool = host.fill(service, 20)
        for depth in (3, 5, 5, 2):
            plan_of(service, user, depth=depth, network="slow-2g", save_data=True)
        held = leased_to(host, user, "tab")
        assert len(held) == 5, "no more than the deepest plan asked for"
        rest = items_of(service, user, "other", 20)
        assert {item["artwork_id"] for item in rest} == set(pool) - held
        assert len(items_of(service, f"{user}-2", "tab", 20)) == 20

    def test_two_sessions_plan_different_artworks(self, service: Service, host: Host, user: str) -> None:
        """As with lists; what is lacking then is said."""
        host.fill(service, 14)
        one, two = plan_of(service, user, "one"), plan_of(service, user, "two")
        assert not set(ids(one)) & set(ids(two))
        assert (two["leased"], two["shortfall"], two["reason"]) == (4, 6, "all_leased")

    def test_asking_again_plans_the_same_and_goes_on(self, service: Service, host: Host, user: str) -> None:
        """In the same order, so that nothing is loaded twice; lists and plans share the lease."""
        host.fill(service, 20)
        first = ids(plan_of(service, user, depth=5))
        assert ids(plan_of(service, user, depth=5)) == first
        assert ids(plan_of(service, user, depth=8))[:5] == first
        assert [item["artwork_id"] for item in items_of(service, user, "tab", 5)] == first

    def test_seen_artworks_are_never_planned(self, service: Service, host: Host, user: str) -> None:
        """To the last one."""
        pool = host.fill(service, 15)
        host.add_user(user)
        host.see(user, pool[:9])
        shown: list[str] = []
        while items := plan_of(service, user, depth=4)["items"]:
            for item in items:
                assert send(service, claim_of(user, "tab", item["artwork"])).status_code == 200
                shown.append(item["artwork"]["artwork_id"])
        assert sorted(shown) == sorted(pool[9:])


class TestOrder:
    """Neighbours alike, so that they morph well, without giving up much of the rank."""

    def test_artworks_that_look_alike_follow_each_other(self, service: Service, host: Host, user: str) -> None:
        """Two kinds, alternating in rank: the plan changes between them less often than the list does."""
        kinds = {"cubism": _dna(0.1), "fauvism": _dna(0.9)}
        names = list(kinds)
        artworks = [
            {"styles": [names[place % 2]], "dna_vector": json.dumps(kinds[names[place % 2]])} for place in range(24)
        ]
        pool = host.fill(service, artworks)
        kind = {artwork: place % 2 for place, artwork in enumerate(pool)}
        listed = [kind[item["artwork_id"]] for item in items_of(service, user, "list", 12)]
        plan = plan_of(service, f"{user}", "plan", depth=12)
        planned = [kind[artwork] for artwork in ids(plan)]
        assert _changes(planned) < max(_changes(listed), 6)
        assert plan["rank_traded"] > 0

    def test_the_answer_says_how_much_rank_was_traded(self, service: Service, host: Host, user: str) -> None:
        """Never more than the window; nothing where all look the same."""
        rng = np.random.default_rng(5)
        host.fill(service, [{"dna_vector": json.dumps(rng.random(50).round(3).tolist())} for _ in range(40)])
        plan = plan_of(service, user, depth=40)
        scores = np.array([item["artwork"]["score"] for item in plan["items"]])
        ranks = np.argsort(np.argsort(-scores, kind="stable"))
        assert 0 < plan["rank_traded"] <= WINDOW
        assert (np.arange(len(ranks)) - ranks).max() <= WINDOW
        again = plan_of(service, user, depth=40)
        assert again["rank_traded"] == 0.0, "what is offered again keeps its order"


def _dna(level: float) -> list[float]:
    """A vector that is alike to those of the same level."""
    return [level if place % 2 else 1.0 - level for place in range(50)]


def _changes(kinds: list[int]) -> int:
    """How often neighbours differ."""
    return sum(one != other for one, other in pairwise(kinds))
