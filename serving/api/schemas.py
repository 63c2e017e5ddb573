"""The bodies, parameters and answers of /v1, as types: they check what comes in and make the OpenAPI document."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct

from features.coverage import Band
from serving.foresight import Why
from serving.ladder import RungReason, ShortReason
from serving.model import Tier
from serving.need import Basis
from serving.prefetch import Network

Id = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]+$", description="1 to 255 characters")]
Label = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")]
Kind = Literal["displayed", "dwell", "like", "dislike", "skip", "favourite"]
BATCH = 5_000


class UserPath(Struct):
    """The path of a route about one user."""

    user_id: Id


class NextQuery(Struct):
    """Parameters of a request for artworks."""

    limit: Annotated[int, Meta(ge=1, le=200, description="how many artworks, 1 to 200")] = 20
    session_id: Annotated[
        Label, Meta(description="the browser session; without one all callers of a user share one")
    ] = ""
    orientation: Annotated[
        Literal["portrait", "landscape", "square", "any"] | None, Meta(description="default: the user's own preference")
    ] = None
    styles: Annotated[list[Label], Meta(max_length=100, description="comma separated; preferred, not required")] = []
    strict_styles: Annotated[bool, Meta(description="only artworks in one of `styles`")] = False
    exclude: Annotated[list[Id], Meta(max_length=1_000, description="comma separated artwork ids to leave out")] = []
    supersedes: Annotated[
        Label | None, Meta(description="the session that this one replaces (a page reload): its leases pass over")
    ] = None


class SessionPath(Struct):
    """The path of a route about one session."""

    session_id: Id


class SessionQuery(Struct):
    """Whose session it is."""

    user_id: Id


class Item(Struct, kw_only=True):
    """One artwork on a list."""

    artwork_id: str
    lease_id: UUID
    position: int
    score: Annotated[float, Meta(description="comparable within one rung of one list")]
    rung: Annotated[int, Meta(ge=1, le=4, description="1 model, 2 near to likes, 3 style relaxed, 4 anything unseen")]
    reason: RungReason
    evidence: Annotated[
        Tier,
        Meta(
            description="what the score rests on: behaviour (what people did with this artwork), content (what it is"
            " like; nobody has met it yet), none (neither: the fallback order)"
        ),
    ]
    image_url: str
    prompt: str
    dna_vector: Annotated[list[float] | None, Meta(description="50 numbers; null where none is usable")]
    styles: list[str]
    motifs: list[str]
    artists: list[str]
    orientation: str | None
    quality_score: float | None
    is_library: bool | None
    aspect_ratio: str | None
    catalogue_tier: str | None
    width: int | None
    height: int | None
    safe_area: str | None
    focal_points: str | None
    sidefill_palette: str | None
    audio_features: str | None
    music_track: str | None
    music_artist: str | None
    music_album: str | None
    music_genre: str | None
    generation_explanation: str | None
    created_at: datetime
    expires_at: Annotated[datetime, Meta(description="the lease's end, or the image URL's where that is sooner")]


class NextAnswer(Struct, kw_only=True):
    """A list of artworks that the user has not seen."""

    recommendation_id: UUID
    user_id: str
    session_id: str
    items: list[Item]
    requested: int
    returned: int
    shortfall: int
    reason: Annotated[ShortReason | None, Meta(description="of the shortfall; null when there is none")]
    rung: Annotated[int, Meta(ge=1, le=5, description="the lowest rung that served; 5 for an empty list")]
    unseen_total: Annotated[int, Meta(description="eligible artworks not seen, leased ones and this list included")]
    repeats: Annotated[UUID | None, Meta(description="the list whose unshown artworks are offered again")]
    model: Annotated[str | None, Meta(description="model and version; null while none is live")]
    policy: str
    retry_after_seconds: float | None


class PrefetchBody(Struct, kw_only=True):
    """What a browser can load ahead."""

    session_id: Label = ""
    depth: Annotated[int, Meta(ge=1, le=50, description="how many artworks at most")] = 10
    network: Annotated[Network, Meta(description="the Network Information API's effectiveType")] = "4g"
    save_data: Annotated[bool, Meta(description="only the next one")] = False
    byte_budget: Annotated[int, Meta(ge=0, description="bytes")] | None = None
    orientation: Literal["portrait", "landscape", "square", "any"] | None = None
    styles: Annotated[list[Label], Meta(max_length=100)] = []
    supersedes: Label | None = None


class PrefetchItem(Struct, kw_only=True):
    """One artwork to load, in order."""

    artwork: Item
    p_shown: Annotated[float, Meta(ge=0, le=1, description="probability that the session gets to it")]
    bytes: Annotated[int, Meta(description="likely size of the image")]
    priority: Annotated[Literal["high", "low"], Meta(description="high: the next one; for fetchpriority")]


class PrefetchAnswer(Struct, kw_only=True):
    """What to load now; all of it on lease, neighbours alike, so that they morph well."""

    recommendation_id: UUID
    user_id: str
    session_id: str
    items: list[PrefetchItem]
    requested: int
    leased: Annotated[int, Meta(description="artworks on the list; those beyond the plan are offered again later")]
    shortfall: int
    reason: ShortReason | None
    unseen_total: int
    rank_traded: Annotated[float, Meta(description="mean ranks by which the order departs from pure rank")]
    threshold: Annotated[float, Meta(description="p_shown below which nothing is planned on this network")]
    retry_after_seconds: Annotated[float | None, Meta(description="when asking again may help, after a shortfall")]


class HistoryQuery(Struct):
    """Which part of the history."""

    limit: Annotated[int, Meta(ge=1, le=500, description="more come where many were shown at one moment")] = 100
    before: Annotated[datetime | None, Meta(description="displays before this moment; default: now")] = None


class Shown(Struct, kw_only=True):
    """An artwork that the user was shown."""

    artwork_id: str
    image_url: str
    prompt: str
    at: datetime
    favourite: bool
    replays: int
    last_replayed_at: datetime | None


class ShownSession(Struct, kw_only=True):
    """The displays of one session on one day."""

    session_id: str | None
    artworks: list[Shown]


class ShownDay(Struct, kw_only=True):
    """The displays of one day, UTC."""

    day: date
    sessions: list[ShownSession]


class HistoryAnswer(Struct, kw_only=True):
    """What a user was shown, newest first."""

    user_id: str
    days: list[ShownDay]
    before: Annotated[datetime | None, Meta(description="to ask for the next part; null at the end")]


class ArtworkPath(Struct):
    """The path of a route about one user's artwork."""

    user_id: Id
    artwork_id: Id


class ReplayAnswer(Struct, kw_only=True):
    """A replay, counted; it is no impression."""

    artwork_id: str
    replays: int
    last_replayed_at: datetime


class FavouritesQuery(Struct):
    """How many favourites."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Favourite(Struct, kw_only=True):
    """An artwork marked as favourite."""

    artwork_id: str
    image_url: str
    prompt: str
    at: datetime


class FavouritesAnswer(Struct, kw_only=True):
    """A user's favourites, newest first."""

    user_id: str
    favourites: list[Favourite]


class FavouriteAnswer(Struct, kw_only=True):
    """Whether an artwork is a favourite now."""

    artwork_id: str
    favourite: bool


class SentEvent(Struct, kw_only=True):
    """One display or signal."""

    event_id: Id
    user_id: Id
    artwork_id: Id
    kind: Kind
    session_id: Label | None = None
    at: Annotated[datetime | None, Meta(description="ISO 8601; without a zone: UTC; default: now")] = None
    lease_id: UUID | None = None
    value: Annotated[float, Meta(ge=0, le=1e6, description="seconds for dwell, strength for like")] | None = None


class EventBatch(Struct):
    """Displays and signals, each with an id of its own."""

    events: Annotated[list[SentEvent], Meta(min_length=1, max_length=BATCH)]


class DisplayBatch(Struct):
    """Artworks that one user was shown."""

    user_id: Id
    artwork_ids: Annotated[list[Id], Meta(min_length=1, max_length=BATCH)]
    session_id: Label | None = None


class RecordAnswer(Struct, kw_only=True):
    """What a batch came to. Ids are artwork ids for artwork_ids, and event ids for events."""

    received: int
    new: list[str]
    known: list[str]
    unknown: Annotated[list[str], Meta(description="artwork ids that the host does not hold; kept and never offered")]
    unknown_users: list[str]


class TokenBody(Struct, kw_only=True):
    """For whom a browser token is wanted."""

    user_id: Id
    seconds: Annotated[int, Meta(ge=1, le=86_400, description="how long it lives")] = 3_600


class TokenAnswer(Struct, kw_only=True):
    """A token for one user, to be sent as a bearer token by that user's browser."""

    token: str
    user_id: str
    seconds: int


class ClaimBody(Struct, kw_only=True):
    """One artwork about to be drawn."""

    user_id: Id
    session_id: Label
    lease_id: UUID
    artwork_id: Id
    claim_id: Annotated[Id, Meta(description="made by the client; the same id again gets the same answer")]


class ClaimListBody(Struct):
    """Several claims of one user and session, to claim ahead."""

    claims: Annotated[list[ClaimBody], Meta(min_length=1, max_length=20)]


class Claim(Struct, kw_only=True):
    """How one claim ended."""

    claim_id: str
    artwork_id: str
    status: Literal["claimed", "lease_lost"]


class ClaimAnswer(Struct, kw_only=True):
    """How the claims ended; a single claim that is lost is answered 409 instead."""

    claims: list[Claim]


Counter = Annotated[int, Meta(ge=0, le=2**53)]


class HeartbeatBody(Struct, kw_only=True):
    """A sign of life, with the client's own counters since its page was loaded."""

    user_id: Id
    flush_successes: Counter = 0
    flush_failures: Counter = 0
    pending: Counter = 0
    late_draws: Counter = 0


class HeartbeatAnswer(Struct, kw_only=True):
    """What the session still holds."""

    live: Annotated[bool, Meta(description="false: the leases are lost; ask for artworks again")]
    seconds_left: float
    held: Annotated[list[str], Meta(description="artwork ids on lease and not shown yet")]


class EndAnswer(Struct, kw_only=True):
    """What an ended session gave back."""

    returned: int


class CoverageAnswer(Struct, kw_only=True):
    """How much of what is eligible a user has seen."""

    user_id: str
    coverage: Annotated[float, Meta(ge=0, le=1, description="null for an empty pool")] | None
    coverage_band: Band | None
    eligible: int
    seen: int
    unseen: int
    leased: int
    minutes_of_stock: float


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


class LiveModel(Struct, kw_only=True):
    """The model behind the answers; all null while none is live."""

    live: bool
    model: str | None = None
    version: str | None = None
    kind: str | None = None
    digest: str | None = None
    snapshot: str | None = None
    published_at: datetime | None = None
    age_seconds: float | None = None
    artworks: int | None = None
    metrics: dict[str, float] = {}
    params: dict[str, Any] = {}
    refusal: Annotated[str | None, Meta(description="why the newest bundle was refused, if it was")]


class Dependency(Struct, kw_only=True, omit_defaults=True):
    """One thing that the service stands on."""

    state: Literal["ok", "absent", "stale", "refused", "down"]
    detail: str | None = None
    age_seconds: float | None = None


class Health(Struct, kw_only=True):
    """The state of each dependency."""

    status: Literal["ok", "degraded", "down"]
    version: str
    database: Dependency
    pool: Dependency
    bundle: Dependency
    generator: Dependency
