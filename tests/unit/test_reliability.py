"""Calibration error: nothing for honest probabilities, the bias for biased ones."""

from __future__ import annotations

import numpy as np
import pytest

from training.reliability import reliability


def test_honest_probabilities_have_no_error_but_their_own_noise() -> None:
    """Outcomes drawn with just these chances."""
    rng = np.random.default_rng(1)
    said = rng.random(50_000)
    found = reliability(said, rng.random(50_000) < said)
    assert found.ece < 0.01
    assert found.brier == pytest.approx(1 / 6, abs=0.005)
    assert found.counts.sum() == 50_000


def test_a_bias_is_the_error() -> None:
    """Always 0.1 too high: an error of 0.1."""
    rng = np.random.default_rng(2)
    true = rng.uniform(0, 0.8, 50_000)
    assert reliability(true + 0.1, rng.random(50_000) < true).ece == pytest.approx(0.1, abs=0.01)


def test_certainty_that_comes_true_is_perfect() -> None:
    """The last bin holds 1, too."""
    found = reliability(np.array([0.0, 1.0, 1.0]), np.array([False, True, True]))
    assert (found.ece, found.brier, found.counts.tolist()) == (0, 0, [1, 2])
