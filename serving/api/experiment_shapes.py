"""The bodies and answers about one user in experiments and flags: arms by hand, exposures, values."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from serving.api.schemas import Id, Label
from serving.experiments.definitions import Name
from serving.experiments.flags import Value


class OverridePath(Struct):
    """The path of a route about a user's arm in one experiment."""

    name: Name
    user_id: Id


class OverrideBody(Struct):
    """The arm that is chosen for a user."""

    arm: Name


class OverrideAnswer(Struct, kw_only=True):
    """A user's arm as it is from now on."""

    experiment: str
    user_id: str
    arm: Annotated[str | None, Meta(description="null: by the hash")]


class FlagsAnswer(Struct, kw_only=True):
    """Every feature flag's value for one user."""

    user_id: str
    flags: dict[str, Value]


class Exposure(Struct):
    """An arm whose client value was acted on."""

    experiment: Name
    version: Annotated[int, Meta(ge=1, le=9_999)]
    arm: Name


class ExposuresBody(Struct, kw_only=True):
    """What a client acted on for the first time."""

    session_id: Label = ""
    exposures: Annotated[list[Exposure], Meta(min_length=1, max_length=100)]


class ExposuresAnswer(Struct, kw_only=True):
    """What became of each."""

    new: int
    known: int
    stale: Annotated[int, Meta(description="not the user's arm here and now: not counted")]
