"""Generation plans on the real service: for whom, like what, how many; and nothing is written until it is ordered."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from features.settings import Settings
from serving.generation.wishes import looks_of
from tests.host import WAIT_SECONDS, Host
from tests.integration.conftest import Start
from tests.service import Service
from training.synth import World

STYLES = ("cubism", "fauvism")
POOL = 30
LEFT = 3
FRESH_BUDGET = """
UPDATE vernissage.budget
SET dollars = NULL, images = NULL, levelled_at = NULL, day = NULL, day_dollars = 0, stopped = false
"""
UNIQUE = itertools.count(1)  # a plan is made once per question and epoch: each test asks another


def dna(place: int) -> str:
    """DNA near to that of the others in its style."""
    middle = np.random.default_rng(place % 2).uniform(0.2, 0.8, 50)
    near = np.clip(middle + np.random.default_rng(place + 10).normal(0, 0.05, 50), 0, 1)
    return json.dumps(near.round(3).tolist())


def plan(service: Service, **body: Any) -> dict[str, Any]:
    """A plan that was not asked for before."""
    asked = {"dollars": 1 + next(UNIQUE) / 1e6} | body
    found: dict[str, Any] = service.client.post("/v1/generation/plans", json=asked).raise_for_status().json()
    return found


def drain(service: Service, user: str, artwork_ids: list[str], liked: list[str]) -> None:
    """Show these to a user, who likes some of them."""
    service.next(user, "tab", limit=1)
    service.display(user, artwork_ids, "tab")
    likes = [{"event_id": f"{user} {each}", "user_id": user, "artwork_id": each, "kind": "like"} for each in liked]
    if likes:
        service.record(*likes)


def forget(host: Host) -> None:
    """Nobody is in session, nothing is ordered."""
    for table in ("sessions", "orders", "planning_epochs"):
        host.connection.execute(f"DELETE FROM vernissage.{table}")
    host.connection.execute(FRESH_BUDGET)


def rows_of(host: Host) -> list[tuple[Any, ...]]:
    """How many rows there are of what an order would touch."""
    counted = ("vernissage.orders", "vernissage.order_versions", "vernissage.planning_epochs", "vernissage.events",
               "vernissage.seen", "vernissage.served_lists", "public.art_sessions", "vernissage.audit_log")  # fmt: skip
    count = " UNION ALL ".join(f"SELECT count(*), max(xmin::text::bigint) FROM {table}" for table in counted)
    return [*host.connection.execute(count).fetchall(),
            *host.connection.execute("SELECT * FROM vernissage.budget").fetchall()]  # fmt: skip


@pytest.fixture
def pool(service: Service, host: Host) -> list[str]:
    """Artworks of two styles by turns."""
    forget(host)
    return host.fill(service, [{"dna_vector": dna(place), "styles": [STYLES[place % 2]]} for place in range(POOL)])


@pytest.fixture
def cubist(service: Service, pool: list[str], user: str) -> str:
    """A user in session who likes cubism and has next to nothing left."""
    drain(service, user, pool[:-LEFT], pool[0:10:2])
    return user


def test_a_plan_is_for_who_runs_dry_and_like_what_they_liked(service: Service, pool: list[str], cubist: str) -> None:
    """Images with fifty numbers, styles, a prompt, a price and a deadline; none for who has plenty."""
    service.next("plenty", "tab", limit=1)
    found = plan(service)
    assert found["basis"] == "heuristic"
    assert found["stopped"] == "worthless"
    assert len(found["images"]) == 24  # to the floor of 23 and four more, with three left
    for image in found["images"]:
        assert image["user_ids"] == [cubist]
        assert image["near"] in pool[0:10:2]
        assert len(image["dna_vector"]) == 50
        assert all(0 <= number <= 3 for number in image["dna_vector"])
        assert image["styles"][0] == "cubism"
        assert image["prompt"].startswith("A quiet study")
        assert image["cost"] == 0.02
    priorities = [image["priority"] for image in found["images"]]
    assert priorities == sorted(priorities, reverse=True)
    assert found["dollars"] == pytest.approx(24 * 0.02)


def test_no_two_orders_are_the_same_picture_nor_one_that_exists(service: Service, pool: list[str], cubist: str) -> None:
    """At least the least distance between any two looks."""
    assert cubist
    images = [image["dna_vector"] for image in plan(service)["images"]]
    looks = looks_of(np.array([*images, *(json.loads(dna(place)) for place in range(len(pool)))], dtype=np.float32))
    apart = np.linalg.norm(looks[:, None] - looks[None], axis=2)
    new = len(images)
    np.fill_diagonal(apart, 2.0)
    assert apart[:new].min() >= Settings().order_distance - 1e-3


def test_a_dry_run_writes_nothing(service: Service, host: Host, cubist: str) -> None:
    """No row comes or changes, and the need stays."""
    before = rows_of(host)
    found = plan(service)
    assert (len(found["images"]), found["ordered"], found["dry_run"]) == (24, [], True)
    assert rows_of(host) == before
    assert service.client.get(f"/v1/users/{cubist}/need").json()["need"] > 0.8


def test_the_same_question_in_one_epoch_gets_the_same_plan(service: Service, host: Host, cubist: str) -> None:
    """Also after a display; once the epoch is over, the plan is another."""
    for _ in range(3):
        asked = {"dollars": 1 + next(UNIQUE) / 1e6}
        first = plan(service, **asked)
        service.display(cubist, [host.add_artwork(pool_status="pending")], "tab")
        again = plan(service, **asked)
        if first["epoch"] == again["epoch"]:
            assert again == first
            return
    pytest.fail("three epochs in a row ended between two requests")


def test_what_is_ordered_is_ordered_once_in_an_epoch_and_ends_the_need(
    service: Service, host: Host, cubist: str
) -> None:
    """Two planners of one epoch place one plan."""
    found = plan(service, dry_run=False)
    assert len(found["ordered"]) == len(found["images"]) == 24
    assert service.client.get(f"/v1/users/{cubist}/need").json() | {"need": 0, "in_flight": 24} == (
        service.client.get(f"/v1/users/{cubist}/need").json()
    )
    again = plan(service, dry_run=False)
    if again["epoch"] == found["epoch"]:
        assert again["ordered"] == []
    assert again["images"] == []
    assert host.count("SELECT count(*) FROM vernissage.orders") == 24


@pytest.mark.parametrize(("asked", "stopped", "images"), [({"dollars": 0.05}, "budget", 2), ({"most": 5}, "count", 5)])
def test_a_plan_ends_where_it_must_and_says_why(
    service: Service, cubist: str, asked: dict[str, Any], stopped: str, images: int
) -> None:
    """A budget that binds has a shadow price."""
    found = plan(service, **asked)
    assert cubist
    assert (found["stopped"], len(found["images"])) == (stopped, images)
    assert (found["shadow_price"] > 0) == (stopped == "budget")


def test_the_budget_is_what_is_spent_by_default(service: Service, host: Host, cubist: str) -> None:
    """The switch leaves nothing to spend."""
    assert cubist
    assert plan(service, dollars=None)["images"]
    host.connection.execute("UPDATE vernissage.budget SET stopped = true")
    stopped = plan(service, dollars=None)
    assert (stopped["images"], stopped["stopped"]) == ([], "budget")


def test_a_heavy_user_who_has_liked_nothing_gets_a_plan(service: Service, pool: list[str], user: str) -> None:
    """What was seen stands in for what was liked."""
    drain(service, user, pool, [])
    found = plan(service)
    assert len(found["images"]) == 27
    assert {image["user_ids"][0] for image in found["images"]} == {user}


def test_one_image_is_for_all_who_like_its_like(service: Service, pool: list[str], user: str) -> None:
    """Two in the same want get the images of one."""
    for name in (user, f"{user} too"):
        drain(service, name, pool, pool[0:10:2])
    found = plan(service)
    assert len(found["images"]) == 27
    assert all(sorted(image["user_ids"]) == sorted([user, f"{user} too"]) for image in found["images"])


def test_what_was_liked_without_usable_dna_is_replaced_by_its_nearest(service: Service, host: Host, user: str) -> None:
    """No order is made from a stub; where there is nothing else, the plan is empty and says why."""
    forget(host)
    stub = json.dumps([0.5] * 50)
    rows = [{"dna_vector": stub if place % 2 else dna(place), "styles": [STYLES[place % 2]]} for place in range(POOL)]
    artwork_ids = host.fill(service, rows)
    drain(service, user, artwork_ids, artwork_ids[1:8:2])
    found = plan(service)
    assert found["images"]
    assert {image["near"] for image in found["images"]} <= set(artwork_ids[::2])
    forget(host)
    stubs = host.fill(service, [{"dna_vector": stub} for _ in range(5)])
    drain(service, f"{user} too", stubs, stubs[:1])
    nothing = plan(service)
    assert (nothing["images"], nothing["stopped"]) == ([], "no_dna")


def test_an_archived_artwork_near_a_medoid_is_given_back_before_one_is_ordered(
    service: Service, host: Host, pool: list[str], cubist: str
) -> None:
    """Only what the user has not seen, nor its image under another id; a dry run leaves it where it is."""
    near = {"dna_vector": dna(2), "styles": ["cubism"], "prompt": "A quiet study, number 2"}
    unseen = host.add_artwork(pool_status="archived", **near)
    seen = host.add_artwork(pool_status="archived", **near)
    far = host.add_artwork(pool_status="archived", dna_vector=dna(1), styles=["fauvism"])
    shown = host.connection.execute("SELECT image_url FROM public.art_sessions WHERE id = %s", (pool[2],)).fetchone()
    assert shown is not None
    host.add_artwork(pool_status="archived", image_url=shown[0], **near)
    service.display(cubist, [seen], "tab")
    found = plan(service)
    assert [each["artwork_id"] for each in found["reused"]] == [unseen]
    assert (found["avoided"], len(found["images"])) == (1, 23)
    assert found["reused"][0]["user_ids"] == [cubist]
    status = "SELECT count(*) FROM public.art_sessions WHERE pool_status = 'archived' AND id = ANY (%s)"
    assert host.count(status, [unseen, seen, far]) == 3
    plan(service, dry_run=False)
    assert host.count(status, [unseen, seen, far]) == 2
    host.wait(service)
    assert service.client.get(f"/v1/users/{cubist}/need").json()["stock"] == LEFT + 1
    assert len(pool) == POOL


def test_diversity_is_told_before_and_after(service: Service, pool: list[str], cubist: str) -> None:
    """Half of each style is one bit; orders in one style alone narrow it."""
    assert len(pool) == POOL
    assert cubist
    found = plan(service)
    assert found["diversity_before"]["entropy"] == pytest.approx(1.0)
    assert 0 < found["diversity_after"]["entropy"] < 1.0
    assert 0 < found["diversity_after"]["spread"] < 2


def test_plans_are_counted(service: Service, cubist: str) -> None:
    """By basis and why they ended, and their images."""
    names = ('vernissage_plans_total{basis="heuristic",stopped="worthless"}',
             'vernissage_plan_images_total{what="wished"}')  # fmt: skip
    before = [service.metrics().get(name, 0.0) for name in names]
    assert cubist
    images = len(plan(service)["images"])
    after = [service.metrics()[name] for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, images]


class TestForecast:
    """The forecast that was trained on what people did, in the live bundle."""

    @pytest.fixture
    def published(self, ready: Settings, command: Any) -> Settings:
        """A world whose popularity is live."""
        result: Result = command("train", "popularity", "--publish")
        assert result.exit_code == 0, result.output
        return ready

    def test_need_and_plans_rest_on_it(self, published: Settings, start: Start, own_host: Host, world: World) -> None:
        """Users who came before have a posterior, others the prior; the plan orders by it and says so."""
        fresh = start(environment={"VERNISSAGE_HOME": published.home})
        _wait_for_model(fresh)
        model = fresh.client.get("/v1/models/live").json()
        assert 0 < model["metrics"]["forecast_ece"] < 0.05
        known = world.users.ids[int(np.argmax(np.bincount(world.exposures.user_rows)))]
        everything = [row[0] for row in own_host.connection.execute("SELECT id FROM public.art_sessions").fetchall()]
        for user_id in (known, "new"):
            fresh.next(user_id, "tab", limit=1)
            fresh.display(user_id, everything, "tab")
        found = fresh.client.post("/v1/need", json={"user_ids": [known, "new", "away"]}).raise_for_status().json()
        assert found["forecast"] == "used"
        dry, new, away = found["users"]
        assert (dry["basis"], new["basis"], away["basis"]) == ("posterior", "prior", "prior")
        assert dry["need"] > 0.3
        assert new["need"] > 0.3
        assert dry["unavoidable"] > 0.3
        assert away["need"] < 0.1
        assert 0 < dry["p_alive"] <= 1
        planned = plan(fresh)
        assert planned["basis"] == "forecast"
        assert {user_id for image in planned["images"] for user_id in image["user_ids"]} == {known, "new"}
        assert fresh.metrics()['vernissage_forecasts_total{basis="forecast",why="used"}'] == 2


def _wait_for_model(service: Service) -> None:
    """Until the live model serves."""
    end = time.monotonic() + WAIT_SECONDS
    while not service.client.get("/v1/models/live").raise_for_status().json()["live"]:
        assert time.monotonic() < end, "no model went live"
        time.sleep(0.05)
