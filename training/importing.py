"""Loads files into the database: interactions and artworks, in chunks, each chunk one transaction.

Running the same file twice adds nothing the second time, so an import that was cut short is simply run again. A bad
row goes to a rejects file with its line number and the reason. Memory is bounded by a chunk, whatever the file's
size. Reading files is training.import_readers, judging values training.import_checks.
"""

from __future__ import annotations

import csv
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg

from features.database import query
from features.errors import BadImportError, SchemaMissingError
from features.host import read_host
from training.import_checks import (
    ARTWORKS,
    INTERACTIONS,
    Artwork,
    Interaction,
    RefusedError,
    is_broken_dna,
    read_artwork,
    read_interaction,
)
from training.import_readers import Format, Row, Source, open_source

CHUNK_ROWS = 50_000
CLOCK_SLACK = timedelta(days=1)  # a stamp may be this far ahead

#: What is told of progress: how much is done, and of how much (bytes, or rows of Parquet).
Progress = Callable[[int, int], None]
Check = Callable[[Mapping[str, Any]], Any]

_INTERACTION_TYPES = ("int4", "text", "text", "text", "float4", "timestamptz")
_ARTWORK_TYPES = (
    "int4", "text", "text", "text", "text", "text[]", "text[]", "text[]", "text", "float8", "timestamptz",
)  # fmt: skip

#: What each column of art_sessions gets; quality_score is numeric(3,1) in the host, so 100 does not fit.
_ARTWORK_VALUES = {
    "id": "s.id",
    "session_id": "'catalogue-seed'",
    "user_id": "'system'",
    "image_url": "s.image_url",
    "prompt": "s.prompt",
    "dna_vector": "s.dna",
    "styles": "s.styles",
    "artists": "s.artists",
    "motifs": "s.motifs",
    "orientation": "s.orientation",
    "quality_score": "least(coalesce(s.quality, 50.0), 99.9)",
    "is_library": "true",
    "created_at": "coalesce(s.created_at, %(started)s) AT TIME ZONE 'UTC'",
}


@dataclass(frozen=True)
class ImportSummary:
    """What one file came to: ``rows`` = ``new`` + ``known`` + ``rejected``.

    ``known`` rows are in the database already or stand twice in the file. ``users`` and ``artworks`` are rows made
    in the host's tables. ``broken_dna`` counts artworks that were taken with a DNA vector that cannot be used.
    ``unused_columns`` are those of the file that say nothing to us.
    """

    rows: int
    new: int
    known: int
    rejected: int
    rejects_path: Path | None
    users: int
    artworks: int
    broken_dna: int
    unused_columns: tuple[str, ...]
    seconds: float


class _Stored(NamedTuple):
    """What became of a chunk: counts, and the rows that the database refused, by their place in it."""

    counts: Counter[str]
    refused: list[tuple[int, str]]


class _Reject(NamedTuple):
    """A row that is not taken, and why."""

    row: Row
    reason: str


Store = Callable[[list[Any]], _Stored]
Refuse = Callable[[list[_Reject]], None]


def import_interactions(
    connection: psycopg.Connection,
    path: Path,
    *,
    file_format: Format | None = None,
    columns: Sequence[str] | None = None,
    rejects: Path | None = None,
    like_from: float = 3.0,
    chunk_rows: int = CHUNK_ROWS,
    on_progress: Progress | None = None,
) -> ImportSummary:
    """Load users' interactions with artworks from CSV, TSV, Parquet, JSON lines or 'user item item ...' lines.

    Every row marks its artwork as seen by its user (the earliest time counts), is an impression in the host's table
    (which keeps its first) and one event: a like of the row's weight; or a like of rating / 5 (1 at most) when the
    rating is ``like_from`` or more, else a dislike; or, with neither, a display. Without a timestamp the time is
    the import's. A row is the event of its user, artwork, kind and timestamp; the first value of it stays.

    In stand-alone mode users and artworks that are not there yet are made; a host's own tables are left alone and
    such rows rejected. Commits after each chunk. Raises BadImportError when the file cannot be read at all.
    """
    started = datetime.now(UTC)
    source = open_source(path, INTERACTIONS, file_format=file_format, columns=columns)
    check = partial(read_interaction, like_from=like_from, latest=started + CLOCK_SLACK)
    store = partial(_store_interactions, connection, started, standalone=_is_standalone(connection))
    return _load(connection, source, check, store, rejects=rejects, chunk_rows=chunk_rows, on_progress=on_progress)


def import_artworks(
    connection: psycopg.Connection,
    path: Path,
    *,
    file_format: Format | None = None,
    columns: Sequence[str] | None = None,
    rejects: Path | None = None,
    chunk_rows: int = CHUNK_ROWS,
    on_progress: Progress | None = None,
) -> ImportSummary:
    """Load artworks into the pool from CSV, TSV, JSON lines or Parquet; one that is there already stays as it is.

    They become library artworks of the user 'system'. A broken DNA vector is stored as given, and counted. Commits
    after each chunk. Raises BadImportError when the file cannot be read at all.
    """
    started = datetime.now(UTC)
    source = open_source(path, ARTWORKS, file_format=file_format, columns=columns)
    check = partial(read_artwork, latest=started + CLOCK_SLACK)
    store = partial(_store_artworks, connection, started, read_host(connection).columns["art_sessions"])
    return _load(connection, source, check, store, rejects=rejects, chunk_rows=chunk_rows, on_progress=on_progress)


def _load(
    connection: psycopg.Connection,
    source: Source,
    check: Check,
    store: Store,
    *,
    rejects: Path | None,
    chunk_rows: int,
    on_progress: Progress | None,
) -> ImportSummary:
    """Run the file through ``check`` and ``store``, chunk by chunk."""
    began, totals = time.monotonic(), Counter[str]()
    target = rejects or _default_rejects(source.path)
    with _rejects_file(target, source.path) as refuse:
        while chunk := list(islice(source.rows, chunk_rows)):
            totals.update(_load_chunk(connection, chunk, check, store, refuse))
            if on_progress:
                on_progress(chunk[-1].done, source.total)
    return ImportSummary(
        rows=totals["rows"],
        new=totals["new"],
        known=totals["rows"] - totals["new"] - totals["rejected"],
        rejected=totals["rejected"],
        rejects_path=target if totals["rejected"] else None,
        users=totals["users"],
        artworks=totals["artworks"],
        broken_dna=totals["broken_dna"],
        unused_columns=source.unused,
        seconds=time.monotonic() - began,
    )


def _load_chunk(
    connection: psycopg.Connection, chunk: list[Row], check: Check, store: Store, refuse: Refuse
) -> Counter[str]:
    """Store the good rows of a chunk in one transaction, write down the bad ones, and count."""
    good, bad = _sort_out(chunk, check)
    with connection.transaction():
        counts, refused = store([value for _, value in good]) if good else _Stored(Counter(), [])
    connection.commit()  # where the connection had a transaction open, the block above was only a savepoint
    bad += [_Reject(good[ordinal][0], reason) for ordinal, reason in refused]
    refuse(sorted(bad, key=lambda reject: reject.row.number))
    return counts + Counter(rows=len(chunk), rejected=len(bad))


def _sort_out(chunk: list[Row], check: Check) -> tuple[list[tuple[Row, Any]], list[_Reject]]:
    """The rows that pass with what they say, and those that do not with the reason."""
    good: list[tuple[Row, Any]] = []
    bad: list[_Reject] = []
    for row in chunk:
        if row.problem:
            bad.append(_Reject(row, row.problem))
            continue
        try:
            good.append((row, check(row.values)))
        except RefusedError as error:
            bad.append(_Reject(row, str(error)))
    return good, bad


def _is_standalone(connection: psycopg.Connection) -> bool:
    """Whether the host's tables were made by us, so that their rows may be too. Raises SchemaMissingError."""
    if not _answer(connection, "has_schema"):
        raise SchemaMissingError
    return _answer(connection, "has_own_host_tables")


def _answer(connection: psycopg.Connection, name: str) -> bool:
    """What a yes-or-no query says."""
    row = connection.execute(query(name)).fetchone()
    return bool(row and row[0])


def _store_interactions(
    connection: psycopg.Connection, started: datetime, interactions: list[Interaction], *, standalone: bool
) -> _Stored:
    """Write one chunk; the caller holds the transaction."""
    connection.execute(query("stage_interactions"))
    _copy(connection, query("copy_interactions"), _INTERACTION_TYPES, interactions)
    connection.execute(query("analyze_interactions"))
    counts, refused = Counter[str](), []
    if standalone:
        counts["users"] = connection.execute(query("import_users")).rowcount
        counts["artworks"] = _make_missing_artworks(connection, started)
    else:
        refused = connection.execute(query("refuse_strangers")).fetchall()
    parameters = {"started": started}
    connection.execute(query("import_keys"))
    connection.execute(query("import_seen"), parameters)
    connection.execute(query("import_impressions"), parameters)
    counts["new"] = connection.execute(query("import_events"), parameters).rowcount
    return _Stored(counts, refused)


def _make_missing_artworks(connection: psycopg.Connection, started: datetime) -> int:
    """Make pool rows for the chunk's artworks that have none; the number made."""
    missing = connection.execute(query("missing_artworks"), {"started": started}).fetchall()
    if not missing:
        return 0
    ids = [artwork_id for artwork_id, _ in missing]
    parameters = {"ids": ids, "image_urls": [_image_url(each) for each in ids], "created": [at for _, at in missing]}
    return connection.execute(query("import_missing_artworks"), parameters).rowcount


def _image_url(artwork_id: str) -> str:
    """A path for an artwork without an image; the client would reject one that spells 'placeholder'."""
    return f"/artworks/{quote(artwork_id, safe='')}.png".replace("placeholder", "%70laceholder")


def _store_artworks(
    connection: psycopg.Connection, started: datetime, host_columns: frozenset[str], artworks: list[Artwork]
) -> _Stored:
    """Write one chunk; the caller holds the transaction."""
    connection.execute(query("stage_artworks"))
    _copy(connection, query("copy_artworks"), _ARTWORK_TYPES, artworks)
    chosen = {column: value for column, value in _ARTWORK_VALUES.items() if column in host_columns}
    statement = query("import_artworks", columns=", ".join(chosen), values=", ".join(chosen.values()))
    new = connection.execute(statement, {"started": started}).rowcount
    return _Stored(Counter(new=new, artworks=new, broken_dna=sum(map(is_broken_dna, artworks))), [])


def _copy(
    connection: psycopg.Connection, statement: str, types: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """COPY the rows, each behind its ordinal."""
    with connection.cursor().copy(statement) as copy:
        copy.set_types(types)
        for ordinal, row in enumerate(rows):
            copy.write_row((ordinal, *row))


def _default_rejects(path: Path) -> Path:
    """The rejects file beside the input, or in the working folder when the input's cannot be written to."""
    name = f"{path.name}.rejects.tsv"
    return path.with_name(name) if os.access(path.parent, os.W_OK) else Path(name).resolve()


@contextmanager
def _rejects_file(target: Path, path: Path) -> Iterator[Refuse]:
    """Open the rejects file before anything is loaded; it is removed again when it stays empty."""
    if target.exists() and target.samefile(path):
        raise BadImportError(path=path, reason="the rejects file must be another file")
    try:
        file = target.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise BadImportError(path=path, reason=f"its rejects file cannot be written: {error}") from error
    written = 0
    with file:
        writer = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        writer.writerow(("line", "reason", "row"))

        def refuse(rejects: list[_Reject]) -> None:
            nonlocal written
            written += len(rejects)
            writer.writerows((row.number, reason, row.text) for row, reason in rejects)
            file.flush()

        yield refuse
    if not written:
        target.unlink()
