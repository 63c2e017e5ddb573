"""Events as numbers: what PostgreSQL packs comes out as it was, and parts of different people end in one order."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.event_frames import (
    EVENT,
    ORDER,
    Packed,
    in_order,
    join_events,
    number_events,
    runs,
    unpack_events,
    without,
)
from features.signals import sum_signals
from features.weights import KINDS

YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["ann", "Bob", "10", "9", "émil", "artwork"])


def packed(user: str, kind: str, keys: list[int], at: list[int], values: list[float] | None = None) -> Packed:
    """As the queries pack them."""
    told = values or [np.nan] * len(keys)
    return user, kind, np.array(list(zip(keys, at, told, strict=True)), dtype=EVENT).tobytes()


def text(*rows: tuple[str, str, str, float | None, int]) -> pl.DataFrame:
    """Events as they are read where nothing packs them; times in microseconds since 2000."""
    schema = {
        "user_id": pl.String,
        "artwork_id": pl.String,
        "kind": pl.Enum(KINDS),
        "value": pl.Float32,
        "at": pl.Int64,
    }
    at = (pl.lit(YEAR_2000) + pl.duration(microseconds=pl.col("at"))).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(rows, schema, orient="row").with_columns(at=at)


def test_packed_and_written_events_end_in_one_frame() -> None:
    """Sorted by ids and not by keys; what no value belongs to has none, and NaN stands for none."""
    ours = unpack_events(
        [packed("eve", "displayed", [7, 3], [20, 10]), packed("bob", "dwell", [7, 7], [6, 5], [2.5, np.nan])],
        {7: "a", 3: "b"},
    )
    found = join_events([ours, number_events(text(("carl", "a", "like", None, 1), ("bob", "c", "skip", None, 2)))])
    wanted = text(
        ("bob", "a", "dwell", None, 5),
        ("bob", "a", "dwell", 2.5, 6),
        ("bob", "c", "skip", None, 2),
        ("carl", "a", "like", None, 1),
        ("eve", "a", "displayed", None, 20),
        ("eve", "b", "displayed", None, 10),
    )
    assert found.equals(wanted)
    assert found.schema == wanted.schema


def test_what_has_no_artwork_any_more_is_left_out() -> None:
    """A key without an id; the others keep their own values."""
    events = packed("bob", "dwell", [9, 7, 8], [1, 2, 3], [1.0, 2.0, 3.0])
    found = join_events([unpack_events([events, packed("eve", "displayed", [8], [4])], {7: "a"})])
    assert found.equals(text(("bob", "a", "dwell", 2.0, 2)))


def test_what_another_part_knows_too_is_left_out_of_one() -> None:
    """Of the kind alone that is asked about, and of the same person and artwork; ids and not numbers are compared."""
    ours = unpack_events([packed("eve", "favourite", [7], [4]), packed("bob", "like", [7], [4])], {3: "z", 7: "a"})
    rows = [("eve", "a", "favourite"), ("bob", "a", "favourite"), ("eve", "b", "favourite"), ("eve", "a", "like")]
    hosts = number_events(text(*((*row, None, 9) for row in rows)))
    wanted = text(*((*row, None, 9) for row in rows[1:])).sort(ORDER)
    assert join_events([without(hosts, "favourite", ours)]).equals(wanted)


def test_no_events_are_a_frame_too() -> None:
    """With the same columns."""
    assert join_events([unpack_events([], {}), number_events(text())]).schema == text().schema


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(KINDS), st.floats(0, 9, width=16), st.integers(0, 9))))
def test_sorting_by_numbers_is_sorting_by_ids(rows: list[tuple[str, str, str, float | None, int]]) -> None:
    """Also where numerals, capitals and accents stand beside each other."""
    assert join_events([number_events(text(*rows))]).equals(text(*rows).sort(ORDER))


def test_events_in_any_order_sum_up_to_the_same_signals() -> None:
    """What is in order stays the frame that it is."""
    rows = [(user, work, kind, None, 0) for user in "ba" for work in "yx" for kind in ("like", "displayed")]
    mixed = text(*rows, *rows[:2])
    ordered = in_order(mixed)
    assert ordered.select("user_id", "artwork_id").equals(mixed.select("user_id", "artwork_id").sort(pl.all()))
    assert in_order(ordered) is ordered
    assert sum_signals(mixed, 90).equals(sum_signals(ordered, 90))
    assert ordered.select(runs("user_id", "artwork_id")).to_series().to_list() == [0, 0, 1, 1, 2, 2, 3, 3, 3, 3]
