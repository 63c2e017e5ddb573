"""The synthetic world in PostgreSQL: complete, through one door each, once, and only into an empty pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from features.database import connect
from features.errors import HostTablesMissingError, PoolNotEmptyError
from training import synth_store
from training.cli import app
from training.synth import World, make_world
from training.synth_recipe import STYLES, Recipe
from training.synth_store import holds_world, write_world

RECIPE = Recipe(seed=3, users=120, artworks=300, days=30, until=datetime(2026, 3, 1, 21, 30, tzinfo=UTC))


@pytest.fixture(scope="module")
def world() -> World:
    """The world that the tests write."""
    return make_world(RECIPE)


def counted(connection: psycopg.Connection, sql: str) -> Any:
    """The single value of a query."""
    row = connection.execute(sql).fetchone()
    return row[0] if row else None


def test_every_table_holds_what_the_world_says(connection: psycopg.Connection, world: World) -> None:
    """Counts of users, artworks, sessions, impressions, seen marks and events by kind."""
    assert write_world(connection, world)
    shown = world.exposures
    ours = ~world.sessions.by_host_client[shown.session_rows]
    tables = ("public.users", "public.art_sessions", "public.rai_sessions", "public.user_art_impressions")
    counts = [counted(connection, f"SELECT count(*) FROM {table}") for table in (*tables, "vernissage.seen")]
    assert counts == [120, 300, len(world.sessions.ids), len(shown), len(shown)]
    kinds: dict[str, int] = dict(
        connection.execute("SELECT kind, count(*) FROM vernissage.events GROUP BY kind").fetchall()
    )
    assert kinds == {
        "displayed": len(shown),
        "dwell": len(shown),
        "skip": shown.skip.sum(),
        "like": (ours & (shown.vote > 0)).sum(),
        "dislike": (ours & (shown.vote < 0)).sum(),
        "favourite": (ours & shown.favourite).sum(),
    }


def test_exposures_arrive_at_their_user_artwork_and_time(connection: psycopg.Connection, world: World) -> None:
    """Read back from both seen marks and impressions, in UTC."""
    write_world(connection, world)
    shown = world.exposures
    expected = {
        (world.users.ids[user], world.artworks.ids[work]): at
        for user, work, at in zip(shown.user_rows, shown.artwork_rows, shown.shown_at.tolist(), strict=True)
    }
    host = "SELECT user_id, artwork_id, viewed_at AT TIME ZONE 'UTC' FROM public.user_art_impressions"
    ours = "SELECT user_id, artwork_id, seen_at FROM vernissage.seen JOIN vernissage.artwork_keys USING (artwork_key)"
    for source in (host, ours):
        rows = connection.execute(f"SELECT s.*, extract(epoch FROM s.viewed_at) FROM ({source}) AS s (u, a, viewed_at)")
        assert {(user, work): round(epoch * 1_000_000) for user, work, _, epoch in rows} == expected


def test_dwell_is_in_seconds_and_sessions_are_named(connection: psycopg.Connection, world: World) -> None:
    """The sum of all dwells agrees, and each event's session belongs to its user."""
    write_world(connection, world)
    dwell = counted(connection, "SELECT sum(value::float8) FROM vernissage.events WHERE kind = 'dwell'")
    assert dwell == pytest.approx(world.exposures.dwell.sum(dtype=np.float64), rel=1e-6)
    strangers = """
        SELECT count(*) FROM vernissage.events AS e
        LEFT JOIN public.rai_sessions AS s ON s.client_session_id = e.session_id AND s.user_id = e.user_id
        WHERE s.id IS NULL OR e.at AT TIME ZONE 'UTC' < s.started_at
           OR e.at AT TIME ZONE 'UTC' > s.ended_at + interval '1 second'"""
    assert counted(connection, strangers) == 0


def test_a_vote_goes_through_one_door_only(connection: psycopg.Connection, world: World) -> None:
    """About a third into art_votes with the exact prompt, the others into events; favourites alike."""
    write_world(connection, world)
    shown = world.exposures
    host = world.sessions.by_host_client[shown.session_rows]
    votes = connection.execute("SELECT session_id, art_prompt, vote FROM public.art_votes").fetchall()
    assert sorted(votes) == sorted(
        (world.sessions.ids[session], world.artworks.prompts[work], vote)
        for session, work, vote in zip(
            shown.session_rows[host], shown.artwork_rows[host], shown.vote[host].tolist(), strict=True
        )
        if vote
    )
    assert 0.15 < len(votes) / (shown.vote != 0).sum() < 0.5
    favourites = counted(connection, "SELECT count(*) FROM public.art_favorites")
    assert favourites == (host & shown.favourite).sum() > 0
    twice = """
        SELECT count(*) FROM vernissage.events AS e JOIN vernissage.artwork_keys AS k USING (artwork_key)
        JOIN public.art_favorites AS f ON f.user_id = e.user_id AND f.artwork_id = k.artwork_id
        WHERE e.kind = 'favourite'"""
    assert counted(connection, twice) == 0


def test_an_artwork_is_stored_as_the_host_would(connection: psycopg.Connection, world: World) -> None:
    """Every column of every row, with the library's motifs and creator, and NULL where the world has none."""
    write_world(connection, world)
    rows = connection.execute(
        "SELECT id, prompt, dna_vector, quality_score::float8, pool_status, styles[1], artists[1], orientation,"
        " is_library, cardinality(motifs), user_id = 'system', session_id = 'catalogue-seed', image_url"
        " FROM public.art_sessions ORDER BY created_at, id"
    ).fetchall()
    works = world.artworks
    expected = [
        (
            works.ids[row], works.prompts[row], works.dna[row], works.quality[row], works.statuses[row],
            STYLES[works.style_rows[row]], works.artist_names[works.artist_rows[row]],
            works.orientations[row], works.is_library[row], 3 if works.is_library[row] else 0,
            bool(works.is_library[row]) if works.is_library[row] or works.creator_rows[row] >= 0 else None,
            works.is_library[row], f"/artworks/{works.ids[row]}.png",
        )
        for row in np.lexsort((np.array(works.ids), works.created_at))
    ]  # fmt: skip
    assert rows == expected


def test_the_first_request_has_nothing_to_absorb(connection: psycopg.Connection, world: World) -> None:
    """What each user has in the host's impressions is marked as taken over."""
    write_world(connection, world)
    behind = """
        SELECT count(*) FROM (SELECT user_id, count(*) AS n, max(viewed_at) AS latest
                              FROM public.user_art_impressions GROUP BY user_id) AS i
        FULL JOIN vernissage.absorbed AS b USING (user_id)
        WHERE (b.host_rows, b.host_latest) IS DISTINCT FROM (i.n, i.latest)"""
    assert counted(connection, behind) == 0
    assert counted(connection, "SELECT count(*) FROM vernissage.absorbed") > 90


def test_only_pending_artworks_have_no_key(connection: psycopg.Connection, world: World) -> None:
    """An artwork gets its key when it is or was active."""
    write_world(connection, world)
    without = connection.execute(
        "SELECT DISTINCT a.pool_status FROM public.art_sessions AS a"
        " WHERE NOT EXISTS (SELECT FROM vernissage.artwork_keys AS k WHERE k.artwork_id = a.id)"
    ).fetchall()
    assert without == [("pending",)]


def test_blocks_add_up_and_are_reported(
    connection: psycopg.Connection, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small blocks write the same rows; what is reported sums to the exposures."""
    monkeypatch.setattr(synth_store, "BLOCK", 1_000)
    reported: list[tuple[int, int]] = []
    assert write_world(connection, world, lambda done, total: reported.append((done, total)))
    count = len(world.exposures)
    assert reported == [*((done, count) for done in range(1_000, count, 1_000)), (count, count)]
    assert counted(connection, "SELECT count(*) FROM vernissage.seen") == count


def test_a_second_run_changes_nothing(connection: psycopg.Connection, world: World) -> None:
    """Also with another end, which is what a demo run on another day has."""
    write_world(connection, world)
    later = make_world(Recipe(seed=3, users=120, artworks=300, days=30, until=datetime(2026, 5, 1, tzinfo=UTC)))
    assert holds_world(connection, later.recipe)
    assert not write_world(connection, later)
    assert counted(connection, "SELECT count(*) FROM vernissage.events WHERE at > '2026-03-02'") == 0


def test_two_runs_at_once_write_one_world(database_url: str, world: World) -> None:
    """The second waits for the first and finds it done."""

    def run(_: int) -> bool:
        with connect(database_url) as own:
            return write_world(own, world)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(run, range(2))) == [False, True]


@pytest.mark.parametrize(
    "foreign",
    [
        "INSERT INTO public.art_sessions (session_id, image_url, prompt) VALUES ('s', '/a.png', 'a heron')",
        "INSERT INTO public.users (id) VALUES ('ada')",
    ],
)
def test_a_foreign_pool_is_refused_and_left_alone(connection: psycopg.Connection, world: World, foreign: str) -> None:
    """Neither other artworks nor other users may be mixed with a synthetic world."""
    connection.execute(foreign)
    with pytest.raises(PoolNotEmptyError, match="needs an empty pool"):
        write_world(connection, world)
    assert counted(connection, "SELECT count(*) FROM vernissage.artwork_keys") == 0


def test_another_seeds_world_is_refused(connection: psycopg.Connection, world: World) -> None:
    """Two worlds do not mix, for the readable users are in both."""
    write_world(connection, world)
    with pytest.raises(PoolNotEmptyError, match="holds 300 artworks and 120 users"):
        holds_world(connection, Recipe(seed=4, users=120, artworks=300, days=30, until=RECIPE.until))


def test_a_run_that_fails_leaves_nothing_behind(connection: psycopg.Connection, world: World) -> None:
    """All of it is one transaction, so that the next run starts clean."""

    def fail(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_world(connection, world, fail)
    assert counted(connection, "SELECT count(*) FROM public.art_sessions") == 0
    assert write_world(connection, world)


def test_an_older_host_takes_the_world_without_its_missing_columns(
    connection: psycopg.Connection, world: World
) -> None:
    """Columns and tables that this host lacks are left out, and an integer quality_score is rounded to."""
    for column in ("styles", "artists", "is_library", "orientation"):
        connection.execute(f"ALTER TABLE public.art_sessions DROP COLUMN {column}")
    connection.execute("ALTER TABLE public.art_sessions ALTER COLUMN quality_score TYPE integer")
    for table in ("art_votes", "art_favorites", "rai_sessions CASCADE"):
        connection.execute(f"DROP TABLE public.{table}")
    assert write_world(connection, world)
    assert counted(connection, "SELECT count(*) FROM public.user_art_impressions") == len(world.exposures)


def test_without_host_tables_it_says_how_to_make_them(connection: psycopg.Connection, world: World) -> None:
    """Not a driver's error."""
    connection.execute("DROP TABLE public.art_sessions CASCADE")
    with pytest.raises(HostTablesMissingError, match="vernissage migrate"):
        write_world(connection, world)


def test_the_command_writes_a_world_once(
    database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the figures, and the second time says that the world is there."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    command = ["synth", "--seed", "5", "--users", "30", "--artworks", "80", "--days", "10", "--until", "2026-03-01"]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    shown = counted(connection, "SELECT count(*) FROM vernissage.seen")
    assert f"wrote 30 users, 80 artworks and {shown:,} exposures of seed 5" in first.output
    second = CliRunner().invoke(app, command)
    assert second.exit_code == 0
    assert "is there already" in second.output
    assert counted(connection, "SELECT max(seen_at) < '2026-03-01' FROM vernissage.seen")


def test_the_command_ends_the_world_now_by_default(
    database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lies in the future, and the last hours are there."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert CliRunner().invoke(app, ["synth", "--users", "60", "--artworks", "100", "--days", "5"]).exit_code == 0
    latest = "SELECT max(seen_at) BETWEEN now() - interval '1 day' AND now() FROM vernissage.seen"
    assert counted(connection, latest)


def test_the_command_refuses_an_end_that_is_no_date(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message quotes what was given."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    refused = CliRunner().invoke(app, ["synth", "--until", "tomorrow"])
    assert refused.exit_code == 2
    assert "'tomorrow'" in refused.output
