"""Artworks that nobody has met: a fifth of them hidden from training, then looked for by those who liked some of them.

Candidates are the hidden artworks alone; what a user liked of them is what the user said (like, favourite). Exposure
decides what could be liked, so the true preference is shown beside: how much of what the best list would have over a
random one a list has. Every fold hides another fifth.

Popularity knows nothing of an artwork without history, so all hidden ones are equal to it: its recall is what ties
broken at random give in expectation. What the service does without a model, newest first, stands beside it: where
artworks were shown newest first, so that likes are of new ones, that order is better than popularity by itself.

python tests/evidence/cold.py [--folds 5] [--users 1500] [--artworks 6000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from features.arrays import Floats, Rows
from features.content import WORD_LENGTH, space_of
from features.dna import DnaKind
from features.errors import CannotScoreError
from serving import heuristic
from serving.rankers import ContentRanker, make_taste_prior
from tests.stage import conclude
from tests.worlds import Stage, synthetic, wikiart
from training import als, roster
from training import content as taste
from training.dataset import make_snapshot
from training.evaluate import rows_by_user
from training.learner import Given, learn
from training.replay import Known, Replay, rows_in, what_is_known
from training.synth_recipe import Recipe

UNTIL = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
HALF_LIFE_DAYS, SIGNALS_PER_USER = 90.0, 200
FOLDS = 5  # a fifth of the artworks each
PLACES = 20
TRUE_PLACES = 5  # of the about forty hidden artworks whose true preference is known
WANTED = 3.0  # times popularity
NEWEST, SERVED, MAPPED = "no model: newest first", "the default blend", "content map (ALS)"
COPIES, COPIED = 20, 0.999  # a DNA that so many others equal says little of its artwork

KINDS = ("real", "low-information", "stub", "broken or null")

Score = Callable[[str, Known, Rows], Floats | None]
console = Console(width=180)


@dataclass(frozen=True)
class Fold:
    """One fifth hidden, and who liked something of it."""

    stage: Stage
    hidden: Rows
    given: Given
    users: list[str]
    known: list[Known]
    liked: list[Rows]
    true_rows: list[Rows]  # the hidden artworks whose true preference is known
    true: list[Floats]


def main() -> None:
    """Run both worlds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=FOLDS, help="how many of the five fifths to hide in turn")
    parser.add_argument("--users", type=int, default=1_500)
    parser.add_argument("--artworks", type=int, default=6_000)
    given = parser.parse_args()
    recipe = Recipe(users=given.users, artworks=given.artworks, days=90, until=UNTIL)
    figures = {stage.name: _judge(stage, given.folds) for stage in (synthetic(recipe), wikiart())}
    times = [max(each[name]["times_popularity"] for name in (MAPPED, SERVED)) for each in figures.values()]
    conclude("cold", figures, met=min(times) >= WANTED)


def _judge(stage: Stage, folds: int) -> dict[str, Any]:
    """All rankers over the folds of one world."""
    kinds = _populations(stage)
    found: dict[str, list[pl.DataFrame]] = {}
    for number in range(folds):
        fold = _hide(stage, number)
        console.log(f"{stage.name}: fold {number + 1}, {len(fold.users)} users")
        for name, score in _rankers(fold, number).items():
            found.setdefault(name, []).append(_lists(fold, score, kinds))
    judged = {name: _summary(pl.concat(parts)) for name, parts in found.items()}
    newest, popularity = judged[NEWEST]["recall_at_20"], PLACES / (len(stage.pool.ids) / FOLDS)
    for figures in judged.values():
        figures["times_popularity"] = figures["recall_at_20"] / popularity
        figures["times_newest_first"] = figures["recall_at_20"] / newest
    _show(stage, judged)
    cases = sum(frame.height for frame in found[NEWEST])
    return {
        "cases": cases,
        "popularity": {"recall_at_20": round(PLACES * FOLDS / len(stage.pool.ids), 4)},
        **{name: _rounded(figures) for name, figures in judged.items()},
    }


def _summary(frame: pl.DataFrame) -> dict[str, float]:
    """Means over users, and the standard error of the recall."""
    mean = {name: float(frame[name].drop_nulls().drop_nans().mean()) for name in frame.columns}  # type: ignore[arg-type]
    error = float(frame["recall_at_20"].std()) / frame.height**0.5  # type: ignore[arg-type]
    return {**mean, "standard_error": error}


def _hide(stage: Stage, number: int) -> Fold:
    """Take all that happened to one fifth of the artworks out of the training side."""
    order = np.random.default_rng(0).permutation(len(stage.pool.ids))
    hidden = np.sort(order[number::FOLDS]).astype(np.int32)
    ids = [stage.pool.ids[row] for row in hidden]
    of_hidden = pl.col("artwork_id").is_in(ids)
    train = make_snapshot(stage.events.filter(~of_hidden), HALF_LIFE_DAYS)
    said = stage.events.filter(of_hidden & pl.col("kind").is_in(["like", "favourite"]))
    liked = said.select("user_id", "artwork_id").unique()
    users = liked.join(train.signals, on="user_id", how="semi")["user_id"].unique().sort().to_list()
    known = what_is_known(train.signals, users, stage.pool, SIGNALS_PER_USER)
    true = stage.truth.filter(of_hidden & pl.col("user_id").is_in(users))
    true = true.with_columns(row=pl.Series(rows_in(stage.pool, true["artwork_id"].to_list()), dtype=pl.Int32))
    parts = {key[0]: part for key, part in true.partition_by("user_id", as_dict=True).items()}
    return Fold(
        stage=stage,
        hidden=hidden,
        given=Given(train, stage.pool),
        users=users,
        known=known,
        liked=rows_by_user(liked, users, stage.pool),
        true_rows=[parts[user]["row"].to_numpy() for user in users],
        true=[parts[user]["true_preference"].to_numpy() for user in users],
    )


def _rankers(fold: Fold, number: int) -> dict[str, Score]:
    """Everything that is compared."""
    pool, draw = fold.stage.pool, np.random.default_rng(number)
    served = Replay(learn(roster.make_learner("blend", on_step=console.log), fold.given), pool)
    mapped = Replay(learn(als.make_learner(als.AlsConfig()), fold.given), pool)
    words, looks = pool.vectors.copy(), pool.vectors.copy()
    words[:, WORD_LENGTH:] = 0.0
    looks[:, :WORD_LENGTH] = 0.0
    learnt = ContentRanker(pool.space, make_taste_prior(taste.fit(fold.given)))
    return {
        "random": lambda _user_id, _user, rows: draw.random(len(rows)).astype(np.float32),
        NEWEST: lambda user_id, user, rows: heuristic.score(
            pool, rows, np.zeros(len(rows), bool), coverage=len(user.seen) / pool.size, user_id=user_id
        ),
        "DNA only": _by_content(ContentRanker(space_of(looks))),
        "words only": _by_content(ContentRanker(space_of(words))),
        "taste, nothing learnt": _by_content(ContentRanker(pool.space)),
        "taste, learnt prior": _by_content(learnt),
        MAPPED: lambda _, user, rows: mapped.scores(user, rows),
        SERVED: lambda _, user, rows: served.scores(user, rows),
    }


def _by_content(ranker: ContentRanker) -> Score:
    """A content ranker as the others are asked."""

    def score(_: str, user: Known, rows: Rows) -> Floats | None:
        try:
            return ranker.score(user.signal_rows, user.weights, rows)
        except CannotScoreError:
            return None

    return score


def _lists(fold: Fold, score: Score, kinds: np.ndarray) -> pl.DataFrame:
    """Recall of each user's list, of the artworks of each DNA population too, and its share of what was possible."""
    rows = []
    for user_id, user, liked, true_rows, true in zip(
        fold.users, fold.known, fold.liked, fold.true_rows, fold.true, strict=True
    ):
        listed = fold.hidden[_best(score(user_id, user, fold.hidden), len(fold.hidden), PLACES)]
        hits = np.isin(liked, listed)
        best = _best(score(user_id, user, true_rows), len(true_rows), TRUE_PLACES)
        gain = _gain(true, best)
        by_kind = {
            kind: float(hits[kinds[liked] == kind].mean()) if (kinds[liked] == kind).any() else None for kind in KINDS
        }
        rows.append({"recall_at_20": float(hits.mean()), "share_of_possible": gain, **by_kind})
    return pl.DataFrame(
        rows, schema={"recall_at_20": pl.Float64, "share_of_possible": pl.Float64, **dict.fromkeys(KINDS, pl.Float64)}
    )


def _best(scores: Floats | None, count: int, places: int) -> np.ndarray:
    """Places of the best; those that come first where nothing can be scored."""
    if scores is None:
        return np.arange(min(places, count))
    return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:places]


def _gain(true: Floats, best: np.ndarray) -> float:
    """What a list has over a random one, as a share of what the best one has; NaN where there is nothing to choose."""
    possible = float(np.sort(true)[-TRUE_PLACES:].mean() - true.mean()) if len(true) > TRUE_PLACES else 0.0
    return float(true[best].mean() - true.mean()) / possible if possible > 0 else float("nan")


def _populations(stage: Stage) -> np.ndarray:
    """What each artwork's DNA is worth, shape (n,): an index into KINDS by name."""
    kinds = np.full(len(stage.pool.ids), KINDS[3], dtype=object)
    kinds[stage.pool.dna_kinds == DnaKind.STUB] = KINDS[2]
    real = np.flatnonzero(stage.pool.dna_kinds == DnaKind.REAL)
    looks = stage.pool.vectors[real, WORD_LENGTH:]
    looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    copied = ((looks @ looks.T) > COPIED).sum(axis=1) > COPIES
    kinds[real] = np.where(copied, KINDS[1], KINDS[0])
    return kinds


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """For reading."""
    return {name: round(value, 4) for name, value in figures.items()}


def _show(stage: Stage, judged: Mapping[str, Mapping[str, float]]) -> None:
    """One world's table."""
    names = ("recall_at_20", "standard_error", "times_popularity", "times_newest_first", "share_of_possible", *KINDS)
    table = Table("ranker", *names, title=f"{stage.name}: hidden artworks; recall by DNA at the right")
    for name, figures in judged.items():
        table.add_row(name, *(f"{figures[each]:.3f}" for each in names))
    console.print(table)


if __name__ == "__main__":
    main()
