"""Experiments on the real service: changed by routes and commands, followed by workers, logged with what was served."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from features.database import query
from serving import bundle as bundles
from serving.experiments.assignment import arm_of, held_out, slot_of
from serving.experiments.definitions import make_definition
from tests.benchmarks.world import factor_arrays, manifest
from tests.experiments import ARMS, definition, give_past
from tests.host import Host
from tests.service import Service
from training.cli import app
from training.experiments.reading import read_exposed


@pytest.fixture(scope="module")
def pool(service: Service, host: Host) -> list[str]:
    """Forty artworks, and a past."""
    give_past(host.connection)
    return host.fill(service, 40)


@pytest.fixture
def trying(service: Service, pool: list[str]) -> Iterator[Service]:
    """The module's service; what a test has started ends with it."""
    assert pool
    yield service
    for entry in listed(service):
        if entry["state"] == "running":
            send(service, f"/{entry['definition']['name']}/stop", {"reason": "the test is over"})
    await_running(service, 0)


@pytest.fixture
def name() -> str:
    """An experiment's name."""
    return f"trial-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def users(name: str) -> list[str]:
    """Whom nobody has served yet."""
    return [f"{name}-{number}" for number in range(40)]


def send(service: Service, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and answer of a change."""
    answer = service.client.post(f"/v1/experiments{path}", json=body or {})
    return answer.status_code, answer.json()


def run(service: Service, whole: dict[str, Any], slots: int | None = None) -> None:
    """Create and start an experiment and wait until the worker follows."""
    assert send(service, "", whole)[0] == 200
    status, answer = send(service, f"/{whole['name']}/start", {} if slots is None else {"slots": slots})
    assert status == 200, answer
    running = sum(entry["state"] == "running" for entry in listed(service))
    await_running(service, running)


def listed(service: Service, name: str = "") -> list[dict[str, Any]]:
    """Every version of every experiment, or of one."""
    path = f"/v1/experiments/{name}".rstrip("/")
    return service.client.get(path).raise_for_status().json()["experiments"]


def await_running(service: Service, count: int) -> None:
    """Until the worker knows of so many."""
    end = time.monotonic() + 30
    while service.metrics().get("vernissage_experiments_running") != count:
        assert time.monotonic() < end
        time.sleep(0.05)


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def choose(service: Service, name: str, user: str, arm: str | None) -> tuple[int, str | None]:
    """Status and arm, or the code of a refusal, of an override that is set, or with None taken back."""
    path = f"/v1/experiments/{name}/overrides/{user}"
    answer = service.client.put(path, json={"arm": arm}) if arm else service.client.delete(path)
    return answer.status_code, answer.json().get("code", answer.json().get("arm"))


def arms_of(service: Service, user: str) -> dict[str, Any]:
    """What is tried on a user."""
    return service.client.get(f"/v1/users/{user}/assignments").raise_for_status().json()


def logged(host: Host, user: str) -> list[Any]:
    """What the log says of a user's lists, oldest first."""
    statement = "SELECT experiments FROM vernissage.served_lists WHERE user_id = %s ORDER BY served_at"
    return [row[0] for row in host.connection.execute(statement, (user,)).fetchall()]


@pytest.fixture
def vernissage(monkeypatch: pytest.MonkeyPatch, module_database: str, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """The command, on the test's database: what it prints."""
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", module_database)
    monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path / "home"))

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["experiment", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return command


class TestLife:
    """Draft, running, stopped, archived."""

    def test_an_experiment_goes_its_way_and_each_step_is_audited(self, trying: Service, host: Host, name: str) -> None:
        """And nothing else: no step back, no change in place, no smaller ramp."""
        whole = definition(name)
        assert send(trying, "", whole)[1]["state"] == "draft"
        assert send(trying, "", whole)[0] == 200
        other = whole | {"arms": [ARMS[0] | {"weight": 3}, ARMS[1]]}
        status, answer = send(trying, "", other)
        assert (status, answer["code"]) == (409, "experiment_conflict")
        assert "raise `version`" in answer["detail"]
        assert send(trying, f"/{name}/ramp", {"slots": 5})[0] == 409

        status, started = send(trying, f"/{name}/start", {"slots": 100})
        assert (status, started["state"], started["slots"]) == (200, "running", 100)
        assert started["horizon_days"] % 7 == 0
        assert started["power"] >= 0.8
        assert send(trying, f"/{name}/start")[0] == 409
        assert send(trying, f"/{name}/ramp", {"slots": 1_000})[1]["slots"] == 1_000
        status, answer = send(trying, f"/{name}/ramp", {"slots": 999})
        assert (status, "only grows" in answer["detail"]) == (409, True)
        assert send(trying, f"/{name}/archive")[0] == 409
        assert send(trying, f"/{name}/stop", {"reason": "done"})[1]["state"] == "stopped"
        assert send(trying, f"/{name}/start")[0] == 409

        assert send(trying, "", other | {"version": 2})[0] == 200
        assert [entry["definition"]["version"] for entry in listed(trying, name)] == [2, 1]
        assert send(trying, f"/{name}/archive")[1]["state"] == "archived"
        rows = host.connection.execute(
            "SELECT action FROM vernissage.audit_log WHERE subject = %s ORDER BY entry_id", (name,)
        ).fetchall()
        steps = ["create", "start", "ramp", "stop", "create", "archive"]
        assert [action for (action,) in rows] == [f"experiment {step}" for step in steps]

    @pytest.mark.parametrize("table", ["experiments", "experiment_states"])
    @pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET version = 2", "TRUNCATE {} CASCADE"])
    def test_what_was_tried_is_never_rewritten(self, host: Host, table: str, change: str) -> None:
        """By anybody."""
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            host.connection.execute(change.format(f"vernissage.{table}"))

    def test_slots_and_knobs_are_not_shared(self, trying: Service, name: str) -> None:
        """Within a layer no slot is in two experiments, and across layers no knob."""
        run(trying, definition(f"{name}-one", slots={"first": 0, "count": 5_000}, smallest_effect=0.5))
        for other, fields, words in (
            (f"{name}-two", {"slots": {"first": 4_999, "count": 5_000}}, "slots 0 to 4999"),
            (f"{name}-three", {"layer": "elsewhere"}, "sets variety too"),
        ):
            assert send(trying, "", definition(other, smallest_effect=0.5, **fields))[0] == 200
            status, answer = send(trying, f"/{other}/start")
            assert (status, words in answer["detail"]) == (409, True), answer
        run(trying, definition(f"{name}-four", slots={"first": 5_000, "count": 5_000}, smallest_effect=0.5))

    def test_what_cannot_be_seen_is_not_started(self, trying: Service, name: str) -> None:
        """It says how long it would take and what needs fewer users."""
        send(trying, "", definition(name, smallest_effect=0.005))
        status, answer = send(trying, f"/{name}/start")
        assert status == 409
        assert "power of" in answer["detail"]
        assert "80% " in answer["detail"]
        assert "interleaved" in answer["detail"]

    def test_a_model_that_workers_do_not_have_is_not_tried(self, trying: Service, name: str) -> None:
        """The command would bring it first."""
        send(trying, "", definition(name, arms=[ARMS[0], {"name": "newer", "policy": {"model": "7"}}]))
        status, answer = send(trying, f"/{name}/start")
        assert (status, "version 7 is not delivered" in answer["detail"]) == (409, True)

    def test_the_commands_do_the_same(
        self, trying: Service, vernissage: Callable[..., str], tmp_path: Path, name: str
    ) -> None:
        """From a YAML file."""
        file = tmp_path / "trial.yaml"
        file.write_bytes(msgspec.yaml.encode(definition(name)))
        assert vernissage("create", str(file)) == f"{name} version 1: draft\n"
        assert "running on 50 of its 10000 slots; judged after " in vernissage("start", name, "--slots", "50")
        assert "running on 70" in vernissage("ramp", name, "70")
        assert vernissage("override", name, "ada", "varied") == "ada: varied\n"
        await_running(trying, 1)
        assert name in vernissage("list")
        assert vernissage("stop", name, "--reason", "enough") == f"{name} version 1: stopped\n"
        assert vernissage("archive", name) == f"{name} version 1: archived\n"
        await_running(trying, 0)


class TestServing:
    """What users get."""

    def test_without_experiments_nothing_is_logged_and_nobody_has_an_arm(self, trying: Service, host: Host) -> None:
        """As ever."""
        trying.next("ada", limit=3)
        assert logged(host, "ada") == [None]
        answer = arms_of(trying, "ada")
        assert (answer["assignments"], answer["settings"]) == ([], {})

    def test_both_arms_are_logged_and_the_holdout_is_left_alone(
        self, trying: Service, host: Host, name: str, users: list[str]
    ) -> None:
        """The log and the answer for frontends say what the pure function says."""
        arms = [
            {"name": "control"},
            {"name": "quick", "policy": {"variety": 0.5, "flush_delay_s": 1, "prefetch_depth": 4}},
        ]
        made = make_definition(definition(name, arms=arms))
        run(trying, definition(name, arms=arms), slots=8_000)
        found: Counter[str] = Counter()
        for user in users:
            trying.next(user, limit=2)
            apart = held_out(user, 0.05) or slot_of("lists", user) >= 8_000
            arm = None if apart else arm_of(made, user).name
            expected = None if arm is None else {name: {"version": 1, "arm": arm}}
            assert logged(host, user) == [expected]
            answer = arms_of(trying, user)
            assert [each["arm"] for each in answer["assignments"]] == ([] if arm is None else [arm])
            assert answer["settings"].get("flush_delay_s") == (1 if arm == "quick" else None)
            assert answer["held_out"] == held_out(user, 0.05)
            body = {"session_id": "other"}
            plan = trying.client.post(f"/v1/users/{user}/prefetch", json=body).raise_for_status().json()
            assert plan["requested"] == (4 if arm == "quick" else 10)
            found[str(arm)] += 1
        assert set(found) == {"control", "quick", "None"}

    def test_an_override_is_served_and_marked(
        self, trying: Service, host: Host, vernissage: Callable[..., str], name: str
    ) -> None:
        """Whatever the hash says; taken back, the hash says again."""
        run(trying, definition(name), slots=1)
        vernissage("override", name, "ada", "varied")
        end = time.monotonic() + 30
        while not arms_of(trying, "ada")["assignments"]:
            assert time.monotonic() < end
        trying.next("ada", limit=2)
        assert logged(host, "ada")[-1:] == [{name: {"version": 1, "arm": "varied", "overridden": True}}]

    def test_an_override_by_route_holds_until_it_is_taken_back(
        self, trying: Service, host: Host, name: str, users: list[str]
    ) -> None:
        """It takes the user out of the layer's other experiments meanwhile, and two at once are refused."""
        one, two = f"{name}-one", f"{name}-two"
        halves = [{"first": first, "count": 5_000} for first in (0, 5_000)]
        for each, slots in zip((one, two), halves, strict=True):
            run(trying, definition(each, slots=slots, smallest_effect=0.5))
        user = next(user for user in users if not held_out(user, 0.05) and slot_of("lists", user) < 5_000)

        def arms() -> dict[str, bool]:
            return {each["experiment"]: each["overridden"] for each in arms_of(trying, user)["assignments"]}

        trying.next(user, limit=1)
        assert choose(trying, two, user, "varied") == (200, "varied")
        assert choose(trying, one, user, "varied") == (409, "experiment_conflict")
        assert choose(trying, two, "a" * 256, "varied") == (400, "bad_user_id")
        wait_for(lambda: arms() == {two: True})
        trying.next(user, limit=1)
        assert [set(entry) for entry in logged(host, user)] == [{one}, {two}]
        assert read_exposed(host.connection, one).overridden == 1
        assert choose(trying, two, user, None) == (200, None)
        wait_for(lambda: arms() == {one: False})

    def test_an_experiment_that_this_version_cannot_read_does_not_hold_up_the_others(
        self, trying: Service, host: Host, name: str, users: list[str]
    ) -> None:
        """As one that was started by a newer worker: it is left out, and counted."""
        row = {"name": f"{name}-newer", "whole": Jsonb(definition(f"{name}-newer") | {"planet": "Mars"})}
        state = "INSERT INTO vernissage.experiment_states (name, version, state, slots) VALUES (%(name)s, 1, {}, 9)"
        run(trying, definition(name))
        host.connection.execute(
            "INSERT INTO vernissage.experiments (name, version, definition) VALUES (%(name)s, 1, %(whole)s)", row
        )
        host.connection.execute(state.format("'running'"), row)
        try:
            wait_for(lambda: trying.metrics()["vernissage_experiments_unreadable"] == 1)
            assert trying.client.get(f"/v1/experiments/{row['name']}").status_code == 409
            assert row["name"] not in [entry["definition"]["name"] for entry in listed(trying)]
            assert send(trying, f"/{name}/ramp", {"slots": 1})[0] == 409
            assert send(trying, f"/{name}/stop", {"reason": "followed all the same"})[0] == 200
            wait_for(lambda: not any(arms_of(trying, user)["assignments"] for user in users))
            other = definition(name, version=2)
            assert send(trying, "", other)[0] == 200
            status, answer = send(trying, f"/{name}/start")
            assert (status, "another version of the service" in answer["detail"]) == (409, True)
        finally:
            host.connection.execute(state.format("'archived'"), row)
        wait_for(lambda: trying.metrics()["vernissage_experiments_unreadable"] == 0)

    def test_interleaved_lists_hold_each_artwork_once_and_say_who_picked_it(
        self, trying: Service, host: Host, name: str, users: list[str]
    ) -> None:
        """No seen one, none on lease elsewhere; what is offered again stays with its first team."""
        run(trying, definition(name, design="interleaved", smallest_effect=0.5))
        user = next(user for user in users if not held_out(user, 0.05))
        first = trying.next(user, "tab", limit=10)
        ids = [item["artwork_id"] for item in first["items"]]
        assert len(set(ids)) == 10
        trying.display(user, ids[:5], "tab")
        again = [item["artwork_id"] for item in trying.next(user, "tab", limit=10)["items"]]
        other = [item["artwork_id"] for item in trying.next(user, "other tab", limit=25)["items"]]
        assert again[:5] == ids[5:]
        assert not set(again) & set(ids[:5])
        assert not set(other) & {*ids, *again}
        (one, two, _) = (entry[name]["teams"] for entry in logged(host, user))
        assert set(one) == {"control", "varied"}
        assert abs(len(one["control"]) - len(one["varied"])) <= 1
        offered = {key for team in one.values() for key in team}
        assert not offered & {key for team in two.values() for key in team} - spares(host, user, offered)

    def test_tabs_that_ask_at_once_share_nothing_of_interleaved_lists(
        self, trying: Service, name: str, users: list[str]
    ) -> None:
        """Four tabs of one user, all at once, until the pool is empty: every artwork once."""
        run(trying, definition(name, design="interleaved", smallest_effect=0.5))
        for user in [user for user in users if not held_out(user, 0.05)][:5]:
            with ThreadPoolExecutor(4) as threads:
                lists = list(threads.map(lambda tab, user=user: trying.next(user, f"tab-{tab}", limit=11), range(4)))
            offered = [item["artwork_id"] for each in lists for item in each["items"]]
            assert len(offered) == len(set(offered)) == 40

    def test_a_stop_is_followed(self, trying: Service, name: str, users: list[str]) -> None:
        """Within the poll."""
        run(trying, definition(name))
        assert any(arms_of(trying, user)["assignments"] for user in users)
        send(trying, f"/{name}/stop", {"reason": "done"})
        await_running(trying, 0)
        assert not any(arms_of(trying, user)["assignments"] for user in users)

    def test_an_arm_is_ranked_by_its_own_model(
        self, trying: Service, host: Host, tmp_path: Path, name: str, users: list[str]
    ) -> None:
        """A version beside the live one (here: none), for the users of the arm and nobody else."""
        pool = [row[0] for row in host.connection.execute("SELECT id FROM public.art_sessions").fetchall()]
        bundle = bundles.save(tmp_path / "bundle", manifest("7"), factor_arrays(np.array(sorted(pool)), 1))
        row = {"alias": "version-7", "version": "7", "bundle_path": str(tmp_path / "bundle"), "digest": bundle.digest}
        host.connection.execute(query("set_live_model"), row)
        arms = [{"name": "control"}, {"name": "newer", "policy": {"model": "7"}}]
        made = make_definition(definition(name, arms=arms))
        run(trying, definition(name, arms=arms))
        inside = [user for user in users if not held_out(user, 0.05)]
        end = time.monotonic() + 30
        newer = next(user for user in inside if arm_of(made, user).name == "newer")
        while trying.next(newer, limit=2)["model"] is None:
            assert time.monotonic() < end
        for user in inside[:20]:
            expected = "drawn:7" if arm_of(made, user).name == "newer" else None
            assert trying.next(user, limit=2)["model"] == expected
            assert logged(host, user)[-1] == {name: {"version": 1, "arm": arm_of(made, user).name}}

    def test_lists_without_an_arms_model_are_served_as_ever_and_marked_in_every_arm(
        self, trying: Service, host: Host, name: str, users: list[str], tmp_path: Path
    ) -> None:
        """Nobody counts as exposed to what was not there, nor any control in that time; it ends when it is there."""
        pool = [row[0] for row in host.connection.execute("SELECT id FROM public.art_sessions").fetchall()]
        bundle = bundles.save(tmp_path / "aside", manifest("8"), factor_arrays(np.array(sorted(pool)), 1))
        row = {"alias": "version-8", "version": "8", "bundle_path": str(tmp_path / "gone"), "digest": bundle.digest}
        host.connection.execute(query("set_live_model"), row)
        run(trying, definition(name, arms=[{"name": "control"}, {"name": "newer", "policy": {"model": "8"}}]))
        told = set()
        for user in [user for user in users if not held_out(user, 0.05)][:12]:
            assert len(trying.next(user, limit=2)["items"]) == 2
            ((found,),) = [each.values() for each in logged(host, user)]
            assert (found["version"], found["fallback"]) == (1, "no_model")
            told.add(found["arm"])
        assert told == {"control", "newer"}
        assert trying.metrics()['vernissage_experiment_lists_total{outcome="no_model"}'] >= 12
        (tmp_path / "aside").rename(tmp_path / "gone")
        end = time.monotonic() + 30
        while "fallback" in logged(host, user)[-1][name]:
            assert time.monotonic() < end
            trying.next(user, limit=2)


class TestTimings:
    """What the log says of how a list came about."""

    def test_a_list_is_logged_with_its_time_and_why_no_model_ranked_it(self, service: Service, host: Host) -> None:
        """No model is live here."""
        service.next("tim", limit=3)
        statement = "SELECT took_ms, fallback FROM vernissage.served_lists WHERE user_id = 'tim'"
        ((took, fallback),) = host.connection.execute(statement).fetchall()
        assert 0 < took < 60_000
        assert fallback == "missing"


def spares(host: Host, user: str, offered: set[int]) -> set[int]:
    """Those of ``offered`` that were drafted but got no place on the first list."""
    statement = "SELECT artwork_keys FROM vernissage.served_lists WHERE user_id = %s ORDER BY served_at LIMIT 1"
    row = host.connection.execute(statement, (user,)).fetchone()
    assert row is not None
    return offered - set(row[0])
