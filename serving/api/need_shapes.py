"""The bodies and answers of the routes about need, the pool and generation plans."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from features.coverage import Band
from serving.api.generation_shapes import PlannedBlock
from serving.api.schemas import Id
from serving.generation.foresight import Why
from serving.generation.need import Basis
from serving.generation.planner import Stopped


class NeedBody(Struct, kw_only=True):
    """Whose need is asked for."""

    user_ids: Annotated[list[Id], Meta(min_length=1, max_length=10_000)]


class NeedAnswer(Struct, kw_only=True):
    """How likely it is that a user asks for an artwork that does not exist."""

    user_id: str
    need: Annotated[float, Meta(ge=0, le=1, description="before an order of the next run could arrive")]
    unavoidable: Annotated[float, Meta(ge=0, le=1, description="before an order placed now could arrive")]
    minutes_p10: Annotated[
        float | None, Meta(description="in one case of ten the stock lasts no longer; null: beyond 30 days")
    ]
    minutes_p50: Annotated[float | None, Meta(description="in half of the cases it lasts no longer")]
    stock: Annotated[int, Meta(description="relevant artworks not seen, leased ones included")]
    in_flight: Annotated[int, Meta(description="ordered for the user and not there yet")]
    p_alive: Annotated[float, Meta(ge=0, le=1, description="that the user has not left for ever")]
    in_session: bool
    coverage: Annotated[float, Meta(ge=0, le=1, description="null for an empty pool")] | None
    coverage_relevant: Annotated[float, Meta(ge=0, le=1, description="of what is relevant to the user")] | None
    basis: Annotated[
        Basis,
        Meta(
            description="posterior: the forecast and the user's own visits; prior: the forecast alone; heuristic: no"
            " forecast, how far below the floor of stock a user in session is"
        ),
    ]


class NeedsAnswer(Struct, kw_only=True):
    """The need of users, in the order asked for."""

    users: list[NeedAnswer]
    forecast: Annotated[Why, Meta(description="whether the live model's forecast was used, or why not")]


class PoolAnswer(Struct, kw_only=True):
    """The pool and how far those who live on it have come."""

    artworks: int
    active_users: Annotated[int, Meta(description="with a display within a week, or a session now")]
    looked_at: Annotated[int, Meta(description="of them, the latest ones; the figures below are theirs")]
    in_session: int
    stock_outs: Annotated[int, Meta(description="in session with nothing relevant left")]
    at_risk: Annotated[int, Meta(description="whose own need is worth an image")]
    coverage_histogram: Annotated[list[int], Meta(description="users by coverage, in ten steps of a tenth")]
    coverage_bands: Annotated[dict[Band, int], Meta(description="ok; watch from 85, high from 90, critical from 95%")]
    runway_p10: Annotated[
        float | None,
        Meta(description="minutes: a tenth of the users has no more (their median); null: beyond 30 days"),
    ]
    runway_p50: float | None
    exhaustion_rate: (
        Annotated[float, Meta(ge=0, le=1, description="share of active users at 95% coverage or more; goal: under 1%")]
        | None
    )
    exhaustion_goal_met: bool | None
    in_flight: Annotated[int, Meta(description="orders that are not over yet")]
    forecast: Why


class PlanBody(Struct, kw_only=True):
    """What a generation plan may come to."""

    dry_run: Annotated[bool, Meta(description="only say what would be ordered")] = True
    most: Annotated[int, Meta(ge=1, le=200, description="images at most")] = 50
    dollars: Annotated[float, Meta(ge=0, le=1e6, description="at most; default: what the budget allows now")] | None = (
        None
    )


class PlannedImage(Struct, kw_only=True):
    """One image to generate."""

    near: Annotated[str, Meta(description="the artwork that it shall be like")]
    dna_vector: Annotated[list[float], Meta(min_length=50, max_length=50)]
    styles: list[str]
    prompt: str
    user_ids: Annotated[list[str], Meta(description="for whom")]
    priority: Annotated[float, Meta(ge=0, le=1, description="the highest need among its users")]
    benefit: Annotated[float, Meta(description="dollars of stock-outs avoided, expected")]
    reach: Annotated[float, Meta(description="users who get to it within the horizon, expected")]
    cost: Annotated[float, Meta(description="dollars")]
    deadline: datetime


class ReusedArtwork(Struct, kw_only=True):
    """An archived artwork that would do as well as a new one."""

    artwork_id: str
    user_ids: list[str]
    benefit: float
    reach: float


class PoolDiversity(Struct, kw_only=True):
    """How varied the pool is."""

    entropy: Annotated[float, Meta(ge=0, description="bits, of the share of each style")]
    spread: Annotated[float, Meta(ge=0, le=2, description="mean distance of two artworks in content, 1 - cosine")]


class PlanAnswer(Struct, kw_only=True):
    """The images worth their cost in this planning epoch, best first."""

    epoch: int
    dry_run: bool
    ordered: Annotated[list[str], Meta(description="ids of the orders placed; none for a dry run, or a second time")]
    basis: Annotated[Literal["forecast", "heuristic"], Meta(description="heuristic: the floor of stock, no forecast")]
    images: list[PlannedImage]
    reused: Annotated[list[ReusedArtwork], Meta(description="each one an order avoided")]
    avoided: Annotated[int, Meta(description="orders that an existing artwork made unnecessary")]
    dollars: Annotated[float, Meta(description="what the images cost")]
    stopped: Annotated[
        Stopped,
        Meta(
            description="why it ends: worthless (no further image is worth its cost), budget, count (as many as asked"
            " for), no_dna (nothing in the pool to make another like)"
        ),
    ]
    shadow_price: Annotated[float, Meta(description="net benefit per dollar of the best image that was too much")]
    diversity_before: PoolDiversity
    diversity_after: PoolDiversity
    experiment: Annotated[PlannedBlock | None, Meta(description="by whose arm it was made")]
