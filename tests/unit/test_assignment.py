"""Who is in which arm: one number in three languages, slots, ramps that only add, arms that do not hang together."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.experiments import hashing
from serving.experiments.assignment import Plan, Running, arm_of, held_out, settings_of, slot_of
from serving.experiments.definitions import Definition, make_definition
from serving.experiments.hashing import bucket, pick, place

GOLDEN = Path(__file__).parents[1] / "golden" / "buckets.jsonl"
UNITS = [f"user-{number}" for number in range(4_000)]


def golden() -> list[dict[str, Any]]:
    """The table: salt, id, bucket, slot."""
    return [json.loads(line) for line in GOLDEN.read_text("utf-8").splitlines()]


def defined(name: str = "more-variety", **fields: Any) -> Definition:
    """An experiment with two arms on the first half of the layer lists."""
    arms = [{"name": "control"}, {"name": "varied", "policy": {"variety": 0.3}}]
    data = {
        "name": name, "hypothesis": "Variety keeps people longer", "owner": "ada", "layer": "lists",
        "slots": {"first": 0, "count": 5_000}, "arms": arms, "primary_metric": "likes_per_display",
        "smallest_effect": 0.1,
    }  # fmt: skip
    return make_definition(data | fields)


class TestBucket:
    """The number, against a table of 1,000 ids."""

    def test_python_agrees_with_the_table(self) -> None:
        """Ids of every script, empty ones, ones with the separator in them."""
        rows = golden()
        assert len(rows) == 1_000
        for row in rows:
            found = {"bucket": bucket(row["salt"], row["id"]), "slot": place(row["salt"], row["id"], 10_000)}
            assert row | found == row

    def test_postgresql_agrees_with_the_table(self, connection: psycopg.Connection) -> None:
        """The functions of the migration."""
        rows = golden()
        statement = (
            "SELECT vernissage.bucket(s, u), vernissage.place(s, u, 10000)"
            " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS n (s, u, at) ORDER BY at"
        )
        found = connection.execute(statement, ([row["salt"] for row in rows], [row["id"] for row in rows])).fetchall()
        assert found == [(row["bucket"], row["slot"]) for row in rows]

    @pytest.mark.skipif(shutil.which("node") is None, reason="node is absent")
    def test_javascript_agrees_with_the_table(self) -> None:
        """The few lines that a frontend would need."""
        script = Path(__file__).with_name("buckets.mjs")
        asked = "\n".join(json.dumps({"salt": row["salt"], "id": row["id"]}) for row in golden())
        answered = subprocess.run(["node", script], input=asked, capture_output=True, text=True, check=True).stdout
        assert [json.loads(line) for line in answered.strip().split("\n")] == golden()

    def test_the_examples_of_the_module_hold(self) -> None:
        """Doctests."""
        assert doctest.testmod(hashing).failed == 0

    @settings(deadline=None)
    @given(st.text(), st.lists(st.integers(1, 50), min_size=1, max_size=5))
    def test_every_id_has_a_place_and_a_part(self, unit_id: str, weights: list[int]) -> None:
        """Also the ids that cannot be UTF-8 text in the database are refused before: no lone surrogates come here."""
        if unit_id.encode("utf-8", "ignore").decode() != unit_id:
            return
        assert 0 <= place("s", unit_id, 10_000) < 10_000
        assert 0 <= pick("s", unit_id, weights) < len(weights)


class TestAssignment:
    """What a plan of running experiments says of users."""

    def test_a_ramp_only_ever_adds_users_and_never_moves_one(self) -> None:
        """Who was in an arm at 1% is in the same arm at 10% and at 50%."""
        definition = defined()
        before: dict[str, str] = {}
        for slots in (0, 100, 1_000, 5_000):
            plan = Plan((Running(definition, slots),))
            now = {unit: found[0].arm.name for unit in UNITS if (found := plan.assign(unit))}
            assert before.items() <= now.items()
            assert len(now) == pytest.approx(len(UNITS) * slots / 10_000, abs=0.03 * len(UNITS))
            before = now

    def test_two_experiments_of_one_layer_share_nobody(self) -> None:
        """Their slots are disjoint."""
        one = Running(defined("one"), 5_000)
        two = Running(defined("two", slots={"first": 5_000, "count": 5_000}), 5_000)
        counts = Counter(len(Plan((one, two)).assign(unit)) for unit in UNITS)
        assert counts == {1: len(UNITS)}

    def test_the_holdout_is_in_no_experiment(self) -> None:
        """Five in a hundred, whatever runs, the same ones each time."""
        plan = Plan((Running(defined(slots={"first": 0, "count": 10_000}), 10_000),), holdout=0.05)
        out = {unit for unit in UNITS if not plan.assign(unit)}
        assert out == {unit for unit in UNITS if held_out(unit, 0.05)}
        assert len(out) == pytest.approx(0.05 * len(UNITS), rel=0.25)

    def test_weights_are_kept(self) -> None:
        """One to three."""
        arms = [{"name": "control"}, {"name": "varied", "weight": 3, "policy": {"variety": 0.3}}]
        definition = defined(arms=arms)
        shares = Counter(arm_of(definition, unit).name for unit in UNITS)
        assert shares["varied"] / len(UNITS) == pytest.approx(0.75, abs=0.03)

    def test_another_version_draws_anew(self) -> None:
        """Half of an arm's users are in the other one then: nothing is carried over."""
        same = sum(arm_of(defined(), unit) == arm_of(defined(version=2), unit) for unit in UNITS)
        assert same / len(UNITS) == pytest.approx(0.5, abs=0.04)

    def test_an_override_beats_slots_and_holdout_and_says_so(self) -> None:
        """Also for a user outside the ramp; an arm that is gone is no override."""
        outside = next(unit for unit in UNITS if slot_of("lists", unit) >= 5_000)
        chosen = Plan((Running(defined(), 10, {outside: "varied"}),), holdout=1.0).assign(outside)
        assert [(each.arm.name, each.overridden) for each in chosen] == [("varied", True)]
        assert Plan((Running(defined(), 10, {outside: "gone"}),)).assign(outside) == ()

    def test_an_override_takes_its_user_out_of_the_rest_of_the_layer(self) -> None:
        """And out of nothing else; everybody else stays where the hash has them."""
        whole = {"first": 0, "count": 10_000}
        arms = [{"name": "control"}, {"name": "brave", "policy": {"exploration": 1.0}}]
        plain = (
            Running(defined("first"), 5_000),
            Running(defined("other", layer="elsewhere", slots=whole, arms=arms), 10_000),
            Running(defined("second", slots={"first": 5_000, "count": 5_000}), 5_000),
        )
        unit = next(unit for unit in UNITS if slot_of("lists", unit) < 5_000)
        chosen = Plan((*plain[:2], replace(plain[2], overrides={unit: "varied"})))
        assert [each.definition.name for each in Plan(plain).assign(unit)] == ["first", "other"]
        assert [(each.definition.name, each.overridden) for each in chosen.assign(unit)] == [
            ("other", False), ("second", True),
        ]  # fmt: skip
        assert all(chosen.assign(each) == Plan(plain).assign(each) for each in UNITS[:500] if each != unit)

    def test_arms_of_two_layers_add_up(self) -> None:
        """What each sets, in one."""
        arms = [{"name": "control"}, {"name": "brave", "policy": {"exploration": 1.0}}]
        whole = {"first": 0, "count": 10_000}
        plan = Plan(
            (Running(defined(slots=whole), 10_000), Running(defined("b", layer="x", slots=whole, arms=arms), 10_000))
        )
        found = [settings_of(plan.assign(unit)) for unit in UNITS]
        assert {frozenset(each) for each in found} == {
            frozenset(), frozenset({"variety"}), frozenset({"exploration"}), frozenset({"variety", "exploration"}),
        }  # fmt: skip
