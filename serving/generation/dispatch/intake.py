"""Takes an artwork that was made to order into the host's table, as the host has its own generated rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row

from features.arrays import Floats
from features.database import Pool, query, transaction
from features.host import Host
from serving.generation.orders import Order

SIZES = {"landscape": (1280, 800), "portrait": (800, 1280), "square": (1024, 1024)}
QUALITY_SCORE = 75.0  # what the host gives its own generated rows
NEAR_COLUMNS = {"orientation": "varchar", "motifs": "text[]", "styles": "text[]"}


@dataclass(frozen=True)
class Near:
    """What a new artwork takes over from the one that it is like."""

    orientation: str  # one of SIZES
    motifs: list[str]
    styles: list[str]


@dataclass(frozen=True)
class Made:
    """What a provider has made."""

    image_url: str
    width: int
    height: int
    dna: Floats  # (50,)
    looks: int | None = None  # 64 bits: difference hash, where the pixels are known


class Intake:
    """Reads and writes artworks of one host."""

    def __init__(self, pool: Pool, host: Host) -> None:
        self._pool = pool
        self._columns = host.columns["art_sessions"]
        self._near = query("artwork_near", columns=host.select("art_sessions", NEAR_COLUMNS, "a"))

    async def near(self, artwork_id: str) -> Near:
        """What is taken over from an artwork; a plain landscape where it is gone."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._near, {"artwork_id": artwork_id})
            row = await cursor.fetchone() or dict.fromkeys(NEAR_COLUMNS)
        orientation = row["orientation"] if row["orientation"] in SIZES else "landscape"
        return Near(orientation, list(row["motifs"] or []), list(row["styles"] or []))

    async def insert(self, connection: psycopg.AsyncConnection, order: Order, made: Made, near: Near) -> None:
        """The artwork's row under the order's id, without the columns that this host lacks; once, however often."""
        row = _row(order, made, near)
        names = [name for name in row if name in self._columns]
        places = ", ".join(f"%({name})s" for name in names)
        await connection.execute(query("keep_artwork", columns=", ".join(names), places=places), row)


def _row(order: Order, made: Made, near: Near) -> dict[str, Any]:
    """The artwork as the host's table has its generated rows."""
    artwork_id = str(order.order_id)
    return {
        "id": artwork_id,
        "session_id": f"job_{artwork_id}",
        "user_id": "system",
        "image_url": made.image_url,
        "prompt": order.wish.prompt,
        "dna_vector": json.dumps([round(float(number), 6) for number in made.dna]),
        "generation_explanation": f"Made to order, like {order.wish.near}",
        "motifs": near.motifs,
        "quality_score": QUALITY_SCORE,
        "perceptual_hash": None if made.looks is None else f"{made.looks:016x}",
        "pool_status": "active",
        "styles": list(order.wish.styles) or near.styles,
        "artists": [],
        "is_library": False,
        "orientation": near.orientation,
        "aspect_ratio": _ratio(made.width, made.height),
        "width": made.width,
        "height": made.height,
    }


def _ratio(width: int, height: int) -> str:
    """The sides in small numbers, such as 8:5."""
    part = int(np.gcd(width, height))
    return f"{width // part}:{height // part}"
