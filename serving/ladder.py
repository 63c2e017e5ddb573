"""The ladder: which of the unseen artworks a request gets, in which order, and from which rung. Pure.

1 what the model ranks as relevant; 2 near to what the user recently liked; 3 relevant, style relaxed; 4 anything
unseen that is eligible. (Rung 5 is the short list with a reason; it is the caller's to say.) Only unseen artworks
come in, so no rung can return a seen one; each artwork comes in once, so no list repeats one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Mask, Rows

RungReason = Literal["model", "near_liked", "style_relaxed", "unseen"]
ShortReason = Literal["exhausted", "all_leased", "filtered", "degraded"]
Fallback = Literal["missing", "late", "busy", "broken", "cannot_score"]  # why the model did not rank

MODEL, NEAR, RELAXED, ANYTHING, SHORT = 1, 2, 3, 4, 5
RUNG_REASONS: dict[int, RungReason] = {MODEL: "model", NEAR: "near_liked", RELAXED: "style_relaxed", ANYTHING: "unseen"}

Rungs = NDArray[np.int8]
Sources = NDArray[np.int8]
BY_HEURISTIC, BY_NEARNESS, BY_MODEL = 0, 1, 2


@dataclass(frozen=True)
class Evidence:
    """What is known of the candidates, each array of shape (m,); None where that source is not to be had."""

    rows: Rows
    heuristic: Floats
    asked: Mask  # in a style that the request asks for; all True when it asks for none
    chosen: Mask  # in a style that the user or the request chose: always relevant
    model: Floats | None = None  # NaN for artworks the model does not know
    threshold: float = 0.0  # the user's median model score over the pool
    near: Floats | None = None
    near_threshold: float = 0.0  # the user's upper quartile of nearness over the pool


@dataclass(frozen=True)
class Ranking:
    """Candidates in the order they are to be offered; scores are comparable within a rung only."""

    rows: Rows
    scores: Floats
    rungs: Rungs
    sources: Sources  # of each score, before cold ones were brought to the model's scale
    fallback: Fallback | None = None  # None: the model ranked


def climb(evidence: Evidence) -> Ranking:
    """Put every candidate on its rung and sort: by rung, asked styles first, by that rung's score, by row."""
    scores = evidence.heuristic.copy()
    rungs = np.full(len(evidence.rows), ANYTHING, dtype=np.int8)
    sources = np.full(len(evidence.rows), BY_HEURISTIC if evidence.near is None else BY_NEARNESS, dtype=np.int8)
    relevant = np.zeros(len(evidence.rows), dtype=bool)
    if evidence.near is not None:
        near = (evidence.near >= evidence.near_threshold) | evidence.chosen
        _place(rungs, scores, rungs == ANYTHING, ANYTHING, evidence.near)
        _place(rungs, scores, near & evidence.asked, NEAR, evidence.near)
        relevant |= near
    if evidence.model is not None:
        model = fill_cold(evidence.model, evidence.heuristic if evidence.near is None else evidence.near)
        sources[~np.isnan(evidence.model)] = BY_MODEL
        fits = (model >= evidence.threshold) | evidence.chosen
        _place(rungs, scores, fits & evidence.asked, MODEL, model)
        _place(rungs, scores, rungs == ANYTHING, ANYTHING, model)
        relevant |= fits
    rungs[relevant & ~evidence.asked] = RELAXED
    order = np.lexsort((evidence.rows, -scores, ~evidence.asked, rungs))
    return Ranking(evidence.rows[order], scores[order], rungs[order], sources[order])


def lacks(evidence: Evidence, limit: int) -> bool:
    """Whether the model alone cannot fill the list: it is absent, does not know all, or finds too few relevant."""
    if evidence.model is None or np.isnan(evidence.model).any():
        return True
    return int((((evidence.model >= evidence.threshold) | evidence.chosen) & evidence.asked).sum()) < limit


def fill_cold(model: Floats, other: Floats) -> Floats:
    """Scores for artworks that the model does not know yet, from ``other`` brought to the model's mean and spread."""
    cold = np.isnan(model)
    if not cold.any():
        return model
    warm = model[~cold]
    mean, spread = (float(warm.mean()), float(warm.std())) if len(warm) else (0.0, 1.0)
    centred = (other - other.mean()) / max(float(other.std()), 1e-9)
    return np.asarray(np.where(cold, mean + spread * centred, model), dtype=np.float32)


def _place(rungs: Rungs, scores: Floats, which: Mask, rung: int, by: Floats) -> None:
    """Put ``which`` on ``rung``, scored ``by``."""
    rungs[which] = rung
    scores[which] = by[which]
