"""What a fit is given, made from a few rows; and rankers and models of what it makes of them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from features.weights import KINDS
from serving.bundle import Bundle
from serving.host_artworks import HostArtwork
from serving.leases import ListRow, Offer, Written
from serving.model import Model, make_model
from serving.rankers import FactorRanker, make_factor_ranker
from training.dataset import Snapshot, make_snapshot
from training.learner import Given, Learner, learn
from training.pool import bare_pool

DAY = datetime(2026, 3, 1, tzinfo=UTC)
SIDE = 12


def signals(pairs: list[tuple[str, str, float]]) -> pl.DataFrame:
    """A frame of signals, all on one day."""
    return pl.DataFrame(
        {
            "user_id": pl.Series([user_id for user_id, _, _ in pairs], dtype=pl.String),
            "artwork_id": pl.Series([artwork_id for _, artwork_id, _ in pairs], dtype=pl.String),
            "weight": pl.Series([weight for _, _, weight in pairs], dtype=pl.Float32),
            "taste": pl.Series([weight for _, _, weight in pairs], dtype=pl.Float32),
            "at": pl.Series([DAY] * len(pairs), dtype=pl.Datetime("us", "UTC")),
        }
    )


def checkerboard() -> pl.DataFrame:
    """Even users like even artworks, odd ones odd ones, and nobody has met the artwork of their own number."""
    pairs = [(user, work) for user in range(SIDE) for work in range(SIDE) if user != work and (user - work) % 2 == 0]
    return signals([(f"user {user:02}", f"artwork {work:02}", 1.0) for user, work in pairs])


def given_signals(frame: pl.DataFrame) -> Given:
    """Weights as they are, of a pool without content."""
    return Given(Snapshot(frame.clear(), frame, 90.0), bare_pool(frame["artwork_id"].unique().sort().to_list()))


def given_likes(frame: pl.DataFrame) -> Given:
    """The same pairs as likes, so that a fit can split them."""
    kind = pl.lit("like").cast(pl.Enum(KINDS))
    events = frame.select("user_id", "artwork_id", kind.alias("kind"), value=pl.lit(None, pl.Float32), at=pl.col("at"))
    pool = bare_pool(frame["artwork_id"].unique().sort().to_list())
    return Given(make_snapshot(events.sort("user_id", "artwork_id"), 90.0), pool)


def factor_ranker(bundle: Bundle) -> FactorRanker:
    """The ranker of a bundle of factors."""
    (part,) = bundle.parts
    return make_factor_ranker(part.fold_in, bundle.arrays_of(part))


def model_of(learner: Learner, given: Given) -> Model:
    """What serves after the learner has fitted, aligned to the pool."""
    return make_model(learn(learner, given)).aligned(given.pool.ids, given.pool.vectors)


def as_written(row: ListRow) -> Written:
    """A list that was written as far as it was asked for, of artworks without columns."""
    never = datetime.max.replace(tzinfo=UTC)
    ranked = list(zip(row.artwork_keys.tolist(), row.scores.tolist(), row.rungs.tolist(), strict=True))[: row.limit]
    return Written([Offer(HostArtwork(key, 0, None), score, rung, "none", never) for key, score, rung in ranked], 0)
