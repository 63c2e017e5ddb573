"""Experiments by blocks of time: what a plan does in a block, what the log says of it, what the report makes of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from serving.experiments.definitions import Definition, make_definition
from serving.experiments.switchback import Block, arm_of_block
from tests.experiments import SWITCHBACK, definition
from tests.host import Host
from tests.loops import dna_text
from tests.service import Service
from training.cli import app
from training.experiments.reading import read_entry
from training.experiments.switchback import (
    SwitchbackReport,
    paired,
    read_switched,
    report_switchback,
)

HOUR = 3_600
LIST = """
INSERT INTO vernissage.served_lists (
    recommendation_id, user_id, session_id, served_at, policy, requested, reason, artwork_keys, scores, rungs,
    propensities, candidate_hash, candidate_size, excluded)
SELECT gen_random_uuid(), 'ada', 'tab', to_timestamp(%(at)s) + n * interval '1 second', 'ladder-1', 2,
       CASE WHEN n <= %(dry)s THEN 'exhausted' END, CASE WHEN n <= %(dry)s THEN '{}'::integer[] ELSE '{1,2}' END,
       '{}', '{}', '{}', 0, 100, '{}'
FROM generate_series(1, %(lists)s) AS n
"""
SHOWN = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at)
SELECT gen_random_uuid(), 'ada', 1, 'displayed', to_timestamp(%(at)s) + n * interval '1 second'
FROM generate_series(1, %(shows)s) AS n
"""
ORDER = """
INSERT INTO vernissage.orders (order_id, epoch, place, ordered_at, dispatcher, user_ids, near, dna, styles, prompt,
                               benefit, reach, priority, cost, deadline, experiment)
SELECT gen_random_uuid(), %(at)s, n, to_timestamp(%(at)s) + n * interval '1 second', 'local', '{ada}', 'a', '{}', '{}',
       'p', 0, 0, 0, 0.02, now(), %(experiment)s
FROM generate_series(1, %(orders)s) AS n RETURNING order_id
"""
DELIVERED = """
INSERT INTO vernissage.order_versions (order_id, version, state, detail)
SELECT o.order_id, v.version, v.state, CASE WHEN v.state = 'delivered' THEN
           jsonb_build_object('artwork_id', 'made-' || o.order_id) ELSE v.detail END
FROM vernissage.orders AS o, (VALUES (1, 'planned', '{}'::jsonb), (2, 'sent', '{}'), (3, 'delivered', '{}'))
     AS v (version, state, detail)
"""
#: What the second arm ordered was shown to somebody, all of it.
SEEN = """
WITH made AS (
    INSERT INTO vernissage.artwork_keys (artwork_id)
    SELECT 'made-' || order_id FROM vernissage.orders WHERE experiment ->> 'arm' = 'fuller' RETURNING artwork_key
)
INSERT INTO vernissage.seen (user_id, artwork_key) SELECT 'ada', artwork_key FROM made
"""
Log = Callable[..., Definition]


@pytest.fixture
def log(connection: psycopg.Connection) -> Log:
    """Writes what a switchback of hourly blocks would have left, begun so many hours ago."""

    def written(*, ago: int, dry: tuple[float, float], stray: int = 0) -> Definition:
        made = make_definition(definition("logged", **SWITCHBACK))
        row = {"name": made.name, "whole": Jsonb(msgspec.to_builtins(made)), "ago": ago}
        connection.execute(
            "INSERT INTO vernissage.experiments (name, version, definition) VALUES (%(name)s, 1, %(whole)s)", row
        )
        connection.execute(
            "INSERT INTO vernissage.experiment_states (name, version, state, slots, at)"
            " VALUES (%(name)s, 1, 'running', 10000, now() - %(ago)s * interval '1 hour')",
            row,
        )
        rng = np.random.default_rng(3)
        now = int(time.time()) // HOUR
        with connection.transaction():
            for number in range(now - ago, now):
                _live(connection, made, number, rng, dry)
            connection.execute(DELIVERED)
            connection.execute(SEEN)
        if stray:
            _place(connection, (now - 20) * HOUR + 1_800, stray, None)
        return made

    return written


def _live(
    connection: psycopg.Connection, made: Definition, number: int, rng: np.random.Generator, dry: tuple[float, float]
) -> None:
    """One block: its washout, in which all is dry and much is ordered, and what counts."""
    arm = arm_of_block(made, number)
    treated = arm == made.arms[1]
    experiment = Block(made, number, arm).log
    lists = int(rng.integers(80, 160))  # as the day's demand has it, alike in both blocks of a pair or not
    start = number * HOUR
    connection.execute(LIST, {"at": start, "lists": 50, "dry": 50})
    connection.execute(LIST, {"at": start + 700, "lists": lists, "dry": rng.binomial(lists, dry[treated])})
    connection.execute(SHOWN, {"at": start + 700, "shows": lists})
    _place(connection, start, 40, experiment)
    _place(connection, start + 700, 3 + 3 * treated, experiment)


def _place(connection: psycopg.Connection, at: int, orders: int, experiment: dict[str, Any] | None) -> None:
    """Orders by an arm."""
    told = None if experiment is None else Jsonb(experiment)
    connection.execute(ORDER, {"at": at, "orders": orders, "experiment": told})


def reported(connection: psycopg.Connection) -> SwitchbackReport:
    """The report on it."""
    return report_switchback(read_switched(connection, read_entry(connection, "logged")))


class TestReport:
    """What is made of the log."""

    def test_a_planted_difference_is_found_and_the_washout_is_left_out(
        self, log: Log, connection: psycopg.Connection
    ) -> None:
        """In the washout half of all lists are dry, in both arms: neither mean knows of it."""
        log(ago=45, dry=(0.20, 0.10))
        found = reported(connection)
        by_name = {each.outcome: each for each in found.compared}
        dry = by_name["stockout_rate"]
        assert dry.pairs == 20
        assert (dry.control_mean, dry.mean) == (pytest.approx(0.2, abs=0.02), pytest.approx(0.1, abs=0.02))
        assert dry.low < -0.1 < dry.high < 0
        assert dry.p_value < 0.01
        cost = by_name["cost_per_impression"]
        assert cost.difference == pytest.approx(0.02 * 3 / 120, rel=0.3)
        assert cost.p_value < 0.01
        assert (by_name["waste"].control_mean, by_name["waste"].mean) == (1.0, 0.0)
        assert by_name["fill_rate"].difference == pytest.approx(0.1, abs=0.03)
        assert found.verdict.startswith("fuller is better: stockout_rate -0.")

    def test_where_nothing_was_planted_nothing_is_found(self, log: Log, connection: psycopg.Connection) -> None:
        """Though demand differs from block to block."""
        log(ago=45, dry=(0.15, 0.15))
        assert reported(connection).verdict == "No difference in stockout_rate was found over 20 pairs of blocks."

    def test_before_all_blocks_are_over_nothing_is_decided(self, log: Log, connection: psycopg.Connection) -> None:
        """And only whole pairs count, from the first that begins after the start."""
        log(ago=11, dry=(0.4, 0.0))
        found = reported(connection)
        assert found.blocks in {8, 10}
        assert found.verdict == f"It is at {found.blocks} of 40 blocks: too early to decide."

    def test_orders_of_no_arm_void_everything(self, log: Log, connection: psycopg.Connection) -> None:
        """As by a planner that had not heard of the experiment."""
        log(ago=45, dry=(0.2, 0.1), stray=9)
        found = reported(connection)
        assert found.strays == 9
        assert "believe nothing" in found.verdict

    def test_the_command_prints_table_and_verdict(
        self, log: Log, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """For people."""
        log(ago=45, dry=(0.20, 0.10))
        monkeypatch.setenv("VERNISSAGE_DATABASE_URL", database_url)
        monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path))
        result = CliRunner().invoke(app, ["experiment", "report", "logged"])
        assert result.exit_code == 0, result.output
        for words in ("40 of 40 blocks", "cost_per_impression", "fuller is better"):
            assert words in result.output

    def test_the_randomisation_test_is_right_as_often_as_it_says(self) -> None:
        """Where nothing differs 5 in 100 find something, whatever the law: most blocks are quiet here."""
        rng = np.random.default_rng(8)
        draws = (paired("waste", *rng.pareto(1.5, (2, 10))).p_value < 0.05 for _ in range(400))
        assert np.mean(list(draws)) == pytest.approx(0.05, abs=0.035)

    def test_two_pairs_are_the_least(self) -> None:
        """And what is unknown in a block leaves its pair out."""
        nothing = paired("waste", np.array([0.1, np.nan]), np.array([0.2, 0.3]))
        assert nothing.pairs == 1
        assert np.isnan([nothing.difference, nothing.p_value]).all()


class TestPlanning:
    """What plans do in a block."""

    @pytest.fixture
    def thirsty(self, service: Service, host: Host) -> Iterator[Service]:
        """A user in session who has little left and liked something; what a test starts ends with it."""
        user = host.add_user(f"user-{uuid.uuid4().hex[:8]}", email=f"{uuid.uuid4().hex}@example.org")
        artwork_ids = host.fill(service, [{"dna_vector": dna_text(n), "styles": ["cubism"]} for n in range(6)])
        service.next(user, "tab", limit=1)
        service.display(user, artwork_ids[:3], "tab")
        service.record({"event_id": user, "user_id": user, "artwork_id": artwork_ids[0], "kind": "like"})
        yield service
        for entry in service.client.get("/v1/experiments").json()["experiments"]:
            if entry["state"] == "running":
                name = entry["definition"]["name"]
                service.client.post(f"/v1/experiments/{name}/stop", json={"reason": "the test is over"})

    def test_a_plan_goes_by_the_arm_that_has_its_turn_and_its_orders_say_so(self, thirsty: Service, host: Host) -> None:
        """One arm fills up to 20, the other to 5: the floor's plan is as long as its arm says; no past is needed."""
        seen: dict[str, int] = {}
        for version in range(1, 30):
            found, running = _plan_under(thirsty, version)
            arm = found["experiment"]["arm"]
            assert found["experiment"]["name"] == "fuller"
            assert arm == arm_of_block(running, found["experiment"]["block"]).name
            seen[arm] = len(found["images"])
            if len(seen) == 2:
                break
        assert seen == {"lavish": 24, "sparing": 9}
        ordered = thirsty.client.post("/v1/generation/plans", json={"dry_run": False, "dollars": 0.04}).json()
        assert ordered["ordered"]
        logged = host.connection.execute("SELECT DISTINCT experiment FROM vernissage.orders").fetchall()
        assert logged == [(ordered["experiment"],)]
        told = thirsty.client.get(f"/v1/generation/orders/{ordered['ordered'][0]}").json()["order"]
        assert told["experiment"] == ordered["experiment"]

    def test_it_has_no_ramp_no_overrides_and_no_other_beside_it(self, thirsty: Service) -> None:
        """Blocks are for all users, and two policies cannot fill one pool."""
        whole = definition("alone", **SWITCHBACK)
        post = thirsty.client.post
        assert post("/v1/experiments", json=whole).status_code == 200
        assert post("/v1/experiments/alone/start", json={"slots": 50}).json()["field"] == "slots"
        begun = post("/v1/experiments/alone/start", json={}).json()
        assert (begun["state"], begun["horizon_days"], begun["power"]) == ("running", 2, None)
        refused = thirsty.client.put("/v1/experiments/alone/overrides/ada", json={"arm": "fuller"})
        assert (refused.status_code, "blocks of time" in refused.json()["detail"]) == (409, True)
        for layer in ("generation", "elsewhere"):
            post("/v1/experiments", json=whole | {"name": f"in-{layer}", "layer": layer})
            assert post(f"/v1/experiments/in-{layer}/start", json={}).status_code == 409


def _plan_under(service: Service, version: int) -> tuple[dict[str, Any], Definition]:
    """A plan while this version runs, which is stopped afterwards unless it is the last."""
    arms = [
        {"name": "lavish", "policy": {"generation": {"planner": "floor", "floor_artworks": 20}}},
        {"name": "sparing", "policy": {"generation": {"planner": "floor", "floor_artworks": 5}}},
    ]
    whole = definition("fuller", version=version, **SWITCHBACK) | {"arms": arms}
    if version > 1:
        service.client.post("/v1/experiments/fuller/stop", json={"reason": "the other arm"}).raise_for_status()
    service.client.post("/v1/experiments", json=whole).raise_for_status()
    service.client.post("/v1/experiments/fuller/start", json={}).raise_for_status()
    end = time.monotonic() + 30
    while True:
        found = service.client.post("/v1/generation/plans", json={"dollars": 5}).raise_for_status().json()
        if found["experiment"] and found["experiment"]["version"] == version:
            return found, make_definition(whole)
        assert time.monotonic() < end
        time.sleep(0.1)
