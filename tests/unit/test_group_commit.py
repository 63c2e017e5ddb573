"""Who arrives while a write is under way shares the next one; owners keep their order; nobody fails for another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

import pytest

from features.errors import DatabaseUnavailableError, QueueFullError
from serving.group_commit import PATIENCE_SECONDS, GroupCommit

BAD = -1


class Disk:
    """Takes a turn of the loop for each group, and remembers the groups."""

    def __init__(self, error: type[Exception] = ValueError, seconds: float = 0.01) -> None:
        self.groups: list[list[int]] = []
        self._error = error
        self._seconds = seconds

    async def write(self, items: list[int]) -> Sequence[int]:
        """Twice each number; a bad one fails its whole group."""
        self.groups.append(items)
        await asyncio.sleep(self._seconds)
        if BAD in items:
            raise self._error("bad") if self._error is ValueError else DatabaseUnavailableError(reason="away")
        return [2 * item for item in items]


def commit(disk: Disk, *, most: int = 100, room: int = 1_000, lanes: int = 1) -> GroupCommit[int, int]:
    """Grouped writes to the disk."""
    return GroupCommit(disk.write, most=most, room=room, lanes=lanes)


def run(scene: Coroutine[None, None, None]) -> None:
    """Play a scene."""
    asyncio.run(asyncio.wait_for(scene, 10))


def test_who_arrives_during_a_write_shares_the_next_one() -> None:
    """The first goes alone; everybody gets the results of their own items."""

    async def scene() -> None:
        disk = Disk()
        together = commit(disk)
        found = await asyncio.gather(*(together.write(frozenset({str(n)}), [n, n + 100]) for n in range(6)))
        assert [list(each) for each in found] == [[2 * n, 2 * n + 200] for n in range(6)]
        assert [len(group) for group in disk.groups] == [12] or [len(group) for group in disk.groups] == [2, 10]

    run(scene())


def test_no_group_holds_an_owner_twice_and_an_owner_s_writes_keep_their_order() -> None:
    """Also with two lanes, as far as groups go."""

    async def scene() -> None:
        disk = Disk()
        together = commit(disk)
        owners = ["a", "b", "a", "ab", "b", "c"]
        await asyncio.gather(*(together.write(frozenset(owner), [n]) for n, owner in enumerate(owners)))
        places = {item: place for place, group in enumerate(disk.groups) for item in group}
        for owner in "abc":
            mine = [places[n] for n, whose in enumerate(owners) if owner in whose]
            assert mine == sorted(set(mine))

    run(scene())


def test_one_that_cannot_be_written_fails_alone() -> None:
    """The others of its group are written without it."""

    async def scene() -> None:
        together = commit(Disk())
        writes = [together.write(frozenset({str(n)}), [n]) for n in (1, 2, BAD, 3)]
        found = await asyncio.gather(*writes, return_exceptions=True)
        assert [type(each) is ValueError for each in found] == [False, False, True, False]
        assert list(found[3]) == [6]  # type: ignore[arg-type] # a result

    run(scene())


def test_when_the_database_is_away_nobody_waits_for_it_one_after_the_other() -> None:
    """The group fails as one."""

    async def scene() -> None:
        disk = Disk(DatabaseUnavailableError)
        together = commit(disk)
        writes = [together.write(frozenset({str(n)}), [n]) for n in (1, 2, BAD, 3)]
        found = await asyncio.gather(*writes, return_exceptions=True)
        assert all(isinstance(each, DatabaseUnavailableError) for each in found[1:])
        assert len(disk.groups) <= 2

    run(scene())


def test_beyond_its_room_it_says_so_at_once_and_goes_on_with_the_others() -> None:
    """Memory does not grow; a write larger than the room goes when nobody waits."""

    async def scene() -> None:
        together = commit(Disk(), room=3)
        writes = [together.write(frozenset({str(n)}), [n, n]) for n in range(4)]
        found = await asyncio.gather(*writes, return_exceptions=True)
        assert sum(isinstance(each, QueueFullError) for each in found) >= 1
        assert len(await together.write(frozenset({"x"}), list(range(9)))) == 9

    run(scene())


def test_a_caller_that_gives_up_takes_nothing_away_from_the_others() -> None:
    """Its items are written all the same: it may send them again, and they are the same events."""

    async def scene() -> None:
        disk = Disk()
        together = commit(disk)
        first = asyncio.create_task(together.write(frozenset("a"), [1]))
        second = asyncio.create_task(together.write(frozenset("b"), [2]))
        await asyncio.sleep(0)
        first.cancel()
        assert list(await second) == [4]
        with pytest.raises(asyncio.CancelledError):
            await first
        assert sorted(item for group in disk.groups for item in group) == [1, 2]

    run(scene())


def test_who_comes_as_the_last_write_ends_is_not_left_waiting() -> None:
    """A caller that writes again the moment it is answered: nobody else would come to begin its write."""

    async def scene() -> None:
        together = commit(Disk())
        for n in range(3):
            assert list(await together.write(frozenset("a"), [n])) == [2 * n]

    run(scene())


def test_a_second_write_does_not_begin_beside_a_quick_one() -> None:
    """Who comes meanwhile shares the next one, though there is room for a write beside it."""

    async def scene() -> None:
        disk = Disk()
        together = commit(disk, lanes=2)
        first = asyncio.create_task(together.write(frozenset("a"), [1]))
        await asyncio.sleep(0)
        others = [asyncio.create_task(together.write(frozenset({str(n)}), [n])) for n in range(2, 5)]
        await asyncio.gather(first, *others)
        assert disk.groups == [[1], [2, 3, 4]]

    run(scene())


def test_beside_a_slow_write_the_next_begins_all_the_same() -> None:
    """What is waited for may concern one of them alone, as a lock does."""

    async def scene() -> None:
        began, held = asyncio.Event(), asyncio.Event()

        async def write(items: list[int]) -> Sequence[int]:
            if items == [1]:
                began.set()
                await held.wait()
            return items

        together: GroupCommit[int, int] = GroupCommit(write, most=100, room=1_000, lanes=2)
        since = asyncio.get_running_loop().time()
        first = asyncio.create_task(together.write(frozenset("a"), [1]))
        await began.wait()
        for n in range(2, 42):  # nor does each of them wait for it anew
            assert list(await asyncio.wait_for(together.write(frozenset("b"), [n]), 10 * PATIENCE_SECONDS)) == [n]
        assert asyncio.get_running_loop().time() - since < 20 * PATIENCE_SECONDS
        assert not first.done()
        held.set()
        assert list(await first) == [1]

    run(scene())


def test_a_whole_group_waits_for_nobody_while_there_is_a_lane() -> None:
    """With as many as one write takes, to wait longer would gain nothing."""

    async def scene() -> None:
        disk = Disk(seconds=PATIENCE_SECONDS / 2)
        together = commit(disk, most=2, lanes=2)
        writes = [asyncio.create_task(together.write(frozenset({str(n)}), [n])) for n in range(4)]
        await asyncio.sleep(PATIENCE_SECONDS / 4)
        assert len(disk.groups) == 2
        await asyncio.gather(*writes)

    run(scene())


def test_those_who_come_in_one_turn_go_together_and_no_more_lanes_begin_than_they_fill() -> None:
    """Two whole groups, and the rest waits."""

    async def scene() -> None:
        disk = Disk()
        together = commit(disk, most=4, lanes=3)
        await asyncio.gather(*(together.write(frozenset({str(n)}), [n]) for n in range(10)))
        assert [len(group) for group in disk.groups] == [4, 4, 2]
        assert len(disk.groups) == 3

    run(scene())


def test_a_write_that_is_cancelled_with_the_loop_begins_no_other() -> None:
    """Nobody is there any more to be told."""
    disk = Disk(seconds=60)

    async def scene() -> None:
        together = commit(disk)
        for n in range(2):
            asyncio.get_running_loop().create_task(together.write(frozenset({str(n)}), [n]), name=f"caller-{n}")
            await asyncio.sleep(0.01)

    asyncio.run(scene())
    assert disk.groups == [[0]]
