"""Arms that somebody chooses for a user: which choices are refused."""

from __future__ import annotations

from typing import Any

import psycopg

from features.database import query
from features.errors import BadExperimentError, ExperimentConflictError
from serving.experiments.definitions import Definition

LONGEST_ID = 255  # characters of a user's id


def check_user_id(user_id: str) -> None:
    """An id that a list can be for."""
    try:
        octets = user_id.encode()
    except UnicodeEncodeError as error:
        raise BadExperimentError(field="user_id", rule="it is not UTF-8") from error
    if not 1 <= len(user_id) <= LONGEST_ID or b"\0" in octets:
        raise BadExperimentError(field="user_id", rule=f"an id has 1 to {LONGEST_ID} characters, none of them NUL")


async def check_override(connection: psycopg.AsyncConnection, definition: Definition, row: dict[str, Any]) -> None:
    """The arm is one, and no other experiment of the layer has the user by hand already."""
    if definition.unit != "user":
        raise ExperimentConflictError(name=definition.name, rule="its arms are of blocks of time, not of users")
    if definition.arm(row["arm"]) is None:
        raise ExperimentConflictError(name=definition.name, rule=f"it has no arm {row['arm']!r}")
    found = await connection.execute(query("overridden_in_layer"), row | {"layer": definition.layer})
    other = await found.fetchone()
    if other is not None:
        rule = f"the user's arm in {other[0]} was chosen, in the same layer {definition.layer}: take that back first"
        raise ExperimentConflictError(name=definition.name, rule=rule)
