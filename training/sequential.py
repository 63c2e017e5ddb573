"""What becomes of users whose pool is consumed: list follows list, what was listed is seen, what is liked is learnt.

A better ranker spends the good artworks first, so that its later lists look worse: hits are therefore also told list
by list at matched coverage of the pool. What users like is what the test side of the split says; the model itself
stays as it is, and only what is folded in grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from features.arrays import Rows
from features.catalogue import Catalogue
from features.weights import KIND_CODES, KIND_WEIGHTS
from serving.bundle import Bundle
from training.dataset import Split
from training.evaluate import Rules, draw_users, rows_by_user
from training.intervals import Interval, interval
from training.replay import Known, Replay, what_is_known
from training.slices import TENTHS, tenth_name

LIKE = float(KIND_WEIGHTS[KIND_CODES["like"]])
DISPLAYED = float(KIND_WEIGHTS[KIND_CODES["displayed"]])
LISTS = 10
FIRST = 3  # lists of a user that count as first


@dataclass(frozen=True)
class Lives:
    """One row per user and list: user_id, list (from 1), coverage (before it), places, hits, left (liked, unseen)."""

    lists: pl.DataFrame

    def by_list(self) -> pl.DataFrame:
        """How the lists of all users go on: list, users, coverage, hits_per_place, found (of what was left)."""
        return (
            self.lists.group_by("list")
            .agg(
                users=pl.len(),
                coverage=pl.col("coverage").mean(),
                hits_per_place=pl.col("hits").sum() / pl.col("places").sum(),
                found=pl.col("hits").sum() / pl.col("left").sum(),
            )
            .sort("list")
        )

    def at_matched_coverage(self) -> pl.DataFrame:
        """First lists beside later ones of users who had seen as much: coverage, first, later (hits per place).

        Tenths of coverage where there are both. What differs is how much of the good the ranker itself has spent.
        """
        tenth = (pl.col("coverage") * TENTHS).floor().clip(upper_bound=TENTHS - 1).cast(pl.Int64)
        sums = self.lists.group_by(tenth.alias("tenth"), (pl.col("list") <= FIRST).alias("first")).agg(
            pl.col("hits").sum() / pl.col("places").sum()
        )
        first, later = (sums.filter(pl.col("first") == wanted).drop("first") for wanted in (True, False))
        both = first.join(later, on="tenth", suffix="_later").sort("tenth")
        return both.select(
            coverage=pl.col("tenth").map_elements(tenth_name, pl.String), first="hits", later="hits_later"
        )

    def hits_per_life(self) -> Interval:
        """Artworks that a user liked among all that were listed, with its interval over users."""
        return interval(
            self.lists.group_by("user_id", maintain_order=True).agg(pl.col("hits").sum())["hits"].to_numpy()
        )


def replay_lives(
    bundle: Bundle,
    halves: Split,
    pool: Catalogue,
    rules: Rules,
    *,
    lists: int = LISTS,
    on_list: Callable[[int], None] = lambda _: None,
) -> Lives:
    """Let each user who liked something later be shown ``lists`` lists, or what the pool holds, one after the other."""
    liked = halves.test.filter("liked")
    users = draw_users(liked, rules)
    replay = Replay(bundle, pool)
    known = what_is_known(halves.train.signals, users, pool, rules.signals_per_user)
    wanted = rows_by_user(liked, users, pool)
    rows: list[dict[str, str | float]] = []
    for number in range(1, lists + 1):
        on_list(number)
        found = replay.lists(known, rules.places)
        for place, (user_id, listed) in enumerate(zip(users, found, strict=True)):
            if len(listed) == 0:
                continue
            before = known[place]
            hits = np.intersect1d(listed, wanted[place])
            left = np.setdiff1d(wanted[place], before.seen)
            coverage = float(pool.active[before.seen].sum()) / max(pool.size, 1)
            counts = {"places": len(listed), "hits": len(hits), "left": len(left)}
            rows.append({"user_id": user_id, "list": number, "coverage": coverage, **counts})
            known[place] = after(before, listed, hits, rules.signals_per_user)
    return Lives(pl.DataFrame(rows))


def after(user: Known, listed: Rows, hits: Rows, latest: int) -> Known:
    """What is known once the list was shown: all of it seen and displayed, the hits liked, the latest signals kept.

    >>> user = Known(np.array([0], np.int32), np.array([0], np.int32), np.array([1.0], np.float32))
    >>> after(user, np.array([1, 2], np.int32), np.array([2], np.int32), latest=200).signal_rows.tolist()
    [0, 1, 2]
    """
    weights = np.where(np.isin(listed, hits), LIKE + DISPLAYED, DISPLAYED).astype(np.float32)
    liked = np.argsort(weights, kind="stable")  # displays go first where there are too many
    return replace(
        user,
        seen=np.concatenate([user.seen, listed]),
        signal_rows=np.concatenate([user.signal_rows, listed[liked]])[-2 * latest :],
        weights=np.concatenate([user.weights, weights[liked]])[-2 * latest :],
    )
