"""From events to weights, matrices and splits: what counts how much, and that nothing looks back across the cut."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.matrix import to_matrix
from features.signals import sum_signals
from features.weights import KINDS
from training.dataset import TEST_SHARE_RANGE, find_cut, hash_rows, make_snapshot, split, split_at_random

START = datetime(2026, 1, 1, tzinfo=UTC)
Event = tuple[str, str, str, float | None, float]


def events(*rows: Event) -> pl.DataFrame:
    """A sorted frame of user, artwork, kind, value and day."""
    texts, numbers = ("user_id", "artwork_id", "kind"), ("value", "day")
    schema = [*((name, pl.String) for name in texts), *((name, pl.Float64) for name in numbers)]
    ages = pl.duration(microseconds=(pl.col("day") * 86_400e6).cast(pl.Int64))
    return (
        pl.DataFrame(rows, schema, orient="row")
        .select(
            "user_id",
            "artwork_id",
            pl.col("kind").cast(pl.Enum(KINDS)),
            pl.col("value").cast(pl.Float32),
            at=pl.lit(START).cast(pl.Datetime("us", "UTC")) + ages,
        )
        .sort("user_id", "artwork_id", "at", "kind", "value")
    )


def weights(frame: pl.DataFrame) -> dict[tuple[str, str], float]:
    """The weight of each pair."""
    return {(user, work): weight for user, work, weight in frame.select("user_id", "artwork_id", "weight").iter_rows()}


def history(users: int = 20, days: int = 10) -> pl.DataFrame:
    """Everybody is shown one artwork a day, and likes it on even days."""
    places = [(user, day) for user in range(users) for day in range(days)]
    shown: list[Event] = [(f"u{u:02}", f"a{(u + 3 * day) % 17:02}", "displayed", None, day) for u, day in places]
    liked: list[Event] = [(user, work, "like", None, day + 0.01) for user, work, _, _, day in shown if day % 2 == 0]
    return events(*shown, *liked)


def likes() -> set[tuple[str, str]]:
    """The pairs of the history that were liked."""
    return set(history().filter(pl.col("kind") == "like").select("user_id", "artwork_id").iter_rows())


def test_a_display_weighs_little_beside_a_like() -> None:
    """Weights of one pair add up; taste leaves the display out, and is null for what was only displayed."""
    frame = sum_signals(
        events(
            ("u", "liked", "displayed", None, 1), ("u", "liked", "like", None, 1), ("u", "shown", "displayed", None, 1)
        ),
        90,
    )
    assert weights(frame) == {("u", "liked"): pytest.approx(1.05), ("u", "shown"): pytest.approx(0.05)}
    assert frame["taste"].to_list() == [pytest.approx(1.0), None]


def test_dwell_is_measured_by_the_users_own_pace() -> None:
    """Twice one's own median is half a like, whether one is slow or quick."""
    slow: list[Event] = [("slow", work, "dwell", seconds, 0) for work, seconds in (("a", 50), ("b", 100), ("c", 200))]
    quick: list[Event] = [("quick", work, "dwell", seconds, 0) for work, seconds in (("a", 1), ("b", 2), ("c", 4))]
    frame = sum_signals(events(*slow, *quick), 90)
    assert frame["weight"].to_list() == pytest.approx([-0.5, 0, 0.5] * 2)


def test_weights_halve_with_the_half_life() -> None:
    """Counted from the newest event, or from the cut when there is one."""
    given_events = events(("u", "old", "like", None, 0), ("u", "new", "like", None, 30))
    assert weights(sum_signals(given_events, 30))["u", "old"] == pytest.approx(0.5)
    cut = sum_signals(given_events, 30, until=START + timedelta(days=15))
    assert weights(cut) == {("u", "old"): pytest.approx(2**-0.5)}


def test_where_there_are_only_displays_all_weigh_the_same() -> None:
    """Exposure is all there is, so every pair counts, by age alone."""
    frame = sum_signals(events(("u", "a", "displayed", None, 3), ("v", "b", "displayed", None, 3)), 90)
    assert frame["weight"].n_unique() == 1
    assert frame["taste"].is_null().all()


def test_no_events_are_no_signals() -> None:
    """An empty frame has the same columns, an empty matrix and a hash."""
    snapshot = make_snapshot(events(), 90)
    assert snapshot.signals.columns == ["user_id", "artwork_id", "weight", "taste", "at"]
    assert (snapshot.users, snapshot.newest) == (0, "")


def test_first_sighting_is_the_earliest_event() -> None:
    """A favourite given later does not move it."""
    frame = sum_signals(events(("u", "a", "favourite", None, 5), ("u", "a", "displayed", None, 2)), 90)
    assert frame["at"].to_list() == [START + timedelta(days=2)]


def test_the_matrix_finds_every_weight_in_its_place() -> None:
    """Row and column numbers lead back to the ids."""
    frame = sum_signals(history(), 90)
    given_matrix = to_matrix(frame.sample(fraction=1, shuffle=True, seed=1))
    rows, columns = given_matrix.matrix.nonzero()
    found = {
        (str(given_matrix.user_ids[row]), str(given_matrix.artwork_ids[column])): given_matrix.matrix[row, column]
        for row, column in zip(rows, columns, strict=True)
    }
    assert found == pytest.approx(weights(frame))
    assert given_matrix.matrix.dtype == np.float32


def test_nothing_looks_back_across_the_cut() -> None:
    """Training weights do not change, whatever happens from the cut on."""
    snapshot = make_snapshot(history(), 90)
    cut = find_cut(snapshot.signals["at"])
    assert cut is not None
    late: list[Event] = [(f"u{user:02}", f"a{user % 17:02}", "favourite", None, 9.5) for user in range(20)]
    tampered = make_snapshot(
        pl.concat([snapshot.events, events(*late)]).sort("user_id", "artwork_id", "at", "kind"), 90
    )
    assert tampered.signals["weight"].sum() > snapshot.signals["weight"].sum() + 10
    assert find_cut(tampered.signals["at"]) == cut
    assert split(tampered).train.signals.equals(split(snapshot).train.signals)


def test_the_test_side_holds_first_sightings_only() -> None:
    """What a user met before the cut cannot be recommended, so it is not asked for; users were known by then."""
    snapshot = make_snapshot(pl.concat([history(), events(("newcomer", "a00", "like", None, 9))]), 90)
    halves = split(snapshot)
    assert halves.kind == "time"
    assert halves.test.join(halves.train.signals, on=["user_id", "artwork_id"], how="semi").is_empty()
    assert "newcomer" not in halves.test["user_id"]
    assert {(user, work) for user, work, liked in halves.test.iter_rows() if liked} <= likes()
    assert {(user, work) for user, work, liked in halves.test.iter_rows() if not liked}.isdisjoint(likes())
    assert halves.test["liked"].n_unique() == 2


@given(st.lists(st.integers(0, 12), min_size=1, max_size=300))
def test_a_cut_never_divides_a_tie(days: list[int]) -> None:
    """Whole-day stamps: the cut is one of them, everything from it on is tested, and the share is as promised."""
    stamps = pl.Series("at", [START + timedelta(days=day) for day in days])
    cut = find_cut(stamps)
    shares = [sum(other >= day for other in days) / len(days) for day in set(days)]
    fitting = [share for share in shares if TEST_SHARE_RANGE[0] <= share <= TEST_SHARE_RANGE[1]]
    if cut is None:
        assert not fitting
    else:
        share = stamps.filter(stamps >= cut).len() / len(days)
        assert abs(share - 0.2) == pytest.approx(min(abs(other - 0.2) for other in fitting))


def test_without_distinct_times_the_split_is_random() -> None:
    """One import, one stamp: a fifth of each user's likes is held out, the same ones for the same seed."""
    pairs: list[Event] = [(f"u{user:02}", f"a{work:02}", "like", None, 0) for user in range(10) for work in range(10)]
    snapshot = make_snapshot(events(*pairs), 90)
    halves = split(snapshot, seed=4)
    assert halves.kind == "random"
    assert halves.test.group_by("user_id").len()["len"].to_list() == [2] * 10
    assert len(halves.train.signals) + len(halves.test) == 100
    assert halves.test.equals(split(snapshot, seed=4).test)
    assert not halves.test.equals(split(snapshot, seed=5).test)


def test_a_file_in_order_of_users_is_not_taken_for_a_history() -> None:
    """Stamps that grow with the user say nothing of time: users after the cut were unknown before it."""
    pairs: list[Event] = [(f"u{user:02}", f"a{work:02}", "like", None, user) for user in range(20) for work in range(8)]
    assert split(make_snapshot(events(*pairs), 90)).kind == "random"


def test_a_user_with_one_like_keeps_it() -> None:
    """Nobody is judged who would have nothing left to train on."""
    told = events(("one", "a", "like", None, 0), ("two", "a", "like", None, 0), ("two", "b", "like", None, 0))
    halves = split_at_random(make_snapshot(told, 90), seed=0)
    assert halves.test["user_id"].to_list() == ["two"]
    assert halves.train.signals["user_id"].to_list() == ["one", "two"]


def test_the_hash_tells_data_apart() -> None:
    """Equal for equal rows, different when one value of any column changes, and free of the half-life."""
    assert make_snapshot(history(), 90).digest == make_snapshot(history(), 10).digest
    row = ("ann", "a01", "dwell", 3.0, 1.0)
    others = (("bob", *row[1:]), ("ann", "a02", *row[2:]), (*row[:2], "skip", 3.0, 1.0), (*row[:4], 1.5))
    values = ((*row[:3], value, 1.0) for value in (None, 0.0, 3.5))
    digests = {hash_rows(events(each, ("zoe", "a09", "like", None, 2.0))) for each in (row, *others, *values)}
    assert len(digests) == 8
    assert hash_rows(events(row)) == hash_rows(events(row))
