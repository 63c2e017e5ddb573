"""Every knob, typed, with its unit and default; read from the environment once and passed on.

A setting ``foo_bar`` is read from ``VERNISSAGE_FOO_BAR``; ``database_url`` also from ``DATABASE_URL``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from features.errors import BadDatabaseUrlError, BadSettingError

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]  # no infinity either
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Burst = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Temperature = Annotated[float, msgspec.Meta(ge=0, le=100)]
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
    heavy_at_once: Count = 1  # /v1/need and /v1/pool, of each worker: they take the processor from the lists
    streams_at_once: Count = 50  # of each worker; each asks the database once a second
    stream_seconds: Positive = 300.0  # then the client asks again: a revoked key ends with it
    pool_min: Count = 2  # database connections per worker
    pool_max: Count = 8
    statement_timeout_ms: Count = 5_000
    database_wait_seconds: Positive = 2.0  # how long a request waits for a connection
    transaction_seconds: Positive = 6.0  # how long a transaction may take in all; more than one statement may

    # Writing (one transaction and one flush for all that came while another was under way)
    write_group: Count = 500  # events that are written together; more of one request go together all the same
    write_room: Count = 20_000  # events that may wait, some megabytes: beyond, clients are told to come again (429)
    write_lanes: Count = 2  # transactions at once, of one worker

    # Ranking
    list_group: Count = 16  # requests for lists that are answered together when many come at once
    list_room: Count = 1_000  # such requests that may wait: beyond, clients are told to come again (429)
    list_lanes: Count = 3  # transactions at once, of one worker
    remembered_artworks: Count = 10_000  # rows of the host's, by each worker; some 2.5 KB each
    rank_deadline_ms: Positive = 50.0  # then the next rung answers
    rank_threads: Count = 4
    signals_per_user: Count = 200  # latest signals folded in
    variety: Share = 0.0  # how much a list's artworks shall differ, against their rank; 0: rank alone
    exploration: Share = 0.0  # lift for artworks newer than the model, in deviations of the user's scores; 0: none
    temperature: Temperature = 0.0  # of lists that are drawn by chance, in deviations of scores; 0: by rank
    epsilon: Share = 0.0  # chance that a slot is drawn from all relevant artworks alike; 0: never
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
    stockout_cost_top: Positive = 0.50  # of the same in the top tier; the middle one lies between them
    forecast_max_hours: Positive = 168.0  # a forecast that was fitted longer ago is not believed
    forecast_max_error: Share = 0.05  # nor one whose calibration error was greater
    planned_users: Count = 5_000  # at most so many, the latest active, are planned for
    order_jitter: Share = 0.08  # how far an order's numbers lie from its model's: deviation, as a share of their range
    order_distance: Share = 0.10  # least distance between the looks of an order and of what exists; 2 is opposite
    least_diversity: Share = 0.98  # of the pool's diversity must be left after a plan; else it is spread
    reuse_archived: bool = True  # artworks that the host has archived may be given back instead of ordering new ones

    # The budget of generation: the host's numbers, and a day's
    budget_hour_images: Count = 50  # in any hour never more
    budget_hour_dollars: Positive = 1.0
    budget_burst: Burst = 0.5  # so much of the hour's budget may go at once; the rest flows in over the hour
    budget_day_dollars: Positive = 10.0  # in a local day never more
    budget_zone: str = "UTC"  # where the day begins, as in the IANA database: Europe/Vienna
    budget_alert: Share = 0.8  # of a day's budget, from which the alert is on

    # Providers of generation
    dispatcher: Literal["local", "host-jobs", "webhook"] = "local"  # who makes what is ordered
    deliveries: Count = 4  # at once, of each provider
    painted_pixels: Annotated[int, msgspec.Meta(ge=64, le=4096)] = 1280  # longer side of what is painted here
    webhook_url: str = ""  # where the provider "webhook" takes orders
    webhook_token: str = ""  # sent to it as bearer
    webhook_seconds: Positive = 60.0  # how long it may take to answer: until the image is there
    webhook_per_minute: Count = 30  # orders that it is sent at most
    orders_per_plan: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100  # images in one plan
    order_grace_seconds: Positive = 300.0  # after its deadline an order is waited for so long
    leader_seconds: Positive = 15.0  # the lease of the planning loop that leads: another one takes over after it
    breaker_failures: Count = 5  # in a row, that open the breaker
    breaker_window: Count = 25  # calls that a share of failures is taken of
    breaker_least: Count = 10  # calls before a share of failures counts
    breaker_share: Share = 0.5  # of failures, that opens it
    breaker_open_seconds: Positive = 300.0
    breaker_probe_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1  # of the calls, that half-open lets through
    breaker_successes: Count = 3  # of those, that close it

    # Experiments
    experiment_holdout: Share = 0.05  # of the users is in no experiment, so that all of them together can be judged
    experiment_poll_seconds: Positive = 1.0  # how soon a start, ramp or stop is followed
    experiment_traffic_days: Count = 28  # of the past: how many users come, and how much they differ
    experiment_longest_days: Count = 56  # by then an experiment must tell something, or it is not started
    experiment_guard_seconds: Positive = 600.0  # between looks for harm: each reads all that the users did

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
    generation_poll_seconds: Positive = 2.0  # how soon health and metrics tell of orders, budget and breakers
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
    def artworks_path(self) -> Path:
        """The folder of the pictures that were painted here."""
        return self.home_path / "artworks"

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
    if values.get("database_url"):
        ours = PREFIX + "DATABASE_URL"
        _check_database_url(ours if ours in given else "DATABASE_URL", values["database_url"])
    known = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for name, value in values.items():
        if name not in known:
            raise BadSettingError(key=PREFIX + name.upper(), value=value, rule="no such setting")
        _check(name, value, known[name])
    return msgspec.convert(values, Settings, strict=False)


def _check_database_url(key: str, value: str) -> None:
    """Raises BadDatabaseUrlError, which shows nothing of the value, for it may hold a password."""
    try:
        ports = str(conninfo_to_dict(value).get("port", ""))
    except ProgrammingError:
        ports = "unreadable"
    if ports and not ports.replace(",", "0").isdecimal():  # one for each host; what a password has before a / is here
        raise BadDatabaseUrlError(key=key)  # outside of `except`: a traceback would show what psycopg says of the value


def _check(name: str, value: str, kind: type) -> None:
    """Convert one value alone, so that the error can name its key."""
    try:
        msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettingError(key=PREFIX + name.upper(), value=value, rule=str(error)) from error
