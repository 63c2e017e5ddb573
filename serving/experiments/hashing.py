"""The number that decides who is in which arm: the same in Python, JavaScript and PostgreSQL. Pure.

Kohavi, Tang & Xu, Trustworthy Online Controlled Experiments (2020), chapter 4: assignment by a hash of a salt and the
unit's id needs no memory, is the same everywhere, and another salt shuffles anew. In PostgreSQL it is the function
vernissage.bucket; in JavaScript tests/unit/buckets.mjs shows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate

BITS = 52  # every such number is exact in a JavaScript number
DIGITS = BITS // 4


def bucket(salt: str, unit_id: str) -> int:
    """The top 52 bits of SHA-256 of salt, ':' and id.

    >>> bucket("lists", "ada")
    646364617122667
    """
    return int(hashlib.sha256(f"{salt}:{unit_id}".encode()).hexdigest()[:DIGITS], 16)


def place(salt: str, unit_id: str, places: int) -> int:
    """Which of ``places`` equal parts the unit falls in: from 0, in whole numbers, so that nothing is rounded.

    >>> place("lists", "ada", 10_000)
    1435
    """
    return bucket(salt, unit_id) * places >> BITS


def pick(salt: str, unit_id: str, weights: Sequence[int]) -> int:
    """Which of several parts of these whole ``weights`` (above 0 in all) the unit falls in.

    >>> pick("lists", "ada", [1, 1])
    0
    """
    found = place(salt, unit_id, sum(weights))
    return next(part for part, end in enumerate(accumulate(weights)) if found < end)
