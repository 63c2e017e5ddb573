"""Files into the database: formats, what rows become, rejects, running twice, interruption and memory."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from features.database import connect
from features.errors import BadImportError, HostTablesMissingError, SchemaMissingError
from features.migrate import migrate
from training import import_readers
from training.cli import app
from training.import_checks import ARTWORKS, INTERACTIONS, RefusedError, read_interaction
from training.import_readers import open_source
from training.importing import ImportSummary, import_artworks, import_interactions

DAY = 1_700_000_000  # 2023-11-14 22:13:20 UTC, in seconds
MOMENT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
REAL_DNA = json.dumps([round(0.02 * number, 2) for number in range(50)])

Write = Callable[[str, str | bytes | pl.DataFrame], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file in the test's folder: text, bytes or a frame as Parquet."""

    def write_file(name: str, content: str | bytes | pl.DataFrame) -> Path:
        path = tmp_path / name
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def events_of(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Every event as user, artwork, kind, value, moment."""
    return connection.execute(
        "SELECT e.user_id, k.artwork_id, e.kind, e.value, e.at FROM vernissage.events e"
        " JOIN vernissage.artwork_keys k USING (artwork_key) ORDER BY 1, 2, 5, 3"
    ).fetchall()


def count(connection: psycopg.Connection, table: str) -> int:
    """Rows of a table."""
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row
    return int(row[0])


def counts(connection: psycopg.Connection) -> dict[str, int]:
    """Rows of every table that an import of interactions writes."""
    tables = ("vernissage.seen", "vernissage.events", "vernissage.artwork_keys", "public.user_art_impressions")
    return {table: count(connection, table) for table in (*tables, "public.users", "public.art_sessions")}


def rejects_of(summary: ImportSummary) -> list[tuple[int, str]]:
    """Line number and reason of every rejected row, as the rejects file has them."""
    assert summary.rejects_path is not None
    with summary.rejects_path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, dialect="excel-tab"))
    assert rows[0] == ["line", "reason", "row"]
    return [(int(line), reason) for line, reason, _ in rows[1:]]


def make_host_owned(connection: psycopg.Connection) -> None:
    """Put our schema beside tables that it did not make, as a host's database has them."""
    connection.execute("DROP SCHEMA vernissage CASCADE")
    migrate(connection, standalone=True)


# Formats


SAME_ROWS: dict[str, tuple[str, str | bytes | pl.DataFrame]] = {
    "csv in seconds": ("a.csv", f"user,item,weight,timestamp\n1,x,2,{DAY}\n2,y z,0.5,{DAY}\n"),
    "csv with a byte order mark": ("a.csv", f"\ufeffuser,item,weight,timestamp\n1,x,2,{DAY}\n2,y z,0.5,{DAY}\n"),
    "csv with other names and order": ("a.csv", f"Plays,TS,note,artwork_id,User ID\n2,{DAY},hm,x,1\n.5,{DAY},,y z,2\n"),
    "csv with semicolons": ("a.csv", f"user;item;weight;ts\n1;x;2;{DAY}\n2;y z;0.5;{DAY}\n"),
    "csv with quotes": ("a.csv", f'"user","item",weight,ts\n"1","x",2,{DAY}\n2,"y z","0.5",{DAY}\n'),
    "csv with carriage returns": ("a.csv", f"user,item,weight,ts\r\n1,x,2,{DAY}\r\n\r\n2,y z,0.5,{DAY}\r\n"),
    "csv without a last line end": ("a.csv", f"\nuser,item,weight,ts\n1,x,2,{DAY}\n2,y z,0.5,{DAY}"),
    "csv in milliseconds": ("a.csv", f"user,item,weight,ts\n1,x,2,{DAY}000\n2,y z,0.5,{DAY}000.0\n"),
    "csv in ISO": (
        "a.csv",
        "user,item,weight,ts\n1,x,2,2023-11-14T22:13:20Z\n2,y z,0.5,2023-11-14 22:13:20\n",
    ),
    "csv in another zone": (
        "a.csv",
        "user,item,weight,ts\n1,x,2,2023-11-15T00:13:20+02:00\n2,y z,0.5,2023-11-14T22:13:20.000Z\n",
    ),
    "tsv": ("a.tsv", f"user\titem\tweight\tts\n1\tx\t2\t{DAY}\n2\ty z\t0.5\t{DAY}\n"),
    "tsv by its look": ("a.txt", f"user\titem\tweight\tts\n1\tx\t2\t{DAY}\n2\ty z\t0.5\t{DAY}\n"),
    "csv by its look": ("a.dat", f"user,item,weight,ts\n1,x,2,{DAY}\n2,y z,0.5,{DAY}\n"),
    "json lines": (
        "a.jsonl",
        json.dumps({"user_id": 1, "item": "x", "weight": 2, "ts": DAY})
        + "\n\n"
        + json.dumps({"user": "2", "item": "y z", "weight": "0.5", "ts": str(DAY), "more": [1]}),
    ),
    "json lines by their look": (
        "a",
        json.dumps({"user": 1, "item": "x", "weight": 2, "ts": DAY})
        + "\r\n"
        + json.dumps({"user": 2, "item": "y z", "weight": 0.5, "ts": DAY}),
    ),
    "parquet": (
        "a.parquet",
        pl.DataFrame({"user": ["1", "2"], "item": ["x", "y z"], "weight": [2.0, 0.5], "ts": [DAY, DAY]}),
    ),
    "parquet with floats, datetimes and more": (
        "a[1].parquet",
        pl.DataFrame(
            {"more": [[1], []], "user": [1.0, 2.0], "item": ["x", "y z"], "weight": [2.0, 0.5], "ts": [MOMENT, MOMENT]}
        ),
    ),
    "parquet by its look": (
        "a.bin",
        pl.DataFrame(
            {"user": [1, 2], "item": ["x", "y z"], "weight": [2.0, 0.5], "ts": [MOMENT.replace(tzinfo=None)] * 2}
        ),
    ),
}


@pytest.mark.parametrize("form", SAME_ROWS)
def test_every_format_gives_the_same_rows(form: str, write: Write, connection: psycopg.Connection) -> None:
    """The same two likes, however they are written."""
    summary = import_interactions(connection, write(*SAME_ROWS[form]))
    assert events_of(connection) == [("1", "x", "like", 2.0, MOMENT), ("2", "y z", "like", 0.5, MOMENT)]
    assert (summary.rows, summary.new, summary.known, summary.rejected) == (2, 2, 0, 0)
    assert (summary.users, summary.artworks, summary.rejects_path) == (2, 2, None)


def test_a_file_of_numbers_needs_no_header(write: Write, connection: psycopg.Connection) -> None:
    """The first line of lastfm-like files is data already; carriage returns at line ends do no harm."""
    import_interactions(connection, write("a.txt", "424\t4076\t993\r\n1311\t1574\t957\r\n"))
    assert [row[:4] for row in events_of(connection)] == [
        ("1311", "1574", "like", 957.0),
        ("424", "4076", "like", 993.0),
    ]


def test_two_columns_of_numbers_are_displays(write: Write, connection: psycopg.Connection) -> None:
    """Without rating and weight a row is a display, at the time of the import."""
    before = datetime.now(UTC)
    import_interactions(connection, write("a.csv", "1,2\n1,3\n"))
    events = events_of(connection)
    assert [row[:4] for row in events] == [("1", "2", "displayed", None), ("1", "3", "displayed", None)]
    assert all(before <= row[4] <= datetime.now(UTC) for row in events)


@pytest.mark.parametrize("end", ["\n", "\r\n", " \r\n"])
def test_lines_of_items_are_one_display_each(end: str, write: Write, connection: psycopg.Connection) -> None:
    """'user item item ...' as in many published splits."""
    summary = import_interactions(connection, write("train.txt", f"0 148 2800{end}{end}1 7 148 9{end}"))
    assert [row[:2] for row in events_of(connection)] == [
        ("0", "148"), ("0", "2800"), ("1", "148"), ("1", "7"), ("1", "9"),
    ]  # fmt: skip
    assert summary.new == 5


def test_columns_can_be_named(write: Write, connection: psycopg.Connection) -> None:
    """A file without a header whose columns are not the usual ones."""
    path = write("u.data", f"196\t242\t3\t{DAY}\n186\t302\t2\t{DAY}\n")
    import_interactions(connection, path, columns=["user", "item", "rating", "timestamp"])
    assert [row[:4] for row in events_of(connection)] == [
        ("186", "302", "dislike", None),
        ("196", "242", "like", pytest.approx(0.6)),
    ]


def test_the_format_can_be_given(write: Write, connection: psycopg.Connection) -> None:
    """A suffix may lie."""
    path = write("a.csv", "1 2 3\n")
    with pytest.raises(BadImportError):
        import_interactions(connection, path)
    assert import_interactions(connection, path, file_format="lines").new == 2


def test_columns_that_say_nothing_are_named(write: Write, connection: psycopg.Connection) -> None:
    """Nothing is dropped in silence."""
    summary = import_interactions(connection, write("a.csv", "user,item,mood,dwell\n1,2,glad,3\n"))
    assert summary.unused_columns == ("mood", "dwell")


# What a row becomes


def test_ratings_are_likes_or_dislikes(write: Write, connection: psycopg.Connection) -> None:
    """From the threshold on a like of a fifth of the rating, 1 at most; an empty rating is a display."""
    path = write("a.csv", "user,item,rating\nu,a,5\nu,b,3\nu,c,2.9\nu,d,\nu,e,10\nu,f,0\n")
    import_interactions(connection, path)
    assert [row[1:4] for row in events_of(connection)] == [
        ("a", "like", 1.0), ("b", "like", pytest.approx(0.6)), ("c", "dislike", None), ("d", "displayed", None),
        ("e", "like", 1.0), ("f", "dislike", None),
    ]  # fmt: skip


def test_the_rating_that_makes_a_like_is_a_choice(write: Write, connection: psycopg.Connection) -> None:
    """The threshold itself still likes."""
    import_interactions(connection, write("a.csv", "user,item,rating\nu,a,4\nu,b,3.5\n"), like_from=4.0)
    assert [row[2] for row in events_of(connection)] == ["like", "dislike"]


def test_the_earliest_time_of_a_pair_is_its_seen_mark(write: Write, connection: psycopg.Connection) -> None:
    """Within a chunk, over chunks, and over imports."""
    later, latest = DAY + 3600, DAY + 7200
    path = write("a.csv", f"user,item,ts\nu,a,{latest}\nu,b,{later}\nu,a,{later}\nu,a,{latest + 1}\n")
    import_interactions(connection, path, chunk_rows=2)
    seen = "SELECT seen_at FROM vernissage.seen JOIN vernissage.artwork_keys USING (artwork_key) WHERE artwork_id = 'a'"
    assert connection.execute(seen).fetchall() == [(MOMENT + timedelta(hours=1),)]
    import_interactions(connection, write("b.csv", f"user,item,ts\nu,a,{DAY}\n"))
    assert connection.execute(seen).fetchall() == [(MOMENT,)]
    assert len(events_of(connection)) == 5
    assert count(connection, "vernissage.seen") == 2


def test_the_hosts_impressions_keep_their_first_sighting(write: Write, connection: psycopg.Connection) -> None:
    """A row of user_art_impressions is written once, in UTC without a zone."""
    import_interactions(connection, write("a.csv", f"user,item,ts\nu,a,{DAY + 5}\nu,a,{DAY}\n"))
    import_interactions(connection, write("b.csv", f"user,item,ts\nu,a,{DAY - 5}\n"))
    impressions = connection.execute("SELECT user_id, artwork_id, viewed_at, version FROM user_art_impressions")
    assert impressions.fetchall() == [("u", "a", MOMENT.replace(tzinfo=None), 1)]


def test_a_session_in_another_zone_changes_nothing(write: Write, connection: psycopg.Connection) -> None:
    """Stamps and event keys are the same whatever the connection's time zone."""
    path = write("a.csv", f"user,item,ts\nu,a,{DAY}\n")
    connection.execute("SET TIME ZONE 'Asia/Kathmandu'")
    import_interactions(connection, path)
    connection.execute("SET TIME ZONE 'UTC'")
    assert import_interactions(connection, path).new == 0
    viewed = connection.execute("SELECT viewed_at, created_at FROM user_art_impressions, art_sessions").fetchone()
    assert viewed == (MOMENT.replace(tzinfo=None),) * 2


def test_artworks_that_are_missing_are_made(write: Write, connection: psycopg.Connection) -> None:
    """Stand-alone, with an URL that the client accepts and the earliest time that the chunk knows."""
    ids = ["a b/c?", "placeholder-1", "\u05e9\u05dc\u05d5\u05dd"]
    rows = "".join(f"u,{artwork_id},{DAY + hour}\nv,{artwork_id},{DAY}\n" for hour, artwork_id in enumerate(ids))
    summary = import_interactions(connection, write("a.csv", f"user,item,ts\n{rows}"))
    assert (summary.users, summary.artworks) == (2, 3)
    made = connection.execute(
        "SELECT id, session_id, user_id, image_url, prompt, is_library, pool_status, created_at FROM art_sessions"
        ' ORDER BY id COLLATE "C"'
    ).fetchall()
    urls = ["/artworks/a%20b%2Fc%3F.png", "/artworks/%70laceholder-1.png", "/artworks/%D7%A9%D7%9C%D7%95%D7%9D.png"]
    assert made == [
        (each, "catalogue-seed", "system", url, f"artwork {each}", True, "active", MOMENT.replace(tzinfo=None))
        for each, url in zip(ids, urls, strict=True)
    ]


def test_artworks_that_are_there_stay_as_they_are(write: Write, connection: psycopg.Connection) -> None:
    """Interactions with a pool that is loaded already add nothing to it."""
    import_artworks(connection, write("a.csv", "id,image_url,prompt\na,/a.png,a pear\n"))
    summary = import_interactions(connection, write("b.csv", "user,item\nu,a\n"))
    assert summary.artworks == 0
    assert connection.execute("SELECT prompt FROM art_sessions").fetchall() == [("a pear",)]


def test_the_identity_of_artwork_keys_is_not_burned(write: Write, connection: psycopg.Connection) -> None:
    """Known artworks take no number, for the numbers are few and kept for ever."""
    path = write("a.csv", "user,item\n" + "".join(f"u{row},a{row % 3}\n" for row in range(50)))
    import_interactions(connection, path, chunk_rows=7)
    import_interactions(connection, write("b.csv", "user,item\nu,new\n"))
    keys = connection.execute("SELECT max(artwork_key) FROM vernissage.artwork_keys").fetchone()
    assert keys == (4,)


# Twice, in pieces, in bulk


def test_importing_twice_adds_nothing(write: Write, connection: psycopg.Connection) -> None:
    """With timestamps and without."""
    timed = write("a.csv", f"user,item,rating,ts\nu,a,5,{DAY}\nu,a,1,{DAY + 1}\nv,a,4,{DAY}\n")
    plain = write("b.txt", "1 2 3\n2 3\n")
    first = [import_interactions(connection, path) for path in (timed, plain)]
    before = counts(connection)
    second = [import_interactions(connection, path) for path in (timed, plain)]
    assert [summary.new for summary in first] == [3, 3]
    assert [(summary.new, summary.known) for summary in second] == [(0, 3), (0, 3)]
    assert counts(connection) == before


def test_rows_that_stand_twice_are_counted_as_known(write: Write, connection: psycopg.Connection) -> None:
    """Within one chunk and over two; the first value stays."""
    path = write("a.csv", "user,item,weight\nu,a,1\nu,a,2\nu,b,1\nu,a,3\n")
    summary = import_interactions(connection, path, chunk_rows=3)
    assert (summary.rows, summary.new, summary.known) == (4, 2, 2)
    assert [row[3] for row in events_of(connection)] == [1.0, 1.0]


def test_parts_of_a_key_are_kept_apart(write: Write, connection: psycopg.Connection) -> None:
    """Ids with the characters that keys are made of are still different events."""
    odd = ['a", "b', "a", 'b", "c', "c", "ab", "bc", "a\\", "a\x1fb", "a,b"]
    rows = [{"user": user, "item": item} for user in odd for item in odd]
    path = write("a.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert import_interactions(connection, path).new == len(odd) ** 2


def test_an_import_that_was_cut_short_is_run_again(write: Write, database_url: str) -> None:
    """What was committed stays, what was not leaves no trace, and the second run completes it."""
    path = write("a.csv", "user,item\n" + "".join(f"u{row % 70},a{row}\n" for row in range(1000)))
    done: list[int] = []
    with connect(database_url, autocommit=True) as other:

        def cut(so_far: int, _total: int) -> None:
            done.append(so_far)
            if len(done) == 3:
                other.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))

        victim = psycopg.connect(database_url)
        with pytest.raises(psycopg.OperationalError):
            import_interactions(victim, path, chunk_rows=100, on_progress=cut)
        assert count(other, "vernissage.events") == 300
        assert count(other, "public.user_art_impressions") == count(other, "vernissage.seen") == 300
        summary = import_interactions(other, path, chunk_rows=100)
        assert (summary.new, summary.known) == (700, 300)
        assert set(counts(other).values()) == {1000, 70}


def test_an_interrupt_between_chunks_keeps_what_is_committed(write: Write, database_url: str) -> None:
    """Ctrl-C, on a connection that is not in autocommit and has a transaction open."""
    path = write("a.csv", "user,item\n" + "".join(f"u,a{row}\n" for row in range(10)))

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    def load() -> None:
        with connect(database_url) as opened:
            opened.execute("SELECT 1")
            import_interactions(opened, path, chunk_rows=4, on_progress=interrupt)

    with pytest.raises(KeyboardInterrupt):
        load()
    with connect(database_url) as opened:
        assert count(opened, "vernissage.events") == 4


def many(form: str, rows: int) -> str | pl.DataFrame:
    """Rows of 1,000 users and 20 artworks, so that most stand twice and the load is quick."""
    if form == "lines":
        return "".join(f"{user % 1000} {' '.join(['7'] * 100)}\n" for user in range(rows // 100))
    frame = pl.DataFrame(
        {"user": [row % 1000 for row in range(rows)], "item": [row // 1000 % 20 for row in range(rows)]}
    )
    return frame if form == "parquet" else frame.write_csv()


@pytest.mark.parametrize("form", ["csv", "parquet", "lines"])
def test_memory_does_not_grow_with_the_file(form: str, write: Write, connection: psycopg.Connection) -> None:
    """Three times the rows, and the peak of Python's own memory stays; holding all rows would double it."""
    peaks = []
    for rows in (20_000, 60_000):
        path = write("a.parquet" if form == "parquet" else "a.txt", many(form, rows))
        tracemalloc.start()
        assert import_interactions(connection, path, chunk_rows=4_000).rows == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_progress_ends_at_the_total(write: Write, connection: psycopg.Connection) -> None:
    """Bytes of text, rows of Parquet; never backwards."""
    seen: list[tuple[int, int]] = []
    path = write("a.csv", 'user,item\r\n1,2\r\n"3",4\r\n5,6\r\n')
    import_interactions(connection, path, chunk_rows=1, on_progress=lambda done, total: seen.append((done, total)))
    size = path.stat().st_size
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert len(seen) == 3


# Rejects


BAD_ROWS = {
    ",x,1,": "user is empty",
    "  ,x,1,": "user is empty",
    "u,,1,": "item is empty",
    "u" * 256 + ",x,1,": "user is longer than 255 characters",
    "u," + "x" * 256 + ",1,": "item is longer than 255 characters",
    "u\0,x,1,": "user holds a NUL character",
    "u,x,abc,": "weight must be a number of 0 or more, not 'abc'",
    "u,x,nan,": "weight must be a number of 0 or more, not 'nan'",
    "u,x,-1,": "weight must be a number of 0 or more, not '-1'",
    "u,x,inf,": "weight must be a number of 0 or more, not 'inf'",
    "u,x,0,": "weight must be above 0 and at most 1e+09, not 0",
    "u,x,1e300,": "weight must be above 0 and at most 1e+09, not 1e+300",
    "u,x,1e-300,": "weight must be above 0 and at most 1e+09, not 1e-300",
    "u,x,1,yesterday": "timestamp must be seconds or milliseconds since 1970, or an ISO date, not 'yesterday'",
    "u,x,1,2023-13-01": "timestamp must be seconds or milliseconds since 1970, or an ISO date, not '2023-13-01'",
    "u,x,1,nan": "timestamp must be seconds or milliseconds since 1970, or an ISO date, not 'nan'",
    "u,x,1,1e400": "timestamp must be seconds or milliseconds since 1970, or an ISO date, not '1e400'",
    "u,x,1,-5": "timestamp is before 1990: '-5'",
    "u,x,1,1989-12-31": "timestamp is before 1990: '1989-12-31'",
    "u,x,1,0001-01-01T00:00:00+14:00": "timestamp is before 1990: '0001-01-01T00:00:00+14:00'",
    "u,x,1,9999-12-31T23:59:59-14:00": "timestamp is in the future: '9999-12-31T23:59:59-14:00'",
    "u,x,1,4e9": "timestamp is in the future: '4e9'",
    "u,x": "it has 2 columns, not 4",
    "u,x,1,,": "it has 5 columns, not 4",
    '"u,x,1,': "its quoting is broken (unexpected end of data)",
    '"u"v,x,1,': "its quoting is broken (',' expected after '\"')",
    '"' + "u" * 140_000 + '",x,1,': "its quoting is broken (field larger than field limit (131072))",
}


@pytest.mark.parametrize("chunk_rows", [1, 10, 1000])
def test_bad_rows_are_written_down_and_never_stop_the_load(
    chunk_rows: int, write: Write, connection: psycopg.Connection
) -> None:
    """Each with its line number and the reason; the good rows between them are all loaded."""
    lines = ["user,item,weight,timestamp"]
    for number, bad in enumerate(BAD_ROWS):
        lines += [bad, f"good,x{number},1,"]
    summary = import_interactions(connection, write("a.csv", "\n".join(lines)), chunk_rows=chunk_rows)
    assert rejects_of(summary) == [(2 + 2 * place, reason) for place, reason in enumerate(BAD_ROWS.values())]
    assert (summary.new, summary.rejected, summary.rows) == (len(BAD_ROWS), len(BAD_ROWS), 2 * len(BAD_ROWS))
    assert count(connection, "vernissage.events") == len(BAD_ROWS)


BAD_JSON = {
    "{": "it is not JSON",
    "[" * 100_000: "it is not JSON",
    "[1]": "it is not a JSON object",
    "{}": "user is empty",
    '{"user": "u"}': "item is empty",
    '{"user": null, "item": "x"}': "user is empty",
    '{"user": true, "item": "x"}': "user must be a text or a whole number, not True",
    '{"user": 1.5, "item": "x"}': "user must be a text or a whole number, not 1.5",
    '{"user": Infinity, "item": "x"}': "user must be a text or a whole number, not inf",
    '{"user": ["u"], "item": "x"}': "user must be a text or a whole number, not ['u']",
    '{"user": "\\u0000", "item": "x"}': "user holds a NUL character",
    '{"user": "\\ud800", "item": "x"}': "user is not valid Unicode",
    '{"user": "u", "user_id": "v", "item": "x"}': "two of its keys mean the same",
    '{"user": "u", "item": "x", "rating": 1, "weight": 1}': "it may have one of rating and weight, not both",
    '{"user": "u", "item": "x", "rating": true}': "rating must be a number of 0 or more, not True",
    '{"user": "u", "item": "x", "rating": [1]}': "rating must be a number of 0 or more, not [1]",
    '{"user": "u", "item": "x", "rating": 1' + "0" * 400 + "}": "rating must be a number of 0 or more, not 1000",
    '{"user": "u", "item": "x", "ts": true}': "timestamp must be seconds or milliseconds",
    '{"user": "u", "item": "x", "ts": {}}': "timestamp must be seconds or milliseconds",
}


@pytest.mark.parametrize("bad", BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_json_lines_are_written_down(bad: str, write: Write, connection: psycopg.Connection) -> None:
    """Types, surrogates and names in double too."""
    summary = import_interactions(connection, write("a.jsonl", f'{{"user": "u", "item": "x"}}\n{bad}\n'))
    [(line, reason)] = rejects_of(summary)
    assert (line, summary.new) == (2, 1)
    assert reason.startswith(BAD_JSON[bad])


def test_lines_that_are_not_text_are_written_down(
    write: Write, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are not UTF-8, and lines beyond all bounds; a user without items too."""
    monkeypatch.setattr(import_readers, "LONGEST_LINE", 1000)
    path = write("a.txt", b"1 2\n1 \xff\n" + b"3" * 3500 + b"\nlonely\n4 5\n" + b"6" * 1000)
    summary = import_interactions(connection, path)
    assert rejects_of(summary) == [
        (2, "it is not UTF-8 (invalid start byte)"),
        (3, "the line is longer than 1000 bytes"),
        (4, "no item follows the user"),
        (6, "the line is longer than 1000 bytes"),
    ]
    assert summary.new == 2


def test_a_quote_left_open_costs_its_own_line_only(write: Write, connection: psycopg.Connection) -> None:
    """Artworks may have prompts of several lines, and still nothing is swallowed."""
    good = "".join(f"a{row},/a.png,a pear\n" for row in range(300))
    text = f'id,image_url,prompt\n{good}b,/b.png,"two\n\nlines"\nc,/c.png,"never closed\n{good.replace("a", "d", 1)}'
    summary = import_artworks(connection, write("a.csv", text))
    assert rejects_of(summary) == [(305, "its quoting is broken (unexpected end of data)")]
    assert (summary.rows, summary.new) == (602, 302)
    assert connection.execute("SELECT prompt FROM art_sessions WHERE id = 'b'").fetchone() == ("two\n\nlines",)


def test_the_rejects_file_holds_the_row(write: Write, connection: psycopg.Connection) -> None:
    """As found, whatever is in it, so that it can be mended and loaded again."""
    summary = import_interactions(connection, write("a.csv", 'user,item\n"\tu",\n'))
    assert summary.rejects_path == write("a.csv", "").with_name("a.csv.rejects.tsv")
    with summary.rejects_path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, dialect="excel-tab"))[1] == ["2", "item is empty", '"\tu",']


def test_rejected_parquet_rows_are_written_as_json(write: Write, connection: psycopg.Connection) -> None:
    """With the number of the row."""
    frame = pl.DataFrame({"user": ["u", None, "u"], "item": ["a", "b", "c"], "weight": [1.0, 1.0, float("nan")]})
    summary = import_interactions(connection, write("a.parquet", frame))
    assert rejects_of(summary) == [
        (2, "user is empty"), (3, "weight must be a number of 0 or more, not nan"),
    ]  # fmt: skip
    assert summary.rejects_path is not None
    assert '[null, ""b"", 1.0]' in summary.rejects_path.read_text("utf-8")


def test_a_rejects_file_goes_when_nothing_is_rejected_any_more(write: Write, connection: psycopg.Connection) -> None:
    """The mended file, loaded again, leaves no old complaints."""
    summary = import_interactions(connection, write("a.csv", "user,item\n,x\n"))
    assert summary.rejects_path is not None
    assert summary.rejects_path.exists()
    assert import_interactions(connection, write("a.csv", "user,item\nu,x\n")).rejects_path is None
    assert not summary.rejects_path.exists()


def test_a_rejects_file_can_be_named(write: Write, connection: psycopg.Connection, tmp_path: Path) -> None:
    """Anywhere, but not over the input nor where nothing can be written; said before anything is loaded."""
    path = write("a.csv", "user,item\n,x\nu,x\n")
    with pytest.raises(BadImportError, match="the rejects file must be another file"):
        import_interactions(connection, path, rejects=path)
    with pytest.raises(BadImportError, match="its rejects file cannot be written"):
        import_interactions(connection, path, rejects=tmp_path / "none" / "r.tsv")
    assert count(connection, "vernissage.events") == 0
    summary = import_interactions(connection, path, rejects=tmp_path / "r.tsv")
    assert summary.rejects_path == tmp_path / "r.tsv"
    assert rejects_of(summary) == [(2, "user is empty")]


def test_rejects_of_a_read_only_folder_go_to_the_working_folder(
    write: Write, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data often lie where nobody may write."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("os.access", lambda *_: False)
    summary = import_interactions(connection, write("a.csv", "user,item\n,x\n"))
    assert summary.rejects_path == tmp_path / "elsewhere" / "a.csv.rejects.tsv"


UNREADABLE: dict[str, tuple[str, str | bytes | pl.DataFrame, str]] = {
    "empty": ("a.csv", "", "it is empty"),
    "blank": ("a.csv", "\n \n", "it is empty"),
    "no user": ("a.csv", "who,item\n1,2\n", "it has no column user; its columns are 'who', 'item'"),
    "no header": ("a.csv", "anna,pear\n", "it has no column user or item"),
    "two users": ("a.csv", "user,user_id,item\n1,2,3\n", "two of its columns mean user"),
    "rating and weight": ("a.csv", "user,item,rating,weight\n1,2,3,4\n", "it may have one of rating and weight"),
    "four numbers": ("a.tsv", "1\t2\t3\t4\n", "its 4 columns have no header; name them with --columns"),
    "one number": ("a.csv", "1\n2\n", "its 1 columns have no header"),
    "not text": ("a.csv", b"\xff\xfeu\0", "its first line cannot be read: it is not UTF-8"),
    "no parquet": ("a.parquet", b"PAR1 is not enough", "it is not readable Parquet"),
    "parquet without user": ("a.parquet", pl.DataFrame({"item": [1]}), "it has no column user"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_file_that_cannot_be_read_is_named_with_the_rule(
    case: str, write: Write, connection: psycopg.Connection
) -> None:
    """Nothing else raises."""
    name, content, rule = UNREADABLE[case]
    path = write(name, content)
    with pytest.raises(BadImportError, match=r"cannot be imported") as caught:
        import_interactions(connection, path)
    assert str(path) in str(caught.value)
    assert rule in str(caught.value)
    assert count(connection, "vernissage.events") == 0


def test_a_file_that_is_not_there_is_named(connection: psycopg.Connection, tmp_path: Path) -> None:
    """A folder is no file either."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(BadImportError, match="there is no such file"):
            import_interactions(connection, path)


def test_artworks_do_not_come_in_lines_of_items(write: Write, connection: psycopg.Connection) -> None:
    """The line format has no place for them."""
    with pytest.raises(BadImportError, match="interactions only"):
        import_artworks(connection, write("a.txt", "1 2 3\n"))


def test_a_database_without_our_schema_is_an_error_of_ours(write: Write, connection: psycopg.Connection) -> None:
    """It names the command that helps."""
    path = write("a.csv", "user,item,id,image_url,prompt\n1,2,3,/4,5\n")
    connection.execute("DROP SCHEMA vernissage CASCADE")
    with pytest.raises(SchemaMissingError, match="vernissage migrate"):
        import_interactions(connection, path)
    connection.execute("DROP TABLE art_sessions CASCADE")
    with pytest.raises(HostTablesMissingError, match="vernissage migrate --standalone"):
        import_artworks(connection, path)


# A host's own tables


def test_a_host_gets_no_users_and_artworks_from_interactions(write: Write, connection: psycopg.Connection) -> None:
    """Rows that name what the host does not hold are rejected; the others count."""
    connection.execute("INSERT INTO users (id) VALUES ('u')")
    import_artworks(connection, write("p.csv", "id,image_url,prompt\na,/a.png,a pear\n"))
    make_host_owned(connection)
    text = "user,item\nu,a\nu,b\n,a\nv,a\nv,b\nu,a\n"
    summary = import_interactions(connection, write("a.csv", text))
    assert rejects_of(summary) == [
        (3, "artwork is not in the pool"),
        (4, "user is empty"),
        (5, "user is not in users"),
        (6, "artwork is not in the pool"),
    ]
    assert (summary.rows, summary.new, summary.known, summary.users, summary.artworks) == (6, 1, 1, 0, 0)
    assert counts(connection) == {
        "vernissage.seen": 1,
        "vernissage.events": 1,
        "vernissage.artwork_keys": 1,
        "public.user_art_impressions": 1,
        "public.users": 1,
        "public.art_sessions": 1,
    }


def test_migrating_notes_whose_the_hosts_tables_are(connection: psycopg.Connection) -> None:
    """Ours only where we made them; migrating again changes nothing."""
    ours = "SELECT count(*) FROM vernissage.migrations WHERE name = 'host_tables.sql'"
    assert connection.execute(ours).fetchone() == (1,)
    assert migrate(connection, standalone=True) == []
    make_host_owned(connection)
    assert connection.execute(ours).fetchone() == (0,)


OLDER = (
    "styles", "artists", "is_library", "orientation", "aspect_ratio", "catalogue_tier", "width", "height", "version",
)  # fmt: skip


def test_artworks_load_into_an_older_pool(write: Write, connection: psycopg.Connection) -> None:
    """Columns that the host does not have yet are left out, and quality may be an integer."""
    drops = ", ".join(f"DROP COLUMN {column} CASCADE" for column in OLDER)
    connection.execute(f"ALTER TABLE art_sessions {drops}, ALTER COLUMN quality_score TYPE integer")
    path = write("a.csv", "id,image_url,prompt,styles,orientation,quality_score\na,/a.png,a pear,cubism,square,70.6\n")
    assert import_artworks(connection, path).new == 1
    assert connection.execute("SELECT id, quality_score FROM art_sessions").fetchall() == [("a", 71)]


# Artworks


ARTWORK = {
    "id": "a",
    "image_url": "/a.png",
    "prompt": "\U0001f34e an apple, \u05ea\u05e4\u05d5\u05d7",
    "styles": ["pop-art", "cubism"],
    "dna": REAL_DNA,
    "artists": ["Ren\u00e9 M."],
    "motifs": [],
    "orientation": "square",
    "quality_score": 70.04,
    "created_at": "2023-11-14T22:13:20Z",
}
QUOTED = {key: json.dumps(value) if isinstance(value, list) else str(value) for key, value in ARTWORK.items()}


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    """CSV text with a header."""
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(delimiter.join('"' + str(cell).replace('"', '""') + '"' for cell in row) + "\r\n" for row in cells)


SAME_ARTWORK: dict[str, tuple[str, str | pl.DataFrame]] = {
    "csv": ("a.csv", as_csv([QUOTED])),
    "csv with commas in cells": ("a.csv", as_csv([QUOTED | {"styles": "pop-art, cubism,,pop-art"}])),
    "csv with pipes": ("a.csv", as_csv([QUOTED | {"styles": "pop-art|cubism"}])),
    "tsv with semicolons": ("a.tsv", as_csv([QUOTED | {"styles": "pop-art; cubism"}], "\t")),
    "json lines": ("a.jsonl", json.dumps(ARTWORK)),
    "json lines with other names": (
        "a.ndjson",
        json.dumps({"dna_vector" if key == "dna" else key: value for key, value in ARTWORK.items()}),
    ),
    "json lines with numbers as DNA": ("a.jsonl", json.dumps(ARTWORK | {"dna": json.loads(REAL_DNA)})),
    "parquet": ("a.parquet", pl.DataFrame([ARTWORK | {"created_at": MOMENT}])),
}


@pytest.mark.parametrize("form", SAME_ARTWORK)
def test_every_format_gives_the_same_artwork(form: str, write: Write, connection: psycopg.Connection) -> None:
    """Emoji, right-to-left text, lists and DNA come through as they are."""
    summary = import_artworks(connection, write(*SAME_ARTWORK[form]))
    assert (summary.rows, summary.new, summary.artworks, summary.users, summary.broken_dna) == (1, 1, 1, 0, 0)
    row = connection.execute(
        "SELECT id, image_url, prompt, styles, dna_vector, artists, motifs, orientation, quality_score::float8,"
        " created_at, session_id, user_id, is_library, pool_status FROM art_sessions"
    ).fetchone()
    made = (*list(ARTWORK.values())[:8], 70.0, MOMENT.replace(tzinfo=None))
    assert row == (*made, "catalogue-seed", "system", True, "active")


def test_what_is_not_said_of_an_artwork_takes_the_hosts_defaults(write: Write, connection: psycopg.Connection) -> None:
    """No lists, no orientation, quality 50, created now."""
    before = datetime.now(UTC).replace(tzinfo=None)
    import_artworks(connection, write("a.csv", "id,image_url,prompt,dna,orientation\n7,https://x/a.png,a pear,,any\n"))
    row = connection.execute(
        "SELECT id, dna_vector, orientation, styles, motifs, quality_score::text, created_at FROM art_sessions"
    ).fetchone()
    assert row is not None
    assert row[:6] == ("7", None, None, [], [], "50.0")
    assert before <= row[6] <= datetime.now(UTC).replace(tzinfo=None)


def test_the_best_quality_fits_the_hosts_column(write: Write, connection: psycopg.Connection) -> None:
    """numeric(3,1) ends at 99.9; a 0 to 1 scale stays as it is."""
    text = "id,image_url,prompt,quality_score\na,/a,p,100\nb,/b,p,99.96\nc,/c,p,0.84\n"
    import_artworks(connection, write("a.csv", text))
    rows = connection.execute("SELECT quality_score::text FROM art_sessions ORDER BY id").fetchall()
    assert rows == [("99.9",), ("99.9",), ("0.8",)]


@pytest.mark.parametrize(
    "dna", ["[0.5]", "nonsense", "[" * 5000, REAL_DNA.replace("0.02", "NaN"), REAL_DNA.replace("0.02", "9.0"), "null"]
)
def test_broken_dna_is_stored_as_given_and_counted(dna: str, write: Write, connection: psycopg.Connection) -> None:
    """A broken vector is legal in the pool: the artwork is loaded and falls back on its styles and words."""
    rows = [ARTWORK | {"dna": dna}, ARTWORK | {"id": "b"}, ARTWORK | {"id": "c", "dna": None}]
    summary = import_artworks(connection, write("a.jsonl", "\n".join(json.dumps(row) for row in rows)))
    assert (summary.new, summary.broken_dna) == (3, 1)
    assert connection.execute("SELECT dna_vector FROM art_sessions WHERE id = 'a'").fetchone() == (dna,)


BAD_ARTWORKS = {
    "id": [("", "id is empty"), ("a" * 256, "id is longer than 255 characters"), (None, "id is empty")],
    "image_url": [
        ("", "image_url is empty"),
        (5, "image_url is empty"),
        ("ftp://x/a.png", "image_url must begin with / or http:// or https://, not 'ftp://x/a.png'"),
        ("a.png", "image_url must begin with / or http:// or https://, not 'a.png'"),
        ("/img/Placeholder.png", "image_url must not contain 'placeholder'"),
    ],
    "prompt": [
        (" ", "prompt is empty"),
        (None, "prompt is empty"),
        ("a\0", "prompt holds a NUL character"),
        ("\ud800", "prompt is not valid Unicode"),
    ],
    "dna": [("[\0", "dna holds a NUL character")],
    "styles": [
        ("[1", "styles is not JSON: '[1'"),
        ("[1]", "styles must be a list of texts, not [1]"),
        ({"a": 1}, "styles must be a list of texts, not {'a': 1}"),
        (["\0"], "styles holds a NUL character"),
    ],
    "orientation": [
        ("diagonal", "orientation must be one of portrait, landscape, square or any, not 'diagonal'"),
        (["square"], "orientation must be one of portrait, landscape, square or any, not ['square']"),
    ],
    "quality_score": [
        ("good", "quality_score must be a number of 0 or more, not 'good'"),
        (-1, "quality_score must be a number of 0 or more, not -1"),
        (100.1, "quality_score must be within 0 and 100, not 100.1"),
    ],
    "created_at": [("soon", "created_at must be seconds or milliseconds since 1970, or an ISO date, not 'soon'")],
}


def test_bad_artworks_are_written_down_by_field_and_rule(write: Write, connection: psycopg.Connection) -> None:
    """All of them in one file, and a good one at the end."""
    cases = [(field, value, reason) for field, values in BAD_ARTWORKS.items() for value, reason in values]
    rows = [json.dumps(ARTWORK | {field: value}) for field, value, _ in cases]
    summary = import_artworks(connection, write("a.jsonl", "\n".join([*rows, json.dumps(ARTWORK)])))
    assert rejects_of(summary) == [(line, reason) for line, (_, _, reason) in enumerate(cases, 1)]
    assert summary.new == count(connection, "public.art_sessions") == 1


def test_artworks_that_are_known_stay_and_are_counted(write: Write, connection: psycopg.Connection) -> None:
    """In the file twice, and in the pool already; the first one counts."""
    path = write("a.csv", "id,image_url,prompt\na,/a.png,first\na,/b.png,second\nb,/b.png,third\n")
    first, second = import_artworks(connection, path), import_artworks(connection, path)
    assert (first.new, first.known, second.new, second.known) == (2, 1, 0, 3)
    assert connection.execute("SELECT prompt FROM art_sessions ORDER BY id").fetchall() == [("first",), ("third",)]


# Guarantees


def moments() -> st.SearchStrategy[datetime]:
    """Whole milliseconds between 1990 and 2099, in UTC."""
    first, last = datetime(1990, 1, 1), datetime(2099, 12, 31)  # noqa: DTZ001 - hypothesis wants them naive
    return st.datetimes(first, last, timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    )


@given(moments())
def test_a_moment_is_the_same_however_it_is_written(moment: datetime) -> None:
    """Seconds, milliseconds, ISO with and without a zone, datetimes and text."""
    milliseconds = round(moment.timestamp() * 1000)
    forms = [milliseconds / 1000, str(milliseconds / 1000), moment, moment.replace(tzinfo=None), moment.isoformat()]
    forms += [f" {moment.replace(tzinfo=None).isoformat(' ')}", moment.isoformat().replace("+00:00", "Z")]
    if milliseconds >= 1e11:  # 1973: everything after 1990 is
        forms += [milliseconds, str(milliseconds)]
    for form in forms:
        read = read_interaction({"user": "u", "item": "a", "timestamp": form}, like_from=3, latest=LATEST)
        assert read.at is not None
        assert abs(read.at - moment) < timedelta(milliseconds=1)


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(["user", "item", "rating", "weight", "timestamp"]), anything))
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])  # its first text takes a second
def test_a_row_is_read_or_refused_whatever_it_holds(values: dict[str, Any]) -> None:
    """No other way out, and what is read can be stored."""
    try:
        read = read_interaction(values, like_from=3, latest=LATEST)
    except RefusedError:
        return
    assert 0 < len(read.user_id) <= 255
    assert 0 < len(read.artwork_id) <= 255
    assert (read.value is not None) == (read.kind == "like")


@given(st.binary(max_size=300), st.sampled_from(["csv", "tsv", "lines", "jsonl"]))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_to_the_end_or_refused_as_a_whole(tmp_path: Path, content: bytes, form: Any) -> None:
    """Every line is accounted for, in order, and progress ends at the size."""
    path = tmp_path / "a.bin"
    for layout, header in ((INTERACTIONS, b"user,item\n"), (ARTWORKS, b"id,image_url,prompt\n")):
        path.write_bytes(header + content)
        try:
            rows = list(open_source(path, layout, file_format=form).rows)
        except BadImportError:
            continue
        numbers = [row.number for row in rows]
        assert numbers == sorted(numbers)
        assert not rows or rows[-1].done <= path.stat().st_size
        assert all(isinstance(row.text, str) for row in rows)


ids = st.sampled_from(["a", "b", "c", "\u05d0", "\U0001f34e", "", " ", "x\0", "'; DROP TABLE users; --", "\\N", "\\."])
rows = st.fixed_dictionaries(
    {"user": ids, "item": ids},
    optional={"rating": st.none() | st.floats(), "ts": st.sampled_from([DAY, DAY + 1, "2023-11-14", "never", None])},
)


@given(st.lists(rows, min_size=1, max_size=12))
@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_row_is_new_known_or_rejected_and_the_second_time_none_is_new(
    connection: psycopg.Connection, tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    """The sum holds for every file, and a second import changes no table."""
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records), "utf-8")
    first = import_interactions(connection, path, chunk_rows=5)
    before = counts(connection)
    second = import_interactions(connection, path, chunk_rows=3)
    for summary in (first, second):
        assert summary.rows == len(records) == summary.new + summary.known + summary.rejected
    assert (second.new, second.users, second.artworks) == (0, 0, 0)
    assert second.rejected == first.rejected
    assert counts(connection) == before


# The command


def test_the_command_loads_files_and_prints_what_they_came_to(
    write: Write, database_url: str, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds, several files, with the options passed on."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    pool = write("pool[1].csv", "id,image_url,prompt,dna\na,/a.png,a pear,[1]\n,/b.png,b,\n")
    first = write("one.dat", "u,a,5,mood\n,a,5,mood\n")
    second = write("two.dat", "u,b,4,mood\n")
    artworks = CliRunner().invoke(app, ["import", "artworks", str(pool), "--rejects", str(pool) + ".bad"])
    assert artworks.exit_code == 0, artworks.output
    assert "artworks with broken DNA" in artworks.output
    assert "pool[1].csv" in artworks.output
    options = ["--format", "csv", "--columns", "user,item,rating,mood", "--like-from", "4.5"]
    answer = CliRunner().invoke(app, ["import", "interactions", str(first), str(second), *options])
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("users made") == 2
    assert f"rejected rows: {first}.rejects.tsv" in answer.output
    assert "columns not used" in answer.output
    assert [row[:3] for row in events_of(connection)] == [("u", "a", "like"), ("u", "b", "dislike")]


def test_one_rejects_file_is_not_for_several_inputs(write: Write, database_url: str) -> None:
    """The second would overwrite what the first left."""
    path = str(write("a.csv", "user,item\n1,2\n"))
    answer = CliRunner().invoke(
        app, ["import", "interactions", path, path, "--rejects", "r.tsv"], env={"DATABASE_URL": database_url}
    )
    assert answer.exit_code == 2
    assert "give one file to load" in answer.output


def test_a_file_that_cannot_be_read_ends_the_command(database_url: str) -> None:
    """With our error, which the command line prints as one line."""
    answer = CliRunner().invoke(app, ["import", "artworks", "none.csv"], env={"DATABASE_URL": database_url})
    assert answer.exit_code == 1
    assert isinstance(answer.exception, BadImportError)


# Real data


@pytest.mark.shared_data
def test_amazon_music_loads_with_its_timestamps(shared: Path, connection: psycopg.Connection, tmp_path: Path) -> None:
    """All rows of a Parquet file, whole days as they are."""
    path = shared / "data" / "amazon_music" / "interactions.parquet"
    summary = import_interactions(connection, path, rejects=tmp_path / "r.tsv")
    assert (summary.rows, summary.rejected) == (95_075, 0)
    assert summary.new == count(connection, "vernissage.events") == 95_075 - summary.known
    first = pl.scan_parquet(path).select(pl.col("ts").min()).collect().item()
    assert connection.execute("SELECT extract(epoch FROM min(at))::bigint FROM vernissage.events").fetchone() == (
        first,
    )


@pytest.mark.shared_data
def test_lastfm_loads_with_its_weights(shared: Path, connection: psycopg.Connection, tmp_path: Path) -> None:
    """Tabs, no header, carriage returns."""
    path = shared / "data" / "lastfm" / "test.txt"
    summary = import_interactions(connection, path, rejects=tmp_path / "r.tsv")
    assert (summary.rows, summary.new, summary.rejected) == (10_533, 10_533, 0)
    assert connection.execute("SELECT DISTINCT kind FROM vernissage.events").fetchall() == [("like",)]


@pytest.mark.shared_data
def test_ml1m_loads_from_lines_of_items(shared: Path, connection: psycopg.Connection, write: Write) -> None:
    """The first 300 users."""
    with (shared / "data" / "ml1m_split" / "train.txt").open("rb") as file:
        head = b"".join(next(file) for _ in range(300))
    summary = import_interactions(connection, write("train.txt", head))
    assert summary.rows == summary.new == len(head.split()) - 300
    assert summary.users == 300


@pytest.mark.shared_data
def test_wikiart_world_loads_with_its_broken_dna(shared: Path, connection: psycopg.Connection, tmp_path: Path) -> None:
    """240 vectors are malformed and 360 are null, as its README says; nothing is rejected."""
    path = shared / "data" / "wikiart_world" / "artworks.parquet"
    summary = import_artworks(connection, path, rejects=tmp_path / "r.tsv")
    assert (summary.new, summary.rejected, summary.broken_dna) == (12_000, 0, 240)
    nulls = connection.execute("SELECT count(*) FROM art_sessions WHERE dna_vector IS NULL").fetchone()
    assert nulls == (360,)
