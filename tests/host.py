"""The host application as the tests see it: what it writes into its own tables, past our service."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
from psycopg import sql

from tests.service import Service

FIRST_CREATED = datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # the host's stamps have no zone
WAIT_SECONDS = 30.0


class Host:
    """Writes artworks, users and impressions over an autocommit connection."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection

    def add_artwork(self, artwork_id: str | None = None, **columns: Any) -> str:
        """Insert one artwork and return its id; ``columns`` override the defaults."""
        return self.add_artworks([{"id": artwork_id or _new_id()} | columns])[0]

    def add_artworks(self, artworks: int | Iterable[Mapping[str, Any]], **columns: Any) -> list[str]:
        """Insert artworks and return their ids, in order of age; ``columns`` are set on each of them."""
        given = [{}] * artworks if isinstance(artworks, int) else list(artworks)
        rows = [_artwork(place) | columns | dict(row) for place, row in enumerate(given)]
        for row in rows:
            self.insert("art_sessions", row)
        return [row["id"] for row in rows]

    def add_user(self, user_id: str | None = None, **columns: Any) -> str:
        """Insert a user and return the id."""
        row = {"id": user_id or _new_id()} | columns
        self.insert("users", row)
        return str(row["id"])

    def see(self, user_id: str, artwork_ids: Iterable[str], **columns: Any) -> None:
        """Insert impressions, as the host's own routes do."""
        for artwork_id in artwork_ids:
            self.insert("user_art_impressions", {"user_id": user_id, "artwork_id": artwork_id} | columns)

    def set_status(self, artwork_id: str, status: str | None) -> None:
        """Change an artwork's pool_status."""
        self.connection.execute("UPDATE public.art_sessions SET pool_status = %s WHERE id = %s", (status, artwork_id))

    def delete(self, *artwork_ids: str) -> None:
        """Delete artworks, and with them the host's impressions of them."""
        self.connection.execute("DELETE FROM public.art_sessions WHERE id = ANY (%s)", (list(artwork_ids),))

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Insert one row."""
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier("public", table), names, places)
        self.connection.execute(statement, list(row.values()))

    def count(self, statement: str, *values: Any) -> int:
        """The number that a query returns."""
        row = self.connection.execute(statement, values).fetchone()
        assert row is not None
        return int(row[0])

    def fill(self, service: Service, artworks: int | Iterable[Mapping[str, Any]], **columns: Any) -> list[str]:
        """Make exactly these artworks the pool, wait until the service knows, and return their ids."""
        self.connection.execute("DELETE FROM public.art_sessions")
        self.wait(service)
        artwork_ids = self.add_artworks(artworks, **columns)
        self.wait(service)
        return artwork_ids

    def wait(self, service: Service) -> None:
        """Until every worker's snapshot is as large as the pool (so change its size, not its contents alone)."""
        size = self.count(
            "SELECT count(*) FROM public.art_sessions WHERE pool_status IS NULL OR pool_status = 'active'"
        )
        end = time.monotonic() + WAIT_SECONDS
        agreed = 0
        while agreed < (1 if service.workers == 1 else 10 * service.workers):
            assert time.monotonic() < end, f"the service does not see the {size} artworks of the pool"
            agreed = agreed + 1 if pool_of(service) == size else 0
            time.sleep(0.01)


def pool_of(service: Service) -> int:
    """The active artworks that a worker knows of; a fresh connection, so that another worker may answer next time."""
    path = f"{service.url}/v1/users/somebody-without-preferences/coverage"
    answer = httpx.get(path, headers={"Authorization": f"Bearer {service.key}"}, timeout=30)
    return int(answer.raise_for_status().json()["eligible"])


def _artwork(place: int) -> dict[str, Any]:
    """The columns of an ordinary artwork, a minute younger than the one before."""
    artwork_id = _new_id()
    return {
        "id": artwork_id,
        "session_id": "catalogue-seed",
        "image_url": f"/images/{artwork_id}.webp",
        "prompt": f"A quiet study, number {place}",
        "created_at": FIRST_CREATED + timedelta(minutes=place),
    }


def _new_id() -> str:
    """A new host id."""
    return str(uuid.uuid4())
