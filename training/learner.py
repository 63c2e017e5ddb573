"""A learner is a name, settings and a fit from interactions to arrays; here its arrays become a bundle in memory.

Saving and judging are others' (training.run, training.evaluate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from features.matrix import Interactions, to_matrix
from serving.bundle import Bundle, Manifest

UNPUBLISHED = "unpublished"  # the registry numbers versions; publishing writes the number into the delivered copy


@dataclass(frozen=True)
class Learner:
    """One kind of model with its settings; ``fit`` returns the arrays that `serving.bundle` asks of this kind."""

    name: str
    kind: Literal["factors", "content"]
    fold_in: Literal["nonnegative", "constant", "none"]
    fit: Callable[[Interactions], dict[str, np.ndarray]]
    params: Mapping[str, Any] = field(default_factory=dict)


def learn(learner: Learner, signals: pl.DataFrame, *, snapshot: str, half_life_days: float) -> Bundle:
    """Fit on a frame of signals. Equal signals and settings give an equal bundle, but for `created_at`, which is now.

    ``snapshot`` is the hash of the data that the signals come from.
    """
    manifest = Manifest(
        kind=learner.kind,
        model=learner.name,
        version=UNPUBLISHED,
        fold_in=learner.fold_in,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        snapshot=snapshot,
        half_life_days=half_life_days,
        params=dict(learner.params),
    )
    return Bundle(manifest, learner.fit(to_matrix(signals)), digest="")
