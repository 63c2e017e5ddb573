"""Rows of a file, one at a time: CSV, TSV, 'user item item ...' lines, JSON lines and Parquet, bounded in memory.

It finds the format, splits rows and gives columns our names. It judges no value (training.importing does) and
knows no database. A row that cannot be split comes out with its problem; only a file that cannot be read at all
raises.
"""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from features.errors import BadImportError, ExtraMissingError

if TYPE_CHECKING:
    import polars as pl

LONGEST_LINE = 4 * 1024 * 1024  # bytes
LONGEST_TEXT = 10_000  # characters of a row that a person is shown
PARQUET_SLICE = 50_000  # rows
DELIMITERS = {"csv": ",;\t", "tsv": "\t"}
Format = Literal["csv", "tsv", "lines", "jsonl", "parquet"]
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class Line(NamedTuple):
    """One line as found, with its ending; ``done`` is the bytes read up to its end."""

    number: int
    done: int
    text: str
    problem: str | None = None


class Columns(NamedTuple):
    """The columns of a file: the field of each (None: not ours), and the names of those that are not."""

    fields: list[str | None]
    unused: tuple[str, ...] = ()
    has_header: bool = False


class Row(NamedTuple):
    """One row: ``number`` and ``done`` count lines and bytes, or rows twice over in Parquet.

    ``values`` are by our field names; ``problem`` says why there are none.
    """

    number: int
    done: int
    found: str | Sequence[Any]
    values: Mapping[str, Any]
    problem: str | None = None

    @property
    def text(self) -> str:
        """The row as found, for a person to read; cut when it is very long."""
        if isinstance(self.found, str):
            text = self.found.rstrip("\r\n")
        else:
            text = json.dumps(list(self.found), ensure_ascii=False, default=str)
        return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " ..."


@dataclass(frozen=True)
class Layout:
    """The columns of one kind of file: our field names, each with the names it goes by."""

    aliases: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    headerless: tuple[str, ...] = ()  # fields of a file whose first line is numbers; empty: a header is a must
    lines_per_row: int = 1  # how far a quoted cell may reach
    exclusive: tuple[str, ...] = ()  # at most one of these fields

    def field(self, column: str) -> str | None:
        """The field that a column's name stands for, or None."""
        name = column.strip().strip("\ufeff").lower().replace(" ", "_").replace("-", "_")
        return next((field for field, names in self.aliases.items() if name == field or name in names), None)


@dataclass(frozen=True)
class Source:
    """A file that can be read: its size in bytes (Parquet: rows), its rows, to be run through once, and leftovers."""

    path: Path
    total: int
    rows: Iterator[Row]
    unused: tuple[str, ...] = ()  # columns that say nothing to us


def open_source(
    path: Path, layout: Layout, *, file_format: Format | None = None, columns: Sequence[str] | None = None
) -> Source:
    """Look at the file and return its rows, unread.

    ``file_format`` None: found by suffix and first line. ``columns`` names the columns of a CSV or TSV file without
    a header. Raises BadImportError when the file cannot be read at all.
    """
    if not path.is_file():
        raise BadImportError(path=path, reason="there is no such file")
    size, first = path.stat().st_size, _first_line(path)
    chosen = file_format or _find_format(path, first)
    if chosen == "parquet":
        return _open_parquet(path, layout)
    if chosen == "jsonl":
        return Source(path, size, _json_rows(_lines(path), layout))
    if chosen == "lines":
        if not layout.headerless:
            raise BadImportError(path=path, reason="lines of 'user item item ...' hold interactions only")
        return Source(path, size, _item_rows(_lines(path)))
    if first.problem:
        raise BadImportError(path=path, reason=f"its first line cannot be read: {first.problem}")
    delimiter = max(DELIMITERS[chosen], key=first.text.count)
    found = _columns(path, first.text, delimiter, layout, columns)
    lines = _lines(path)
    if found.has_header:
        _skip_header(lines)
    return Source(path, size, _delimited_rows(lines, delimiter, found.fields, layout.lines_per_row), found.unused)


def _first_line(path: Path) -> Line:
    """The first line that holds something."""
    for line in _lines(path):
        if line.problem or line.text.strip():
            return line
    raise BadImportError(path=path, reason="it is empty")


def _find_format(path: Path, first: Line) -> Format:
    """The format by suffix, else by what the first line looks like."""
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if first.text.startswith("PAR1"):
        return "parquet"
    if first.text.lstrip().startswith("{"):
        return "jsonl"
    if "\t" in first.text:
        return "tsv"
    return "csv" if "," in first.text else "lines"


def _lines(path: Path) -> Iterator[Line]:
    """Every line, blank ones too; one that is too long or is not UTF-8 comes with its problem."""
    number = done = 0
    try:
        with path.open("rb") as file:
            while raw := file.readline(LONGEST_LINE):
                number += 1
                done += len(raw)
                problem = None
                if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                    problem = f"the line is longer than {LONGEST_LINE} bytes"
                    done += _skip_line(file)
                yield _decode(number, done, raw, problem)
    except OSError as error:
        raise BadImportError(path=path, reason=f"reading it failed: {error}") from error


def _skip_line(file: io.BufferedReader) -> int:
    """Read on to the end of the line; the number of bytes skipped."""
    skipped = 0
    while raw := file.readline(LONGEST_LINE):
        skipped += len(raw)
        if raw.endswith(b"\n"):
            break
    return skipped


def _decode(number: int, done: int, raw: bytes, problem: str | None) -> Line:
    """The line as text; a byte order mark is dropped."""
    if problem:
        return Line(number, done, raw[:200].decode("utf-8", "replace") + " ...", problem)
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Line(number, done, raw.decode("utf-8", "backslashreplace"), f"it is not UTF-8 ({error.reason})")
    return Line(number, done, text)


def _skip_header(lines: Iterator[Line]) -> None:
    """Move past the first line that holds something."""
    while not next(lines).text.strip():
        pass


def _columns(path: Path, header: str, delimiter: str, layout: Layout, columns: Sequence[str] | None) -> Columns:
    """The columns by the names given, by the first line, or by number where the first line is numbers."""
    cells = next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter), [])
    if columns is not None:
        return _named(path, columns, layout)
    if layout.headerless and all(_is_number(cell) for cell in cells):
        if not len(layout.required) <= len(cells) <= len(layout.headerless):
            raise BadImportError(path=path, reason=f"its {len(cells)} columns have no header; name them with --columns")
        return Columns(list(layout.headerless[: len(cells)]))
    return _named(path, cells, layout)._replace(has_header=True)


def _named(path: Path, columns: Sequence[str], layout: Layout) -> Columns:
    """The columns by name; raises BadImportError when one is missing or two mean the same."""
    fields = [layout.field(column) for column in columns]
    found = [field for field in fields if field]
    missing = [field for field in layout.required if field not in found]
    if missing:
        seen = ", ".join(repr(column[:40]) for column in columns[:20])
        raise BadImportError(path=path, reason=f"it has no column {' or '.join(missing)}; its columns are {seen}")
    doubled = next((field for field in found if found.count(field) > 1), None)
    if doubled:
        raise BadImportError(path=path, reason=f"two of its columns mean {doubled}")
    if sum(field in found for field in layout.exclusive) > 1:
        raise BadImportError(path=path, reason=f"it may have one of {' and '.join(layout.exclusive)}, not both")
    return Columns(fields, tuple(column for column, field in zip(columns, fields, strict=True) if not field))


def _is_number(text: str) -> bool:
    """Whether the text is a plain number, as ids and weights are in files without a header."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _delimited_rows(
    lines: Iterator[Line], delimiter: str, fields: Sequence[str | None], lines_per_row: int
) -> Iterator[Row]:
    """Rows of CSV and TSV text, blank lines left out."""
    for line, cells in _records(lines, delimiter, lines_per_row):
        if line.problem:
            yield Row(line.number, line.done, line.text, {}, line.problem)
        elif len(cells) != len(fields):
            problem = f"it has {len(cells)} columns, not {len(fields)}"
            yield Row(line.number, line.done, line.text, {}, problem)
        else:
            values = {field: cell for field, cell in zip(fields, cells, strict=True) if field}
            yield Row(line.number, line.done, line.text, values)


def _records(lines: Iterator[Line], delimiter: str, lines_per_row: int) -> Iterator[tuple[Line, list[str]]]:
    """The cells of each record, read line by line so that a quote left open costs its own line only."""
    ahead: deque[Line] = deque()
    while line := (ahead.popleft() if ahead else next(lines, None)):
        if line.problem:
            yield line, []
        elif '"' in line.text:
            yield _quoted(line, ahead, lines, delimiter, lines_per_row)
        elif line.text.strip("\r\n"):
            yield line, line.text.rstrip("\r\n").split(delimiter)


def _quoted(
    line: Line, ahead: deque[Line], lines: Iterator[Line], delimiter: str, lines_per_row: int
) -> tuple[Line, list[str]]:
    """One record with quotes, over ``lines_per_row`` lines at most; lines taken in vain go back to ``ahead``."""
    taken = [line]

    def feed() -> Iterator[str]:
        yield line.text
        while len(taken) < lines_per_row and (further := ahead.popleft() if ahead else next(lines, None)):
            taken.append(further)
            yield further.text

    try:
        cells = next(csv.reader(feed(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        ahead.extendleft(reversed(taken[1:]))
        return line._replace(problem=f"its quoting is broken ({error})"), []
    return line._replace(done=taken[-1].done, text="".join(part.text for part in taken)), cells


def _item_rows(lines: Iterator[Line]) -> Iterator[Row]:
    """Rows of 'user item item ...' lines, one for each item."""
    for line in lines:
        user, *items = line.text.split() or [""]
        if line.problem or (user and not items):
            yield Row(line.number, line.done, line.text, {}, line.problem or "no item follows the user")
            continue
        for item in items:
            yield Row(line.number, line.done, (user, item), {"user": user, "item": item})


def _json_rows(lines: Iterator[Line], layout: Layout) -> Iterator[Row]:
    """Rows of JSON lines, blank lines left out."""
    for line in lines:
        if line.problem or line.text.strip():
            values, problem = ({}, line.problem) if line.problem else _json_values(line.text, layout)
            yield Row(line.number, line.done, line.text, values, problem)


def _json_values(text: str, layout: Layout) -> tuple[dict[str, Any], str | None]:
    """The fields of one JSON object, or its problem."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"it is not JSON ({error})"
    if not isinstance(record, dict):
        return {}, "it is not a JSON object"
    named = [(field, value) for key, value in record.items() if (field := layout.field(key))]
    values = dict(named)
    if len(values) < len(named):
        return {}, "two of its keys mean the same"
    if sum(field in values for field in layout.exclusive) > 1:
        return {}, f"it may have one of {' and '.join(layout.exclusive)}, not both"
    return values, None


def _open_parquet(path: Path, layout: Layout) -> Source:
    """The rows of a Parquet file, its own columns only."""
    try:
        import polars as pl  # noqa: PLC0415 - half a second, and only Parquet needs it
    except ImportError as error:
        raise ExtraMissingError(extra="training", module="polars") from error
    try:
        frame = pl.scan_parquet(path, glob=False)
        columns = frame.collect_schema().names()
        total = int(frame.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise BadImportError(path=path, reason=f"it is not readable Parquet: {error}") from error
    named = _named(path, columns, layout)
    names = {column: field for column, field in zip(columns, named.fields, strict=True) if field}
    return Source(path, total, _parquet_rows(path, frame.select(list(names)), names, total), named.unused)


def _parquet_rows(path: Path, frame: pl.LazyFrame, names: Mapping[str, str], total: int) -> Iterator[Row]:
    """Rows of a Parquet file, slice by slice."""
    import polars as pl  # noqa: PLC0415 - as above

    fields, number = list(names.values()), 0
    for start in range(0, total, PARQUET_SLICE):
        try:
            part = frame.slice(start, PARQUET_SLICE).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise BadImportError(path=path, reason=f"it breaks off at row {start + 1}: {error}") from error
        for found in part.iter_rows():
            number += 1
            yield Row(number, number, found, dict(zip(fields, found, strict=True)))
