"""What an experiment may be judged by: each metric as what is counted over what, one row per user. Pure."""

from __future__ import annotations

from typing import NamedTuple

from serving.experiments.definitions import Metric


class Ratio(NamedTuple):
    """Two columns of a user's sums; of all users, the sum of the first over the sum of the second."""

    numerator: str
    denominator: str  # "1": a mean over users


METRICS: dict[Metric, Ratio] = {
    "likes_per_display": Ratio("likes", "displays"),
    "skips_per_display": Ratio("skips", "displays"),
    "dwell_per_display": Ratio("dwell", "displays"),
    "likes_per_user": Ratio("likes", "1"),
    "displays_per_user": Ratio("displays", "1"),
}
