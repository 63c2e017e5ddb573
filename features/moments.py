"""PostgreSQL's moments that Python lacks: infinity, years before 1 and after 9999 become the nearest that it has.

The host's columns may hold them, and one such row must not make an answer impossible.
"""

from __future__ import annotations

from datetime import UTC, datetime

from psycopg import DataError
from psycopg.abc import AdaptContext, Buffer
from psycopg.types.datetime import (
    TimestampBinaryLoader,
    TimestampLoader,
    TimestamptzBinaryLoader,
    TimestamptzLoader,
)


def tolerate_moments(context: AdaptContext) -> None:
    """Make a connection (or a cursor) read every timestamp."""
    if context.adapters is None:
        return
    context.adapters.register_loader("timestamp", _Text)
    context.adapters.register_loader("timestamp", _Binary)
    context.adapters.register_loader("timestamptz", _ZonedText)
    context.adapters.register_loader("timestamptz", _ZonedBinary)


def _nearest(data: Buffer, *, text: bool) -> datetime:
    """The first or the last moment: text of an early one has a minus or an era, a binary one its sign bit."""
    raw = bytes(data)
    early = raw.startswith(b"-") or raw.endswith(b"BC") if text else bool(raw[0] & 0x80)
    return datetime.min if early else datetime.max  # noqa: DTZ901 - the host's stamps have no zone


class _Text(TimestampLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            return _nearest(data, text=True)


class _Binary(TimestampBinaryLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            return _nearest(data, text=False)


class _ZonedText(TimestamptzLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            return _nearest(data, text=True).replace(tzinfo=UTC)


class _ZonedBinary(TimestamptzBinaryLoader):
    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data)
        except DataError:
            return _nearest(data, text=False).replace(tzinfo=UTC)
