"""Many users' habits and tastes are told from rows without anybody else waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from features.settings import Settings
from serving.generation.situation import Situation

USERS = 50
COUNTS = np.arange(500, dtype=">i4").tobytes()
ROW = {
    "ages": COUNTS, "seen": None, "loaded": None, "tabs": 1, "style_preferences": None, "preferred_orientation": None,
    "subscription_tier": None, "keys": COUNTS, "kinds": np.zeros(500, ">i4").tobytes(),
    "values": np.ones(500, ">f4").tobytes(),
}  # fmt: skip


class AtHand(Situation):
    """With the rows at hand, so that nothing is left to wait for but the work on them."""

    def __init__(self) -> None:
        self._people = self._tastes = ""
        self._settings = Settings()

    async def _rows(self, _: str, user_ids: Sequence[str], **__: Any) -> list[dict[str, Any]]:
        """The same for everybody."""
        return [ROW] * len(user_ids)


def test_other_requests_are_answered_while_thousands_are_looked_at() -> None:
    """The event loop turns in the meantime."""

    async def turns(work: Any) -> int:
        task, count = asyncio.ensure_future(work), 0
        await asyncio.sleep(0)  # it begins
        while not task.done():
            count += 1
            await asyncio.sleep(0)
        assert len(await task) == USERS
        return count

    async def script() -> None:
        situation, user_ids = AtHand(), [str(number) for number in range(USERS)]

        async def people() -> list[str]:
            return (await situation.people(user_ids)).user_ids

        assert await turns(people()) > 0
        tastes = situation.tastes(user_ids)
        assert await turns(tastes) > 0

    asyncio.run(script())
