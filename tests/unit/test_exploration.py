"""The lift for artworks that nobody has met: bounded, off by default, and for the new alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from features.content import LENGTH
from features.settings import Settings
from serving.model import Model
from serving.ranking import model_scores
from tests.given import given_signals, model_of, signals
from training import als

KNOWN, NEW = 80, 20


@pytest.fixture(scope="module")
def model() -> Model:
    """Eighty artworks that people have met and twenty that came later, of two kinds."""
    draw = np.random.default_rng(0)
    pairs = [
        (f"u{user}", f"artwork {work:02}", 1.0)
        for user in range(40)
        for work in range(KNOWN)
        if (user - work) % 2 == 0 and draw.random() < 0.5
    ]
    vectors = np.zeros((KNOWN + NEW, LENGTH), np.float32)
    vectors[np.arange(KNOWN + NEW), np.arange(KNOWN + NEW) % 2] = 0.7
    given = given_signals(signals(pairs).sort("user_id", "artwork_id"))
    given = dataclasses.replace(given, pool=dataclasses.replace(given.pool, vectors=vectors[:KNOWN]))
    known = model_of(als.make_learner(als.AlsConfig(n_components=4)), given)
    return known.aligned([*given.pool.ids, *(f"new {number}" for number in range(NEW))], vectors)


@pytest.mark.parametrize("lift", [0.0, 0.3, 1.0, 50.0])
def test_new_artworks_rise_by_a_deviation_at_most(model: Model, lift: float) -> None:
    """All by the same; what people have met stays, and so does what counts as relevant."""
    pool = given_signals(signals([("u", f"artwork {work:03}", 1.0) for work in range(KNOWN + NEW)])).pool
    liked, ones = np.array([0, 2, 4], np.int32), np.ones(3, np.float32)
    rows = np.arange(KNOWN + NEW, dtype=np.int32)
    plain, relevant = model_scores(pool, model, liked, ones, rows)
    lifted, still = model_scores(pool, model, liked, ones, rows, lift=lift)
    rise = lifted - plain
    assert still == relevant
    assert not rise[:KNOWN].any()
    np.testing.assert_allclose(rise[KNOWN:], min(lift, 1.0) * plain.std(), rtol=1e-4)


def test_nothing_is_lifted_by_default() -> None:
    """Rank alone decides unless an operator says otherwise."""
    assert Settings().exploration == 0
