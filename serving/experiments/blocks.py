"""Blocks of time, in which the arms of a generation policy take turns: all users share the pool that it fills. Pure.

A block's number is whole blocks since 1970, so that every process knows it without asking. Two blocks that follow each
other are a pair: one bucket, of the experiment's salt and the pair's number, says which arm has the first of the two,
so that the arms are balanced however the day's demand moves (Bojinov, Simchi-Levi & Zhao, "Design and analysis of
switchback experiments", Management Science 69(7), 2023).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from features.settings import Settings
from serving.experiments.hashing import pick

LEAST_BLOCKS = 12  # six pairs: with fewer, no randomisation test gets below 2 / 2**6 = 3%


class GenerationPolicy(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an arm sets of the generation planner; a field that is left out stays as the service has it."""

    planner: Annotated[Literal["forecast", "floor"], Meta(description="floor: never by the forecast")] | None = None
    horizon_days: Annotated[float, Meta(gt=0, le=365, description="until an unreached image is waste")] | None = None
    stockout_cost: (
        Annotated[float, Meta(gt=0, le=1_000, description="dollars in the free tier; the other tiers in proportion")]
        | None
    ) = None
    floor_artworks: Annotated[int, Meta(ge=1, le=1_000, description="stock that the floor fills up to")] | None = None

    def under(self, settings: Settings) -> Settings:
        """The settings, but for what this sets."""
        set_here = {
            name: value
            for name in ("horizon_days", "stockout_cost", "floor_artworks")
            if (value := getattr(self, name)) is not None
        }
        if self.stockout_cost is not None:
            set_here["stockout_cost_top"] = settings.stockout_cost_top * self.stockout_cost / settings.stockout_cost
        return msgspec.structs.replace(settings, **set_here)


class Blocks(Struct, frozen=True, forbid_unknown_fields=True):
    """How time is parted, and how much of it is judged."""

    minutes: Annotated[int, Meta(ge=10, le=10_080, description="of one block")]
    count: Annotated[int, Meta(ge=LEAST_BLOCKS, le=10_000, multiple_of=2, description="that are judged, two by two")]
    washout_minutes: Annotated[
        int, Meta(ge=1, le=10_080, description="at a block's start, left out: what was ordered before still arrives")
    ]

    @property
    def seconds(self) -> int:
        """Of one block."""
        return self.minutes * 60

    @property
    def days(self) -> int:
        """Whole days until all are over: the first pair begins at most one pair after the start."""
        return math.ceil((self.count + 2) * self.minutes / 1_440)

    def number_at(self, at: float) -> int:
        """The block that a moment (seconds since 1970) is in.

        >>> Blocks(minutes=60, count=12, washout_minutes=5).number_at(7_199)
        1
        """
        return int(at // self.seconds)

    def first_after(self, at: float) -> int:
        """The first block of the first whole pair from a moment on.

        >>> Blocks(minutes=60, count=12, washout_minutes=5).first_after(7_201)
        4
        """
        return 2 * math.ceil(at / (2 * self.seconds))


def turn(salt: str, number: int) -> int:
    """Which of two arms has the block of this number: 0 or 1, and the other one has the other block of its pair.

    >>> turn("floor/1", 8) + turn("floor/1", 9)
    1
    """
    first = pick(salt, str(number // 2), (1, 1))
    return first if number % 2 == 0 else 1 - first
