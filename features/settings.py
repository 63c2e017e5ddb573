"""Every knob, typed, with its unit and default; read from the environment once and passed on.

A setting ``foo_bar`` is read from ``VERNISSAGE_FOO_BAR``; ``database_url`` also from ``DATABASE_URL``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from features.errors import BadSettingError

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]  # no infinity either
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]

PREFIX = "VERNISSAGE_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. Units are in the comments; defaults are for one machine and one worker."""

    # Where things live
    home: str = ".vernissage"  # folder of the embedded database, bundles and the tracking store
    database_url: str = ""  # empty: the embedded PostgreSQL under `home`
    pg_bin: str = ""  # folder of PostgreSQL's binaries; empty: looked for
    tracking_uri: str = ""  # MLflow's store; empty: sqlite under `home`
    registered_model: str = "vernissage"  # name in MLflow's registry

    # Serving
    host: str = "127.0.0.1"
    port: Port = 3000
    workers: Count = 1
    auth: bool = True  # API keys required
    key_cache_seconds: Positive = 5.0  # how long a revoked key may still work
    log_sample: Share = 0.1  # share of successful requests that are logged
    max_body_bytes: Count = 4 * 1024 * 1024
    body_wait_seconds: Positive = 30.0  # how long a client may take to send it
    pool_min: Count = 2  # database connections per worker
    pool_max: Count = 8
    statement_timeout_ms: Count = 5_000
    database_wait_seconds: Positive = 2.0  # how long a request waits for a connection
    transaction_seconds: Positive = 6.0  # how long a transaction may take in all; more than one statement may

    # Ranking
    rank_deadline_ms: Positive = 50.0  # then the next rung answers
    rank_threads: Count = 4
    signals_per_user: Count = 200  # latest signals folded in
    variety: Share = 0.0  # how much a list's artworks shall differ, against their rank; 0: rank alone
    exploration: Share = 0.0  # lift for artworks newer than the model, in deviations of the user's scores; 0: none
    seconds_per_artwork: Positive = 60.0

    # Prefetch
    session_alpha: Positive = 1.2  # beta-geometric prior of a session's length: a few stop at once, some go on for long
    session_beta: Positive = 12.0
    artwork_bytes: Count = 250_000  # of an image whose size is not known
    resign_hook: str = ""  # "package.module:function" that maps (artwork id, image URL) to a freshly signed URL

    # Demand before anything is fitted (Beta and Gamma laws of returning and leaving; medians of a young service)
    return_shape: Positive = 0.6  # of the Gamma law of sessions per day: below 1, most come rarely and a few often
    return_scale_days: Positive = 2.0  # of the same law: its mean is shape / scale = 0.3 sessions a day
    leave_alpha: Positive = 0.5  # chance to leave for ever after a session: Beta(0.5, 3), 14% on average
    leave_beta: Positive = 3.0
    outage_seconds: Positive = 1_800.0  # how long generation is away when it is: some probes of an open breaker

    # Generation (dollars; the rule is p B >= c w)
    image_cost: Positive = 0.02  # of one generated image, the host's price
    stockout_cost: Positive = 0.10  # of one request that finds nothing relevant: free tier; up to 0.50 for the top
    horizon_days: Positive = 30.0  # an image that nobody reaches in so long counts as waste
    planning_seconds: Positive = 60.0  # between planning runs: shorter ones would order twice for one wish
    lead_p50_seconds: Positive = 50.0  # from order to artwork, until enough orders were timed
    lead_p95_seconds: Positive = 90.0
    floor_artworks: Count = 20  # without a forecast: stock beyond what the lead time takes, below which it is filled
    floor_batch: Count = 4  # and so many more at once, so that not every display orders

    # Experiments
    experiment_holdout: Share = 0.05  # of the users is in no experiment, so that all of them together can be judged
    experiment_poll_seconds: Positive = 1.0  # how soon a start, ramp or stop is followed
    experiment_traffic_days: Count = 28  # of the past: how many users come, and how much they differ
    experiment_longest_days: Count = 56  # by then an experiment must tell something, or it is not started

    # The host's routes
    list_job_seconds: Positive = 10.0  # the client polls at about 0, 2, 6, 14 s and gives up at 20 s

    # Leases, in seconds (definitions of a lease: README, "Never the same one twice")
    lease_first_seconds: Positive = 60.0  # until a session's first sign of life
    lease_grace_seconds: Positive = 60.0
    lease_stretch: Positive = 1.5  # times depth times seconds_per_artwork

    # Freshness, in seconds
    catalogue_poll_seconds: Positive = 0.5
    catalogue_full_seconds: Positive = 30.0
    bundle_poll_seconds: Positive = 1.0
    registry_poll_seconds: Positive = 2.0
    erasure_poll_seconds: Positive = 10.0  # how soon the rows of a user whom the host deleted go

    # Signals
    half_life_days: Positive = 90.0
    min_training_users: Count = 5  # fewer users with signals: no collaborative model
    judged_users: Count = 2_000  # a model is judged on a seeded sample of at most so many
    retrain_hours: Positive = 24.0  # `train --if-stale` renews a model that is older, where the data are others
    retrain_drift: Share = 0.05  # or whose data have moved by more: share of events that are on other artworks now

    @property
    def home_path(self) -> Path:
        """The state folder as an absolute path."""
        return Path(self.home).expanduser().resolve()

    @property
    def bundles_path(self) -> Path:
        """The folder that holds one sub-folder per delivered bundle."""
        return self.home_path / "bundles"


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from ``environment`` (default: ``os.environ``).

    Raises BadSettingError naming the key and the rule; an unknown VERNISSAGE_ key is an error too.
    """
    given = os.environ if environment is None else environment
    values = {key.removeprefix(PREFIX).lower(): value for key, value in given.items() if key.startswith(PREFIX)}
    if "database_url" not in values and given.get("DATABASE_URL"):
        values["database_url"] = given["DATABASE_URL"]
    known = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise BadSettingError(key=PREFIX + name.upper(), value=value, rule="no such setting")
        _check(name, value, known[name])
    return msgspec.convert(values, Settings, strict=False)


def _check(name: str, value: str, kind: type) -> None:
    """Convert one value alone, so that the error can name its key."""
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettingError(key=PREFIX + name.upper(), value=value, rule=str(error)) from error
