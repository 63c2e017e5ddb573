"""Coverage is arithmetic: defined where there is something to cover, and labelled at fixed marks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.coverage import Coverage


@pytest.mark.parametrize(
    ("seen", "band"),
    [(0, "ok"), (849, "ok"), (850, "watch"), (899, "watch"), (900, "high"), (949, "high"), (950, "critical")],
)
def test_bands_begin_at_85_90_and_95_percent(seen: int, band: str) -> None:
    """The mark itself belongs to the higher band."""
    assert Coverage(1_000, seen, 0, 60.0).band == band


def test_an_empty_pool_has_no_coverage() -> None:
    """Undefined, not zero: nothing is covered and nothing is uncovered."""
    empty = Coverage(0, 0, 0, 60.0)
    assert (empty.coverage, empty.band, empty.unseen, empty.minutes) == (None, None, 0, 0.0)


@given(data=st.data(), eligible=st.integers(1, 10**7), pace=st.floats(0.1, 3_600))
def test_seen_and_unseen_make_up_the_whole(data: st.DataObject, eligible: int, pace: float) -> None:
    """Within 0 and 1; what is left lasts its number times the pace."""
    seen = data.draw(st.integers(0, eligible))
    found = Coverage(eligible, seen, 0, pace)
    assert found.coverage is not None
    assert 0 <= found.coverage <= 1
    assert found.unseen + found.seen == found.eligible
    assert found.minutes == pytest.approx(found.unseen * pace / 60)
    assert found.band in {"ok", "watch", "high", "critical"}


def test_leases_do_not_make_an_artwork_seen() -> None:
    """The user still has them to see."""
    assert Coverage(10, 4, 3, 60.0).unseen == 6
    assert Coverage(10, 4, 3, 90.0).minutes == 9.0
