"""Judging by the code that serves, on a small pool whose lists one sees by eye."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from features.catalogue import Catalogue
from features.content import LENGTH
from serving.bundle import Bundle
from tests.given import DAY, signals
from training import content, popularity, replay
from training.dataset import Snapshot, Split
from training.evaluate import FIGURES, Judged, Rules, judge
from training.learner import Given, Learner, learn
from training.pool import bare_pool

ARTWORKS = 12
USERS = 10


def artwork(number: int) -> str:
    """An artwork's id."""
    return f"artwork {number:02}"


def make_pool() -> Catalogue:
    """Even artworks are cubist and look alike, odd ones baroque and look alike; the last two are new."""
    vectors = np.zeros((ARTWORKS, LENGTH), np.float32)
    vectors[np.arange(ARTWORKS), np.arange(ARTWORKS) % 2] = 1.0
    styles = {"cubism": np.arange(0, ARTWORKS, 2, np.int32), "baroque": np.arange(1, ARTWORKS, 2, np.int32)}
    return dataclasses.replace(bare_pool([artwork(n) for n in range(ARTWORKS)]), vectors=vectors, style_rows=styles)


def make_split() -> Split:
    """User n liked artwork n % 2 before; later all met 4, 5 and the new 10 and 11, and liked those of their parity."""
    train = signals([(f"u{user}", artwork(user % 2 + shown), 1.0) for user in range(USERS) for shown in (0, 2)])
    met = [(f"u{user}", artwork(work), (user - work) % 2 == 0) for user in range(USERS) for work in (4, 5, 10, 11)]
    test = pl.DataFrame(met, {"user_id": pl.String, "artwork_id": pl.String, "liked": pl.Boolean}, orient="row")
    return Split("time", Snapshot(train.clear(), train, 90.0), test)


def judged(learner: Learner, places: int = 4) -> Judged:
    """The learner, judged on the split."""
    halves, pool = make_split(), make_pool()
    return judge(learn(learner, Given(halves.train, pool)), halves, pool, Rules(places=places))


def test_a_model_that_knows_the_taste_finds_everything() -> None:
    """Content puts the user's own half first: the four unseen of it are the list, with both that were liked."""
    found = judged(content.make_learner()).metrics
    assert found["recall_at_4"] == found["recall_cold_at_4"] == found["hit_rate_at_4"] == 1
    assert found["auc_shown"] == 1
    assert found["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert found["diversity_at_4"] == pytest.approx(0, abs=1e-6)
    assert found["coverage_at_4"] == 8 / ARTWORKS  # everybody has seen the first two of the own half
    assert (found["repeat_rate"], found["users_judged"], found["users_judged_cold"]) == (0, USERS, USERS)


def test_every_user_has_a_figure_of_each_kind() -> None:
    """Beside the share of the pool that the user had seen, and the signals that were folded in."""
    users = judged(content.make_learner()).users
    assert users.columns == ["user_id", "signals", "coverage", *FIGURES]
    assert users["coverage"].to_list() == [2 / ARTWORKS] * USERS
    assert users["signals"].to_list() == [2] * USERS


def test_slices_say_who_was_judged_and_on_what() -> None:
    """All are new, at a sixth of the pool; warm and cold artworks have a recall each and no NDCG."""
    rows = {(row["slice"], row["group"]): row for row in judged(content.make_learner()).slices.to_dicts()}
    assert set(rows) == {
        ("users", "new, under 5 signals"),
        ("coverage", "10-20%"),
        ("artworks", "cold"),
    }  # nobody had met artworks 4 and 5 before either
    assert rows["users", "new, under 5 signals"]["users"] == USERS
    assert rows["artworks", "cold"]["recall"] == 1
    assert rows["artworks", "cold"]["ndcg"] is None


def test_a_starved_style_comes_first_in_the_table() -> None:
    """Lists of one style alone: the other is 0 times its due, though it was liked as often."""
    halves, pool = make_split(), make_pool()
    fans = signals([(f"fan {n}", artwork(work), 1.0) for work in range(ARTWORKS) for n in range(1 if work % 2 else 50)])
    train = pl.concat([halves.train.signals, fans]).sort("user_id", "artwork_id")
    halves = dataclasses.replace(halves, train=Snapshot(train.clear(), train.with_columns(at=pl.lit(DAY)), 90.0))
    bundle: Bundle = learn(popularity.make_learner(), Given(halves.train, pool))
    styles = judge(bundle, halves, pool, Rules(places=4)).styles
    assert styles["style"].to_list() == ["baroque", "cubism"]
    assert styles["catalogue"].to_list() == [0.5, 0.5]
    assert styles["listed"].to_list() == [0, 1]
    assert styles["exposure"].to_list() == [0, 2]
    assert styles["relevant"].to_list() == [USERS, USERS]
    assert styles["recall"].to_list() == [0, 1]


def test_intervals_lie_around_the_means() -> None:
    """One for each figure that somebody has."""
    found = judged(popularity.make_learner())
    for name, (mean, low, high) in found.intervals().items():
        assert low <= mean <= high
        assert mean == pytest.approx(found.metrics[f"{name}_at_4"])
    assert "recall_warm" not in found.intervals()


def test_who_is_judged_beside_whom_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are made for groups of users; they are the same for each alone."""
    together = judged(content.make_learner())
    monkeypatch.setattr(replay, "GROUP", 1)
    alone = judged(content.make_learner())
    assert alone.metrics == together.metrics
    assert alone.users.equals(together.users)


def test_where_nobody_liked_a_thing_there_is_nothing_to_judge() -> None:
    """No metrics, rather than zeros."""
    halves = make_split()
    nothing = dataclasses.replace(halves, test=halves.test.with_columns(liked=pl.lit(value=False)))
    bundle = learn(popularity.make_learner(), Given(halves.train, make_pool()))
    assert judge(bundle, nothing, make_pool(), Rules()).metrics == {}
