"""What a worker remembers of the host's artworks: true at any moment, bounded, counted."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import numpy as np

from features.database import make_pool, query, transaction
from features.host import introspect
from features.settings import Settings
from serving.host_artworks import HostArtworks
from tests.host import Host
from tests.service import Service

SERIES = 'vernissage_cache_lookups_total{{cache="artworks",outcome="{}"}}'
READ = """
SELECT k.artwork_key, a.xmin::text::bigint FROM vernissage.artwork_keys AS k
JOIN public.art_sessions AS a ON a.id = k.artwork_id ORDER BY 1
"""


def prompts_of(answer: dict[str, Any]) -> dict[str, str]:
    """The prompts on a list, by artwork."""
    return {item["artwork_id"]: item["prompt"] for item in answer["items"]}


def somebody() -> str:
    """The id of a user who has not asked for anything."""
    return f"user-{uuid.uuid4()}"


def test_an_artwork_that_the_host_changed_is_listed_as_it_is_now(service: Service, host: Host) -> None:
    """At once, although the worker knew it as it was; again and again."""
    first, second = host.fill(service, 2, prompt="A field")
    assert prompts_of(service.next(somebody(), limit=2)) == {first: "A field", second: "A field"}
    for prompt in ("A meadow", "A field", "A wood"):
        host.connection.execute("UPDATE public.art_sessions SET prompt = %s WHERE id = %s", (prompt, first))
        assert prompts_of(service.next(somebody(), limit=2)) == {first: prompt, second: "A field"}


def test_what_was_listed_once_is_remembered(service: Service, host: Host) -> None:
    """By the worker, for everybody; the metric tells."""
    host.fill(service, 3)
    service.next(somebody(), limit=3)
    before = service.metrics()
    service.next(somebody(), limit=3)
    after = service.metrics()
    grown = {each: after[SERIES.format(each)] - before[SERIES.format(each)] for each in ("hit", "miss")}
    assert grown == {"hit": 3, "miss": 0}


def test_no_more_is_remembered_than_the_setting_says(service: Service, host: Host) -> None:
    """Those wanted last; the others are read again, and one that is gone is left out."""
    host.fill(service, 5)
    url = service.database_url

    async def look() -> None:
        settings = Settings(database_url=url)
        async with make_pool(url, settings) as pool, transaction(pool) as connection:
            tables = introspect(await (await connection.execute(query("host_columns"))).fetchall())
            versions = dict(await (await connection.execute(READ)).fetchall())
            keys = list(versions)[-5:]
            artworks = HostArtworks(tables, most=3)
            for key in [*keys, keys[2], keys[0]]:
                assert list(await artworks.find(connection, {key: versions[key]})) == [key]
            assert list(artworks._known) == [keys[4], keys[2], keys[0]]
            assert await artworks.find(connection, {2**31 - 1: 1}) == {}
            ahead = HostArtworks(tables, most=3)
            for _ in range(2):
                await ahead.look_ahead(pool, np.array(keys, np.int32))
                assert sorted(ahead._known) == keys[2:]

    asyncio.run(look())
