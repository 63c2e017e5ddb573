"""NMF and ALS of a million interactions from the database to a published bundle, beside the library's fit alone.

The library gets the ready matrix, and the same components, passes and threads; BLAS has one thread for both, since the
library's own threads and BLAS's would wait for each other.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_array, csr_matrix, diags_array
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from features.database import connect
from features.matrix import Interactions, inverse_root
from features.settings import Settings
from tests.benchmarks.figures import Figure, compare, in_turns
from tests.stage import stage
from training import als, nmf, tracking
from training.evaluate import Judged
from training.gate import promote
from training.judging import _forget_peak, _peak_mb
from training.learner import Learner, learn
from training.publish import publish
from training.run import _register, make_bundle, read_given, train
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

USERS, ARTWORKS = 16_500, 10_000  # that makes a million interactions
TURNS = 2
REACH = "<= 1.5"


def run() -> list[Figure]:
    """Seconds of our way, with and without judging, and of the library; and what memory it takes."""
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        with ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn")
        ) as apart:  # its memory goes with it
            apart.submit(_fill, settings.database_url).result()
        tracking.versions(settings)  # making the store is no part of it
        interactions = read_given(settings, connection).interactions
        nmf_matrix, confidence = _normalised(interactions), _confidence(interactions)
        return [
            *_measure(nmf.make_learner(nmf.NmfConfig()), lambda: _nmf(nmf_matrix), settings, connection),
            *_measure(als.make_learner(als.AlsConfig()), lambda: _als(confidence), settings, connection),
        ]


def _fill(url: str) -> None:
    """Write a world into the database."""
    with connect(url, autocommit=True) as connection:
        write_world(connection, make_world(Recipe(seed=1, users=USERS, artworks=ARTWORKS, until=datetime.now(UTC))))


def _measure(
    learner: Learner, library: Callable[[], object], settings: Settings, connection: psycopg.Connection
) -> list[Figure]:
    """One model's figures."""
    reading: list[float] = []
    peaks: list[float] = []
    found = in_turns(
        {
            "judged": lambda: _timed(lambda: _whole(learner, settings, connection, peaks)),
            "unjudged": lambda: _timed(lambda: _unjudged(learner, settings, connection, reading)),
            "library": lambda: _timed(library),
        },
        repeats=TURNS,
        warm=False,
    )
    name, alone = learner.name, "the library's fit on a ready matrix"
    return [
        compare(f"{name}: database to published bundle", "s", found["judged"], alone, found["library"], reach=REACH),
        compare(f"{name}: without judging", "s", found["unjudged"], alone, found["library"], reach=REACH),
        compare(f"{name}: of which reading", "s", reading, alone, found["library"]),
        Figure(f"{name}: most memory above what it began with", max(peaks), "MB"),
    ]


def _whole(learner: Learner, settings: Settings, connection: psycopg.Connection, peaks: list[float]) -> None:
    """What `vernissage train --publish` does: fitted to be judged, fitted on everything, registered, published.

    Notes the memory at most, beyond what there was before.
    """
    connection.execute("DELETE FROM vernissage.live_models")  # a first one: the gate has nothing to compare it with
    _forget_peak()
    before = _peak_mb()
    trained = train(learner, settings, connection, on_step=_say_nothing)
    promote(trained.version, settings, connection, on_step=_say_nothing)
    peaks.append(_peak_mb() - before)


def _unjudged(learner: Learner, settings: Settings, connection: psycopg.Connection, reading: list[float]) -> None:
    """The same without the first fit, the judging and the forecast of demand. Notes the seconds of reading."""
    started = time.perf_counter()
    given = read_given(settings, connection)
    reading.append(time.perf_counter() - started)
    bundle = make_bundle(learn(learner, given), given, "none", {})
    version = _register(bundle, given.snapshot, settings, {}, Judged()).version
    publish(version, settings, connection)


def _nmf(normalised: csr_array) -> None:
    """The factorisation by scikit-learn, with our settings."""
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
        model.fit(normalised)


def _als(confidence: csr_matrix) -> None:
    """The factorisation by implicit, with our settings; one regularisation for all rows, as it has it."""
    config = als.AlsConfig()
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=config.n_components,
            iterations=config.iterations,
            regularization=config.regularisation,
            alpha=1.0,
            num_threads=config.threads,
            random_state=config.seed,
        )
        model.fit(confidence, show_progress=False)


def _normalised(interactions: Interactions) -> csr_array:
    """The matrix as scikit-learn gets it: as ours is."""
    weights = interactions.matrix.maximum(0)
    users, artworks = weights.sum(axis=1), weights.sum(axis=0)
    artworks = artworks + nmf.NmfConfig().degree_prior * artworks.mean()
    normalised = diags_array(inverse_root(users)) @ weights @ diags_array(inverse_root(artworks))
    return csr_array(normalised).astype(np.float64)


def _confidence(interactions: Interactions) -> csr_matrix:
    """The matrix as implicit gets it: as ours is."""
    matrix = interactions.matrix.astype(np.float32)
    return als._confidence(matrix, 1.0 / (als.AlsConfig().unobserved * als._unit(matrix)))


def _say_nothing(_: str) -> None:
    """Steps are for people."""


def _timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
