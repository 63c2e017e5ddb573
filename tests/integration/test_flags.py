"""Feature flags, the canary of a model and client values: set by commands, followed by workers, read by frontends."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from features.database import query
from features.errors import BadFlagError
from serving import bundle as bundles
from serving.experiments.assignment import arm_of, held_out
from serving.experiments.definitions import make_definition
from serving.experiments.flags import CANARY, Flag, set_flag
from serving.experiments.openfeature import make_provider
from tests.benchmarks.world import factor_arrays, manifest
from tests.experiments import definition, give_past
from tests.host import Host
from tests.service import Service
from training.cli import app
from training.experiments.reading import read_exposed

USERS = [f"user-{number}" for number in range(40)]
ARMS = [{"name": "control"}, {"name": "quick", "policy": {"flush_delay_s": 1, "batch": 100}}]


@pytest.fixture(scope="module")
def pool(service: Service, host: Host) -> list[str]:
    """Forty artworks, and a past."""
    give_past(host.connection)
    return host.fill(service, 40)


@pytest.fixture
def name() -> str:
    """A flag's name."""
    return f"flag-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def vernissage(monkeypatch: pytest.MonkeyPatch, module_database: str, tmp_path: Path) -> Callable[..., str]:
    """The command, on the test's database: what it prints."""
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", module_database)
    monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path / "home"))

    def command(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["flag", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return command


@pytest.fixture
def trial(service: Service, pool: list[str]) -> Iterator[str]:
    """The name of an experiment with client values that runs."""
    assert pool
    name = f"trial-{uuid.uuid4().hex[:8]}"
    post = service.client.post
    whole = definition(name, arms=ARMS, smallest_effect=0.5)
    post("/v1/experiments", json=whole).raise_for_status()
    post(f"/v1/experiments/{name}/start", json={}).raise_for_status()
    wait_for(lambda: service.metrics().get("vernissage_experiments_running") == 1)
    yield name
    post(f"/v1/experiments/{name}/stop", json={"reason": "the test is over"})
    wait_for(lambda: service.metrics().get("vernissage_experiments_running") == 0)


@pytest.fixture
def sdk(service: Service) -> Iterator[OpenFeatureClient]:
    """OpenFeature's client, asking the service with a frontend's key."""
    provider = make_provider(service.url, service.make_key("frontend"), timeout=30)
    api.set_provider(provider)
    yield api.get_client()
    provider.session.close()
    api.clear_providers()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def flags_of(service: Service, user: str) -> dict[str, Any]:
    """Every flag's value for a user."""
    return service.client.get(f"/v1/users/{user}/flags").raise_for_status().json()["flags"]


def evaluate(service: Service, path: str, context: Any, key: str | None = None) -> httpx.Response:
    """An answer of the protocol's routes."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return service.client.post(f"/ofrep/v1/evaluate/flags{path}", json=context, headers=headers)


class TestFlags:
    """For a share of the users."""

    def test_a_flag_is_followed_and_a_growing_share_takes_nobody_out(
        self, service: Service, vernissage: Callable[..., str], name: str
    ) -> None:
        """The same users as the hash says, at 10, 25, 50 and 100%; also beside the assignments."""
        before: set[str] = set()
        for share in (0.10, 0.25, 0.50, 1.0):
            assert vernissage("set", name, "--share", str(share)) == f"{name}: true for {share:.2%} of the users\n"
            wanted = {user for user in USERS if Flag(name, share).variant(user) == "on"}
            wait_for(lambda wanted=wanted: all(flags_of(service, user).get(name) == (user in wanted) for user in USERS))
            assert before <= wanted
            before = wanted
        assert before == set(USERS)
        assert service.client.get("/v1/users/ada/assignments").json()["flags"][name] is True
        assert name in vernissage("list")

    def test_a_share_does_not_shrink_but_to_nothing(self, vernissage: Callable[..., str], name: str) -> None:
        """Nobody goes to and fro; turned off it may start anew."""
        vernissage("set", name, "--share", "0.5")
        with pytest.raises(BadFlagError, match="a ramp only grows"):
            vernissage("set", name, "--share", "0.4")
        vernissage("set", name, "--share", "0")
        vernissage("set", name, "--share", "0.1")

    def test_values_are_of_one_type_and_kept(self, service: Service, vernissage: Callable[..., str], name: str) -> None:
        """Any of JSON's, the same for both; growing the share needs no word of them."""
        vernissage("set", name, "--share", "0.5", "--on", '{"speed": 2}', "--off", '{"speed": 1}')
        vernissage("set", name, "--share", "1")
        wait_for(lambda: flags_of(service, "ada").get(name) == {"speed": 2})
        for on, rule in (("3", "both must be of one type"), ("fast", "is not JSON")):
            with pytest.raises(BadFlagError, match=rule):
                vernissage("set", name, "--share", "1", "--on", on)
        with pytest.raises(BadFlagError, match="Expected `str` matching"):
            vernissage("set", "A Flag", "--share", "1")
        with pytest.raises(BadFlagError, match="flag canary"):
            vernissage("set", CANARY, "--share", "1")

    def test_each_change_is_audited(self, host: Host, vernissage: Callable[..., str], name: str) -> None:
        """With what it was changed to."""
        for share in ("0.1", "0.2"):
            vernissage("set", name, "--share", share)
        rows = host.connection.execute(
            "SELECT action, detail ->> 'share' FROM vernissage.audit_log WHERE subject = %s ORDER BY entry_id", (name,)
        ).fetchall()
        assert rows == [("flag set", "0.1"), ("flag set", "0.2")]

    def test_a_flag_that_this_version_cannot_read_is_left_out(self, service: Service, host: Host, name: str) -> None:
        """The others go on."""
        row = {"name": f"{name}-newer", "definition": Jsonb({"name": f"{name}-newer", "share": 1, "planet": "Mars"})}
        host.connection.execute(query("set_flag"), row)
        try:
            set_flag(host.connection, Flag(name, 1.0))
            wait_for(lambda: flags_of(service, "ada").get(name) is True)
            assert f"{name}-newer" not in flags_of(service, "ada")
        finally:
            host.connection.execute("DELETE FROM vernissage.flags WHERE name = %(name)s", row)


class TestCanary:
    """A model for some before it is for all."""

    def test_its_share_is_ranked_by_the_version_and_nobody_else(
        self, service: Service, host: Host, pool: list[str], tmp_path: Path
    ) -> None:
        """The list's row names the version; a version that is not loaded is counted, and the live model ranks."""
        bundle = bundles.save(tmp_path / "bundle", manifest("7"), factor_arrays(np.array(sorted(pool)), 1))
        row = {"alias": "version-7", "version": "7", "bundle_path": str(tmp_path / "bundle"), "digest": bundle.digest}
        host.connection.execute(query("set_live_model"), row)
        flag = Flag(CANARY, 0.25, on="7", off="live")
        set_flag(host.connection, flag)
        chosen = next(user for user in USERS if flag.variant(user) == "on")
        wait_for(lambda: service.next(chosen, limit=1)["model"] is not None)
        for user in USERS:
            assert service.next(user, limit=1)["model"] == ("drawn:7" if flag.variant(user) == "on" else None)
        set_flag(host.connection, Flag(CANARY, 0.25, on="9", off="live"))
        wait_for(lambda: service.next(chosen, limit=1)["model"] is None)
        assert service.metrics()['vernissage_canary_lists_total{outcome="no_model"}'] >= 1
        set_flag(host.connection, Flag(CANARY, 0, on="9", off="live"))


class TestProtocol:
    """As OpenFeature's SDKs ask."""

    def test_the_sdk_gets_flags_and_client_values(
        self, service: Service, host: Host, sdk: OpenFeatureClient, trial: str, name: str
    ) -> None:
        """Typed, with variant and reason; what is unknown is the caller's default."""
        set_flag(host.connection, Flag(name, 0.5))
        wait_for(lambda: name in flags_of(service, "ada"))
        made = make_definition(definition(trial, arms=ARMS, smallest_effect=0.5))
        for user in USERS[:20]:
            context = EvaluationContext(user)
            told = sdk.get_boolean_details(name, False, context)
            assert (told.value, told.variant) == (Flag(name, 0.5).value(user), Flag(name, 0.5).variant(user))
            assert told.reason == Reason.SPLIT
            quick = not held_out(user, 0.05) and arm_of(made, user).name == "quick"
            assert sdk.get_integer_value("flush_delay_s", 9, context) == (1 if quick else 5)
            assert sdk.get_string_value("retry", "", context) == "doubling"
        unknown = sdk.get_boolean_details("no-such-flag", True, EvaluationContext("ada"))
        assert (unknown.value, unknown.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
        nobody = sdk.get_boolean_details(name, True, EvaluationContext())
        assert (nobody.value, nobody.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)

    def test_all_at_once_with_the_experiment_that_sets_them(self, service: Service, trial: str) -> None:
        """The arm is the variant, also where it is the control's usual value."""
        user = next(user for user in USERS if not held_out(user, 0.05))
        answer = evaluate(service, "", {"context": {"targetingKey": user, "country": "at"}}).raise_for_status()
        found = {each["key"]: each for each in answer.json()["flags"]}
        made = make_definition(definition(trial, arms=ARMS, smallest_effect=0.5))
        for key in ("flush_delay_s", "batch"):
            assert found[key]["variant"] == arm_of(made, user).name
            assert found[key]["metadata"] == {"experiment": trial, "version": 1}
            assert found[key]["reason"] == "SPLIT"
        assert (found["retry"]["value"], found["retry"]["reason"]) == ("doubling", "DEFAULT")

    @pytest.mark.parametrize(
        ("context", "code"),
        [
            ({}, "TARGETING_KEY_MISSING"),
            ({"context": {}}, "TARGETING_KEY_MISSING"),
            ({"context": {"targetingKey": 7}}, "INVALID_CONTEXT"),
            ({"context": {"targetingKey": "a" * 256}}, "INVALID_CONTEXT"),
            ({"context": []}, "INVALID_CONTEXT"),
        ],
    )
    def test_refusals_are_the_protocols(self, service: Service, context: Any, code: str) -> None:
        """One evaluation or all."""
        for path in ("", "/retry"):
            answer = evaluate(service, path, context)
            assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
            assert answer.json()["errorDetails"]

    def test_a_browser_asks_for_its_own_user_alone(self, service: Service) -> None:
        """With a token, as to every other route; without one not at all."""
        token = service.client.post("/v1/tokens", json={"user_id": "ada", "seconds": 60}).json()["token"]
        asked = [evaluate(service, "/retry", {"context": {"targetingKey": user}}, token) for user in ("ada", "bob")]
        assert [answer.status_code for answer in asked] == [200, 403]
        assert service.stranger.post("/ofrep/v1/evaluate/flags", json={}).status_code == 401
        assert evaluate(service, "", {}, service.make_key("planner")).json()["errorCode"] == "GENERAL"


class TestExposures:
    """What clients acted on."""

    def test_the_first_report_of_a_user_counts_and_the_analysis_goes_by_it(
        self, service: Service, host: Host, trial: str
    ) -> None:
        """Not the lists, which were the same in both arms; what is not the user's arm is not counted."""
        made = make_definition(definition(trial, arms=ARMS, smallest_effect=0.5))
        user, other = [user for user in USERS if not held_out(user, 0.05)][:2]
        for each in (user, other):
            service.next(each, limit=1)
        told = service.client.get(f"/v1/users/{user}/assignments").json()["assignments"]
        assert [each["client_values"] for each in told] == [["batch", "flush_delay_s"]]
        arm = arm_of(made, user).name
        wrong = next(name for name in ("control", "quick") if name != arm)

        def report(*arms: str) -> dict[str, int]:
            sent = [{"experiment": trial, "version": 1, "arm": each} for each in arms]
            body = {"session_id": "tab", "exposures": sent}
            return service.client.post(f"/v1/users/{user}/exposures", json=body).raise_for_status().json()

        assert report(wrong) == {"new": 0, "known": 0, "stale": 1}
        assert report(arm, wrong) == {"new": 1, "known": 0, "stale": 1}
        assert report(arm) == {"new": 0, "known": 1, "stale": 0}
        exposed = read_exposed(host.connection, trial)
        assert exposed.user_ids == [user]
        assert made.arms[exposed.arms[0]].name == arm
        assert service.metrics()['vernissage_client_exposures_total{outcome="new"}'] == 1
