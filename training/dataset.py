"""What a model is trained and judged on: a snapshot of the signals, its hash, and one cut in time.

Nothing looks back across the cut: weights on the training side come from events before it alone, ages included,
so a favourite given after the cut to an artwork seen before it helps nobody.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
import polars as pl
import psycopg

from features.event_frames import number
from features.signals import read_events, sum_signals

TEST_SHARE = 0.2
TEST_SHARE_RANGE = (0.05, 0.5)  # stamps so coarse that no cut comes nearer are as good as none
LEAST_TEST_USERS = 0.05  # share of users that a cut in time must be able to judge


@dataclass(frozen=True)
class Snapshot:
    """All signals at one moment; ``digest`` is the sha256 of its sorted events, before any weight."""

    events: pl.DataFrame
    signals: pl.DataFrame
    half_life_days: float
    votes_left_out: int = 0

    @cached_property
    def digest(self) -> str:
        """What tells it from others, sha256 in hex."""
        return hash_rows(self.events)

    @property
    def users(self) -> int:
        """How many users gave a signal."""
        return self.signals["user_id"].n_unique()

    @property
    def artworks(self) -> int:
        """How many artworks got one."""
        return self.signals["artwork_id"].n_unique()

    @property
    def newest(self) -> str:
        """When the newest event happened, ISO 8601 in UTC; empty without events."""
        newest = self.events["at"].max()
        return newest.isoformat() if isinstance(newest, datetime) else ""


@dataclass(frozen=True)
class Split:
    """What to train on, and what the same users then met: user_id, artwork_id, liked."""

    kind: Literal["time", "random"]
    train: Snapshot
    test: pl.DataFrame

    @property
    def test_users(self) -> int:
        """How many users can be judged."""
        return self.test.filter("liked")["user_id"].n_unique()


def take_snapshot(connection: psycopg.Connection, half_life_days: float) -> Snapshot:
    """Read the signals now."""
    events = read_events(connection)
    return make_snapshot(events.frame, half_life_days, events.votes_left_out)


def make_snapshot(
    events: pl.DataFrame, half_life_days: float, votes_left_out: int = 0, until: datetime | None = None
) -> Snapshot:
    """A snapshot of events that are sorted as `read_events` sorts them; ages count from ``until``, or the newest."""
    signals = sum_signals(events, half_life_days, until)
    return Snapshot(events, signals, half_life_days, votes_left_out)


def hash_rows(frame: pl.DataFrame) -> str:
    """The sha256 of the frame's columns in hex: of texts the distinct ones and their numbers, of others the numbers."""
    digest = hashlib.sha256()
    for column in frame:
        if column.dtype == pl.String:
            texts, numbers = number(column)
            digest.update(msgspec.json.encode(texts))
        else:
            numbers = column.to_physical().to_numpy()
        digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()


def mark_liked(signals: pl.DataFrame) -> pl.DataFrame:
    """Add the column liked: taste is positive, or any pair where nothing in the data tells of taste at all."""
    told = not signals["taste"].is_null().all()
    return signals.with_columns(liked=(pl.col("taste") > 0).fill_null(False) if told else pl.lit(True))


def split(snapshot: Snapshot, seed: int = 0) -> Split:
    """Cut the snapshot in time, or at random per user where its stamps cannot carry a cut."""
    cut = find_cut(snapshot.signals["at"])
    if cut is not None:
        by_time = split_by_time(snapshot, cut)
        if by_time.test_users > LEAST_TEST_USERS * snapshot.users:
            return by_time
    return split_at_random(snapshot, seed)


def find_cut(stamps: pl.Series) -> datetime | None:
    """The stamp from which on about TEST_SHARE of the rows lie, always between distinct stamps; None where none fits.

    Stamps of whole days come in large ties; a cut inside a tie would let the model see half of a day that it is
    judged on.
    """
    counts = stamps.value_counts(name="rows").sort(stamps.name, descending=True)
    shares = counts.with_columns(share=pl.col("rows").cum_sum() / len(stamps))
    fitting = shares.filter(pl.col("share").is_between(*TEST_SHARE_RANGE))
    best = fitting.sort((pl.col("share") - TEST_SHARE).abs()).head(1)
    return None if best.is_empty() else best[stamps.name].item()


def split_by_time(snapshot: Snapshot, cut: datetime) -> Split:
    """Train on the events before ``cut``, test on what users known by then first met from it on."""
    train = make_snapshot(snapshot.events.filter(pl.col("at") < cut), snapshot.half_life_days, until=cut)
    later = mark_liked(snapshot.signals).filter(pl.col("at") >= cut)
    known = train.signals.select("user_id").unique()
    test = later.join(known, on="user_id", how="semi", maintain_order="left")
    return Split("time", train, test.select("user_id", "artwork_id", "liked"))


def split_at_random(snapshot: Snapshot, seed: int) -> Split:
    """Hold out TEST_SHARE of what each user liked (at least 1, where there are 2), drawn with ``seed``."""
    liked = mark_liked(snapshot.signals).filter("liked").select("user_id", "artwork_id", "liked")
    drawn = liked.with_columns(draw=pl.Series(np.random.default_rng(seed).permutation(liked.height), dtype=pl.Int64))
    count = pl.len().over("user_id")
    held = pl.when(count > 1).then((count * TEST_SHARE).round().clip(lower_bound=1)).otherwise(0)
    test = drawn.filter(pl.col("draw").rank("ordinal").over("user_id") <= held).drop("draw")
    kept = snapshot.events.join(test, on=["user_id", "artwork_id"], how="anti", maintain_order="left")
    return Split("random", make_snapshot(kept, snapshot.half_life_days), test)
