"""The OpenAPI 3.1 document, made from the same records and types that route and check the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from features import __version__
from serving.api.operations import Operation
from serving.api.problems import MEDIA_TYPE, ProblemBody

REF = "#/components/schemas/{name}"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    kinds = {kind for operation in operations for kind in _types(operation)} | {ProblemBody}
    _, schemas = msgspec.json.schema_components(sorted(kinds, key=lambda kind: kind.__name__), ref_template=REF)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _entry(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Vernissage", "version": __version__, "summary": "Unseen artworks, one a minute"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operation: Operation) -> list[type]:
    """The types that become schemas of their own; path and query types become parameters."""
    return [*operation.body_types, *([operation.answer] if operation.answer else [])]


def _entry(operation: Operation) -> dict[str, Any]:
    """One operation."""
    entry: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [*_parameters(operation.path_type, "path"), *_parameters(operation.query_type, "query")],
        "responses": _responses(operation),
    }
    if operation.scope:
        entry["security"] = [{"key": [operation.scope]}]
    if operation.body_types:
        schema = {"oneOf": [{"$ref": REF.format(name=kind.__name__)} for kind in operation.body_types]}
        entry["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return entry


def _parameters(kind: type | None, place: str) -> list[dict[str, Any]]:
    """The fields of a path or query type as parameters."""
    if kind is None:
        return []
    _, components = msgspec.json.schema_components([kind], ref_template=REF)
    schema = components[kind.__name__]
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": place, "required": name in required, "schema": part, "style": "form", "explode": False}
        if place == "query"
        else {"name": name, "in": place, "required": True, "schema": part}
        for name, part in schema["properties"].items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    """Success and the problems that a client may meet."""
    problem = {MEDIA_TYPE: {"schema": {"$ref": REF.format(name="ProblemBody")}}}
    found = {"500": "An error of ours (internal)", "503": "The database is away (database_unavailable)"}
    if operation.path_type or operation.query_type or operation.body_types:
        found["400"] = "A value breaks its rule (bad_<field>, bad_json)"
    if operation.missing:
        found["404"] = f"There is nothing of that name ({operation.missing})"
    if operation.conflict:
        found["409"] = f"What is there forbids it ({operation.conflict})"
    if operation.kind:
        found["429"] = "The worker answers as many of these as it may (busy)"
    if operation.body_types:
        found["408"] = "The body does not arrive (body_too_slow)"
        found["413"] = "The body is too large (body_too_large)"
    if operation.scope:
        found |= {"401": "No live key (missing_key, bad_key)", "403": "The key lacks the scope (wrong_scope)"}
    responses: dict[str, Any] = {
        code: {"description": text, "content": problem} for code, text in sorted(found.items())
    }
    if operation.name == "health":
        responses["503"] = {"description": "A dependency is down", "content": _content(operation)}
    return {"200": {"description": operation.summary, "content": _content(operation)}, **responses}


def _content(operation: Operation) -> dict[str, Any]:
    """The answer's media type and schema."""
    if operation.answer is None:
        return {"text/plain": {"schema": {"type": "string"}}}
    media_type = "text/event-stream" if operation.stream else "application/json"
    return {media_type: {"schema": {"$ref": REF.format(name=operation.answer.__name__)}}}
