"""What arrives while a write is under way goes together in the next one: one transaction and one flush for all.

A commit waits for the disk once, and a statement is begun and ended once, however much they hold. So nobody waits
longer than for the write that is under way and the one that follows, and the more arrive the less each costs (group
commit: DeWitt et al., "Implementation techniques for main memory database systems", SIGMOD 1984). A second write begins
beside the first only when a whole group waits for it, or when the first takes long: it may wait for a lock that the
others do not need. Nothing here knows what is written.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from features.errors import DatabaseUnavailableError, QueueFullError

PATIENCE_SECONDS = 0.025  # that a write may take until the next one begins beside it

Item = TypeVar("Item")
Result = TypeVar("Result")


class Waiter(Generic[Item, Result]):
    """One caller's items, and what they come to."""

    def __init__(self, owners: frozenset[str], items: Sequence[Item]) -> None:
        self.owners = owners
        self.items = items
        self.done: asyncio.Future[Sequence[Result]] = asyncio.get_running_loop().create_future()


class GroupCommit(Generic[Item, Result]):
    """Gathers what callers write, for ``write``, which returns a result for each item in order, once all are durable.

    No group holds two callers' items of one owner: what one owner's callers write stays in their order, each seeing
    what the one before it did. At most ``lanes`` groups are under way at once, and ``room`` items wait: then
    QueueFullError, before memory grows.
    """

    def __init__(
        self, write: Callable[[list[Item]], Awaitable[Sequence[Result]]], *, most: int, room: int, lanes: int
    ) -> None:
        self._write = write
        self._most = most
        self._room = room
        self._lanes = lanes
        self._queue: list[Waiter[Item, Result]] = []
        self._waiting = 0  # items
        self._under_way: dict[asyncio.Task[None], float] = {}  # and when each began, by the loop's clock
        self._awake = False  # whether the queue is looked at in the loop's next turn
        self._timer: asyncio.TimerHandle | None = None  # set while those under way may come to take long

    async def write(self, owners: frozenset[str], items: Sequence[Item]) -> Sequence[Result]:
        """The results of ``items``, in order, durable. Raises QueueFullError, and whatever writing them raises."""
        if self._waiting + len(items) > self._room and self._queue:
            raise QueueFullError(waiting=self._waiting, most=self._room)
        waiter: Waiter[Item, Result] = Waiter(owners, items)
        self._queue.append(waiter)
        self._waiting += len(items)
        if not self._awake:  # in the next turn, so that whoever comes in this one is in the same group
            self._awake = True
            asyncio.get_running_loop().call_soon(self._look)
        return await waiter.done

    def _look(self) -> None:
        """Look at what has come in the last turn."""
        self._awake = False
        self._go_on()

    def _lose_patience(self) -> None:
        """Look again, now that those under way have had their time."""
        self._timer = None
        self._go_on()

    def _go_on(self) -> None:
        """Begin the groups that are due: one beside nothing or beside slow ones, and any that are whole."""
        loop = asyncio.get_running_loop()
        while self._queue and len(self._under_way) < self._lanes:
            patient_until = max(self._under_way.values(), default=-math.inf) + PATIENCE_SECONDS
            if self._waiting < self._most and loop.time() < patient_until:
                self._timer = self._timer or loop.call_at(patient_until, self._lose_patience)
                return
            task = asyncio.create_task(self._write_group(self._take()))
            self._under_way[task] = loop.time()
            task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        """A group is no more under way; the next may be due, unless the loop itself is about to end."""
        del self._under_way[task]
        if not task.cancelled():
            self._go_on()

    def _take(self) -> list[Waiter[Item, Result]]:
        """The next group: in order of arrival, whoever's owners are not in it and do not wait for somebody else."""
        group: list[Waiter[Item, Result]] = []
        rest: list[Waiter[Item, Result]] = []
        busy: set[str] = set()
        count = 0
        for waiter in self._queue:
            if busy.isdisjoint(waiter.owners) and (not group or count + len(waiter.items) <= self._most):
                group.append(waiter)
                count += len(waiter.items)
            else:
                rest.append(waiter)
            busy |= waiter.owners
        self._queue = rest
        self._waiting -= count
        return group

    async def _write_group(self, group: list[Waiter[Item, Result]]) -> None:
        """Write the group as one. Where something of it cannot be written, each goes alone, so that none fails all."""
        try:
            results = await self._write([item for waiter in group for item in waiter.items])
        except Exception as error:  # noqa: BLE001 - it is handed to those whose write it was
            if len(group) == 1 or isinstance(error, DatabaseUnavailableError):
                for waiter in group:
                    _fail(waiter, error)
                return
            for waiter in group:
                await self._write_group([waiter])
            return
        start = 0
        for waiter in group:
            end = start + len(waiter.items)
            if not waiter.done.done():  # its caller may have gone
                waiter.done.set_result(results[start:end])
            start = end


def _fail(waiter: Waiter[Item, Result], error: Exception) -> None:
    """Hand the error to its caller, unless the caller has gone."""
    if not waiter.done.done():
        waiter.done.set_exception(error)
