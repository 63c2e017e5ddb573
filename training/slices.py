"""Judged users and artworks by groups: who is served well and who is not, and which styles are shown at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.arrays import Rows
from features.catalogue import Catalogue
from training.intervals import interval

#: Users by the number of signals that are folded in: fewer than 5 are new, fewer than 50 light.
LIGHT, HEAVY = 5, 50
TENTHS = 10


class Counts(NamedTuple):
    """How often each artwork (n,) was listed, was liked, and was both for one user."""

    listed: NDArray[np.intp]
    relevant: NDArray[np.intp]
    hits: NDArray[np.intp]


def slice_users(users: pl.DataFrame) -> pl.DataFrame:
    """One row per group that anybody is in: slice, group, users, recall with its interval, ndcg, hit_rate, mrr.

    Slices are "users" (new, light, heavy), "artworks" (warm and cold, of which recall alone can be said) and
    "coverage" (tenths of the pool that the user has seen at the cut). ``users`` as `training.evaluate.Judged` has it.
    """
    signals, coverage = users["signals"].to_numpy(), users["coverage"].to_numpy()
    tenth = np.minimum((coverage * TENTHS).astype(int), TENTHS - 1)
    groups = [
        ("users", f"new, under {LIGHT} signals", signals < LIGHT),
        ("users", f"light, {LIGHT} to {HEAVY - 1}", (signals >= LIGHT) & (signals < HEAVY)),
        ("users", f"heavy, {HEAVY} or more", signals >= HEAVY),
        *(("coverage", tenth_name(each), tenth == each) for each in range(TENTHS)),
    ]
    rows = [_group(users.filter(pl.Series(mask)), name, group, "recall") for name, group, mask in groups if mask.any()]
    for group in ("warm", "cold"):
        told = users.filter(pl.col(f"recall_{group}").is_not_null())
        if told.height:
            rows.append(
                {**_group(told, "artworks", group, f"recall_{group}"), "ndcg": None, "hit_rate": None, "mrr": None}
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def tenth_name(tenth: int) -> str:
    """How a tenth of coverage is called.

    >>> tenth_name(3)
    '30-40%'
    """
    return f"{tenth * 10}-{tenth * 10 + 10}%"


def by_style(found: Sequence[Rows], wanted: Sequence[Rows], pool: Catalogue) -> pl.DataFrame:
    """One row per style of the active pool, the least exposed for its size first; no rows where there are no styles.

    style; catalogue: its share of the active artworks; listed: its share of the listed places; exposure: listed /
    catalogue, 1 being its due; relevant: how often one of its artworks was liked; recall: the share of those that
    was listed (null without any). An artwork of two styles counts in both. ``found`` and ``wanted`` hold, user by
    user, the catalogue rows that were listed and those that were liked.
    """
    hits = [np.intersect1d(*pair).astype(np.int32) for pair in zip(found, wanted, strict=True)]
    counts = Counts(*(_count(rows, len(pool.ids)) for rows in (found, wanted, hits)))
    rows = [
        _style(style, members, counts, pool)
        for style, members in sorted(pool.style_rows.items())
        if pool.active[members].any()
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.sort("exposure", "style") if rows else frame


def _group(users: pl.DataFrame, name: str, group: str, recall: str) -> dict[str, str | float | None]:
    """The means of one group."""
    found = interval(users[recall].to_numpy())
    return {
        "slice": name,
        "group": group,
        "users": users.height,
        "recall": found.mean,
        "recall_low": found.low,
        "recall_high": found.high,
        **{column: float(users[column].to_numpy().mean()) for column in ("ndcg", "hit_rate", "mrr")},
    }


def _style(style: str, members: Rows, counts: Counts, pool: Catalogue) -> dict[str, str | float | None]:
    """One style's row."""
    catalogue = float(pool.active[members].sum() / pool.size)
    share = float(counts.listed[members].sum() / max(counts.listed.sum(), 1))
    liked = int(counts.relevant[members].sum())
    return {
        "style": style,
        "catalogue": catalogue,
        "listed": share,
        "exposure": share / catalogue,
        "relevant": liked,
        "recall": float(counts.hits[members].sum() / liked) if liked else None,
    }


def _count(rows: Sequence[Rows], artworks: int) -> NDArray[np.intp]:
    """How often each artwork occurs, shape (artworks,)."""
    return np.bincount(np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.intp), minlength=artworks)
