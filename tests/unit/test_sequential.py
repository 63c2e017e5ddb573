"""A pool that is consumed: lists follow each other, never repeat, learn from what was liked, and end with the pool."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from features.catalogue import Catalogue
from features.content import LENGTH
from tests.given import signals
from training import content
from training.dataset import Snapshot, Split
from training.evaluate import Rules
from training.learner import Given, learn
from training.pool import bare_pool
from training.replay import Known
from training.sequential import Lives, after, replay_lives

ARTWORKS, USERS, PLACES = 40, 6, 4


def lives(lists: int) -> Lives:
    """Even users like even artworks, of which they met one; a list has four places."""
    ids = [f"artwork {n:02}" for n in range(ARTWORKS)]
    vectors = np.zeros((ARTWORKS, LENGTH), np.float32)
    vectors[np.arange(ARTWORKS), np.arange(ARTWORKS) % 2] = 1.0
    pool: Catalogue = dataclasses.replace(bare_pool(ids), vectors=vectors)
    train = signals([(f"u{user}", ids[user % 2], 1.0) for user in range(USERS)])
    later = [(f"u{user}", ids[work], True) for user in range(USERS) for work in range(2 + user % 2, ARTWORKS, 2)]
    test = pl.DataFrame(later, {"user_id": pl.String, "artwork_id": pl.String, "liked": pl.Boolean}, orient="row")
    halves = Split("time", Snapshot(train.clear(), train, 90.0), test)
    bundle = learn(content.make_learner(), Given(halves.train, pool))
    return replay_lives(bundle, halves, pool, Rules(places=PLACES), lists=lists)


def test_the_good_is_spent_first_and_then_the_pool_ends() -> None:
    """The 19 liked ones fill the first lists, later ones hold none; after 39 places nothing is left or repeats."""
    found = lives(lists=15)
    each = found.by_list()
    assert each["hits_per_place"].to_list()[:4] == [1.0] * 4
    assert each["hits_per_place"].to_list()[5:] == [0.0] * (each.height - 5)
    assert each.height == 10  # 39 unseen artworks, 4 a list
    assert found.lists["places"].sum() == USERS * (ARTWORKS - 1)
    assert found.lists["hits"].sum() == USERS * (ARTWORKS // 2 - 1)
    assert found.hits_per_life() == (19.0, 19.0, 19.0)


def test_coverage_grows_list_by_list() -> None:
    """From one artwork seen to all but the last three."""
    coverage = lives(lists=15).by_list()["coverage"].to_list()
    assert np.isclose(coverage[0], 1 / ARTWORKS)
    assert np.allclose(np.diff(coverage), PLACES / ARTWORKS)


def test_first_lists_and_later_ones_are_compared_where_as_much_was_seen() -> None:
    """Two people at 25% of the pool: for one it is the first list, for the other the fifth, when the good is spent."""
    rows = [("new", 1, 0.25, 4, 3, 10), ("old", 1, 0.0, 4, 4, 10), ("old", 5, 0.25, 4, 1, 2)]
    names = ("user_id", "list", "coverage", "places", "hits", "left")
    found = Lives(pl.DataFrame(rows, names, orient="row")).at_matched_coverage()
    assert found.rows() == [("20-30%", 0.75, 0.25)]


def test_signals_beyond_the_latest_are_forgotten_displays_first() -> None:
    """As a request folds in no more than the settings say."""
    user = Known(*(np.zeros(0, kind) for kind in (np.int32, np.int32, np.float32)))
    shown = np.arange(6, dtype=np.int32)
    assert after(user, shown, shown[:2], latest=1).signal_rows.tolist() == [0, 1]
    assert after(user, shown, shown[:2], latest=1).seen.tolist() == shown.tolist()
