"""From what a request may be offered to the list that is written: in order, varied, drawn, smooth, and why. Pure.

A list that was logged is made again from here (training.retrace).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Mask, Rows
from features.catalogue import Catalogue
from features.identifiers import new_id
from features.settings import Settings
from serving import ladder
from serving.experiments.interleaving import Teams, interleave
from serving.experiments.trial import Trial
from serving.exploration import HEAD as DRAWN_FROM
from serving.exploration import SEED_BITS, Sampler, draw
from serving.ladder import Ranking, ShortReason
from serving.leases import ListRow, UserState
from serving.live import View
from serving.model import Tier
from serving.origin import Head, make_origin
from serving.prefetch import rank_traded, smooth
from serving.ranking import Ask, Candidates
from serving.sorter import Task
from serving.variety import HEAD, vary

Places = NDArray[np.intp]  # in a ranking
POLICY = "ladder-1"
SPARES = 5  # candidates beyond the limit, for artworks that left the pool since the snapshot


@dataclass(frozen=True)
class Begun:
    """A request on its way: what may be offered, and what is tried on the user."""

    ask: Ask
    state: UserState
    candidates: Candidates
    trial: Trial

    @property
    def tasks(self) -> list[Task]:
        """What is to be put in order: the candidates, by each of the trial's ways."""
        ways, rows = self.trial.ways, self.candidates.rows
        return [Task(way.view, self.state, self.ask, rows, way.lift, whole=len(ways) > 1) for way in ways]


@dataclass(frozen=True)
class Drawn:
    """All candidates in order, and which of the trial's ways has each of them there; the first where it is one way."""

    begun: Begun
    recommendation_id: uuid.UUID  # of the list to be; the coins of two that take turns are drawn from it
    ranking: Ranking
    teams: Teams
    variety: float  # to be brought in still
    sampler: Sampler  # to draw with still; one that is on leaves variety and smoothness out

    @property
    def view(self) -> View:
        """Pool and model; the first arm's where two take turns."""
        return self.begun.trial.ways[0].view


def draw_up(begun: Begun, rankings: Sequence[Ranking], recommendation_id: uuid.UUID | None = None) -> Drawn:
    """Candidates in order as the user's arms have it; where two rankings take turns, each as varied as its own.

    ``rankings``: of each task. ``recommendation_id``: of a list that is made again; a new one else. All its chances
    come from it.
    """
    trial, state, ask = begun.trial, begun.state, begun.ask
    ways, recommendation_id = trial.ways, recommendation_id or new_id()
    if len(ways) == 1:
        alone = np.zeros(len(rankings[0].rows), np.int8)
        return Drawn(begun, recommendation_id, rankings[0], alone, ways[0].variety, ways[0].sampler)
    catalogue = ways[0].view.catalogue
    held = _held(catalogue, state)
    one, two = (
        _vary_ranking(catalogue, ranking, held, way.variety, ask.limit)
        for way, ranking in zip(ways, rankings, strict=True)
    )
    ranking, teams = interleave(one, two, held, ask.limit + SPARES, recommendation_id.int)
    return Drawn(begun, recommendation_id, ranking, teams, variety=0.0, sampler=Sampler())


def list_row(drawn: Drawn, settings: Settings) -> ListRow:
    """The list to write: first what this session holds and has not shown, then the best of the rest."""
    ask, state, candidates = drawn.begun.ask, drawn.begun.state, drawn.begun.candidates
    view, ranking = drawn.view, drawn.ranking
    catalogue = view.catalogue
    held = _held(catalogue, state)
    again, fresh = _again_and_fresh(held, catalogue.rows(state.held), ranking)
    wanted, chances, head = max(ask.limit + SPARES - len(again), 0), np.ones(len(ranking.rows), np.float32), None
    if drawn.sampler.on:
        fresh, head = _explored(drawn, fresh, wanted, chances)
    else:
        fresh = _varied(catalogue, ranking, fresh, drawn.variety, max(ask.limit - len(again), 0))
    fresh = fresh[:wanted]
    wish = max(ask.limit - len(again), 0) if ask.smooth and head is None else 0
    turned = smooth(catalogue.vectors[ranking.rows[fresh[:wish]]])
    order = np.concatenate([again, fresh[:wish][turned], fresh[wish:]])[: ask.limit + SPARES]
    rows = ranking.rows[order]
    return ListRow(
        recommendation_id=drawn.recommendation_id,
        user_id=ask.user_id,
        session_id=ask.session_id,
        limit=ask.limit,
        repeats=state.last_list if held[rows].any() else None,
        policy=POLICY,
        model_version=view.model.bundle.label if view.model else None,
        reason=_reason(ask, candidates),
        artwork_keys=catalogue.keys[rows],
        scores=ranking.scores[order],
        rungs=ranking.rungs[order],
        evidence=_evidence(drawn, order),
        known=state.known,
        held=state.held,
        passes=state.passes,
        retired=state.retired,
        candidate_hash=catalogue.hash_of(candidates.rows),
        candidate_size=len(candidates.rows),
        excluded=candidates.excluded,
        rank_traded=rank_traded(turned),
        propensities=chances[order],
        origin=make_origin(ask, state, view, settings, head),
        experiments=drawn.begun.trial.log(_picked(drawn, fresh)),
        fallback=ranking.fallback,
    )


def _held(catalogue: Catalogue, state: UserState) -> Mask:
    """Which artworks the session holds."""
    held = np.zeros(len(catalogue.keys), dtype=bool)
    held[catalogue.rows(state.held)] = True
    return held


def _picked(drawn: Drawn, fresh: Places) -> dict[str, list[int]]:
    """The artwork keys that each team picked, of those offered for the first time; spares too."""
    keys = drawn.view.catalogue.keys[drawn.ranking.rows[fresh]]
    return {name: keys[drawn.teams[fresh] == team].tolist() for team, name in enumerate(drawn.begun.trial.teams)}


def _vary_ranking(catalogue: Catalogue, ranking: Ranking, held: Mask, variety: float, count: int) -> Ranking:
    """The ranking with the head of what is not held chosen to differ; the held ones last, for nobody picks them."""
    fresh = np.flatnonzero(~held[ranking.rows])
    order = np.concatenate([_varied(catalogue, ranking, fresh, variety, count), np.flatnonzero(held[ranking.rows])])
    parts = (ranking.rows[order], ranking.scores[order], ranking.rungs[order], ranking.sources[order])
    return Ranking(*parts, ranking.fallback)


def _varied(catalogue: Catalogue, ranking: Ranking, fresh: Places, variety: float, count: int) -> Places:
    """``fresh`` with the first ``count`` chosen to differ, within what the model ranks as relevant."""
    if variety == 0:
        return fresh
    head = fresh[: HEAD * count]
    head = head[ranking.rungs[head] == ladder.MODEL]
    order = vary(catalogue.space.differences(ranking.rows[head]), ranking.scores[head], variety, count)
    return np.concatenate([head[order], fresh[len(head) :]])


def _explored(drawn: Drawn, fresh: Places, count: int, chances: Floats) -> tuple[Places, Head | None]:
    """``fresh`` with its relevant head drawn by chances that go into ``chances``; None where there is no such head."""
    ranking, sampler = drawn.ranking, drawn.sampler
    head = fresh[:DRAWN_FROM]
    head = head[ranking.rungs[head] == ladder.MODEL]
    if len(head) == 0:
        return fresh, None
    keys, scores = drawn.view.catalogue.keys[ranking.rows[head]], ranking.scores[head]
    seed = drawn.recommendation_id.int % 2**SEED_BITS
    picked = draw(scores, count, sampler, seed)
    chances[head[picked.places]] = picked.propensities
    order = np.concatenate([head[picked.places], np.delete(head, picked.places), fresh[len(head) :]])
    return order, Head(keys, scores, sampler.temperature, sampler.epsilon, seed, len(picked.places))


def _evidence(drawn: Drawn, order: Places) -> list[Tier]:
    """What the place of each artwork on the list rests on, by the model of the team that has it there."""
    rows, teams, sources = drawn.ranking.rows[order], drawn.teams[order], drawn.ranking.sources[order]
    near = sources == ladder.BY_NEARNESS
    near[near] = drawn.view.catalogue.vectors[rows[near]].any(axis=1)
    tiers = np.where(near, "content", "none")
    for team, way in enumerate(drawn.begun.trial.ways):
        if way.view.model is not None:
            by_model = (sources == ladder.BY_MODEL) & (teams == team)
            tiers = np.where(by_model, way.view.model.tiers(rows), tiers)
    found: list[Tier] = tiers.tolist()
    return found


def _again_and_fresh(held: Mask, held_rows: Rows, ranking: Ranking) -> tuple[Places, Places]:
    """Places in the ranking of what is held, in the order of offering, and of the rest, best first.

    Held artworks of another style than the one asked for wait in the rest, before others of their kind.
    """
    again = np.flatnonzero(held[ranking.rows])
    if not len(again):
        return again, np.arange(len(ranking.rows))
    again = again[np.argsort(_places(held_rows, ranking.rows[again]))]
    relaxed = ranking.rungs[again] == ladder.RELAXED
    fresh = np.flatnonzero(~held[ranking.rows])
    worse = ranking.rungs[fresh] >= ladder.RELAXED  # from some place on; where two rankings take turns, not all then
    better = int(worse.argmax()) if worse.any() else len(fresh)
    return again[~relaxed], np.concatenate([fresh[:better], again[relaxed], fresh[better:]])


def _places(held: Rows, rows: Rows) -> Rows:
    """The place of each of ``rows`` in the order of offering."""
    place = {int(row): index for index, row in enumerate(held)}
    return np.array([place[int(row)] for row in rows], dtype=np.int32)


def _reason(ask: Ask, candidates: Candidates) -> ShortReason | None:
    """Why a list is short; None for a full one."""
    if len(candidates.rows) >= ask.limit:
        return None
    if candidates.excluded["leased"]:
        return "all_leased"
    if candidates.excluded["orientation"] or candidates.excluded["asked"]:
        return "filtered"
    return "exhausted"
