"""A transaction that orders the requests of users: it holds the locks of just these, whatever their ids look like."""

from __future__ import annotations

import asyncio

import psycopg
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.database import connect, make_pool, transaction
from features.settings import Settings

TRY = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
IDS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)


def is_free(other: psycopg.Connection, user_id: str) -> bool:
    """Whether somebody else could take the user's lock now."""
    row = other.execute(TRY, (user_id,)).fetchone()
    assert row is not None
    return bool(row[0])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(IDS, min_size=1, max_size=4), IDS)
@example({"o'hara", "back\\slash", "'; ROLLBACK; --", "%b {} $1"}, "ohara")
def test_it_holds_the_locks_of_its_users_and_of_nobody_else(database_url: str, users: set[str], stranger: str) -> None:
    """Taken with the begin, given back with the end."""

    async def scene() -> None:
        with connect(database_url, autocommit=True) as other:
            async with make_pool(database_url, Settings(pool_min=1, pool_max=1)) as pool:
                async with transaction(pool, [*users, *users]):
                    assert not any(is_free(other, user) for user in users)
                    assert is_free(other, stranger) or stranger in users
                assert all(is_free(other, user) for user in users)

    asyncio.run(scene())
