"""The routes that hand out artworks: next lists and prefetch plans."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from features.dna import DnaKind, read_dna
from serving.api.operations import FRONTEND, Call, Operation
from serving.api.schemas import (
    Item,
    NextAnswer,
    NextQuery,
    PrefetchAnswer,
    PrefetchBody,
    PrefetchItem,
    UserPath,
)
from serving.experiments.assignment import settings_of
from serving.host_artworks import HostArtwork
from serving.ladder import ANYTHING, RUNG_REASONS, SHORT
from serving.prefetch import THRESHOLDS, plan
from serving.ranking import Ask
from serving.recommend import Answer
from serving.signing import hold

DEPTH = 10  # artworks of a prefetch plan
_PLAIN = (
    "image_url", "prompt", "orientation", "is_library", "aspect_ratio", "catalogue_tier", "width", "height",
    "safe_area", "focal_points", "sidefill_palette", "audio_features", "music_track", "music_artist", "music_album",
    "music_genre", "generation_explanation",
)  # fmt: skip


_ON_NO_LIST: dict[str, Any] = {
    "lease_id": UUID(int=0), "position": 0, "score": 0.0, "rung": ANYTHING, "reason": RUNG_REASONS[ANYTHING],
    "evidence": "none", "expires_at": datetime.max.replace(tzinfo=UTC),
}  # fmt: skip
_shapes: WeakKeyDictionary[HostArtwork, Item] = WeakKeyDictionary()


async def next_artworks(call: Call) -> NextAnswer:
    """Unseen artworks for one user, on lease to the session."""
    asked: NextQuery = call.query
    ask = Ask(
        user_id=call.path["user_id"],
        session_id=asked.session_id,
        limit=asked.limit,
        orientation=asked.orientation,
        styles=tuple(asked.styles),
        strict_styles=asked.strict_styles,
        exclude=tuple(asked.exclude),
        supersedes=asked.supersedes,
    )
    return _next_answer(call, await call.worker.parts.recommender.next(ask))


async def prefetch(call: Call) -> PrefetchAnswer:
    """What one user's browser should load now, on lease."""
    asked: PrefetchBody = call.body
    ask = Ask(
        user_id=call.path["user_id"],
        session_id=asked.session_id,
        limit=_depth(call, asked),
        orientation=asked.orientation,
        styles=tuple(asked.styles),
        supersedes=asked.supersedes,
        smooth=True,
    )
    answer = await call.worker.parts.recommender.next(ask)
    planned = plan(
        [(offer.artwork.columns.width, offer.artwork.columns.height) for offer in answer.offers],
        answer.shown,
        call.worker.settings,
        network=asked.network,
        save_data=asked.save_data,
        byte_budget=asked.byte_budget,
    )
    items = _items(call, answer)
    return PrefetchAnswer(
        recommendation_id=answer.recommendation_id,
        user_id=ask.user_id,
        session_id=ask.session_id,
        items=[
            PrefetchItem(
                artwork=items[part.place],
                p_shown=part.p_shown,
                bytes=part.bytes,
                priority="low" if part.place else "high",
            )
            for part in planned
        ],
        requested=ask.limit,
        leased=len(items),
        shortfall=ask.limit - len(items),
        reason=answer.reason,
        unseen_total=answer.unseen_total,
        rank_traded=answer.rank_traded,
        threshold=THRESHOLDS[asked.network],
        retry_after_seconds=answer.retry_after,
    )


def _depth(call: Call, asked: PrefetchBody) -> int:
    """As many artworks as asked for; where the browser leaves it open, as the user's arm says."""
    if asked.depth is not UNSET:
        return asked.depth
    tried = settings_of(call.worker.parts.live.experiments.assign(call.path["user_id"]))
    return int(tried.get("prefetch_depth", DEPTH))


def _next_answer(call: Call, answer: Answer) -> NextAnswer:
    """The list as its schema."""
    items = _items(call, answer)
    return NextAnswer(
        recommendation_id=answer.recommendation_id,
        user_id=answer.ask.user_id,
        session_id=answer.ask.session_id,
        items=items,
        requested=answer.ask.limit,
        returned=len(items),
        shortfall=answer.ask.limit - len(items),
        reason=answer.reason,
        rung=max((item.rung for item in items), default=SHORT),
        unseen_total=answer.unseen_total,
        repeats=answer.repeats,
        model=answer.model,
        policy=answer.policy,
        retry_after_seconds=answer.retry_after,
    )


def _items(call: Call, answer: Answer) -> list[Item]:
    """The artworks of a list; an item holds no longer than its image URL."""
    items = []
    for position, offer in enumerate(answer.offers, start=1):
        columns = offer.artwork.columns
        url, until = hold(columns.id, columns.image_url, offer.expires_at, call.worker.resign)
        items.append(
            replace(
                _shape(offer.artwork),
                lease_id=answer.recommendation_id,
                position=position,
                score=offer.score,
                rung=offer.rung,
                reason=RUNG_REASONS[offer.rung],
                evidence=offer.evidence,
                image_url=url,
                expires_at=until,
            )
        )
    return items


def _shape(artwork: HostArtwork) -> Item:
    """What every list says of an artwork, made once for as long as the artwork is remembered."""
    found = _shapes.get(artwork)
    if found is None:
        found = _shapes[artwork] = _item(artwork.columns)
    return found


def _item(columns: Any) -> Item:
    """An artwork on no list yet."""
    return Item(
        **_ON_NO_LIST,
        artwork_id=columns.id,
        dna_vector=_dna(columns.dna_vector),
        created_at=columns.created_at.replace(tzinfo=UTC),
        quality_score=None if columns.quality_score is None else float(columns.quality_score),
        styles=_texts(columns.styles),
        motifs=_texts(columns.motifs),
        artists=_texts(columns.artists),
        **{name: getattr(columns, name) for name in _PLAIN},
    )


def _dna(text: str | None) -> list[float] | None:
    """The numbers of a usable vector, encoded; None for any other."""
    kind, _ = read_dna(text)
    if text is None or kind not in {DnaKind.REAL, DnaKind.STUB}:
        return None
    return cast("list[float]", msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text))))


def _texts(array: list[Any] | None) -> list[str]:
    """The texts of one of the host's arrays, which may be NULL and may hold NULL."""
    return [text for text in array if text is not None] if array and None in array else array or []


OPERATIONS = (
    Operation(
        "next", "GET", "/v1/users/{user_id}/next", "Unseen artworks for a user, on lease to the session",
        next_artworks, NextAnswer, FRONTEND, path_type=UserPath, query_type=NextQuery,
    ),
    Operation(
        "prefetch", "POST", "/v1/users/{user_id}/prefetch", "What a browser should load now, on lease",
        prefetch, PrefetchAnswer, FRONTEND, path_type=UserPath, body_types=(PrefetchBody,),
    ),
)  # fmt: skip
