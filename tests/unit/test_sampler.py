"""Lists drawn by chance: the chances of a slot add up, draws follow them, and a seed draws the same again."""

from __future__ import annotations

import doctest
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from features.catalogue import empty
from features.settings import Settings
from serving import exploration
from serving.experiments.assignment import Assigned
from serving.experiments.definitions import make_definition
from serving.experiments.trial import make_trial
from serving.exploration import HEAD, Sampler, draw, make_logits, propensities
from serving.live import View
from tests.experiments import definition

SCORES = np.array([2.0, 1.2, 0.9, -0.4], np.float32)
DRAWS = 8_000
ALPHA = 1e-4  # seeds are fixed, so this fails for ever or never

scores_of = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=6)
temperatures = st.one_of(st.just(0.0), st.floats(0.05, 5))


@given(scores=scores_of, temperature=temperatures, epsilon=st.floats(0, 1))
def test_the_chances_of_a_slot_add_up_to_one(scores: list[float], temperature: float, epsilon: float) -> None:
    """Over all that could be picked next, after each way to begin."""
    logits = make_logits(np.array(sorted(scores, reverse=True), np.float32), temperature)
    for length in range(min(len(scores), 3)):
        for before in itertools.permutations(range(len(scores)), length):
            after = [place for place in range(len(scores)) if place not in before]
            chances = [float(propensities(logits, np.array([*before, place]), epsilon)[-1]) for place in after]
            assert sum(chances) == pytest.approx(1, abs=1e-5)


@given(
    scores=scores_of,
    temperature=temperatures,
    epsilon=st.floats(0, 1),
    count=st.integers(0, 8),
    seed=st.integers(0, 2**63 - 1),
)
def test_a_draw_holds_each_artwork_once_and_comes_again(
    *, scores: list[float], temperature: float, epsilon: float, count: int, seed: int
) -> None:
    """Bit for bit; equal scores too."""
    falling = np.array(sorted(scores, reverse=True), np.float32)
    drawn, again = (draw(falling, count, Sampler(temperature, epsilon), seed) for _ in range(2))
    assert len(set(drawn.places.tolist())) == len(drawn.places) == min(count, len(scores))
    assert drawn.places.tolist() == again.places.tolist()
    assert drawn.propensities.tobytes() == again.propensities.tobytes()
    assert drawn.propensities.dtype == np.float32
    assert ((drawn.propensities > 0) & (drawn.propensities <= 1)).all()


@pytest.mark.parametrize("sampler", [Sampler(1.0), Sampler(0.4, 0.2), Sampler(0.0, 0.5), Sampler(2.0, 1.0)], ids=str)
def test_draws_come_as_often_as_their_chances_say(sampler: Sampler) -> None:
    """Whole ordered triples of four."""
    seen = Counter(tuple(draw(SCORES, 3, sampler, seed).places.tolist()) for seed in range(DRAWS))
    logits = make_logits(SCORES, sampler.temperature)
    triples = list(itertools.permutations(range(4), 3))
    chances = [propensities(logits, np.array(triple), sampler.epsilon) for triple in triples]
    expected = DRAWS * np.prod(np.array(chances, dtype=float), axis=1)
    found = np.array([seen[triple] for triple in triples])
    assert expected.sum() == pytest.approx(DRAWS, rel=1e-5)
    often = expected >= 5
    assert found[~often].sum() <= 5 * (~often).sum()
    assert chisquare(found[often], expected[often] / expected[often].sum() * found[often].sum()).pvalue > ALPHA


def test_chances_are_those_of_the_draw() -> None:
    """What a draw says of itself is what the formula says."""
    drawn = draw(SCORES, 4, Sampler(0.7, 0.3), seed=11)
    said = propensities(make_logits(SCORES, 0.7), drawn.places, 0.3)
    assert drawn.propensities.tobytes() == said.tobytes()
    assert drawn.propensities[-1] == pytest.approx(1)


def test_without_temperature_rank_stays_but_for_the_coins() -> None:
    """Epsilon alone is epsilon-greedy; the best has its own chance and its share of the coin."""
    assert draw(SCORES, 4, Sampler(), seed=1).places.tolist() == [0, 1, 2, 3]
    assert draw(SCORES, 4, Sampler(), seed=1).propensities.tolist() == [1, 1, 1, 1]
    firsts = {round(float(draw(SCORES, 1, Sampler(0.0, 0.4), seed).propensities[0]), 6) for seed in range(50)}
    assert firsts == {0.7, 0.1}


def test_a_low_temperature_keeps_to_the_rank_and_a_high_one_forgets_it() -> None:
    """Chances stay above nothing and finite at both ends."""
    long = np.linspace(3, -3, HEAD).astype(np.float32)
    cold, hot = (draw(long, 20, Sampler(temperature), seed=5) for temperature in (1e-4, 1e4))
    assert cold.places.tolist() == list(range(20))
    assert cold.propensities.min() > 0.99
    np.testing.assert_allclose(hot.propensities, 1 / (HEAD - np.arange(20)), rtol=1e-3)


def test_a_draw_is_what_it_was_in_the_first_version() -> None:
    """Lists are drawn again years later: a change here makes every log before it untrue."""
    falling = np.linspace(2, -2, 30).astype(np.float32)
    drawn = draw(falling, 6, Sampler(0.8, 0.25), seed=2026)
    assert drawn.places.tolist() == [10, 6, 11, 28, 5, 1]
    chances = [0.03244586, 0.05301366, 0.0318485, 0.01128907, 0.06600361, 0.11864573]
    np.testing.assert_allclose(drawn.propensities, chances, rtol=1e-6)


def test_a_users_arm_sets_temperature_and_epsilon() -> None:
    """Each alone; what it leaves out stays as the service has it."""
    arms = [{"name": "control"}, {"name": "hot", "policy": {"temperature": 0.5}}]
    made, view = make_definition(definition(arms=arms)), View(empty(), None)
    service = Settings(temperature=0.2, epsilon=0.1)
    ways = [make_trial((Assigned(made, arm),), view, service).ways for arm in made.arms]
    assert [way.sampler for (way,) in ways] == [Sampler(0.2, 0.1), Sampler(0.5, 0.1)]
    assert make_trial((), view, Settings()).ways[0].sampler.on is False


def test_the_doctests_hold() -> None:
    """Of logits and chances."""
    assert doctest.testmod(exploration) == (0, 3)
