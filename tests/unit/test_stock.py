"""Relevant stock: by the user's own median where a model can tell, everything where none can."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from features.catalogue import Catalogue
from serving.generation import stock
from serving.generation.demand import new_users
from serving.generation.situation import People, Taste
from serving.generation.stock import Shelf, score_shelf, shelf_of, unclear
from serving.live import View
from tests.given import SIDE, checkerboard, given_likes, model_of
from training import nmf

NOTHING = Taste(np.zeros(0, np.int32), np.zeros(0, np.float32))  # no signal yet

GIVEN = given_likes(checkerboard())
POOL: Catalogue = dataclasses.replace(GIVEN.pool, style_rows={"cubism": np.array([1], dtype=np.int32)})
MODEL = model_of(nmf.make_learner(nmf.NmfConfig(n_components=2)), GIVEN)
EVEN, ODD = list(range(0, SIDE, 2)), list(range(1, SIDE, 2))  # rows, and keys here
LIKES_EVEN = Taste(np.array(EVEN[:2], dtype=np.int32), np.ones(2, dtype=np.float32))


def person(seen: list[int], styles: list[str] | None = None) -> People:
    """One user who has seen these."""
    return People(["ada"], new_users(1, 60.0), [np.array(seen, dtype=np.int32)], [styles or []], [None], [None])


def shelf(view: View, people: People, tastes: list[Taste], made: dict[str, list[int]] | None = None) -> Shelf:
    """As the model scores it."""
    return score_shelf(view, people, tastes, made)


def test_without_a_model_or_a_taste_everything_unseen_is_relevant() -> None:
    """And coverage is the same twice."""
    bare = shelf_of(View(POOL, None), person(EVEN[:2]))
    assert (bare.eligible[0], bare.seen[0], bare.unseen[0]) == (SIDE, 2, SIDE - 2)
    assert bare.coverage[0] == bare.coverage_relevant[0]
    assert not len(unclear(View(POOL, None), bare))
    told = shelf(View(POOL, MODEL), person(EVEN[:2]), [NOTHING])
    assert (told.eligible[0], told.seen[0]) == (SIDE, 2)


@pytest.mark.parametrize("plenty", [1, 4, 5])
def test_who_has_seen_far_less_than_half_is_not_scored_and_has_at_least_what_is_told(
    monkeypatch: pytest.MonkeyPatch, plenty: int
) -> None:
    """Half of twelve, less the two that were seen: four for certain, and the model finds no fewer."""
    monkeypatch.setattr(stock, "PLENTY", plenty)
    view, people = View(POOL, MODEL), person(EVEN[:2])
    least = shelf_of(view, people)
    assert least.unseen[0] == SIDE // 2 - 2
    assert len(unclear(view, least)) == (plenty > 4)
    assert shelf(view, people, [LIKES_EVEN]).unseen[0] >= least.unseen[0]
    assert shelf_of(view, person(list(range(SIDE)))).unseen[0] == 0


def test_only_what_the_model_ranks_above_the_users_median_is_relevant() -> None:
    """Who likes even ones and has seen them all has nothing relevant left, though half of the pool is unseen."""
    found = shelf(View(POOL, MODEL), person(EVEN), [LIKES_EVEN])
    assert found.unseen[0] < len(ODD) / 2
    assert found.coverage[0] == 0.5
    assert found.coverage_relevant[0] > 0.5
    assert shelf(View(POOL, MODEL), person([]), [LIKES_EVEN]).unseen[0] >= len(EVEN)


def test_a_chosen_style_and_what_was_made_for_the_user_are_always_relevant() -> None:
    """Whatever the model says of them."""
    view = View(POOL, MODEL)
    bare = shelf(view, person(EVEN), [LIKES_EVEN]).unseen[0]
    assert shelf(view, person(EVEN, ["Cubism"]), [LIKES_EVEN]).unseen[0] == bare + 1
    made = shelf(view, person(EVEN), [LIKES_EVEN], {"ada": ODD[:3], "bob": ODD})
    assert made.unseen[0] == max(bare, 3)


def test_in_a_large_pool_a_sample_tells_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the whole would, when the sample is fair."""
    whole = shelf(View(POOL, MODEL), person([]), [LIKES_EVEN]).unseen[0]
    monkeypatch.setattr(stock, "MOST_SCORED", 4)
    assert abs(int(shelf(View(POOL, MODEL), person([]), [LIKES_EVEN]).unseen[0]) - int(whole)) <= SIDE / 3


def test_an_empty_pool_has_no_coverage() -> None:
    """Not a number, which the answers tell as null."""
    nothing = dataclasses.replace(POOL, active=np.zeros(SIDE, dtype=bool))
    found = shelf_of(View(nothing, None), person([]))
    assert np.isnan(found.coverage[0])
    assert np.isnan(found.coverage_relevant[0])
    assert found.unseen[0] == 0
