"""Search for a learner's settings: a seeded sample of a small declared grid, judged on the inner validation split.

The test side of the split is not looked at: trials are fitted on the earlier part of its training side and judged on
the later one. Random search rather than the whole grid: few settings matter, and which they are differs by data set
(Bergstra & Bengio, JMLR 13, 2012). A trial that was run before, on equal data by equal rules, is not run again.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.errors import BadSettingError, UnknownModelError
from features.settings import Settings
from training import tracking
from training.dataset import split
from training.evaluate import judge
from training.judging import require_enough, rules_of
from training.learner import Given, learn
from training.recipes import make_learner

OBJECTIVE = "ndcg_at_20"
SPACES: dict[str, dict[str, tuple[Any, ...]]] = {
    "nmf": {"n_components": (10, 20, 50, 100), "degree_prior": (0.0, 0.1, 0.3, 1.0)},
    "svd": {"n_components": (16, 32, 64, 128)},
    "als": {
        "n_components": (32, 64, 128),
        "unobserved": (0.03, 0.1, 0.3, 1.0),
        "regularisation": (0.003, 0.01, 0.03, 0.1),
    },
    "plain-als": {"n_components": (32, 64), "unobserved": (0.1, 0.2, 0.5), "regularisation": (1.0, 6.0, 20.0)},
    "bpr": {"n_components": (32, 64), "learning_rate": (0.02, 0.05, 0.1), "regularisation": (0.003, 0.01, 0.03)},
    "cosine": {"neighbours": (20, 50, 100, 200)},
    "bm25": {"neighbours": (20, 50, 100, 200)},
    "linear-filter": {"neighbours": (100, 200, 500)},
    "gf-cf": {"n_components": (32, 64, 128), "low_pass": (0.1, 0.3, 1.0)},
    "ease": {"penalty": (50.0, 100.0, 200.0, 500.0, 1_000.0)},
}


@dataclass(frozen=True)
class Trial:
    """One point of the space and what came of it; ``again`` when an earlier search had run it."""

    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    again: bool = False


def draw_points(name: str, trials: int, seed: int) -> list[dict[str, Any]]:
    """The first ``trials`` points of the space in an order drawn with the seed; a longer search begins with them too.

    Raises UnknownModelError for a learner without a space.
    """
    if name not in SPACES:
        raise UnknownModelError(model=name, known=", ".join(SPACES))
    space = SPACES[name]
    grid = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    order = np.random.default_rng(seed).permutation(len(grid))
    return [grid[place] for place in order[:trials]]


def search(
    name: str, given: Given, settings: Settings, *, trials: int, seed: int = 0, on_trial: Callable[[int, int], None]
) -> list[Trial]:
    """Run the trials that were not run before, each as a run of the registry, and return all, the best first.

    Raises TooLittleDataError, UnknownModelError, TrackingError.
    """
    points = draw_points(name, trials, seed)
    require_enough(make_learner(name), given.snapshot, settings.min_training_users)
    inner = split(split(given.snapshot, seed).train, seed)
    rules = rules_of(settings, seed)
    tags = {"kind": "trial", "model": name, "snapshot": given.snapshot.digest, "judged_by": str(rules)}
    done = tracking.trials(settings, tags)
    found = []
    for number, point in enumerate(points, 1):
        on_trial(number, len(points))
        key = json.dumps(point, sort_keys=True)
        if key in done:
            found.append(Trial(point, done[key], again=True))
            continue
        started = time.monotonic()
        bundle = learn(make_learner(name, point, seed), Given(inner.train, given.pool))
        metrics = judge(bundle, inner, given.pool, rules).metrics
        if OBJECTIVE not in metrics:
            raise BadSettingError(key="of the search", value=name, rule="nobody can be judged on the inner split")
        timed = {**metrics, "trial_seconds": time.monotonic() - started}
        tracking.log_trial(settings, name, point, timed, {**tags, "point": key})
        found.append(Trial(point, timed))
    return sorted(found, key=lambda trial: -trial.metrics[OBJECTIVE])
