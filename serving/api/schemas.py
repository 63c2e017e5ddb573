"""The bodies, parameters and answers of /v1, as types: they check what comes in and make the OpenAPI document."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from features.coverage import Band
from serving.experiments.definitions import SLOTS, Definition, Name, Policy, Text
from serving.experiments.flags import Value
from serving.experiments.registry import State
from serving.ladder import RungReason, ShortReason
from serving.model import Tier
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
    depth: (
        Annotated[int, Meta(ge=1, le=50, description="how many artworks at most; default: the user's arm's, else 10")]
        | UnsetType
    ) = UNSET
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
    """What a batch came to. Ids are artwork ids for artwork_ids, and event ids for events.

    What the host recorded without us counts as new until artworks are asked for: it is taken over then.
    """

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


class ExperimentPath(Struct):
    """The path of a route about one experiment."""

    name: Name


class StartBody(Struct):
    """How an experiment begins."""

    slots: Annotated[int, Meta(ge=1, le=SLOTS, description="how many of its slots; default: all")] | UnsetType = UNSET


class RampBody(Struct):
    """How far an experiment grows."""

    slots: Annotated[int, Meta(ge=1, le=SLOTS, description="how many of its slots, more than now")]


class StopBody(Struct):
    """Why an experiment ends."""

    reason: Text


class Experiment(Struct, kw_only=True):
    """How one version of an experiment stands."""

    definition: Definition
    state: State
    slots: Annotated[int, Meta(description="how many of its slots are in use")]
    horizon_days: Annotated[int | None, Meta(description="how long after its start it is judged; null for a draft")]
    power: Annotated[float | None, Meta(description="expected chance to find the smallest effect by then")]
    reason: Annotated[str | None, Meta(description="of a stop")]
    at: Annotated[datetime, Meta(description="of the last change")]
    started_at: datetime | None
    stopped_at: datetime | None


class ExperimentsAnswer(Struct):
    """Every version of every experiment, or of one, the newest first."""

    experiments: list[Experiment]


class Assignment(Struct, kw_only=True):
    """A user's arm in one experiment."""

    experiment: str
    version: int
    arm: Annotated[str | None, Meta(description="null where the lists of an interleaved experiment hold both")]
    overridden: bool
    client_values: Annotated[list[str], Meta(description="settings of the client that it compares; see exposures")]


class AssignmentsAnswer(Struct, kw_only=True):
    """What is tried on one user, and what a frontend is to use for it."""

    user_id: str
    held_out: Annotated[bool, Meta(description="of the share of users who are in no experiment")]
    assignments: list[Assignment]
    settings: Annotated[Policy, Meta(description="what the arms set together; what is left out stays as it is")]
    flags: Annotated[dict[str, Value], Meta(description="every feature flag's value for the user")]
