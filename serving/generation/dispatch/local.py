"""Paints orders here, from their DNA: no service and no money needed. The default.

A picture is a file under <home>/artworks and a row in the host's table. It is taken in only where no earlier picture is
the same or nearly so; the same order always gives the same artwork, so that it may be begun twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from features.arrays import Floats
from features.database import Pool, query, transaction
from features.errors import GenerationFailedError
from features.host import Host
from features.settings import Settings
from serving.generation.dispatch.intake import SIZES, Intake, Made, Near
from serving.generation.orders import Ledger, Order, State
from serving.generation.painter import Picture, paint, usual_range

PATH = "/artworks"
SUFFIX = ".webp"
QUALITY = 82  # of WebP; about 50 to 250 KB a picture
TRIES = 4  # a picture that is like another one is painted anew, each time further away
STEP = 0.04  # of the usual range
LEAST_APART = 4  # bits of 64 between the difference hashes of two pictures


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

    def __init__(self, pool: Pool, host: Host, ledger: Ledger, settings: Settings) -> None:
        self._pool = pool
        self._ledger = ledger
        self._folder = settings.artworks_path
        self._deliveries = settings.deliveries
        self._pixels = settings.painted_pixels
        self._intake = Intake(pool, host)

    async def room(self) -> int:
        """As many as deliveries are allowed."""
        return self._deliveries

    async def deliver(self, order: Order) -> str:
        """Paint, store, take in."""
        if order.state == State.SENT:
            await self._ledger.advance(order.order_id, State.RUNNING)
        near = await self._intake.near(order.wish.near)
        for number in range(TRIES):
            dna = varied(order.wish.dna, order.order_id.int, number)
            painting = await asyncio.to_thread(make_painting, dna, *self._size(near))
            artwork_id = await self._take_in(order, painting, dna, near)
            if artwork_id is not None:
                return artwork_id
        reason = f"{TRIES} pictures were like earlier ones"
        raise GenerationFailedError(order_id=order.order_id, reason=reason, blameless=True)

    def _size(self, near: Near) -> tuple[int, int]:
        """Width and height."""
        width, height = SIZES[near.orientation]
        share = self._pixels / max(width, height)
        return round(width * share), round(height * share)

    async def _take_in(self, order: Order, painting: Painting, dna: Floats, near: Near) -> str | None:
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
            if (await connection.execute(query("painted_alike"), looks)).rowcount > 0:
                return None
            try:
                await asyncio.to_thread(_store, self._folder / (artwork_id + SUFFIX), painting.body)
            except OSError as error:
                reason = f"the picture cannot be written: {error.strerror or error}"
                raise GenerationFailedError(order_id=order.order_id, reason=reason) from error
            await connection.execute(query("keep_painted"), looks)
            made = Made(f"{PATH}/{artwork_id}{SUFFIX}", painting.width, painting.height, dna, int(painting.looks, 2))
            await self._intake.insert(connection, order, made, near)
        return artwork_id


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
