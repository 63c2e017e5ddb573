"""Planning loops as real processes: one leads, and when it is killed another goes on with what it had begun."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host import Host
from tests.integration.conftest import Start
from tests.loops import Loop, dna_text
from tests.service import REPOSITORY, Service

WAIT_SECONDS = 120.0
BRISK = {
    "VERNISSAGE_PLANNING_SECONDS": "3",
    "VERNISSAGE_LEADER_SECONDS": "3",
    "VERNISSAGE_FLOOR_BATCH": "2",
    "VERNISSAGE_PAINTED_PIXELS": "640",  # long enough to be killed in the middle
}


@pytest.fixture
def thirsty(start: Start, own_host: Host) -> Service:
    """A service with a user in session who has little left to see."""
    own_host.add_user("ada")
    service = start()
    own_host.fill(service, [{"dna_vector": dna_text(number), "styles": ["cubism"]} for number in range(6)])
    first = service.next("ada", "tab", limit=2)["items"][0]["artwork_id"]
    service.display("ada", [first], "tab")
    service.record({"event_id": "1", "user_id": "ada", "artwork_id": first, "kind": "like", "session_id": "tab"})
    return service


def wait_for(what: str, found: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + WAIT_SECONDS
    while not found():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def generator(service: Service) -> str:
    """What health says of it."""
    return str(service.stranger.get("/v1/health").json()["generator"]["state"])


def command(service: Service, *words: str) -> str:
    """What `vernissage` prints."""
    environment = os.environ | {"VERNISSAGE_DATABASE_URL": service.database_url, "VERNISSAGE_HOME": str(service.home)}
    line = [sys.executable, "-m", "training.cli", *words]
    return subprocess.run(line, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_killed_leader_is_replaced_and_no_epoch_is_ordered_twice(
    thirsty: Service, own_host: Host, tmp_path: Path
) -> None:
    """What it had sent is taken up; each order ends in one artwork."""

    def orders_while_she_looks(loop: Loop) -> bool:
        """Whether the loop has ordered, since ada goes on and needs more."""
        items = thirsty.next("ada", "tab", limit=2)["items"]
        if items:
            thirsty.display("ada", [items[0]["artwork_id"]], "tab")
        return bool(loop.said("planned"))

    def count(state: str) -> int:
        return own_host.count("SELECT count(DISTINCT order_id) FROM vernissage.order_versions WHERE state = %s", state)

    home, url = thirsty.home, thirsty.database_url
    with Loop(url, home, tmp_path / "one", BRISK) as one, Loop(url, home, tmp_path / "two", BRISK) as two:
        wait_for("somebody leads", lambda: one.leads or two.leads)
        leader, other = (one, two) if one.leads else (two, one)
        wait_for("health tells", lambda: generator(thirsty) == "ok")
        wait_for("something is being painted", lambda: count("running") > 0)
        leader.kill()
        assert not other.leads
        begun = own_host.connection.execute("SELECT order_id::text FROM vernissage.orders").fetchall()
        wait_for("the other leads", lambda: other.leads)
        wait_for("it orders too", lambda: orders_while_she_looks(other))
        ids = [order_id for (order_id,) in begun]
        delivered = (
            "SELECT count(*) FROM vernissage.order_versions WHERE state = 'delivered' AND order_id = ANY(%s::uuid[])"
        )
        wait_for("what was begun is delivered", lambda: own_host.count(delivered, ids) == len(ids))
    wait_for("health tells that nobody leads", lambda: generator(thirsty) == "absent")
    assert other.said("leads")[0]["fence"] > leader.said("leads")[0]["fence"]
    epochs = [line["epoch"] for loop in (one, two) for line in loop.said("planned")]
    assert len(epochs) == len(set(epochs))
    wrong = (
        "SELECT count(*) FROM vernissage.planning_epochs AS e WHERE e.placed <>"
        " (SELECT count(*) FROM vernissage.orders AS o WHERE o.epoch = e.epoch)"
    )
    assert own_host.count(wrong) == 0
    artworks = own_host.count("SELECT count(*) FROM public.art_sessions WHERE session_id LIKE 'job\\_%%'")
    assert artworks == own_host.count("SELECT count(DISTINCT content_hash) FROM vernissage.painted")
    assert artworks >= count("delivered") >= len(ids)


def test_the_command_shows_a_plan_and_orders_it_once_when_told_to(thirsty: Service, own_host: Host) -> None:
    """Nothing is written without --order; stopped, nothing is ordered at all."""
    shown = command(thirsty, "plan")
    assert "nothing was ordered" in shown
    assert own_host.count("SELECT count(*) FROM vernissage.orders") == 0
    assert "stopped" in command(thirsty, "generation", "stop")
    command(thirsty, "plan", "--order")
    assert own_host.count("SELECT count(*) FROM vernissage.orders") == 0
    assert "stopped by" in command(thirsty, "generation", "status")
    assert "is on" in command(thirsty, "generation", "start")
    own_host.connection.execute("DELETE FROM vernissage.planning_epochs")
    assert "ordered" in command(thirsty, "plan", "--order")
    assert own_host.count("SELECT count(*) FROM vernissage.orders") > 0
