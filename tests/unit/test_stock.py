"""Relevant stock: by the user's own median where a model can tell, everything where none can."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from features.catalogue import Catalogue
from serving import stock
from serving.demand import new_users
from serving.live import View
from serving.situation import NO_TASTE, People, Taste
from serving.stock import shelf_of
from tests.given import SIDE, checkerboard, given_likes, model_of
from training import nmf

GIVEN = given_likes(checkerboard())
POOL: Catalogue = dataclasses.replace(GIVEN.pool, style_rows={"cubism": np.array([1], dtype=np.int32)})
MODEL = model_of(nmf.make_learner(nmf.NmfConfig(n_components=2)), GIVEN)
EVEN, ODD = list(range(0, SIDE, 2)), list(range(1, SIDE, 2))  # rows, and keys here
LIKES_EVEN = Taste(np.array(EVEN[:2], dtype=np.int32), np.ones(2, dtype=np.float32))


def person(seen: list[int], styles: list[str] | None = None) -> People:
    """One user who has seen these."""
    return People(["ada"], new_users(1, 60.0), [np.array(seen, dtype=np.int32)], [styles or []], [None], [None])


def test_without_a_model_or_a_taste_everything_unseen_is_relevant() -> None:
    """And coverage is the same twice."""
    for view, tastes in ((View(POOL, None), None), (View(POOL, MODEL), [NO_TASTE])):
        found = shelf_of(view, person(EVEN[:2]), tastes)
        assert (found.eligible[0], found.seen[0]) == (SIDE, 2)
        if tastes is None:
            assert found.unseen[0] == SIDE - 2
            assert found.coverage[0] == found.coverage_relevant[0]


def test_only_what_the_model_ranks_above_the_users_median_is_relevant() -> None:
    """Who likes even ones and has seen them all has nothing relevant left, though half of the pool is unseen."""
    found = shelf_of(View(POOL, MODEL), person(EVEN), [LIKES_EVEN])
    assert found.unseen[0] < len(ODD) / 2
    assert found.coverage[0] == 0.5
    assert found.coverage_relevant[0] > 0.5
    assert shelf_of(View(POOL, MODEL), person([]), [LIKES_EVEN]).unseen[0] >= len(EVEN)


def test_a_chosen_style_and_what_was_made_for_the_user_are_always_relevant() -> None:
    """Whatever the model says of them."""
    view = View(POOL, MODEL)
    bare = shelf_of(view, person(EVEN), [LIKES_EVEN]).unseen[0]
    assert shelf_of(view, person(EVEN, ["Cubism"]), [LIKES_EVEN]).unseen[0] == bare + 1
    made = shelf_of(view, person(EVEN), [LIKES_EVEN], {"ada": ODD[:3], "bob": ODD})
    assert made.unseen[0] == max(bare, 3)


def test_in_a_large_pool_a_sample_tells_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the whole would, when the sample is fair."""
    whole = shelf_of(View(POOL, MODEL), person([]), [LIKES_EVEN]).unseen[0]
    monkeypatch.setattr(stock, "MOST_SCORED", 4)
    assert abs(int(shelf_of(View(POOL, MODEL), person([]), [LIKES_EVEN]).unseen[0]) - int(whole)) <= SIDE / 3


def test_an_empty_pool_has_no_coverage() -> None:
    """Not a number, which the answers tell as null."""
    nothing = dataclasses.replace(POOL, active=np.zeros(SIDE, dtype=bool))
    found = shelf_of(View(nothing, None), person([]), None)
    assert np.isnan(found.coverage[0])
    assert np.isnan(found.coverage_relevant[0])
    assert found.unseen[0] == 0
