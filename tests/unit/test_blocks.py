"""Blocks of time: the same for everybody, in pairs, drawn apart from each other, and what their arms set."""

from __future__ import annotations

import doctest
from itertools import pairwise

import msgspec
import pytest

from features.settings import Settings
from serving.experiments import blocks
from serving.experiments.assignment import Plan, Running
from serving.experiments.blocks import Blocks, GenerationPolicy, turn
from serving.experiments.definitions import Definition, make_definition
from serving.experiments.hashing import pick
from serving.experiments.switchback import arm_of_block, block_at
from tests.experiments import SWITCHBACK, definition

HOUR = 3_600


def switchback(version: int = 1) -> Definition:
    """Two policies, by the hour."""
    return make_definition(definition("fuller", version=version, **SWITCHBACK))


def test_the_examples_of_the_module_hold() -> None:
    """Doctests."""
    assert doctest.testmod(blocks).failed == 0


def test_each_pair_has_a_block_of_each_arm_in_an_order_that_is_drawn() -> None:
    """Neither arm has the first block of a pair much more often; the draw is the bucket's."""
    turns = [turn("fuller/1", number) for number in range(2_000)]
    assert all(one + two == 1 for one, two in zip(turns[::2], turns[1::2], strict=True))
    assert sum(turns[::2]) == pytest.approx(500, abs=70)
    assert turns[::2] == [pick("fuller/1", str(pair), (1, 1)) for pair in range(1_000)]
    same = sum(one == two for one, two in pairwise(turns[::2]))
    assert same == pytest.approx(500, abs=70)  # one pair says nothing of the next


def test_another_version_draws_its_blocks_anew() -> None:
    """So that the hours of a first try are not those of the second."""
    one, two = ([arm_of_block(switchback(version), number).name for number in range(1_000)] for version in (1, 2))
    assert sum(a == b for a, b in zip(one, two, strict=True)) == pytest.approx(500, abs=100)


def test_a_moment_is_in_the_block_that_every_process_finds() -> None:
    """From its first second to its last; nothing runs, no block."""
    plan = Plan((Running(switchback(), 10_000),))
    found = [block_at(plan, 7 * HOUR + second) for second in (0, HOUR - 1, HOUR)]
    assert [block.number for block in found if block] == [7, 7, 8]
    assert block_at(Plan(), 0) is None
    assert found[0] is not None
    assert found[0].log == {"name": "fuller", "version": 1, "block": 7, "arm": arm_of_block(switchback(), 7).name}


def test_users_are_in_no_arm_of_it() -> None:
    """Whoever they are."""
    plan = Plan((Running(switchback(), 10_000, {"ada": "fuller"}),))
    assert not any(plan.assign(user) for user in ("ada", *map(str, range(100))))


def test_what_is_judged_begins_with_a_whole_pair() -> None:
    """Never in the middle of a block or of a pair."""
    hours = Blocks(minutes=60, count=40, washout_minutes=10)
    assert [hours.first_after(at * HOUR) for at in (0, 0.1, 2, 2.1, 3.5)] == [0, 2, 2, 4, 4]
    assert hours.days == 2


@pytest.mark.parametrize(
    ("policy", "changed"),
    [
        (GenerationPolicy(), {}),
        (GenerationPolicy(planner="floor"), {}),
        (GenerationPolicy(horizon_days=7), {"horizon_days": 7}),
        (GenerationPolicy(floor_artworks=30), {"floor_artworks": 30}),
        (GenerationPolicy(stockout_cost=0.2), {"stockout_cost": 0.2, "stockout_cost_top": 1.0}),
    ],
)
def test_a_policy_changes_its_own_settings_alone(policy: GenerationPolicy, changed: dict[str, float]) -> None:
    """The top tier's price keeps its distance."""
    assert policy.under(Settings()) == msgspec.structs.replace(Settings(), **changed)
