"""What a field may be, in words: msgspec's message names a choice without the choices, and one bound of two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from msgspec import inspect

_STEP = re.compile(r"\w+|\[.*?\]")  # of a path such as events[...].kind
_BOUND = re.compile(r"(?<=` )[<>]=? \S+$")  # of a number; those of lengths stand after a word
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def whole_rule(said: str, kind: type, path: str) -> str:
    """The message on the field at ``path`` of ``kind``, with every choice or bound that the field has."""
    if said.startswith("Invalid enum value"):
        choices = [each.values for each in _at(kind, path) if isinstance(each, inspect.LiteralType)]
        return f"{said}: expected one of {', '.join(str(value) for values in choices for value in values)}"
    if _BOUND.search(said):
        return _BOUND.sub(" and ".join(bound for each in _at(kind, path) for bound in _bounds(each)), said)
    return said


def _bounds(kind: inspect.Type) -> Iterator[str]:
    """The bounds of a number, the lower one first; none of anything else."""
    for name, sign in _SIGNS.items():
        bound = getattr(kind, name, None)
        if bound is not None:
            yield f"{sign} {bound}"


def _at(kind: type, path: str) -> list[inspect.Type]:
    """What the field may be: one type, or several where it is a union; none where the path leads nowhere."""
    found = list(_plain(_info(kind)))
    for step in _STEP.findall(path):
        found = [plain for each in found for inner in _inside(each, step) for plain in _plain(inner)]
    return found


@cache
def _info(kind: type) -> inspect.Type:
    """What msgspec knows of a type."""
    return inspect.type_info(kind)


def _plain(kind: inspect.Type) -> Iterator[inspect.Type]:
    """The type without its description; of a union its members."""
    if isinstance(kind, inspect.Metadata):
        yield from _plain(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _plain(each)
    else:
        yield kind


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """What is one step further down: a field of a struct, an item of a list, a value of a mapping."""
    if isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == step)
    elif isinstance(kind, inspect.ListType):
        yield kind.item_type
    elif isinstance(kind, inspect.DictType):
        yield kind.value_type
