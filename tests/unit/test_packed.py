"""What PostgreSQL packs comes out as numpy has it; the bits are the keys."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.packed import BLOCK_BITS, unpack_bits, unpack_seen


def packed(keys: set[int]) -> bytes:
    """Rows of seen_bits with these keys, as int4send(block) || bit_send(bits) has them."""
    blocks: dict[int, np.ndarray] = {}
    for key in keys:
        blocks.setdefault(key // BLOCK_BITS, np.zeros(BLOCK_BITS, np.uint8))[key % BLOCK_BITS] = 1
    head = BLOCK_BITS.to_bytes(4)
    return b"".join(block.to_bytes(4) + head + np.packbits(bits).tobytes() for block, bits in blocks.items())


@given(st.sets(st.integers(0, 5_000)))
def test_the_bits_that_are_set_are_the_keys(keys: set[int]) -> None:
    """Whatever blocks they fall into, in whatever order these come."""
    assert np.flatnonzero(unpack_bits(packed(keys))).tolist() == sorted(keys)


@given(st.sets(st.integers(0, 5_000)), st.sets(st.integers(0, 5_000)))
def test_what_is_only_loaded_is_not_seen(keys: set[int], loaded: set[int]) -> None:
    """It is still to be shown there."""
    row = {"seen": packed(keys), "loaded": np.array(sorted(loaded), ">i4").tobytes()}
    assert set(np.flatnonzero(unpack_seen(row)).tolist()) == keys - loaded


def test_nothing_packed_is_nothing_seen() -> None:
    """NULL of an aggregate without rows."""
    assert len(unpack_bits(None)) == 0
