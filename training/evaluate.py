"""Judges a bundle by the code that serves: fold-in at request time from the training signals, the seen left out.

Whatever is judged here goes through serving.rankers; there is no second way to score.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.arrays import Floats, Rows
from features.errors import BadImportError
from serving.bundle import Bundle
from serving.rankers import FactorRanker, make_factor_ranker
from training import metrics
from training.learner import Learner, learn

PLACES = 20


@dataclass(frozen=True)
class Rules:
    """How to judge: length of the lists, users at most (drawn with the seed), latest signals that are folded in."""

    places: int = PLACES
    most_users: int = 2_000
    signals_per_user: int = 200
    seed: int = 0


def judge(bundle: Bundle, train: pl.DataFrame, test: pl.DataFrame, rules: Rules) -> dict[str, float]:
    """Metrics of the lists that the users of ``test`` would have got after ``train``; empty when nobody liked a thing.

    ``train`` is a frame of `features.signals.sum_signals`; ``test`` has user_id, artwork_id and liked, of users that
    are in ``train``. Artworks that the bundle does not know count as missed. What users could like was chosen by
    whoever showed it, so recall also measures that policy; `auc_shown` (absent where nobody met both) does not.
    Content bundles need the catalogue and are not judged here: empty as well.
    """
    liked = test.filter("liked")
    if bundle.manifest.kind == "content" or liked.is_empty():
        return {}
    ranker = make_factor_ranker(bundle)
    users = _draw_users(liked, rules)
    known, met = _by_user(train, users), _by_user(test, users)
    lists = {user: _recommend(ranker, known[user], rules) for user in users}
    relevant = {user: set(met[user].filter("liked")["artwork_id"]) for user in users}
    told_apart = [value for user in users if (value := _auc_shown(ranker, known[user], met[user], rules)) is not None]
    return {
        f"recall_at_{rules.places}": _mean(metrics.recall(lists[user], relevant[user]) for user in lists),
        f"ndcg_at_{rules.places}": _mean(metrics.ndcg(lists[user], relevant[user], rules.places) for user in lists),
        f"coverage_at_{rules.places}": metrics.coverage(lists.values(), len(ranker.row_of)),
        f"novelty_at_{rules.places}": metrics.novelty(lists.values(), _popularity(train)),
        **({"auc_shown": _mean(told_apart)} if told_apart else {}),
        "users_judged": float(len(users)),
    }


def evaluate_files(learner: Learner, train: Path, test: Path, rules: Rules) -> dict[str, float]:
    """Train on one file and judge on another, both of 'user item item ...' lines: fixed splits of the literature."""
    signals = read_lines(train).with_columns(
        weight=pl.lit(1.0, pl.Float32), taste=pl.lit(None, pl.Float32), at=pl.lit(0).cast(pl.Datetime("us", "UTC"))
    )
    bundle = learn(learner, signals, snapshot="", half_life_days=1.0)
    liked = read_lines(test).join(signals, on="user_id", how="semi").with_columns(liked=pl.lit(value=True))
    return judge(bundle, signals, liked, rules)


def read_lines(path: Path) -> pl.DataFrame:
    """The pairs user_id, artwork_id of a file of 'user item item ...' lines; raises BadImportError without any."""
    rows = (line.split() for line in path.read_text("utf-8").splitlines())
    pairs = [(row[0], artwork_id) for row in rows if row for artwork_id in row[1:]]
    if not pairs:
        raise BadImportError(path=path, reason="it holds no 'user item item ...' line")
    return pl.DataFrame(pairs, {"user_id": pl.String, "artwork_id": pl.String}, orient="row")


def _draw_users(liked: pl.DataFrame, rules: Rules) -> list[str]:
    """The users to judge, sorted; a seeded sample when there are many."""
    users = liked["user_id"].unique().sort().to_list()
    if len(users) <= rules.most_users:
        return users
    drawn = np.random.default_rng(rules.seed).choice(len(users), rules.most_users, replace=False)
    return [users[place] for place in sorted(drawn)]


def _by_user(frame: pl.DataFrame, user_ids: list[str]) -> dict[str, pl.DataFrame]:
    """The rows of each of these users."""
    theirs = frame.filter(pl.col("user_id").is_in(user_ids)).partition_by("user_id", as_dict=True, maintain_order=True)
    return {str(user_id): rows for (user_id,), rows in sorted(theirs.items())}


def _recommend(ranker: FactorRanker, known: pl.DataFrame, rules: Rules) -> list[str]:
    """The best unseen artworks of one user, best first; ties go by row."""
    seen = ranker.rows_of(known["artwork_id"].to_list())
    unseen = np.ones(len(ranker.row_of), dtype=bool)
    unseen[seen[seen >= 0]] = False
    candidates = np.flatnonzero(unseen).astype(np.int32)
    scores = _score(ranker, known, candidates, rules)
    best = _top(scores, rules.places)
    return [str(artwork_id) for artwork_id in ranker.bundle.arrays["artwork_ids"][candidates[best]]]


def _auc_shown(ranker: FactorRanker, known: pl.DataFrame, met: pl.DataFrame, rules: Rules) -> float | None:
    """How well liked and not liked are told apart among what the user met later; None without either."""
    rows = ranker.rows_of(met["artwork_id"].to_list())
    liked = met["liked"].to_numpy()[rows >= 0]
    if liked.all() or not liked.any():
        return None
    scores = _score(ranker, known, rows[rows >= 0], rules)
    return metrics.auc(scores[liked].tolist(), scores[~liked].tolist())


def _score(ranker: FactorRanker, known: pl.DataFrame, candidates: Rows, rules: Rules) -> Floats:
    """Scores of candidates as a request would get them."""
    folded = _latest(known, rules.signals_per_user)
    return ranker.score(ranker.rows_of(folded["artwork_id"].to_list()), folded["weight"].to_numpy(), candidates)


def _top(scores: np.ndarray, places: int) -> np.ndarray:
    """Where the greatest scores are, greatest first."""
    if len(scores) > places:
        least = np.partition(scores, len(scores) - places)[-places]
        chosen = np.flatnonzero(scores >= least)
    else:
        chosen = np.arange(len(scores))
    return chosen[np.argsort(-scores[chosen], kind="stable")][:places]


def _latest(known: pl.DataFrame, most: int) -> pl.DataFrame:
    """What a request reads: the user's latest signals of taste, and as many of the latest mere displays."""
    newest_first = known.sort("at", descending=True, maintain_order=True)
    told = newest_first.filter(pl.col("taste").is_not_null()).head(most)
    shown = newest_first.filter(pl.col("taste").is_null()).head(most)
    return pl.concat([told, shown])


def _popularity(train: pl.DataFrame) -> dict[str, float]:
    """Share of users who met each artwork."""
    users = train["user_id"].n_unique()
    counts = train.group_by("artwork_id").agg(pl.len() / users)
    return dict(counts.iter_rows())


def _mean(values: Iterable[float]) -> float:
    """The mean over users; there is at least one."""
    return math.fsum(gathered := list(values)) / len(gathered)
