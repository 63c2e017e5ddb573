"""Definitions that are refused with their field and rule, horizons from power, lists that two rankings share."""

from __future__ import annotations

import doctest
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import BadExperimentError
from serving.experiments import interleaving, power
from serving.experiments.definitions import make_definition, read_definition
from serving.experiments.interleaving import interleave, team_draft
from serving.experiments.power import Traffic, expected_power, horizon, traffic_of
from serving.ladder import Ranking
from tests.experiments import ARMS, SWITCHBACK, definition


def _blocks(**fields: int) -> dict[str, Any]:
    """A switchback with other blocks."""
    return SWITCHBACK | {"blocks": SWITCHBACK["blocks"] | fields}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("slots beyond the layer", {"slots": {"first": 9_000, "count": 2_000}}, "slots"),
    ("no slots", {"slots": {"first": 0, "count": 0}}, "slots.count"),
    ("one arm", {"arms": ARMS[:1]}, "arms"),
    ("two arms of one name", {"arms": [ARMS[0], {"name": "control", "policy": {"variety": 0.1}}]}, "arms"),
    ("arms that set the same", {"arms": [{"name": "a"}, {"name": "b"}]}, "arms"),
    ("an arm of under 1%", {"arms": [ARMS[0] | {"weight": 200}, ARMS[1]]}, "weight"),
    ("a knob that is none", {"arms": [ARMS[0], {"name": "b", "policy": {"colour": 1}}]}, "arms[1].policy"),
    ("variety over 1", {"arms": [ARMS[0], {"name": "b", "policy": {"variety": 2.0}}]}, "arms[1].policy.variety"),
    ("a flush delay that is none", {"arms": [ARMS[0], {"name": "b", "policy": {"flush_delay_s": 3}}]},
     "arms[1].policy.flush_delay_s"),
    ("a generation policy by users", {"arms": SWITCHBACK["arms"]}, "generation"),
    ("the holdout's layer", {"layer": "holdout"}, "layer"),
    ("a guardrail named twice", {"guardrails": ["fill_rate", "fill_rate"]}, "guardrails"),
    ("an unknown metric", {"primary_metric": "smiles"}, "primary_metric"),
    ("an unknown field", {"colour": 1}, "definition"),
    ("three interleaved arms", {"design": "interleaved", "arms": [*ARMS, {"name": "c", "policy": {"variety": 1.0}}]},
     "arms"),
    ("interleaved client values", {"design": "interleaved", "arms": [ARMS[0], {"name": "b", "policy": {"batch": 100}}]},
     "design"),
    ("blocks of users", {"blocks": {"minutes": 60, "count": 40, "washout_minutes": 10}}, "blocks"),
    ("users of blocks", {"unit": "block"}, "unit"),
    ("a metric of blocks by users", {"primary_metric": "waste"}, "primary_metric"),
    ("a switchback of users", SWITCHBACK | {"unit": "user"}, "unit"),
    ("a switchback without blocks", SWITCHBACK | {"blocks": None}, "blocks"),
    ("a switchback judged by likes", SWITCHBACK | {"primary_metric": "likes_per_display"}, "primary_metric"),
    ("a switchback of lists", SWITCHBACK | {"arms": ARMS}, "policy"),
    ("a switchback of three", SWITCHBACK | {"arms": [*SWITCHBACK["arms"], {"name": "c"}]}, "arms"),
    ("a switchback of unequal turns", SWITCHBACK | {"arms": [{"name": "a", "weight": 2}, SWITCHBACK["arms"][1]]},
     "weight"),
    ("a switchback of some users", SWITCHBACK | {"slots": {"first": 0, "count": 500}}, "slots"),
    ("a switchback without time between", _blocks(washout_minutes=31), "blocks"),
    ("a switchback of few blocks", _blocks(count=10), "blocks.count"),
    ("a switchback of a block too many", _blocks(count=41), "blocks.count"),
    ("a switchback that guards skips", SWITCHBACK | {"guardrails": ["skips_per_display"]}, "guardrails"),
    ("a switchback of nothing", SWITCHBACK | {"arms": [{"name": "a"}, {"name": "b", "policy": {"generation": {}}}]},
     "arms"),
    ("an interleaved list that is drawn", {"design": "interleaved", "arms": [
        ARMS[0], {"name": "b", "policy": {"temperature": 0.5}}]}, "temperature"),
    ("a temperature below 0", {"arms": [ARMS[0], {"name": "b", "policy": {"temperature": -1.0}}]},
     "arms[1].policy.temperature"),
    ("interleaved weights", {"design": "interleaved", "arms": [ARMS[0] | {"weight": 2}, ARMS[1]]}, "weight"),
    ("an interleaved one that is guarded", {"design": "interleaved", "stop_on_harm": True}, "stop_on_harm"),
]  # fmt: skip


class TestDefinitions:
    """What a file may say."""

    @pytest.mark.parametrize(("what", "fields", "field"), REFUSED, ids=[case[0] for case in REFUSED])
    def test_what_cannot_be_is_refused_by_field(self, what: str, fields: dict[str, Any], field: str) -> None:
        """With the rule in words."""
        with pytest.raises(BadExperimentError) as caught:
            make_definition(definition(**fields))
        assert caught.value.context["field"] == field, what
        assert caught.value.context["rule"]

    def test_a_field_that_is_missing_is_named(self) -> None:
        """The hypothesis is not optional."""
        whole = definition()
        del whole["hypothesis"]
        with pytest.raises(BadExperimentError, match="hypothesis: Object missing"):
            make_definition(whole)

    def test_yaml_is_read_and_what_is_none_is_refused(self) -> None:
        """A file as people write them."""
        text = msgspec.yaml.encode(definition())
        assert read_definition(text) == make_definition(definition())
        for broken in ("arms: [", "owner: !!timestamp ada", "version: !!int one", "owner: 2026-13-45"):
            with pytest.raises(BadExperimentError, match="file: it is not YAML"):
                read_definition(broken)

    @pytest.mark.parametrize("fields", [{}, SWITCHBACK], ids=["split", "switchback"])
    def test_a_definition_survives_the_database(self, fields: dict[str, Any]) -> None:
        """As JSON and back."""
        made = make_definition(definition(**fields))
        assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made


class TestPower:
    """How long it takes to see what is worth seeing."""

    def test_the_examples_of_the_modules_hold(self) -> None:
        """Doctests."""
        assert (doctest.testmod(power).failed, doctest.testmod(interleaving).failed) == (0, 0)

    def test_a_simulated_test_finds_the_effect_as_often_as_is_said(self) -> None:
        """400 draws of 2 x 500 users; the power said is within the binomial's reach."""
        rng = np.random.default_rng(5)
        said = power.power(0.18, (1.0, 1.0), (500, 500))
        draws = rng.normal(0, 1, (400, 2, 500)).mean(axis=2)
        found = np.abs(draws[:, 0] - draws[:, 1] + 0.18) > 1.96 * np.sqrt(2 / 500)
        assert found.mean() == pytest.approx(said, abs=4 * np.sqrt(said * (1 - said) / 400))

    def test_more_traffic_is_sooner_and_an_interleaved_list_soonest(self) -> None:
        """Whole weeks; never beyond the longest."""
        few, many = (Traffic(tuple(range(each, 29 * each, each)), 0.15, 0.12) for each in (20, 200))
        split = make_definition(definition())
        both = make_definition(definition(design="interleaved"))
        days = {
            name: horizon(kind, traffic, holdout=0.05, longest=56).wanted_days
            for name, kind, traffic in (("few", split, few), ("many", split, many), ("both", both, few))
        }
        assert days["many"] <= days["both"] < days["few"]
        assert horizon(split, few, holdout=0.05, longest=14).days == 14

    def test_without_traffic_nothing_can_be_seen(self) -> None:
        """And nothing is divided by zero."""
        found = horizon(make_definition(definition()), traffic_of([], 28), holdout=0.05, longest=56)
        assert (found.wanted_days, found.power) == (None, pytest.approx(0.05))

    def test_the_moments_give_the_ratio_and_its_deviation(self) -> None:
        """Against the same, user by user."""
        rng = np.random.default_rng(1)
        shown = rng.integers(1, 20, 500).astype(float)
        liked = rng.binomial(shown.astype(int), 0.2).astype(float)
        sums = {"x": liked.sum(), "y": shown.sum(), "xx": liked @ liked, "yy": shown @ shown, "xy": liked @ shown}
        found = traffic_of([{"day": 3, "users": 500} | sums], 28)
        ratio = liked.sum() / shown.sum()
        assert found.mean == pytest.approx(ratio)
        assert found.deviation == pytest.approx(((liked - ratio * shown) / shown.mean()).std())
        assert found.users == (500,) * 25

    def test_a_third_arm_makes_it_harder(self) -> None:
        """Less users each, and two comparisons."""
        three = make_definition(definition(arms=[*ARMS, {"name": "c", "policy": {"variety": 1.0}}]))
        traffic = Traffic(tuple(range(50, 1_450, 50)), 0.15, 0.12)
        one, two = (expected_power(each, traffic, 28, 0.05) for each in (make_definition(definition()), three))
        assert two < one


RANKED = st.lists(st.integers(0, 60), unique=True, max_size=30)


class TestTeamDraft:
    """Two rankings, one list."""

    @settings(deadline=None)
    @given(RANKED, RANKED, st.integers(0, 40), st.integers(0, 99))
    def test_every_artwork_once_and_the_teams_in_balance(
        self, one: list[int], two: list[int], count: int, seed: int
    ) -> None:
        """As long as it can be; until one has nothing left, neither has picked two more than the other."""
        picks, teams = team_draft(one, two, count, seed)
        assert len(set(picks)) == len(picks) == len(teams) == min(count, len({*one, *two}))
        assert set(picks) <= {*one, *two}
        for end in range(1, len(picks) + 1):
            lead = sum(1 if team else -1 for team in teams[:end])
            over = [set(ranked) <= set(picks[: end - 1]) for ranked in (one, two)]
            assert abs(lead) <= 1 or any(over)

    @settings(deadline=None)
    @given(RANKED, RANKED, st.integers(0, 40), st.integers(0, 99))
    def test_each_team_picks_its_best_that_is_left(self, one: list[int], two: list[int], count: int, seed: int) -> None:
        """At every turn."""
        picks, teams = team_draft(one, two, count, seed)
        for place, (pick, team) in enumerate(zip(picks, teams, strict=True)):
            ranked = (one, two)[team]
            assert pick == next(each for each in ranked if each not in picks[:place])

    def test_each_is_first_as_often_as_the_other(self) -> None:
        """The place of honour is drawn."""
        firsts = [team_draft([1, 2], [2, 1], 2, seed)[1][0] for seed in range(1_000)]
        assert np.mean(firsts) == pytest.approx(0.5, abs=0.07)

    @settings(deadline=None)
    @given(st.permutations(range(20)), st.permutations(range(20)), st.sets(st.integers(0, 19)), st.integers(0, 25))
    def test_a_ranking_of_two_keeps_everything_and_offers_nothing_held(
        self, one: list[int], two: list[int], held: set[int], count: int
    ) -> None:
        """Each artwork once, scored by the team that has it; the held ones are nobody's pick."""
        rankings = [_ranking(one, 0.0), _ranking(two, 100.0)]
        mask = np.isin(np.arange(20), list(held))
        found, teams = interleave(*rankings, mask, count, seed=1)
        assert sorted(found.rows.tolist()) == list(range(20))
        assert not mask[found.rows[: min(count, 20 - len(held))]].any()
        assert ((found.scores >= 100) == (teams == 1)).all()


def _ranking(rows: list[int], base: float) -> Ranking:
    """A ranking whose scores tell whose it is."""
    count = len(rows)
    ones = np.ones(count, np.int8)
    return Ranking(np.array(rows, np.int32), base + np.arange(count, 0, -1, dtype=np.float32), ones, ones)
