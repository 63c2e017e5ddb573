"""Every metric, defined once, and the structured log with its sampling. Labels are route templates, never ids.

With several worker processes the Prometheus client writes to the folder PROMETHEUS_MULTIPROC_DIR, which BentoML
sets before a worker starts, and `exposition` adds the workers up.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import sys
from typing import Any

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

REQUESTS = Counter("vernissage_requests_total", "Requests answered.", ["route", "method", "status"])
LATENCY = Histogram("vernissage_request_seconds", "Time to answer.", ["route"], buckets=SECONDS)
PROBLEMS = Counter("vernissage_problems_total", "Requests refused or failed, by stable code.", ["route", "code"])
LISTS = Counter("vernissage_lists_total", "Lists served, by the reason of a shortfall ('' for a full one).", ["reason"])
SLOTS = Counter("vernissage_slots_total", "Slots asked for and returned.", ["what"])
RUNGS = Counter("vernissage_rung_slots_total", "Slots served from each rung of the ladder.", ["rung"])
SKIPPED = Counter("vernissage_rung_skipped_total", "Times a source of ranking could not answer.", ["source", "reason"])
STALE = Counter("vernissage_stale_candidates_total", "Candidates dropped as no longer active at serve time.")
BUSY = Counter("vernissage_busy_total", "Requests refused as one too many of their kind.", ["kind"])
EVENTS = Counter("vernissage_events_total", "Events received, by kind and outcome.", ["kind", "outcome"])
GROUPS = Histogram(
    "vernissage_write_group_events",
    "Events that were written in one commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
LIST_GROUPS = Histogram(
    "vernissage_list_group_requests", "Requests for lists that were answered together.", buckets=(1, 2, 4, 8, 16, 32)
)
CLAIMS = Counter("vernissage_claims_total", "Claims, by outcome (granted, repeated, lost).", ["outcome"])
LATE = Counter(
    "vernissage_late_draws_total", "Displays of the host's client whose session did not hold the artwork.", ["why"]
)
JOBS = Counter("vernissage_list_job_polls_total", "Polls for a list that was not to be had at once.", ["state"])
CLIENT = Counter("vernissage_client_total", "What clients counted themselves and reported by heartbeat.", ["what"])
ERASED = Counter("vernissage_erased_users_total", "Users whose rows were erased after the host deleted them.")
UNKNOWN = Counter("vernissage_unknown_references_total", "Events on what the host does not hold.", ["what"])
CACHES = Counter(
    "vernissage_cache_lookups_total",
    "Look-ups in a cache that may be lost at any time, by outcome.",
    ["cache", "outcome"],
)
DATABASE_ERRORS = Counter("vernissage_database_errors_total", "Requests that found the database away.")
BUNDLES = Counter("vernissage_bundle_loads_total", "Bundles looked at, by outcome (loaded, refused).", ["outcome"])
BACKGROUND_ERRORS = Counter("vernissage_background_errors_total", "Failed rounds of a background task.", ["task"])
FORECASTS = Counter(
    "vernissage_forecasts_total", "Times need was asked for, by what it rested on and why.", ["basis", "why"]
)
PLANS = Counter("vernissage_plans_total", "Generation plans made, by basis and why they ended.", ["basis", "stopped"])
WISHES = Counter("vernissage_plan_images_total", "Images of plans: wished, reused, refused as duplicates.", ["what"])
POOL_SIZE = Gauge("vernissage_pool_artworks", "Active artworks in the snapshot.", multiprocess_mode="livemax")
POOL_READ = Gauge("vernissage_pool_read_timestamp_seconds", "When the snapshot was read.", multiprocess_mode="livemin")
MODEL_MOVED = Gauge(
    "vernissage_model_live_timestamp_seconds", "When the live model was published.", multiprocess_mode="livemax"
)
MODEL_DATA = Gauge(
    "vernissage_model_data_timestamp_seconds",
    "When the newest event happened that the live model was trained on.",
    multiprocess_mode="livemax",
)
MODEL_DRIFT = Gauge(
    "vernissage_model_drift",
    "Share of events on other artworks than the live model was trained on, at the last look.",
    multiprocess_mode="livemax",
)
TRIALS = Counter(
    "vernissage_experiment_lists_total",
    "Lists of users in an experiment, by outcome (exposed; no_model: an arm's model is not loaded).",
    ["outcome"],
)
EXPERIMENTS_RUNNING = Gauge("vernissage_experiments_running", "Experiments that run.", multiprocess_mode="livemax")
CANARY = Counter(
    "vernissage_canary_lists_total",
    "Lists of users whom the canary's model ranks for (no_model: it is not loaded, the live one did).",
    ["outcome"],
)
EXPOSURES = Counter(
    "vernissage_client_exposures_total",
    "Exposures that clients reported, by outcome (new, known, stale: not the user's arm here and now).",
    ["outcome"],
)
EXPERIMENTS_UNREADABLE = Gauge(
    "vernissage_experiments_unreadable",
    "Experiments that run elsewhere and that this worker's version cannot read.",
    multiprocess_mode="livemax",
)

BUDGET_REFUSED = Counter("vernissage_generation_refused_total", "Images that the budget or its switch refused.")
BUDGET_DAY = Gauge(
    "vernissage_generation_day_share",
    "Share of the day's generation budget that is spent.",
    multiprocess_mode="livemax",
)
BUDGET_ALERT = Gauge(
    "vernissage_generation_alert", "1 while the day's budget is nearly gone.", multiprocess_mode="livemax"
)
GENERATION_STOPPED = Gauge("vernissage_generation_stopped", "1 while the switch is off.", multiprocess_mode="livemax")
ORDERS = Gauge("vernissage_orders", "Orders in flight, by state.", ["state"], multiprocess_mode="livemax")
DELIVERIES = Counter("vernissage_deliveries_total", "Orders that came to an end, by provider.", ["dispatcher", "state"])
BREAKER = Gauge(
    "vernissage_breaker_open",
    "1 while a provider's breaker is open, 0.5 while it lets probes through.",
    ["dispatcher"],
    multiprocess_mode="livemax",
)
LEADING = Gauge("vernissage_planner_live", "1 while some planning loop leads.", multiprocess_mode="livemax")


def exposition() -> tuple[bytes, str]:
    """The metrics of all workers in Prometheus' text format, and its content type."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # the library's class is untyped
    return generate_latest(registry), CONTENT_TYPE_LATEST


def configure_logging() -> None:
    """One JSON object a line on stderr."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger() -> Any:
    """The project's logger."""
    return structlog.get_logger("vernissage")


def sampled(request_id: str, share: float) -> bool:
    """Whether a success is logged: decided by the request id, so that all replicas agree about one request."""
    bucket = int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=4).digest())
    return bucket < share * 2**32


def pseudonym(secret: str, user_id: str) -> str:
    """What stands for a user in logs: 16 hex digits of HMAC-SHA256 under the installation's own secret."""
    return hmac.new(secret.encode(), user_id.encode(), hashlib.sha256).hexdigest()[:16]
