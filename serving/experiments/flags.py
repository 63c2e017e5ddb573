"""Feature flags: a share of the users gets one value, the others another, by the hash that experiments go by.

A flag is for turning things on step by step, not for finding out what they do: nothing is logged of it, and it leaves
nobody out. The flag `canary` names a model's version that its share of the users is ranked with.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import psycopg
from msgspec import Meta, Struct
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from features.database import query
from features.errors import BadFlagError
from serving.experiments.definitions import SLOTS, Name, Share
from serving.experiments.hashing import place
from serving.keys import audit

CANARY = "canary"
Value = bool | int | float | Annotated[str, Meta(max_length=1_000)] | dict[str, Any]
Variant = Literal["on", "off"]
KINDS = ((bool, "boolean"), (int | float, "number"), (str, "text"), (dict, "object"))


class Flag(Struct, frozen=True, forbid_unknown_fields=True):
    """A flag as it stands."""

    name: Name
    share: Annotated[Share, Meta(description="of the users who get `on`")]
    on: Value = True
    off: Value = False

    def variant(self, user_id: str) -> Variant:
        """Which value a user gets; who has got `on` keeps it while the share grows.

        >>> Flag("new-wall", 0.2).variant("ada")
        'off'
        """
        return "on" if place(f"flag/{self.name}", user_id, SLOTS) < round(self.share * SLOTS) else "off"

    def value(self, user_id: str) -> Value:
        """The value itself."""
        return self.on if self.variant(user_id) == "on" else self.off


def set_flag(connection: psycopg.Connection, flag: Flag) -> None:
    """Make or change a flag, noted in the audit log. Raises BadFlagError.

    A ramp only grows, so that nobody goes to and fro; a share of 0 turns the flag off for everybody.
    """
    flag = _checked(flag)
    with connection.transaction():
        connection.execute(query("lock_experiments"))
        old = find_flag(connection, flag.name)
        if old is not None and old.on == flag.on and 0 < flag.share < old.share:
            rule = f"its share is {old.share:g}, and a ramp only grows; 0 turns it off"
            raise BadFlagError(name=flag.name, rule=rule)
        told = msgspec.to_builtins(flag)
        connection.execute(query("set_flag"), {"name": flag.name, "definition": Jsonb(told)})
        audit(connection, "flag set", flag.name, told)


def read_flags(connection: psycopg.Connection) -> list[Flag]:
    """Every flag, by name. Raises BadFlagError where this code cannot read one."""
    return [flag_of(row) for row in _rows(connection)]


def find_flag(connection: psycopg.Connection, name: str) -> Flag | None:
    """One flag, or None. Raises BadFlagError where this code cannot read it."""
    return next((flag_of(row) for row in _rows(connection) if row["name"] == name), None)


def flag_of(row: dict[str, Any]) -> Flag:
    """A row as a flag. Raises BadFlagError where this code cannot read it."""
    try:
        return msgspec.convert(row["definition"], Flag)
    except msgspec.ValidationError as error:
        raise BadFlagError(name=row["name"], rule=str(error)) from error


def _rows(connection: psycopg.Connection) -> list[dict[str, Any]]:
    """Every flag's row, by name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("flags")).fetchall()


def _checked(flag: Flag) -> Flag:
    """The flag, when its types and values go together. Raises BadFlagError."""
    try:
        flag = msgspec.convert(msgspec.to_builtins(flag), Flag)
    except msgspec.ValidationError as error:
        raise BadFlagError(name=flag.name, rule=str(error)) from error
    if _kind(flag.on) != _kind(flag.off):
        rule = f"on is a {_kind(flag.on)} and off is a {_kind(flag.off)}: both must be of one type"
        raise BadFlagError(name=flag.name, rule=rule)
    if flag.name == CANARY and not (isinstance(flag.on, str) and flag.on.isdecimal()):
        raise BadFlagError(name=flag.name, rule="on is a version's number: `vernissage flag canary` sets it")
    return flag


def _kind(value: Value) -> str:
    """The type of a value, in JSON's words."""
    return next(name for kind, name in KINDS if isinstance(value, kind))
