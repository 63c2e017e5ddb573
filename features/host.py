"""What the host's tables look like here: introspected once at start, since their columns drift.

The newer columns are optional: where one is absent, queries read NULL in its place, and `missing` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from features.database import query
from features.errors import HostTablesMissingError

NEEDED = {
    "users": ("id",),
    "art_sessions": ("id", "image_url", "prompt", "created_at"),
    "user_art_impressions": ("user_id", "artwork_id", "viewed_at"),
}

#: Columns of art_sessions that an answer carries, with the type a missing one is read as.
ARTWORK_COLUMNS = {
    "id": "varchar", "image_url": "text", "prompt": "text", "dna_vector": "text", "audio_features": "text",
    "music_track": "text", "music_artist": "text", "music_genre": "text", "music_album": "text",
    "generation_explanation": "text", "is_saved": "boolean", "motifs": "text[]", "quality_score": "numeric",
    "perceptual_hash": "varchar", "styles": "text[]", "artists": "text[]", "is_library": "boolean",
    "orientation": "varchar", "aspect_ratio": "varchar", "catalogue_tier": "varchar", "width": "integer",
    "height": "integer", "safe_area": "text", "focal_points": "text", "sidefill_palette": "text",
    "created_at": "timestamp", "pool_status": "varchar", "session_id": "varchar", "user_id": "varchar",
    "last_used_at": "timestamp", "version": "integer",
}  # fmt: skip
USER_COLUMNS = {"preferred_orientation": "varchar", "style_preferences": "text", "subscription_tier": "varchar"}
OPTIONAL_TABLES = ("art_favorites", "art_votes", "rai_sessions", "user_credits", "generation_jobs")


@dataclass(frozen=True)
class Host:
    """Which tables and columns the host has."""

    columns: dict[str, frozenset[str]]

    @property
    def missing(self) -> list[str]:
        """What is absent, as table or table.column, sorted."""
        tables = [name for name in OPTIONAL_TABLES if name not in self.columns]
        artworks = [f"art_sessions.{name}" for name in ARTWORK_COLUMNS if name not in self.columns["art_sessions"]]
        users = [f"users.{name}" for name in USER_COLUMNS if name not in self.columns["users"]]
        return sorted(tables + artworks + users)

    def select(self, table: str, columns: dict[str, str], alias: str) -> str:
        """A select list of ``columns``; a column the host lacks becomes a typed NULL of that name."""
        have = self.columns.get(table, frozenset())
        return ", ".join(
            f"{alias}.{name}" if name in have else f"NULL::{kind} AS {name}" for name, kind in columns.items()
        )

    def has(self, table: str) -> bool:
        """Whether the host has this table."""
        return table in self.columns

    def active(self, alias: str) -> str:
        """The condition that an artwork may be served: active, where NULL is legacy for active."""
        if "pool_status" not in self.columns["art_sessions"]:
            return "true"
        return f"({alias}.pool_status IS NULL OR {alias}.pool_status = 'active')"

    def servable(self, alias: str) -> str:
        """The condition that an artwork is active and that the client accepts its URL; it would drop any other."""
        return f"({self.active(alias)} AND {self.fetchable(alias)})"

    def fetchable(self, alias: str) -> str:
        """The condition that the client accepts an artwork's URL."""
        url = f"{alias}.image_url"
        return f"({url} ~ '^(/|https?://)' AND position('placeholder' in lower({url})) = 0)"


def introspect(rows: list[tuple[str, str]]) -> Host:
    """The host from pairs of table and column (query host_columns). Raises HostTablesMissingError."""
    columns: dict[str, set[str]] = {}
    for table, column in rows:
        columns.setdefault(table, set()).add(column)
    missing = [table for table, needed in NEEDED.items() if not set(needed) <= columns.get(table, set())]
    if missing:
        raise HostTablesMissingError(tables=", ".join(missing))
    return Host({table: frozenset(names) for table, names in columns.items()})


def read_host(connection: psycopg.Connection) -> Host:
    """Introspect over a blocking connection."""
    return introspect(connection.execute(query("host_columns")).fetchall())
