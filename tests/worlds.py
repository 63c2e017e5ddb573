"""Whole worlds without a database: events as `features.signals.read_events` has them, and the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.catalogue import Catalogue, empty
from features.pool_reading import LOAD_BATCH, append
from features.weights import KINDS
from tests.service import REPOSITORY
from training.synth import World, make_world
from training.synth_pool import GENRES, MOODS
from training.synth_recipe import STYLES, Recipe

WIKIART = REPOSITORY.parent / "shared" / "data" / "wikiart_world"


@dataclass(frozen=True)
class Stage:
    """Everything that training would read of a world."""

    name: str
    events: pl.DataFrame  # user_id, artwork_id, kind, value, at; sorted
    pool: Catalogue
    truth: pl.DataFrame  # user_id, artwork_id, true_preference at the end: some artworks per user, seen or not


TRUE_ROWS = 200  # per user


def synthetic(recipe: Recipe) -> Stage:
    """Our own synthetic world; every artwork that was ever created is in the pool."""
    world = make_world(recipe)
    shown = world.exposures
    users, ids = np.array(world.users.ids), np.array(world.artworks.ids)
    exposures = {
        "user_id": users[shown.user_rows], "artwork_id": ids[shown.artwork_rows],
        "at": pl.Series(shown.shown_at).cast(pl.Datetime("us", "UTC")),
        "dwell": shown.dwell, "vote": shown.vote, "favourite": shown.favourite, "skip": shown.skip,
    }  # fmt: skip
    return Stage("synthetic", events_of(pl.DataFrame(exposures)), pool_of(_artworks(world)), _truth(world))


def wikiart(folder: Path = WIKIART) -> Stage:
    """The frozen world over real paintings; what was not rendered left no trace."""
    exposures = pl.read_parquet(folder / "exposures.parquet").filter("rendered")
    exposures = exposures.rename({"dwell_s": "dwell"}).with_columns(
        at=pl.col("shown_at").cast(pl.Datetime("us", "UTC"))
    )
    artworks = pl.read_parquet(folder / "artworks.parquet").rename({"artist": "artists"})
    pool = pool_of(artworks.iter_rows(named=True))
    return Stage("wikiart", events_of(exposures), pool, pl.read_parquet(folder / "truth.parquet"))


def events_of(exposures: pl.DataFrame) -> pl.DataFrame:
    """Exposures (user_id, artwork_id, at, dwell, vote, favourite, skip) as one row per display or signal."""
    nothing = pl.lit(None, pl.Float32)
    parts = {
        "displayed": (pl.lit(value=True), nothing),
        "dwell": (pl.col("dwell") > 0, pl.col("dwell").cast(pl.Float32)),
        "like": (pl.col("vote") == 1, nothing),
        "dislike": (pl.col("vote") == -1, nothing),
        "skip": (pl.col("skip"), nothing),
        "favourite": (pl.col("favourite"), nothing),
    }
    frames = [
        exposures.filter(which).select(
            "user_id", "artwork_id", pl.lit(kind).cast(pl.Enum(KINDS)).alias("kind"), value.alias("value"), "at"
        )
        for kind, (which, value) in parts.items()
    ]
    return pl.concat(frames).sort("user_id", "artwork_id", "at", "kind", "value")


def pool_of(artworks: Iterable[Mapping[str, Any]]) -> Catalogue:
    """A catalogue of artworks as dictionaries of the host's columns, read as serving reads them."""
    rows = [
        {
            "artwork_key": key,
            "id": artwork["id"],
            "created": artwork["created_at"].timestamp(),
            "prompt": artwork["prompt"] or "",
            "dna_vector": artwork["dna_vector"],
            "motifs": artwork.get("motifs"),
            "styles": artwork["styles"],
            "artists": artwork["artists"],
            "orientation": artwork["orientation"],
            "quality_score": artwork["quality_score"],
            "image_url": artwork["id"],
        }
        for key, artwork in enumerate(artworks, start=1)
    ]
    pool = empty()
    for start in range(0, len(rows), LOAD_BATCH):
        pool = append(pool, rows[start : start + LOAD_BATCH])
    return pool


def _truth(world: World) -> pl.DataFrame:
    """The true preference of every user for artworks that are drawn at random."""
    draw = np.random.default_rng(world.recipe.seed)
    works = np.stack([draw.choice(len(world.artworks.ids), TRUE_ROWS, replace=False) for _ in world.users.ids])
    people = np.repeat(np.arange(len(works)), TRUE_ROWS)
    return pl.DataFrame(
        {
            "user_id": np.array(world.users.ids)[people],
            "artwork_id": np.array(world.artworks.ids)[works.ravel()],
            "true_preference": world.preference(people, works.ravel()),
        }
    )


def _artworks(world: World) -> Iterable[dict[str, Any]]:
    """The host's columns of a synthetic world, as training.synth_store writes them."""
    works = world.artworks
    created = pl.Series(works.created_at).cast(pl.Datetime("us", "UTC")).to_list()
    for row, artwork_id in enumerate(works.ids):
        tags = [STYLES[style] for style in (works.style_rows[row], works.second_style_rows[row]) if style >= 0]
        motifs = [tags[0], GENRES[works.genre_rows[row]], MOODS[works.mood_rows[row]]]
        yield {
            "id": artwork_id,
            "created_at": created[row],
            "prompt": works.prompts[row],
            "dna_vector": works.dna[row],
            "motifs": motifs if works.is_library[row] else [],
            "styles": tags,
            "artists": [works.artist_names[works.artist_rows[row]]],
            "orientation": works.orientations[row],
            "quality_score": float(works.quality[row]),
        }
