"""A learner is a name, settings and a fit from what is given to arrays; here its arrays become a bundle in memory.

Saving and judging are others' (training.run, training.evaluate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np

from features import content
from features.arrays import Floats
from features.catalogue import Catalogue
from features.matrix import Interactions, to_matrix
from serving.bundle import Bundle, FoldIn, Kind, Manifest, Part
from training.content_map import map_content
from training.dataset import Snapshot

UNPUBLISHED = "unpublished"  # the registry numbers versions; publishing writes the number into the delivered copy


@dataclass(frozen=True)
class Given:
    """What a fit may look at: the signals, and the pool's content."""

    snapshot: Snapshot
    pool: Catalogue

    @cached_property
    def interactions(self) -> Interactions:
        """The signals as a matrix, users x artworks."""
        return to_matrix(self.snapshot.signals)

    @cached_property
    def vectors(self) -> Floats:
        """Content vectors of the matrix' artworks, shape (n, d); zeros for one that is not in the pool."""
        place = {artwork_id: row for row, artwork_id in enumerate(self.pool.ids)}
        rows = np.array([place.get(artwork_id, -1) for artwork_id in self.interactions.artwork_ids.tolist()])
        found = np.zeros((len(rows), self.pool.vectors.shape[1]), dtype=np.float32)
        found[rows >= 0] = self.pool.vectors[rows[rows >= 0]]
        return found


@dataclass(frozen=True)
class Fitted:
    """Arrays as `serving.bundle` asks them of the learner's kind; ``parts`` name what a blend is made of."""

    arrays: Mapping[str, np.ndarray]
    parts: tuple[Part, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)  # what the fit itself found out


@dataclass(frozen=True)
class Learner:
    """One kind of model with its settings."""

    name: str
    kind: Kind
    fold_in: FoldIn
    fit: Callable[[Given], Fitted]
    params: Mapping[str, Any] = field(default_factory=dict)
    #: What may go on at once with its fit on everything: the fit that is judged, where it leaves cores idle and takes
    #: little memory; judging alone, where both want one thread of BLAS; or nothing.
    beside: Literal["fit", "judging", "nothing"] = "nothing"


def of_matrix(
    name: str,
    kind: Kind,
    fold_in: FoldIn,
    fit: Callable[[Interactions], dict[str, np.ndarray]],
    params: Mapping[str, Any] | None = None,
) -> Learner:
    """A learner that looks at the interactions alone; factors get their map from content, for artworks without any."""

    def fit_given(given: Given) -> Fitted:
        arrays = fit(given.interactions)
        if kind == "factors" and fold_in != "constant":
            arrays |= map_content(arrays["factors"], given.vectors)
        return Fitted(arrays)

    return Learner(name, kind, fold_in, fit_given, params or {})


def learn(learner: Learner, given: Given) -> Bundle:
    """Fit. Equal signals, pool and settings give an equal bundle, but for `created_at`, which is now."""
    with ThreadPoolExecutor(1) as beside:  # hashing lets the interpreter go
        digest = beside.submit(lambda: given.snapshot.digest)
        fitted = learner.fit(given)
    manifest = Manifest(
        kind=learner.kind,
        model=learner.name,
        version=UNPUBLISHED,
        fold_in=learner.fold_in,
        parts=fitted.parts,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        snapshot=digest.result(),
        half_life_days=given.snapshot.half_life_days,
        content_version=content.VERSION,
        params={**learner.params, **fitted.params},
    )
    return Bundle(manifest, fitted.arrays, digest="")
