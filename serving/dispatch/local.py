"""Paints orders here, from their DNA: no service and no money needed. The default.

A picture is a file under <home>/artworks and a row in the host's table. It is taken in only where no earlier picture is
the same or nearly so; the same order always gives the same artwork, so that it may be begun twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from PIL import Image
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from features.arrays import Floats
from features.database import query, transaction
from features.errors import GenerationFailedError
from features.host import Host
from features.settings import Settings
from serving.orders import Ledger, Order, State
from serving.painter import Picture, paint, usual_range

PATH = "/artworks"
SUFFIX = ".webp"
SIZES = {"landscape": (1280, 800), "portrait": (800, 1280), "square": (1024, 1024)}
QUALITY = 82  # of WebP; about 50 to 250 KB a picture
QUALITY_SCORE = 75.0  # what the host gives its own generated rows
TRIES = 4  # a picture that is like another one is painted anew, each time further away
STEP = 0.04  # of the usual range
LEAST_APART = 4  # bits of 64 between the difference hashes of two pictures
NEAR_COLUMNS = {"orientation": "varchar", "motifs": "text[]", "styles": "text[]"}


@dataclass(frozen=True)
class Painting:
    """A picture in its file's form."""

    body: bytes
    width: int
    height: int
    content_hash: str  # SHA-256 of the pixels
    looks: str  # 64 bits: difference hash


class LocalDispatcher:
    """Paints in threads, so that the event loop is never held up."""

    name = "local"

    def __init__(self, pool: AsyncConnectionPool, host: Host, ledger: Ledger, settings: Settings) -> None:
        self._pool = pool
        self._ledger = ledger
        self._folder = settings.artworks_path
        self._deliveries = settings.deliveries
        self._columns = host.columns["art_sessions"]
        self._near = query("artwork_near", columns=host.select("art_sessions", NEAR_COLUMNS, "a"))

    async def room(self) -> int:
        """As many as deliveries are allowed."""
        return self._deliveries

    async def deliver(self, order: Order) -> str:
        """Paint, store, take in."""
        if order.state == State.SENT:
            await self._ledger.advance(order.order_id, State.RUNNING)
        near = await self._near_artwork(order.wish.near)
        orientation = near["orientation"] if near["orientation"] in SIZES else "landscape"
        for number in range(TRIES):
            dna = varied(order.wish.dna, order.order_id.int, number)
            painting = await asyncio.to_thread(make_painting, dna, *SIZES[orientation])
            artwork_id = await self._take_in(order, painting, dna, near | {"orientation": orientation})
            if artwork_id is not None:
                return artwork_id
        raise GenerationFailedError(order_id=order.order_id, reason=f"{TRIES} pictures were like earlier ones")

    async def _near_artwork(self, artwork_id: str) -> dict[str, Any]:
        """What the new artwork takes over from the one that it is like; nothing where that is gone."""
        async with transaction(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(self._near, {"artwork_id": artwork_id})
            return await cursor.fetchone() or dict.fromkeys(NEAR_COLUMNS)

    async def _take_in(self, order: Order, painting: Painting, dna: Floats, near: dict[str, Any]) -> str | None:
        """File, hash and row; the file first, so that no row is ever without one. None when it is like another."""
        artwork_id = str(order.order_id)
        looks = {
            "artwork_id": artwork_id,
            "content_hash": painting.content_hash,
            "looks": painting.looks,
            "least_apart": LEAST_APART,
        }
        async with transaction(self._pool) as connection:
            await connection.execute(query("lock_painted"))
            if await (await connection.execute(query("painted_alike"), looks)).fetchone():
                return None
            try:
                await asyncio.to_thread(_store, self._folder / (artwork_id + SUFFIX), painting.body)
            except OSError as error:
                reason = f"the picture cannot be written: {error.strerror or error}"
                raise GenerationFailedError(order_id=order.order_id, reason=reason) from error
            await connection.execute(query("keep_painted"), looks)
            await self._insert(connection, _row(order, painting, dna, near))
        return artwork_id

    async def _insert(self, connection: psycopg.AsyncConnection, row: dict[str, Any]) -> None:
        """The artwork's row, without the columns that this host does not have."""
        names = [name for name in row if name in self._columns]
        places = ", ".join(f"%({name})s" for name in names)
        await connection.execute(query("keep_artwork", columns=", ".join(names), places=places), row)


def make_painting(dna: Floats, width: int, height: int) -> Painting:
    """Paint a DNA vector (50,) and say what it looks like."""
    picture = paint(dna, width, height)
    image = Image.fromarray(picture)
    body = BytesIO()
    image.save(body, "WEBP", quality=QUALITY)
    looks = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int16)
    return Painting(body.getvalue(), width, height, _content_hash(picture), difference_hash(looks))


def difference_hash(grey: NDArray[np.int16]) -> str:
    """64 bits: whether each of 9 x 8 grey values is darker than the next one in its row.

    Krawetz, "Kind of Like That", 2013.
    """
    return "".join("1" if darker else "0" for darker in (grey[:, :-1] < grey[:, 1:]).ravel())


def varied(dna: Floats, seed: int, number: int) -> Floats:
    """The vector itself at first, then further and further away from it: the same for the same seed and number."""
    if number == 0:
        return dna
    low, high = usual_range()
    moved = dna + np.random.default_rng([seed % 2**64, number]).normal(0, STEP * number, len(dna)) * (high - low)
    return np.asarray(np.clip(moved, low, high), dtype=np.float32)


def _content_hash(picture: Picture) -> str:
    """Of the pixels and their shape."""
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def _store(path: Path, body: bytes) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(body)
    new.replace(path)


def _row(order: Order, painting: Painting, dna: Floats, near: dict[str, Any]) -> dict[str, Any]:
    """The artwork as the host's table has its generated rows."""
    artwork_id = str(order.order_id)
    return {
        "id": artwork_id,
        "session_id": f"job_{artwork_id}",
        "user_id": "system",
        "image_url": f"{PATH}/{artwork_id}{SUFFIX}",
        "prompt": order.wish.prompt,
        "dna_vector": json.dumps([round(float(number), 6) for number in dna]),
        "generation_explanation": f"Painted from DNA, like {order.wish.near}",
        "motifs": list(near["motifs"] or []),
        "quality_score": QUALITY_SCORE,
        "perceptual_hash": f"{int(painting.looks, 2):016x}",
        "pool_status": "active",
        "styles": list(order.wish.styles or near["styles"] or []),
        "artists": [],
        "is_library": False,
        "orientation": near["orientation"],
        "aspect_ratio": _ratio(painting.width, painting.height),
        "width": painting.width,
        "height": painting.height,
    }


def _ratio(width: int, height: int) -> str:
    """The sides in small numbers, such as 8:5."""
    part = int(np.gcd(width, height))
    return f"{width // part}:{height // part}"
