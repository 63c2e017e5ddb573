"""Judges a bundle by the code that serves: lists from training.replay, metrics from training.metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from features.arrays import Floats, Rows
from features.catalogue import Catalogue
from features.errors import BadImportError
from features.weights import KINDS
from serving.bundle import Bundle
from training import metrics
from training.dataset import Snapshot, Split, make_snapshot
from training.intervals import Interval, interval
from training.pool import bare_pool
from training.replay import Known, Replay, rows_in, what_is_known
from training.slices import by_style, slice_users

PLACES = 20
#: What every judged user has a figure of; the last three where they apply.
FIGURES = ("recall", "ndcg", "hit_rate", "mrr", "map", "recall_warm", "recall_cold", "diversity")
#: Of these the standard error over users is told too, so that a fall can be told from chance.
WITH_ERROR = ("recall", "ndcg", "recall_cold", "diversity")


@dataclass(frozen=True)
class Rules:
    """How to judge: length of the lists, users at most (drawn with the seed), latest signals that are folded in."""

    places: int = PLACES
    most_users: int = 2_000
    signals_per_user: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """The metrics as means over users; behind them each user's own figures, and tables of slices and of styles.

    ``users`` has one row per judged user: user_id, signals (folded in), coverage (of the pool, at the cut) and the
    figures named in FIGURES, null where one does not apply. ``slices`` and ``styles`` are training.slices'.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    users: pl.DataFrame = field(default_factory=pl.DataFrame)
    slices: pl.DataFrame = field(default_factory=pl.DataFrame)
    styles: pl.DataFrame = field(default_factory=pl.DataFrame)

    def intervals(self) -> dict[str, Interval]:
        """The mean over users of each figure that somebody has, with its interval."""
        columns = {name: self.users[name].drop_nulls().to_numpy() for name in FIGURES if name in self.users.columns}
        return {name: interval(values) for name, values in columns.items() if len(values)}


@dataclass(frozen=True)
class Answer:
    """What one user would have got: catalogue rows and ids, best first; beside what the user then liked."""

    user_id: str
    known: Known
    rows: Rows
    listed: list[str]
    wanted: set[str]


def judge(bundle: Bundle, halves: Split, pool: Catalogue, rules: Rules) -> Judged:
    """Judge the lists that the users of the test side would have got after the training side.

    Nothing to judge where nobody liked a thing. Artworks that the pool does not hold count as missed. What users
    could like was chosen by whoever showed it, so recall also measures that policy; `auc_shown` (absent where nobody
    met both) does not. Cold artworks are those that nobody had met on the training side.
    """
    with threadpool_limits(1, "blas"):  # products of one user each: more threads only wait for each other
        return _judge(bundle, halves, pool, rules)


def _judge(bundle: Bundle, halves: Split, pool: Catalogue, rules: Rules) -> Judged:
    """The same, with as many threads as there are."""
    liked = halves.test.filter("liked")
    if liked.is_empty():
        return Judged()
    users = draw_users(liked, rules)
    replay = Replay(bundle, pool)
    known = what_is_known(halves.train.signals, users, pool, rules.signals_per_user)
    found = replay.lists(known, rules.places)
    answers = [
        Answer(user, state, rows, [pool.ids[row] for row in rows], wanted)
        for user, state, rows, wanted in zip(users, known, found, _sets(liked, users), strict=True)
    ]
    trained = frozenset(halves.train.signals["artwork_id"].unique().to_list())
    each = _figures(answers, pool, trained, rules.places)
    lists = [answer.listed for answer in answers]
    at = f"_at_{rules.places}"
    means = {f"{name}{at}": mean for name in FIGURES if (mean := each[name].mean()) is not None}
    return Judged(
        {
            **{name: float(mean) for name, mean in means.items()},  # type: ignore[arg-type] # of floats
            **{
                f"{name}{at}_error": error
                for name in WITH_ERROR
                if (error := _error(each[name].drop_nulls())) is not None
            },
            f"coverage{at}": metrics.coverage(lists, pool.size),
            f"novelty{at}": metrics.novelty(lists, _popularity(halves.train, pool)),
            "repeat_rate": metrics.repeat_rate(found, [set(user.seen.tolist()) for user in known]),
            **_told_apart(replay, known, halves.test, users),
            "users_judged": float(len(users)),
            "users_judged_cold": float(each["recall_cold"].count()),
        },
        each,
        slice_users(each),
        by_style(found, rows_by_user(liked, users, pool), pool),
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
    words = pl.Series(path.read_text("utf-8").splitlines(), dtype=pl.String).str.extract_all(r"\S+")
    lines = pl.DataFrame({"user_id": words.list.first(), "artwork_id": words.list.slice(1)})
    frame = lines.explode("artwork_id").drop_nulls().unique()
    if frame.is_empty():
        raise BadImportError(path=path, reason="it holds no 'user item item ...' line")
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


def _figures(answers: list[Answer], pool: Catalogue, trained: AbstractSet[str], places: int) -> pl.DataFrame:
    """Each user's own figures, as `Judged.users` has them."""
    pairs = [(answer.listed, answer.wanted) for answer in answers]
    columns: dict[str, list[float] | list[float | None]] = {
        "recall": [metrics.recall(listed, wanted) for listed, wanted in pairs],
        "ndcg": [metrics.ndcg(listed, wanted, places) for listed, wanted in pairs],
        "hit_rate": [metrics.hit(listed, wanted) for listed, wanted in pairs],
        "mrr": [metrics.reciprocal_rank(listed, wanted) for listed, wanted in pairs],
        "map": [metrics.average_precision(listed, wanted, places) for listed, wanted in pairs],
        "recall_warm": [
            metrics.recall(listed, warm) if (warm := wanted & trained) else None for listed, wanted in pairs
        ],
        "recall_cold": [metrics.cold_recall(listed, wanted, trained) for listed, wanted in pairs],
        "diversity": [metrics.diversity(pool.vectors[answer.rows]) for answer in answers],
    }
    return pl.DataFrame(
        {
            "user_id": [answer.user_id for answer in answers],
            "signals": [len(answer.known.signal_rows) for answer in answers],
            "coverage": [int(pool.active[answer.known.seen].sum()) / max(pool.size, 1) for answer in answers],
            **{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()},
        }
    )


def _error(values: pl.Series) -> float | None:
    """The standard error of a mean over users; None with fewer than two."""
    return float(values.to_numpy().std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else None


def _told_apart(replay: Replay, known: list[Known], test: pl.DataFrame, users: list[str]) -> dict[str, float]:
    """How well scores tell liked from not liked among what users met later: auc_shown and calibration_error."""
    met = test.filter(pl.col("user_id").is_in(users))
    met = met.with_columns(row=pl.Series(rows_in(replay.view.catalogue, met["artwork_id"].to_list()), dtype=pl.Int32))
    groups = met.filter(pl.col("row") >= 0).group_by("user_id").agg("row", "liked").sort("user_id")
    of_user = dict(zip(users, known, strict=True))
    scored = [
        (margins, liked.to_numpy())
        for user, rows, liked in zip(groups["user_id"], groups["row"], groups["liked"], strict=True)
        if (margins := replay.margins(of_user[user], rows.to_numpy())) is not None
    ]
    if all(liked.all() for _, liked in scored):  # a data set of likes alone
        return {}
    aucs = [_auc(margins, liked) for margins, liked in scored if liked.any() and not liked.all()]
    return {**({"auc_shown": _mean(aucs)} if aucs else {}), **_calibration(scored)}


def _auc(scores: Floats, liked: NDArray[np.bool_]) -> float:
    """One user's; what cannot be scored counts as scored lowest."""
    scores = np.nan_to_num(scores, nan=float(np.nanmin(scores, initial=0.0)) - 1.0)
    return metrics.auc(scores[liked].tolist(), scores[~liked].tolist())


def _calibration(scored: list[tuple[Floats, NDArray[np.bool_]]]) -> dict[str, float]:
    """The expected calibration error of the scores, each half of the users mapped to probabilities by the other.

    Isotonic regression (Zadrozny & Elkan, KDD 2002) of liked on the score above the user's own median over the pool;
    mapped and measured on the same users it would be 0 by construction.
    """
    halves = [_joined(scored[half::2]) for half in (0, 1)]
    if any(len(scores) == 0 for scores, _ in halves):
        return {}
    expected = [
        IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(*other).predict(scores)
        for (scores, _), other in zip(halves, reversed(halves), strict=True)
    ]
    happened = np.concatenate([liked for _, liked in halves])
    return {"calibration_error": metrics.calibration_error(np.concatenate(expected), happened)}


def _joined(scored: list[tuple[Floats, NDArray[np.bool_]]]) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores and outcomes of several users in one row; what has no score is left out."""
    scores = np.concatenate([np.zeros(0, np.float32), *(margins for margins, _ in scored)])
    liked = np.concatenate([np.zeros(0, bool), *(outcome for _, outcome in scored)])
    return scores[~np.isnan(scores)], liked[~np.isnan(scores)]


def _popularity(train: Snapshot, pool: Catalogue) -> dict[str, float]:
    """Share of users who met each artwork; one that nobody met counts as if one had."""
    counts = train.signals.group_by("artwork_id").agg(pl.len() / train.users)
    return dict.fromkeys(pool.ids, 1 / train.users) | dict(counts.iter_rows())


def _mean(values: Iterable[float]) -> float:
    """The mean over users; there is at least one."""
    return math.fsum(gathered := list(values)) / len(gathered)
