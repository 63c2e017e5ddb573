"""What to order now, for the whole service: need, candidates and prices put together into one plan of an epoch.

It reads and computes; what is placed of a plan is the ledger's (serving.orders).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg_pool import AsyncConnectionPool

from features.host import Host
from features.settings import Settings
from serving.live import View
from serving.orders import Wish
from serving.planner import Stopped


@dataclass(frozen=True)
class Reused:
    """An existing artwork that is worth giving back to these users: an order avoided."""

    artwork_id: str
    user_ids: tuple[str, ...]
    benefit: float  # dollars of stock-outs avoided, expected
    reach: float  # users who get to it within the horizon, expected


@dataclass(frozen=True)
class Diversity:
    """How varied a pool is."""

    entropy: float  # bits, of the share of each style
    spread: float  # mean distance between the contents of two artworks, 0 to 2


@dataclass(frozen=True)
class GenerationPlan:
    """The images worth their cost in one planning epoch, best first."""

    epoch: int  # whole planning intervals since 1970
    basis: Literal["forecast", "heuristic"]
    wishes: tuple[Wish, ...]
    reused: tuple[Reused, ...]
    stopped: Stopped
    shadow_price: float  # net benefit per dollar of the best image that the budget turned away
    before: Diversity  # of the active pool
    after: Diversity  # with the plan's images in it

    @property
    def avoided(self) -> int:
        """Orders that an existing artwork made unnecessary."""
        return len(self.reused)

    @property
    def dollars(self) -> float:
        """What the plan's images cost."""
        return sum(wish.cost for wish in self.wishes)


class Planning:
    """Makes the plans of one process; the same question within one epoch gets the same plan."""

    def __init__(self, pool: AsyncConnectionPool, host: Host, settings: Settings) -> None:
        self._pool = pool
        self._host = host
        self._settings = settings

    async def plan(self, view: View, *, dollars: float, most: int) -> GenerationPlan:
        """The plan of this epoch: at most ``most`` images for at most ``dollars``.

        Raises DatabaseUnavailableError.
        """
        raise NotImplementedError
