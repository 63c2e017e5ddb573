"""The simulation: the same people for every policy, nothing from nothing, and no policy under the clairvoyant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from features.settings import Settings
from serving.generation.demand import Counts
from serving.generation.need import expected_lead
from training.cli import app
from training.policies import STEPS, State, by_coverage, floor, on_demand
from training.regimes import Regime
from training.sim_demand import Scene, make_scene
from training.sim_report import lines, table
from training.simulate import CLAIRVOYANT, Outcome, clairvoyant, run, run_all, sweep

SETTINGS = Settings()
SMALL = Regime(users=60, tastes=4, pool=15, visits=1.0)
DAYS = 4


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Every policy on one drawn run."""
    return {one.policy: one for one in run_all(SMALL, 1, DAYS, SETTINGS)}


def silent(_state: State, _active: Counts) -> list[int]:
    """Order nothing at all."""
    return []


def test_equal_seeds_make_equal_runs_and_other_seeds_others(outcomes: dict[str, Outcome]) -> None:
    """Down to the last image."""
    again = {one.policy: one for one in run_all(SMALL, 1, DAYS, SETTINGS, ["newsvendor", "floor"])}
    assert again == {name: outcomes[name] for name in ("newsvendor", "floor")}
    assert make_scene(SMALL, 2, DAYS).requests[1].tolist() != make_scene(SMALL, 1, DAYS).requests[1].tolist()


def test_every_policy_meets_the_same_requests(outcomes: dict[str, Outcome]) -> None:
    """Common random numbers: what a policy does changes nobody's visits."""
    assert len({one.requests for one in outcomes.values()}) == 1


@pytest.mark.parametrize("price", [0.02, 0.1, 0.5])
def test_nobody_beats_the_clairvoyant(price: float) -> None:
    """At any price its cost is the least."""
    found = {one.policy: one for one in sweep(SMALL, 3, DAYS, SETTINGS, [price])[price]}
    least = found.pop(CLAIRVOYANT).cost(SETTINGS.image_cost, price)
    assert all(one.cost(SETTINGS.image_cost, price) >= least - 1e-9 for one in found.values())


def test_the_newsvendor_costs_less_than_the_host_s_rule_and_wastes_less(outcomes: dict[str, Outcome]) -> None:
    """On these people, at the price of the free tier."""
    ours, hosts = outcomes["newsvendor"], outcomes["85/90/95 charitable"]
    assert ours.cost(0.02, 0.1) < 0.95 * hosts.cost(0.02, 0.1)
    assert ours.wasted / ours.images < 0.5 * hosts.wasted / hosts.images
    assert ours.stockouts / ours.requests < 0.01


def test_without_orders_the_stock_runs_out() -> None:
    """What is displayed is what was there; the rest are stock-outs."""
    scene = make_scene(SMALL, 1, DAYS)
    found = run("nothing", lambda: silent, scene, 60.0)
    asked = np.bincount(scene.requests[0], minlength=SMALL.users)
    there = (scene.likes * (SMALL.pool - scene.seen)).sum(axis=1)
    assert (found.images, found.wasted) == (0, 0)
    assert found.stockouts == np.maximum(asked - there, 0).sum()


def test_the_clairvoyant_of_one_taste_makes_what_the_heaviest_user_lacks() -> None:
    """One image serves all, so nobody else counts."""
    scene = make_scene(replace(SMALL, tastes=1, two_tastes=0.0), 1, DAYS)
    asked = np.bincount(scene.requests[0], minlength=SMALL.users)
    lacking = (asked - (SMALL.pool - scene.seen[:, 0])).max()
    found = clairvoyant(scene, Settings(stockout_cost=10.0))
    assert (found.images, found.stockouts) == (pytest.approx(lacking), pytest.approx(0))


def test_nothing_arrives_during_an_outage() -> None:
    """All the time out: whatever is ordered, nobody sees it."""
    scene = replace(make_scene(SMALL, 1, DAYS), outages=[(-1.0, 1e9)])
    ordering, nothing = (run("", lambda made=made: made, scene, 60.0) for made in (on_demand(), silent))
    assert ordering.images > 0
    assert ordering.stockouts == nothing.stockouts
    assert ordering.wasted == ordering.images


def state_of(scene: Scene, seen: int, made: int, displayed: int = 50) -> State:
    """One user of one taste who has seen so much of what there is."""
    return State(
        scene=scene, now=1_000.0, made=np.array([made]), flying=np.array([0]), seen=np.array([[seen]]),
        shown=np.array([5]), displayed=np.array([float(displayed)]), repeats=np.array([3.0]), first=np.array([0.0]),
        last=np.array([500.0]), hours=[[900.0] * displayed],
    )  # fmt: skip


@pytest.fixture
def alone() -> Scene:
    """One user, one taste."""
    return make_scene(Regime(users=1, tastes=1, two_tastes=0.0), 1, 1)


@pytest.mark.parametrize(("seen", "count"), [(84, 0), (85, 10), (90, 20), (95, 50), (100, 50)])
def test_the_host_s_rule_orders_by_coverage(alone: Scene, seen: int, count: int) -> None:
    """10, 20, 50 at 85, 90, 95%: what it ordered first counts afterwards only where the reading is charitable."""
    for literal in (True, False):
        assert len(by_coverage(literal=literal)(state_of(alone, seen, 100), np.array([0]))) == count
    assert len(by_coverage(least=STEPS[0][0])(state_of(alone, seen, 100), np.array([0]))) == count * (seen >= 95)


def test_the_literal_rule_forgets_what_it_ordered_but_waits(alone: Scene) -> None:
    """Twice in a row only after the cooldown; the charitable one sees its orders."""
    literal, charitable = by_coverage(literal=True), by_coverage()
    state = state_of(alone, 95, 100)
    assert [len(literal(state, np.array([0]))) for _ in range(2)] == [50, 0]
    state.now += 61
    state.flying[0] = 50
    assert len(literal(state, np.array([0]))) == 50
    assert len(charitable(state, np.array([0]))) == 0


def test_ten_in_the_last_hour_leaves_out_who_just_came(alone: Scene) -> None:
    """Nine displays are too few."""
    rule = by_coverage(only_recent=True)
    assert [len(rule(state_of(alone, 95, 100, displayed), np.array([0]))) for displayed in (9, 10)] == [0, 50]


def test_the_floor_needs_no_forecast(alone: Scene) -> None:
    """Brought to 23 + 4 from whatever is left; nothing from 23 on."""
    rule = floor(expected_lead(SETTINGS), SETTINGS)
    assert [len(rule(state_of(alone, 100 - left, 100), np.array([0]))) for left in (0, 22, 23)] == [27, 5, 0]


def test_a_report_tells_costs_over_the_best(outcomes: dict[str, Outcome]) -> None:
    """The best policy has 1.0, the clairvoyant less; the table has a row for each."""
    found = {line.policy: line for line in lines([list(outcomes.values())] * 2, 0.02, 0.1)}
    others = [line.against_best for name, line in found.items() if name != CLAIRVOYANT]
    assert min(others) == pytest.approx(1.0)
    assert found[CLAIRVOYANT].against_best <= 1
    assert found["newsvendor"].low == pytest.approx(found["newsvendor"].high)
    assert table("", list(found.values())).row_count == len(outcomes)


def test_the_command_prints_a_table_and_draws_a_figure(tmp_path: Path) -> None:
    """Every policy has its row; a regime that does not exist is named beside those that do."""
    runner, path = CliRunner(env={"COLUMNS": "140"}), tmp_path / "costs.svg"
    done = runner.invoke(
        app, ["simulate", "--regime", "drop-out", "--days", "1", "--stockout", "0.1", "--plot", str(path)]
    )
    assert done.exit_code == 0, done.output
    assert "newsvendor" in done.output
    assert path.read_text("utf-8").count("<svg") == 1
    refused = runner.invoke(app, ["simulate", "--regime", "no such"])
    assert refused.exit_code == 2
    assert "drop-out" in refused.output
