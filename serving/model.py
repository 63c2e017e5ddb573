"""A bundle made ready to score a catalogue: its rankers, their weights, and which artwork is which row.

Everything here is in catalogue rows. An artwork that the bundle does not know is scored from its content where the
bundle has learnt how; what nothing can score is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Mask, Rows
from features.content import LENGTH, Space, space_of
from features.errors import BadBundleError, CannotScoreError
from features.texts import Places, hashes_of
from serving import bundle as bundles
from serving.bundle import Bundle, Part
from serving.rankers import (
    ContentRanker,
    FactorRanker,
    ItemItemRanker,
    make_factor_ranker,
    make_item_ranker,
    make_taste_prior,
)

#: What a score rests on: what people did, the artwork's content alone, or nothing that concerns this artwork.
Tier = Literal["behaviour", "content", "none"]
Learnt = FactorRanker | ItemItemRanker | ContentRanker  # the last works in the catalogue's rows
_NO_SPACE = space_of(np.zeros((0, LENGTH), np.float32))


@dataclass(frozen=True)
class Model:
    """Rankers by part, aligned to a catalogue of n artworks; ``rows`` (n,) are the model's, past its end for new ones.

    A blend's score is the weighted mean of its parts' standard scores over the candidates; a part that cannot score
    an artwork takes its own mean for it, so that what is known least is never first for that reason.
    """

    bundle: Bundle
    rankers: tuple[tuple[Part, Learnt], ...]
    trained: int  # artworks that the bundle was trained on
    places: Places  # of those of them that are in no row of the catalogue yet
    rows: Rows
    space: Space

    def aligned(self, ids: Sequence[str], vectors: Floats) -> Model:
        """The model for a catalogue that begins with the artworks it is aligned to already (rows never move)."""
        start = len(self.rows)
        if len(ids) == start:
            return self
        found = self.places.find(hashes_of(ids[start:]))
        new = found < 0
        first = self.trained + int((self.rows >= self.trained).sum())
        left = np.ones(self.trained, dtype=bool)
        left[found[~new]] = False
        found[new] = first + np.arange(int(new.sum()), dtype=np.int32)
        cold = vectors[start:][new]
        space = space_of(vectors)
        rankers = tuple((part, _extended(ranker, cold, space)) for part, ranker in self.rankers)
        places = self.places.only(left[self.places.rows])
        return replace(self, rankers=rankers, places=places, rows=np.concatenate([self.rows, found]), space=space)

    def score(self, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores of ``candidates``, shape (m,). Raises CannotScoreError for a user whom no part can score."""
        refusal: CannotScoreError | None = None
        scored = []
        for part, ranker in self.rankers:
            try:
                scored.append((part.weight, self._part_score(ranker, signal_rows, weights, candidates)))
            except CannotScoreError as error:
                refusal = error
        if not scored:
            raise refusal or CannotScoreError(ranker=self.bundle.manifest.model, reason="it has no parts")
        return scored[0][1] if len(self.rankers) == 1 else mix(scored)

    def tiers(self, rows: Rows) -> NDArray[np.str_]:
        """What the scores of catalogue rows rest on, shape (m,): see `Tier`."""
        behaviour = self.knows(rows)
        if behaviour.all():
            return np.full(len(rows), "behaviour")
        told = self.space.vectors[rows].any(axis=1)
        return np.where(behaviour, "behaviour", np.where(told, "content", "none"))

    def knows(self, rows: Rows) -> Mask:
        """Which catalogue rows the bundle was trained on, shape (m,)."""
        return np.asarray(self.rows[rows] < self.trained)

    def _part_score(self, ranker: Learnt, signal_rows: Rows, weights: Floats, candidates: Rows) -> Floats:
        """Scores by one part, in its own rows."""
        if isinstance(ranker, ContentRanker):
            return ranker.score(signal_rows, weights, candidates)
        return ranker.score(self.rows[signal_rows], weights, self.rows.take(candidates))


def load_model(folder: Path, digest: str) -> Model:
    """The bundle of a folder, ready to score; its arrays are the rankers' alone from then on.

    Raises BadBundleError unless it is the one that was published.
    """
    bundle = bundles.load(folder)
    if bundle.digest != digest:
        raise BadBundleError(path=folder, reason="the manifest is not the one that was published")
    model = make_model(bundle)
    return replace(model, bundle=bundles.without_rankers(bundle))


def make_model(bundle: Bundle) -> Model:
    """The model of a bundle, aligned to nothing yet. Raises BadBundleError where a ranker cannot be made."""
    rankers = tuple((part, _make_ranker(bundle, part)) for part in bundle.parts)
    ids = bundle.arrays.get("artwork_ids", np.zeros(0, np.str_))
    return Model(bundle, rankers, len(ids), Places.of(hashes_of(ids.tolist())), np.zeros(0, np.int32), _NO_SPACE)


def mix(scored: Sequence[tuple[float, Floats]]) -> Floats:
    """The weighted sum of standard scores, shape (m,); NaN where every part says NaN.

    >>> mix([(1.0, np.array([0.0, 2.0], np.float32)), (0.5, np.array([2.0, 0.0], np.float32))])
    array([-0.5,  0.5], dtype=float32)
    """
    total = np.zeros(len(scored[0][1]), dtype=np.float32)
    known = np.zeros(len(total), dtype=bool)
    for weight, scores in scored:
        told = ~np.isnan(scores)
        if not told.any():
            continue
        spread = float(scores[told].std())
        if spread > 0:
            total[told] += np.float32(weight / spread) * (scores[told] - scores[told].mean())
        known |= told
    total[~known] = np.nan
    return total


def _extended(ranker: Learnt, cold: Floats, space: Space) -> Learnt:
    """A ranker for a catalogue that has grown by artworks; ``cold`` (m, d) are the vectors of unheard-of ones."""
    return replace(ranker, space=space) if isinstance(ranker, ContentRanker) else ranker.with_cold(cold)


def _make_ranker(bundle: Bundle, part: Part) -> Learnt:
    """The ranker of one part."""
    arrays = bundle.arrays_of(part)
    if part.kind == "content":
        return ContentRanker(_NO_SPACE, make_taste_prior(arrays))
    return make_item_ranker(arrays) if part.kind == "items" else make_factor_ranker(part.fold_in, arrays)
