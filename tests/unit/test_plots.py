"""The figures of the notebooks: what they count is right, and they are drawn whatever little there is to draw."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from features.catalogue import Catalogue, empty
from features.pool_reading import append
from training import pictures, plots
from training.evaluate import Judged
from training.slices import slice_users
from training.tracking import Version
from training.variants import Example

STYLES = ("cubism", "baroque", "ukiyo-e")
DRAW = np.random.default_rng(0)
PROTOTYPE = DRAW.uniform(0.3, 1.0, 50)


def test_dna_is_told_apart_by_what_it_is_worth() -> None:
    """Own looks, copies that differ in intensity alone, stubs, absent and broken vectors are counted as such."""
    own = [json.dumps(list(DRAW.uniform(0, 2, 50))) for _ in range(5)]
    copies = [json.dumps(list(PROTOTYPE * factor)) for factor in (0.9, 1.0, 1.1)]
    pool = _catalogue([*own, *copies, json.dumps([0.5] * 50), None, "undefined"])
    found = {name: len(rows) for name, rows in plots.populations(pool).items()}
    assert list(found.values()) == [5, 3, 1, 1, 1]
    assert _title(plots.dna_populations(pool)) == "The DNA of 45% of the pool tells an artwork from the others"


def test_coverage_counts_active_artworks_once_each() -> None:
    """A display and a like of one artwork are one; an artwork that has left the pool counts in neither part."""
    pool = _catalogue([None] * 4)
    events = pl.DataFrame(
        [("ada", "artwork-0"), ("ada", "artwork-0"), ("ada", "artwork-1"), ("ben", "artwork-3"), ("ben", "gone")],
        {"user_id": pl.String, "artwork_id": pl.String},
        orient="row",
    )
    assert sorted(plots.seen_shares(events, pool)) == [0.25, 0.5]
    title = "0 of 2 users have seen at least 85% of the pool; the median user 38%"
    assert _title(plots.coverage_histogram(events, pool)) == title


def test_the_map_says_how_often_neighbours_share_a_style() -> None:
    """Artworks that differ in style alone lie beside their own."""
    figure = plots.content_map(_catalogue([None] * 30))
    assert _title(figure) == "The nearest neighbour by content is of the same style in 100% of cases (by chance 31%)"
    assert {text.get_text() for text in figure.axes[0].texts} == set(STYLES)
    assert _is_drawn(figure)


def test_the_best_recall_is_sought_among_versions_judged_on_the_same_data() -> None:
    """A version judged on other data than the newest may have a greater recall and is not the best."""
    versions = [_version("3", "nmf", 0.2), _version("2", "popularity", 0.1), _version("1", "nmf", 0.9, snapshot="old")]
    figure = plots.model_metrics(versions)
    title = "Version 3 (nmf) has the best recall: 0.2, against 0.1 of version 2 (popularity)"
    assert _title(figure) == title
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["3  nmf", "2  popularity", "1  nmf"]
    assert _is_drawn(figure)


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11])
def test_every_size_of_pool_can_be_drawn(count: int) -> None:
    """From an empty pool on, each figure is drawn or says why there is nothing to draw."""
    pool = _catalogue([None] * count)
    nobody = pl.DataFrame(schema={"user_id": pl.String, "artwork_id": pl.String})
    for figure in (plots.content_map(pool), plots.dna_populations(pool), plots.coverage_histogram(nobody, pool)):
        assert _is_drawn(figure)


@pytest.mark.parametrize("metrics", [{}, {"auc_shown": 0.5}, {"recall_at_20": 0.0}])
def test_versions_are_drawn_with_whatever_metrics_they_have(metrics: dict[str, float]) -> None:
    """No metrics at all, chance, and nothing found are no errors."""
    version = Version("1", "content", datetime(2026, 6, 1, tzinfo=UTC), ("champion",), {}, metrics)
    assert _is_drawn(plots.model_metrics([version]))
    assert _is_drawn(plots.model_metrics([]))


def _catalogue(dna: list[str | None]) -> Catalogue:
    """A pool of artworks with these DNA texts; styles in turn, and all else alike."""
    rows: list[dict[str, Any]] = [
        {
            "artwork_key": place + 1,
            "id": f"artwork-{place}",
            "created": float(place),
            "prompt": "a harbour",
            "dna_vector": text,
            "motifs": [],
            "styles": [STYLES[place % len(STYLES)]],
            "artists": [],
            "orientation": None,
            "quality_score": None,
            "image_url": f"/{place}.png",
        }
        for place, text in enumerate(dna)
    ]
    return append(empty(), rows)


def _version(number: str, model: str, recall: float, snapshot: str = "new") -> Version:
    """A judged version."""
    tags = {"snapshot": snapshot, "split": "time"}
    return Version(number, model, datetime(2026, 6, 1, tzinfo=UTC), (), tags, {"recall_at_20": recall})


def _title(figure: Figure) -> str:
    """The finding that stands over a figure."""
    return figure.get_suptitle()


def _is_drawn(figure: Figure) -> bool:
    """Whether the figure can be made a picture; warnings are errors."""
    picture = io.BytesIO()
    figure.savefig(picture)
    return picture.tell() > 0


def test_the_comparison_says_whether_the_first_is_surely_better() -> None:
    """Two models that do the same for every user are not told apart; one that is ahead everywhere is."""
    good, same, bad = _judged(0.8), _judged(0.8), _judged(0.3)
    title = "good and same do equally well, user by user"
    assert _title(plots.compared({"bad": bad, "good": good, "same": same})) == title
    assert _title(plots.compared({"bad": bad, "good": good})) == "good is surely better than bad, the next"
    assert _is_drawn(plots.compared({"good": good}))
    assert _is_drawn(plots.compared({"nobody": Judged()}))


def test_groups_of_a_few_users_are_left_out_of_the_slices() -> None:
    """Their means say nothing, and their intervals are as wide as the figure."""
    figure = plots.sliced({"good": _judged(0.8), "bad": _judged(0.3)}, ["good", "bad", "never fitted"])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[0] == "light, 5 to 49 (n 40)"
    assert not any("(n 1)" in name for name in names)
    assert _is_drawn(figure)
    assert _is_drawn(plots.sliced({"nobody": Judged()}, ["nobody"]))


def test_lists_are_drawn_side_by_side_and_the_title_counts_what_was_liked() -> None:
    """Four artworks of the first list were liked later; an artwork without DNA is painted from its style."""
    pool = _catalogue([json.dumps(list(DRAW.uniform(0, 2, 50))) for _ in range(9)] + [None] * 9)
    rows = np.arange(18, dtype=np.int32)
    example = Example("ada", rows[:3], rows[4:8], {"good": rows[4:12], "short": rows[12:14]})
    figure = pictures.side_by_side([example], pool)
    assert _title(figure) == "Next lists of 1: most that was liked later is on those of good, 4 artworks"
    framed = sum(len(axes.patches) for axes in figure.axes)
    assert framed == 4
    assert _is_drawn(figure)
    assert _is_drawn(pictures.side_by_side([], pool))


def _judged(quality: float) -> Judged:
    """Forty users of about this quality, one of whom has seen half of the pool."""
    values = np.clip(quality + np.random.default_rng(1).normal(0, 0.05, 40), 0, 1)
    users = pl.DataFrame(
        {
            "user_id": [f"user {number:02}" for number in range(40)],
            "signals": [20] * 40,
            "coverage": [0.5] + [0.05] * 39,
            **dict.fromkeys(("recall", "ndcg", "hit_rate", "mrr", "recall_warm"), values),
            "recall_cold": pl.Series([None] * 40, dtype=pl.Float64),
        }
    )
    return Judged({"ndcg_at_20": float(values.mean())}, users, slice_users(users))
