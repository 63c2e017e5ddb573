"""The routes of a user's own past: history, replay, favourites."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from serving.api.operations import FRONTEND, Call, Operation
from serving.api.problems import Problem
from serving.api.schemas import (
    ArtworkPath,
    Favourite,
    FavouriteAnswer,
    FavouritesAnswer,
    FavouritesQuery,
    HistoryAnswer,
    HistoryQuery,
    ReplayAnswer,
    Shown,
    ShownDay,
    ShownSession,
    UserPath,
)


async def history(call: Call) -> HistoryAnswer:
    """What one user was shown, by day and session."""
    asked: HistoryQuery = call.query
    before = asked.before or datetime.now(UTC)
    before = before if before.tzinfo else before.replace(tzinfo=UTC)
    rows = await call.worker.parts.library.history(call.path["user_id"], before, asked.limit)
    days = [
        ShownDay(day=day, sessions=[_shown_session(session, shown) for session, shown in _groups(part, "session_id")])
        for day, part in _groups([row | {"day": row["at"].date()} for row in rows], "day")
    ]
    rest = rows[-1]["at"] if len(rows) >= asked.limit else None
    return HistoryAnswer(user_id=call.path["user_id"], days=days, before=rest)


async def replay(call: Call) -> ReplayAnswer:
    """Show again, on purpose, what was shown before: counted, and no impression."""
    row = await call.worker.parts.library.replay(call.path["user_id"], call.path["artwork_id"])
    if row is None:
        raise Problem(404, "not_in_history", "The user was never shown this artwork, or it is gone.")
    return ReplayAnswer(artwork_id=call.path["artwork_id"], **row)


async def favourites(call: Call) -> FavouritesAnswer:
    """One user's favourites."""
    rows = await call.worker.parts.library.favourites(call.path["user_id"], call.query.limit)
    return FavouritesAnswer(user_id=call.path["user_id"], favourites=[Favourite(**row) for row in rows])


async def set_favourite(call: Call) -> FavouriteAnswer:
    """Mark an artwork as favourite."""
    if not await call.worker.parts.library.set_favourite(call.path["user_id"], call.path["artwork_id"]):
        raise Problem(404, "not_held", "The host holds no such user or artwork (or no favourites): nothing is marked.")
    return FavouriteAnswer(artwork_id=call.path["artwork_id"], favourite=True)


async def unset_favourite(call: Call) -> FavouriteAnswer:
    """Unmark a favourite."""
    await call.worker.parts.library.unset_favourite(call.path["user_id"], call.path["artwork_id"])
    return FavouriteAnswer(artwork_id=call.path["artwork_id"], favourite=False)


def _groups(rows: list[dict[str, Any]], name: str) -> list[tuple[Any, list[dict[str, Any]]]]:
    """Rows that agree in ``name``, with what they agree in, in order of first appearance."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return list(found.items())


def _shown_session(session_id: str | None, rows: list[dict[str, Any]]) -> ShownSession:
    """One session's displays."""
    names = [field.name for field in msgspec.structs.fields(Shown)]
    return ShownSession(session_id=session_id, artworks=[Shown(**{name: row[name] for name in names}) for row in rows])


OPERATIONS = (
    Operation(
        "history", "GET", "/v1/users/{user_id}/history", "What a user was shown, by day and session",
        history, HistoryAnswer, FRONTEND, path_type=UserPath, query_type=HistoryQuery,
    ),
    Operation(
        "replay", "POST", "/v1/users/{user_id}/history/{artwork_id}/replay", "Count a replay; no impression, no lease",
        replay, ReplayAnswer, FRONTEND, path_type=ArtworkPath, missing="not_in_history",
    ),
    Operation(
        "favourites", "GET", "/v1/users/{user_id}/favourites", "A user's favourites, newest first",
        favourites, FavouritesAnswer, FRONTEND, path_type=UserPath, query_type=FavouritesQuery,
    ),
    Operation(
        "set_favourite", "PUT", "/v1/users/{user_id}/favourites/{artwork_id}", "Mark a favourite",
        set_favourite, FavouriteAnswer, FRONTEND, path_type=ArtworkPath, missing="not_held",
    ),
    Operation(
        "unset_favourite", "DELETE", "/v1/users/{user_id}/favourites/{artwork_id}", "Unmark a favourite",
        unset_favourite, FavouriteAnswer, FRONTEND, path_type=ArtworkPath,
    ),
)  # fmt: skip
