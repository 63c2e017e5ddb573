"""NMF of 100,000 interactions from the database to a saved bundle, beside the library's fit on a ready matrix."""

from __future__ import annotations

import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from scipy.sparse import csr_array, diags_array
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from features.database import connect
from features.matrix import to_matrix
from features.settings import Settings
from serving import bundle as bundles
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.stage import stage
from training import nmf, tracking
from training.dataset import take_snapshot
from training.learner import Given
from training.pool import take_pool
from training.run import make_bundle, train
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

USERS, ARTWORKS = 3_000, 2_000  # that makes about 100,000 interactions


def run() -> list[Figure]:
    """Seconds of our way, with and without judging and registering, and of the library."""
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        world = make_world(Recipe(seed=1, users=USERS, artworks=ARTWORKS, until=datetime.now(UTC)))
        write_world(connection, world)
        tracking.versions(settings)  # making the store is no part of it
        matrix = _ready(take_snapshot(connection, settings.half_life_days).signals)
        reading: list[float] = []
        found = in_turns(
            {
                "bundle": lambda: _timed(_to_bundle, settings, connection, reading),
                "train": lambda: _timed(_train, settings, connection),
                "library": lambda: _timed(_library, matrix),
            },
            warm=False,
        )
    size = f"{matrix.nnz:,} interactions"
    library = "sklearn NMF.fit on a ready matrix"
    return [
        compare(f"database to saved bundle, {size}", "s", found["bundle"], library, found["library"], reach="<= 1.5"),
        compare("of which: reading the signals", "s", reading, library, found["library"]),
        compare("train: judged, fitted again, registered", "s", found["train"], library, found["library"]),
    ]


def _to_bundle(settings: Settings, connection: psycopg.Connection, reading: list[float]) -> None:
    """What is needed to serve: signals, matrix, fit, arrays, files. Notes the seconds of reading."""
    started = time.perf_counter()
    snapshot = take_snapshot(connection, settings.half_life_days)
    reading.append(time.perf_counter() - started)
    bundle = make_bundle(nmf.make_learner(nmf.NmfConfig()), Given(snapshot, take_pool(connection)), "none", {})
    with tempfile.TemporaryDirectory() as folder:
        bundles.save(Path(folder), bundle.manifest, bundle.arrays)


def _train(settings: Settings, connection: psycopg.Connection) -> None:
    """What `vernissage train nmf` does."""
    train(nmf.make_learner(nmf.NmfConfig()), settings, connection, on_step=lambda _: None)


def _library(matrix: csr_array) -> None:
    """The same factorisation by the library alone, with the same settings and threads."""
    config = nmf.NmfConfig()
    model = NMF(
        n_components=config.n_components,
        init="nndsvda",
        max_iter=config.max_iter,
        tol=config.tol,
        random_state=config.seed,
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(matrix)


def _ready(signals: Any) -> csr_array:
    """The matrix as the library gets it, normalised by degree as ours is."""
    weights = to_matrix(signals).matrix.maximum(0).astype(np.float64)
    users, artworks = (np.maximum(weights.sum(axis=axis), 1e-12) ** -0.5 for axis in (1, 0))
    return csr_array(diags_array(users) @ weights @ diags_array(artworks))


def _timed(work: Any, *given: Any) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work(*given)
    return time.perf_counter() - started
