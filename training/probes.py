"""A few made-up users' scores that travel inside a bundle, so that whoever loads it can see that it still scores so.

Probes are drawn from a seed; nothing about real users is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from features.content import LENGTH
from features.errors import BadBundleError
from serving.bundle import PROBE_TOLERANCE, Bundle
from serving.model import make_model

PROBES = 8
SIGNALS = 5
CANDIDATES = 100


def make_probes(bundle: Bundle) -> dict[str, np.ndarray]:
    """Arrays probe_rows and probe_weights (p, s), probe_candidates (c,), probe_scores (p, c); none for content alone.

    The last probe's weights are 0: a user without signals, scored by the prior.
    """
    if _content_alone(bundle):
        return {}
    draw = np.random.default_rng(0)
    count = len(bundle.arrays["artwork_ids"])
    rows = np.stack([draw.permutation(count)[:SIGNALS] for _ in range(PROBES)]).astype(np.int32)
    weights = draw.uniform(0.5, 2.0, rows.shape).astype(np.float32)
    weights[-1] = 0.0
    given = {
        "probe_rows": rows,
        "probe_weights": weights,
        "probe_candidates": draw.permutation(count)[:CANDIDATES].astype(np.int32),
    }
    return {**given, "probe_scores": _score(bundle, given)}


def check_probes(bundle: Bundle, path: Path) -> None:
    """Raise BadBundleError when the bundle no longer scores as it did when it was trained."""
    if _content_alone(bundle):
        return
    if "probe_scores" not in bundle.arrays:
        raise BadBundleError(path=path, reason="it holds no probes to compare scores with")
    try:
        worst = _worst_difference(bundle)
    except (KeyError, ValueError, IndexError, TypeError, ArithmeticError) as error:
        reason = f"it cannot score its probes: {type(error).__name__}: {error}"
        raise BadBundleError(path=path, reason=reason) from error
    if not worst <= PROBE_TOLERANCE:  # NaN is no agreement either
        raise BadBundleError(path=path, reason=f"its scores differ from training's by {worst:.2g} of the largest")


def _content_alone(bundle: Bundle) -> bool:
    """Whether nothing scores by artworks' behaviour; probes know no content."""
    return all(part.kind == "content" for part in bundle.parts)


def _worst_difference(bundle: Bundle) -> float:
    """The greatest difference between the scores now and then, as a share of the greatest score."""
    expected = bundle.arrays["probe_scores"]
    found = _score(bundle, bundle.arrays)
    return float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-30)


def _score(bundle: Bundle, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores (p, c) by the rankers that serve, over a catalogue of the bundle's own artworks, without content."""
    ids = bundle.arrays["artwork_ids"].tolist()
    model = make_model(bundle).aligned(ids, np.zeros((len(ids), LENGTH), np.float32))
    pairs = zip(given["probe_rows"], given["probe_weights"], strict=True)
    return np.stack([model.score(rows, weights, given["probe_candidates"]) for rows, weights in pairs])
