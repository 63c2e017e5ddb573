"""Interactions of real people (and of one frozen world over real paintings) as splits that models are judged on.

Each is read from where it lies, outside of the project, and never copied into it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from features.catalogue import Catalogue, empty
from features.pool_reading import append
from features.weights import KINDS
from tests.service import REPOSITORY
from training.dataset import Split, make_snapshot, split
from training.evaluate import split_of_files
from training.pool import bare_pool

DATA = REPOSITORY.parent / "shared" / "data"
YEARS = 3_650.0  # half-life of listening that was logged over twenty years, in days
DAYS = 90.0

_COLUMNS = ("user_id", "artwork_id", "at", "kind", "value")


def movies() -> tuple[Split, Catalogue]:
    """MovieLens-1M, a fixed random split of the literature."""
    return split_of_files(DATA / "ml1m_split" / "train.txt", DATA / "ml1m_split" / "test.txt")


def listening() -> tuple[Split, Catalogue]:
    """last.fm, a fixed random split: lines of user, artist and weight, which is left out; they end in returns."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("train.txt", "test.txt"):
            lines = (DATA / "lastfm" / name).read_text("utf-8").splitlines()
            (Path(folder) / name).write_text("".join(f"{' '.join(line.split()[:2])}\n" for line in lines), "utf-8")
        return split_of_files(Path(folder) / "train.txt", Path(folder) / "test.txt")


def music() -> tuple[Split, Catalogue]:
    """Amazon Digital Music, stamps of whole days, cut in time."""
    frame = pl.read_parquet(DATA / "amazon_music" / "interactions.parquet")
    seen = frame.select(
        user_id="user",
        artwork_id="item",
        kind=pl.lit("displayed").cast(pl.Enum(KINDS)),
        value=pl.lit(None, pl.Float32),
        at=pl.from_epoch("ts").cast(pl.Datetime("us", "UTC")),
    )
    pool = bare_pool(seen["artwork_id"].unique().sort().to_list())
    return split(make_snapshot(_sorted(seen), YEARS)), pool


def paintings() -> tuple[Split, Catalogue]:
    """Real paintings with content, invented people who watch them for months, cut in time."""
    frame = pl.read_parquet(DATA / "wikiart_world" / "exposures.parquet")
    events = pl.concat(list(_events_of(frame.with_columns(at=pl.col("shown_at").cast(pl.Datetime("us", "UTC"))))))
    return split(make_snapshot(_sorted(events), DAYS)), _gallery()


SETS: dict[str, Callable[[], tuple[Split, Catalogue]]] = {
    "ml1m": movies,
    "lastfm": listening,
    "amazon_music": music,
    "wikiart_world": paintings,
}


def _events_of(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """What each exposure was: a display, and what followed it."""
    rendered = pl.col("rendered")
    which = {
        "displayed": pl.lit(value=True),
        "dwell": rendered & (pl.col("dwell_s") > 0) & ~pl.col("skip"),
        "like": pl.col("vote") > 0,
        "dislike": pl.col("vote") < 0,
        "skip": pl.col("skip"),
        "favourite": pl.col("favourite"),
    }
    for kind, happened in which.items():
        value = pl.col("dwell_s") if kind == "dwell" else pl.lit(None)
        yield frame.filter(happened).select(
            "user_id", "artwork_id", kind=pl.lit(kind).cast(pl.Enum(KINDS)), value=value.cast(pl.Float32), at="at"
        )


def _gallery() -> Catalogue:
    """The paintings as a catalogue with content vectors."""
    frame = pl.read_parquet(DATA / "wikiart_world" / "artworks.parquet").with_row_index("artwork_key")
    named = frame.select(
        pl.exclude("artist", "created_at"),
        artists="artist",
        created=pl.col("created_at").dt.epoch("ms") / 1_000,
        motifs=pl.lit(None),
    )
    return append(empty(), named.to_dicts())


def _sorted(events: pl.DataFrame) -> pl.DataFrame:
    """As `features.signals.read_events` sorts them."""
    return events.sort("user_id", "artwork_id", "at", "kind", "value")
