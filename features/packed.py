"""What PostgreSQL packs for us: many small numbers of a user as one value, which numpy reads without a loop.

All of it is big-endian and concatenated, as the functions int4send, float4send and bit_send have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from features.arrays import Floats, Keys, Marks
from features.weights import typical_dwell, weigh

BLOCK_BITS = 1024  # artwork keys in one row of seen_bits
_BLOCK = np.dtype([("block", ">i4"), ("bits", ">i4"), ("bytes", "u1", BLOCK_BITS // 8)])


def unpack_keys(packed: bytes | None) -> Keys:
    """Artwork keys, shape (m,)."""
    if not packed:
        return np.zeros(0, np.int32)
    return np.frombuffer(packed, dtype=">i4").astype(np.int32)


def unpack_bits(packed: bytes | None) -> Marks:
    """The artwork keys whose bits are set in rows of seen_bits, each as its block's number and bit_send of its bits."""
    if not packed:
        return np.zeros(0, dtype=bool)
    rows = np.frombuffer(packed, dtype=_BLOCK)
    blocks = np.zeros((int(rows["block"].max()) + 1, BLOCK_BITS // 8), np.uint8)
    blocks[rows["block"]] = rows["bytes"]
    return np.unpackbits(blocks.reshape(-1)).view(bool)


def unpack_seen(row: Mapping[str, Any]) -> Marks:
    """What a user has seen (bits), but for what was only loaded there where it is asked for (keys)."""
    seen = unpack_bits(row["seen"])
    if row["loaded"]:
        loaded = unpack_keys(row["loaded"])
        seen[loaded[loaded < len(seen)]] = False
    return seen


def unpack_signals(row: Mapping[str, Any], half_life_days: float) -> tuple[Keys, Floats]:
    """A user's signals (keys, kinds, values, ages in days) as keys and weights, one entry per event, shape (m,)."""
    if not row["keys"]:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    kinds = unpack_keys(row["kinds"]).astype(np.int8)
    values, ages = (np.frombuffer(row[name], dtype=">f4").astype(np.float32) for name in ("values", "ages"))
    return unpack_keys(row["keys"]), weigh(kinds, values, ages, typical_dwell(kinds, values), half_life_days)
