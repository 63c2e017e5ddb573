"""What a provider of artworks is to us: it is given an order, and answers with an artwork or says why not."""

from __future__ import annotations

from typing import Protocol

from serving.generation.orders import Order


class Dispatcher(Protocol):
    """One provider."""

    name: str

    async def room(self) -> int:
        """How many more orders it can begin now; what limits every provider's deliveries holds besides."""
        ...

    async def deliver(self, order: Order) -> str:
        """The id of the artwork, in the host's table by then.

        An order that is sent or running was begun before, by a process that may be gone: it is taken up, and never
        made or paid for twice. Raises GenerationFailedError, and DatabaseUnavailableError, after which the order is
        given again.
        """
        ...
