"""The routes that hand out artworks: next lists and prefetch plans."""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import UNSET

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
from serving.ladder import RUNG_REASONS, SHORT
from serving.prefetch import THRESHOLDS, plan
from serving.ranking import Ask
from serving.recommend import Answer
from serving.signing import hold
from serving.telemetry import CACHES

DEPTH = 10  # artworks of a prefetch plan
_PLAIN = (
    "image_url", "expires_at",
    "prompt", "orientation", "is_library", "aspect_ratio", "catalogue_tier", "width", "height",
    "safe_area", "focal_points", "sidefill_palette", "audio_features", "music_track", "music_artist", "music_album",
    "music_genre", "generation_explanation",
)  # fmt: skip


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
        answer.artworks,
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
    items, before = [], _dna.cache_info()
    for position, row in enumerate(answer.artworks, start=1):
        url, until = hold(row["id"], row["image_url"], row["expires_at"], call.worker.resign)
        items.append(_item(answer, position, row | {"image_url": url, "expires_at": until}))
    after = _dna.cache_info()
    CACHES.labels("dna", "hit").inc(after.hits - before.hits)
    CACHES.labels("dna", "miss").inc(after.misses - before.misses)
    return items


def _item(answer: Answer, position: int, row: dict[str, Any]) -> Item:
    """One artwork of a list; the lease is the list's."""
    return Item(
        artwork_id=row["id"],
        lease_id=answer.recommendation_id,
        position=position,
        score=row["score"],
        rung=row["rung"],
        reason=RUNG_REASONS[row["rung"]],
        evidence=row["evidence"],
        dna_vector=_dna(row["dna_vector"]),
        created_at=row["created_at"].replace(tzinfo=UTC),
        quality_score=None if row["quality_score"] is None else float(row["quality_score"]),
        styles=_texts(row["styles"]),
        motifs=_texts(row["motifs"]),
        artists=_texts(row["artists"]),
        **{name: row[name] for name in _PLAIN},
    )


@lru_cache(maxsize=16_384)  # texts, not artworks: an edited one is another text
def _dna(text: str | None) -> list[float] | None:
    """The numbers of a usable vector, encoded once for all the lists that they go out in; None for any other."""
    kind, _ = read_dna(text)
    if text is None or kind not in {DnaKind.REAL, DnaKind.STUB}:
        return None
    return cast("list[float]", msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text))))


def _texts(array: list[str | None] | None) -> list[str]:
    """The texts of one of the host's arrays, which may be NULL and may hold NULL."""
    return [text for text in array or [] if text is not None]


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
