"""Reads our own log of drawn lists, and what another model gives to the artworks that they were drawn from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import psycopg
from psycopg.rows import dict_row

from features.arrays import Floats
from features.catalogue import Catalogue
from features.database import query
from features.errors import BadBundleError, CannotScoreError
from features.settings import Settings
from serving import bundle as bundles
from serving.exploration import Sampler
from serving.model import Model, make_model
from serving.ranking import signal_rows_of
from training.experiments.logged import Drawn
from training.pool import take_pool
from training.retrace import signals_then


class Rescored(NamedTuple):
    """Lists whose heads another model can score whole, and how many it cannot."""

    lists: list[Drawn]
    scores: list[Floats]
    left_out: int


def read_drawn(connection: psycopg.Connection, days: int) -> list[Drawn]:
    """The drawn lists of the last ``days``. A like counts for the last of the user's that the artwork was drawn for."""
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        rows = cursor.execute(query("drawn_lists"), {"days": days}).fetchall()
    units = {user_id: place for place, user_id in enumerate(sorted({row["user_id"] for row in rows}))}
    latest = {(row["user_id"], key): place for place, row in enumerate(rows) for key in _drawn_keys(row)}
    return [
        _drawn(row, units[row["user_id"]], {key for key in row["liked"] if latest.get((row["user_id"], key)) == place})
        for place, row in enumerate(rows)
    ]


def rescore(connection: psycopg.Connection, settings: Settings, lists: list[Drawn], version: str) -> Rescored:
    """What the bundle of a version on this disk gives to each head, by the user's signals of then.

    A list is left out where the model cannot score the user or an artwork of the head, or the pool has lost one.
    Raises BadBundleError where there is no such bundle.
    """
    pool = take_pool(connection)
    model = _model(settings, version).aligned(pool.ids, pool.vectors)
    kept, scores = [], []
    for each in lists:
        found = _scores(connection, settings, pool, model, each)
        if found is not None:
            kept.append(each)
            scores.append(found)
    return Rescored(kept, scores, len(lists) - len(kept))


def _drawn_keys(row: dict[str, Any]) -> set[int]:
    """What of a list was left to chance."""
    return set(row["artwork_keys"]) & set(row["head_keys"])


def _drawn(row: dict[str, Any], unit: int, liked: set[int]) -> Drawn:
    """A row of query drawn_lists."""
    sampler = row["sampler"]
    return Drawn(
        user_id=row["user_id"],
        served_at=row["served_at"],
        unit=unit,
        sampler=Sampler(sampler["temperature"], sampler["epsilon"]),
        seed=sampler["seed"],
        drawn=sampler["drawn"],
        head_keys=np.array(row["head_keys"], np.int32),
        head_scores=np.array(row["head_scores"], np.float32),
        rewards={key: float(key in liked) for key in _drawn_keys(row)},
    )


def _model(settings: Settings, version: str) -> Model:
    """The model of a version. Raises BadBundleError."""
    for folder in sorted(settings.bundles_path.glob("*")):
        try:
            bundle = bundles.load(folder)
        except BadBundleError:
            continue
        if bundle.manifest.version == version:
            return make_model(bundle)
    raise BadBundleError(path=settings.bundles_path, reason=f"no sound bundle here is of version {version}")


def _scores(
    connection: psycopg.Connection, settings: Settings, pool: Catalogue, model: Model, each: Drawn
) -> Floats | None:
    """One head's scores; None where one is missing."""
    rows = pool.rows(each.head_keys)
    if len(rows) < len(each.head_keys):
        return None
    keys, weights = signals_then({"user_id": each.user_id, "at": each.served_at}, connection, settings)
    try:
        scores = model.score(*signal_rows_of(pool, keys, weights), rows)
    except CannotScoreError:
        return None
    return None if np.isnan(scores).any() else scores
