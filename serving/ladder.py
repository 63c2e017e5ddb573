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
BOUND_SAMPLE, SPARE = 2_000, 20  # candidates that a bound for the best is taken from, and how far below it is safe


@dataclass(frozen=True)
class Evidence:
    """What is known of the candidates, each array of shape (m,); None where that source is not to be had."""

    rows: Rows
    heuristic: Floats | None  # not needed where the model or nearness knows all
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


def cut(evidence: Evidence, depth: int, keep: Mask) -> Evidence:
    """The evidence without candidates that cannot be among the first ``depth``, but for what ``keep`` (m,) marks.

    Unless the model knows all and finds so many relevant, all stay; else the relevant with the best scores come first.
    The least of these scores is not looked for among many, which would cost more than all else: a bound that is
    most likely below it is taken from a sample; and then once more, of those that are left. Where it is not, all stay.
    """
    if evidence.model is None or len(evidence.rows) <= depth or np.isnan(evidence.model).any():
        return evidence
    relevant = _relevant(evidence, evidence.model)
    step = max(len(relevant) // BOUND_SAMPLE, 1)
    sample = evidence.model[::step][relevant[::step]]
    place = len(sample) - (depth if step == 1 else 2 * (depth // step) + SPARE)
    if place < 0:
        return evidence
    best = relevant & (evidence.model >= np.partition(sample, place)[place])
    if np.count_nonzero(best) < depth:
        return evidence
    places = np.flatnonzero(best | keep)
    asked, chosen = evidence.asked[places], evidence.chosen[places]
    part = Evidence(evidence.rows[places], None, asked, chosen, evidence.model[places], evidence.threshold)
    return part if step == 1 or len(places) == len(relevant) else cut(part, depth, keep[places])


def climb(evidence: Evidence, *, depth: int | None = None, keep: Mask | None = None) -> Ranking:
    """Put every candidate on its rung and sort: by rung, asked styles first, by that rung's score, by row.

    ``depth``: how far down the order is needed; what comes later is left out, but for what ``keep`` (m,) marks.
    """
    count, near = len(evidence.rows), evidence.near
    rungs = np.full(count, ANYTHING, dtype=np.int8)
    sources = np.full(count, BY_HEURISTIC if near is None else BY_NEARNESS, dtype=np.int8)
    scores = evidence.heuristic if near is None else near
    relevant = np.zeros(count, dtype=bool)
    if near is not None:
        relevant |= (near >= evidence.near_threshold) | evidence.chosen
        rungs = np.where(relevant & evidence.asked, np.int8(NEAR), rungs)
    if evidence.model is not None:
        model = evidence.model if scores is None else fill_cold(evidence.model, scores)
        sources = np.where(np.isnan(evidence.model), sources, np.int8(BY_MODEL))
        fits = (model >= evidence.threshold) | evidence.chosen
        rungs = np.where(fits & evidence.asked, np.int8(MODEL), rungs)
        scores = model if near is None else np.where(rungs == NEAR, near, model)
        relevant |= fits
    if scores is None:
        raise ValueError("something must have a score for every candidate: see needs_heuristic")
    rungs = np.where(relevant & ~evidence.asked, np.int8(RELAXED), rungs)
    wanted = _first(2 * rungs + ~evidence.asked, scores, evidence.rows, depth)
    if keep is not None and len(wanted) < count:
        kept = keep.copy()
        kept[wanted] = True
        wanted = np.flatnonzero(kept)
    keys = (evidence.rows[wanted], -scores[wanted], ~evidence.asked[wanted], rungs[wanted])
    order = wanted[np.lexsort(keys)]
    return Ranking(evidence.rows[order], scores[order], rungs[order], sources[order])


def _first(steps: NDArray[np.int8], scores: Floats, rows: Rows, depth: int | None) -> NDArray[np.intp]:
    """Places of the first ``depth`` in order of step, score and row, themselves in no order; all without ``depth``."""
    if depth is None or len(rows) <= depth:
        return np.arange(len(rows))
    ends = np.cumsum(np.bincount(steps))
    last = int(np.searchsorted(ends, depth))  # the step that the first `depth` end in
    left = depth - (int(ends[last - 1]) if last else 0)
    places = np.flatnonzero(steps == last)
    if left < len(places):
        bound = np.partition(scores[places], len(places) - left)[len(places) - left]
        tied = places[scores[places] == bound]
        above = places[scores[places] > bound]
        places = np.concatenate([above, tied[np.argsort(rows[tied])][: left - len(above)]])
    return np.concatenate([np.flatnonzero(steps < last), places])


def lacks(evidence: Evidence, limit: int) -> bool:
    """Whether the model alone cannot fill the list: it is absent, does not know all, or finds too few relevant."""
    if evidence.model is None or np.isnan(evidence.model).any():
        return True
    return int(np.count_nonzero(_relevant(evidence, evidence.model))) < limit


def needs_heuristic(evidence: Evidence) -> bool:
    """Whether neither the model nor nearness has a score for every candidate."""
    return evidence.near is None and (evidence.model is None or bool(np.isnan(evidence.model).any()))


def _relevant(evidence: Evidence, model: Floats) -> Mask:
    """Which candidates are on the model's rung, shape (m,)."""
    return np.asarray(((model >= evidence.threshold) | evidence.chosen) & evidence.asked)


def fill_cold(model: Floats, other: Floats) -> Floats:
    """Scores for artworks that the model does not know yet, from ``other`` brought to the model's mean and spread."""
    cold = np.isnan(model)
    if not cold.any():
        return model
    warm = model[~cold]
    mean, spread = (float(warm.mean()), float(warm.std())) if len(warm) else (0.0, 1.0)
    centred = (other - other.mean()) / max(float(other.std()), 1e-9)
    return np.asarray(np.where(cold, mean + spread * centred, model), dtype=np.float32)
