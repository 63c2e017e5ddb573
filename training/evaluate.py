"""Judges a bundle by the code that serves: lists from training.replay, metrics from training.metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.arrays import Rows
from features.catalogue import Catalogue
from features.errors import BadImportError
from features.weights import KINDS
from serving.bundle import Bundle
from training import metrics
from training.dataset import Snapshot, Split, make_snapshot
from training.pool import bare_pool
from training.replay import Known, Replay, rows_in, what_is_known

PLACES = 20


@dataclass(frozen=True)
class Rules:
    """How to judge: length of the lists, users at most (drawn with the seed), latest signals that are folded in."""

    places: int = PLACES
    most_users: int = 2_000
    signals_per_user: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """The metrics, and beside them each user's own figures (user_id, recall, ndcg, ...), for intervals and slices."""

    metrics: dict[str, float] = field(default_factory=dict)
    users: pl.DataFrame = field(default_factory=pl.DataFrame)


def judge(bundle: Bundle, halves: Split, pool: Catalogue, rules: Rules) -> Judged:
    """Judge the lists that the users of the test side would have got after the training side.

    Nothing to judge where nobody liked a thing. Artworks that the pool does not hold count as missed. What users
    could like was chosen by whoever showed it, so recall also measures that policy; `auc_shown` (absent where nobody
    met both) does not.
    """
    liked = halves.test.filter("liked")
    if liked.is_empty():
        return Judged()
    users = draw_users(liked, rules)
    replay = Replay(bundle, pool)
    known = what_is_known(halves.train.signals, users, pool, rules.signals_per_user)
    found = replay.lists(known, rules.places)
    lists = [[pool.ids[row] for row in rows] for rows in found]
    relevant = _sets(liked, users)
    each = pl.DataFrame(
        {
            "user_id": users,
            "signals": [len(user.signal_rows) for user in known],
            "recall": [metrics.recall(one, wanted) for one, wanted in zip(lists, relevant, strict=True)],
            "ndcg": [metrics.ndcg(one, wanted, rules.places) for one, wanted in zip(lists, relevant, strict=True)],
        }
    )
    told_apart = _told_apart(replay, known, halves.test, users)
    return Judged(
        {
            f"recall_at_{rules.places}": _mean(each["recall"]),
            f"ndcg_at_{rules.places}": _mean(each["ndcg"]),
            f"coverage_at_{rules.places}": metrics.coverage(lists, pool.size),
            f"novelty_at_{rules.places}": metrics.novelty(lists, _popularity(halves.train, pool)),
            **({"auc_shown": _mean(told_apart)} if told_apart else {}),
            "users_judged": float(len(users)),
        },
        each,
    )


def split_of_files(train: Path, test: Path) -> tuple[Split, Catalogue]:
    """Two files of 'user item item ...' lines as a split and its pool: fixed splits of the literature."""
    events = _lines(train)
    known = events.select("user_id").unique()
    later = _lines(test).join(known, on="user_id", how="semi", maintain_order="left")
    pool = bare_pool(pl.concat([events, later])["artwork_id"].unique().sort().to_list())
    held = later.select("user_id", "artwork_id", liked=pl.lit(value=True))
    return Split("random", make_snapshot(events, half_life_days=1.0), held), pool


def draw_users(liked: pl.DataFrame, rules: Rules) -> list[str]:
    """The users to judge, sorted; a seeded sample when there are many."""
    users: list[str] = liked["user_id"].unique().sort().to_list()
    if len(users) <= rules.most_users:
        return users
    drawn = np.random.default_rng(rules.seed).choice(len(users), rules.most_users, replace=False)
    return [users[place] for place in sorted(drawn)]


def rows_by_user(liked: pl.DataFrame, users: list[str], pool: Catalogue) -> list[Rows]:
    """The catalogue rows of what each user liked; artworks that the pool does not hold are left out."""
    placed = liked.with_columns(row=pl.Series(rows_in(pool, liked["artwork_id"].to_list()), dtype=pl.Int32))
    groups = placed.filter(pl.col("row") >= 0).group_by("user_id").agg("row")
    found = {user: rows.to_numpy() for user, rows in zip(groups["user_id"], groups["row"], strict=True)}
    return [found.get(user, np.zeros(0, np.int32)) for user in users]


def _lines(path: Path) -> pl.DataFrame:
    """The pairs of a file of 'user item item ...' lines as displays; raises BadImportError without any."""
    rows = (line.split() for line in path.read_text("utf-8").splitlines())
    pairs = [(row[0], artwork_id) for row in rows if row for artwork_id in row[1:]]
    if not pairs:
        raise BadImportError(path=path, reason="it holds no 'user item item ...' line")
    frame = pl.DataFrame(pairs, {"user_id": pl.String, "artwork_id": pl.String}, orient="row").unique()
    return frame.sort("user_id", "artwork_id").with_columns(
        kind=pl.lit("displayed").cast(pl.Enum(KINDS)),
        value=pl.lit(None, pl.Float32),
        at=pl.lit(0).cast(pl.Datetime("us", "UTC")),
    )


def _sets(liked: pl.DataFrame, users: list[str]) -> list[set[str]]:
    """What each user liked, in the pool or not."""
    groups = liked.group_by("user_id").agg("artwork_id")
    found = dict(zip(groups["user_id"], groups["artwork_id"], strict=True))
    return [set(found[user]) for user in users]


def _told_apart(replay: Replay, known: list[Known], test: pl.DataFrame, users: list[str]) -> list[float]:
    """How well liked and not liked are told apart among what each user met later; users without either are left."""
    met = test.filter(pl.col("user_id").is_in(users))
    met = met.with_columns(row=pl.Series(rows_in(replay.view.catalogue, met["artwork_id"].to_list()), dtype=pl.Int32))
    groups = met.filter(pl.col("row") >= 0).group_by("user_id").agg("row", "liked")
    groups = groups.filter(pl.col("liked").list.any() & ~pl.col("liked").list.all()).sort("user_id")
    of_user = dict(zip(users, known, strict=True))
    found = (
        _auc(replay, of_user[user], rows.to_numpy(), liked.to_numpy())
        for user, rows, liked in zip(groups["user_id"], groups["row"], groups["liked"], strict=True)
    )
    return [value for value in found if value is not None]


def _auc(replay: Replay, user: Known, rows: NDArray[np.int32], liked: NDArray[np.bool_]) -> float | None:
    """One user's; what cannot be scored counts as scored lowest."""
    scores = replay.scores(user, rows)
    if scores is None:
        return None
    scores = np.nan_to_num(scores, nan=float(np.nanmin(scores, initial=0.0)) - 1.0)
    return metrics.auc(scores[liked].tolist(), scores[~liked].tolist())


def _popularity(train: Snapshot, pool: Catalogue) -> dict[str, float]:
    """Share of users who met each artwork; one that nobody met counts as if one had."""
    counts = train.signals.group_by("artwork_id").agg(pl.len() / train.users)
    return dict.fromkeys(pool.ids, 1 / train.users) | dict(counts.iter_rows())


def _mean(values: Iterable[float]) -> float:
    """The mean over users; there is at least one."""
    return math.fsum(gathered := list(values)) / len(gathered)
