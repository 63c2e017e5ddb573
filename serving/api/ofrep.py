"""Flags and client values in OpenFeature's own protocol (OFREP 0.3), for any of its SDKs, in a browser or a server.

The keys are the feature flags and the client's settings; the targeting key is the user's id. To ask is not to be
exposed: a client reports what it acted on (POST /v1/users/{user_id}/exposures). Errors are the protocol's, not ours.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from serving.api.lists import DEPTH
from serving.api.operations import FRONTEND, Call, Operation
from serving.api.problems import Problem
from serving.api.schemas import Id
from serving.experiments.assignment import Plan
from serving.experiments.definitions import set_knobs
from serving.experiments.flags import Flag, Value

#: What a display goes by where no arm sets it.
USUAL: dict[str, Value] = {"flush_delay_s": 5, "batch": 200, "retry": "doubling", "prefetch_depth": DEPTH}
CODES = {400: "INVALID_CONTEXT", 404: "FLAG_NOT_FOUND"}  # of a refusal; the others are GENERAL
Reason = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED"]


class KeyPath(Struct):
    """The path of a single evaluation."""

    key: Id


class EvaluationBody(Struct):
    """Whom to evaluate for; other attributes of the context change nothing."""

    context: dict[str, Any] = {}

    @property
    def user_id(self) -> str:
        """The targeting key; "" where there is none."""
        found = self.context.get("targetingKey", "")
        return found if isinstance(found, str) else ""


class Evaluation(Struct):
    """A key's value for one user, and why."""

    key: str
    value: Value
    reason: Reason
    variant: str
    metadata: dict[str, str | int] = {}


class Evaluations(Struct):
    """All of them."""

    flags: list[Evaluation]


class Failure(Struct, rename="camel", omit_defaults=True):
    """A refusal."""

    error_code: str
    error_details: str
    key: str | UnsetType = UNSET


async def evaluate(call: Call) -> Any:
    """One key."""
    key, user_id = call.path["key"], _user(call.body)
    found = next((each for each in _evaluations(call, user_id) if each.key == key), None)
    if found is None:
        failure = Failure("FLAG_NOT_FOUND", f"there is no flag and no client value {key!r}", key)
        return Response(msgspec.json.encode(failure), 404, media_type="application/json")
    return found


async def evaluate_all(call: Call) -> Evaluations:
    """Every key."""
    return Evaluations(_evaluations(call, _user(call.body)))


def refuse_as_ofrep(problem: Problem, request_id: str) -> Response:
    """A problem in the protocol's shape."""
    code = {"bad_json": "PARSE_ERROR", "targeting_key_missing": "TARGETING_KEY_MISSING"}.get(problem.code)
    failure = Failure(code or CODES.get(problem.status, "GENERAL"), problem.detail)
    headers = {"Cache-Control": "no-store", "X-Request-Id": request_id}
    if problem.retry is not None:
        headers["Retry-After"] = str(problem.retry)
    return Response(msgspec.json.encode(failure), problem.status, headers, "application/json")


def _user(asked: EvaluationBody) -> str:
    """Whom it is about. Raises Problem."""
    if "targetingKey" not in asked.context:
        raise Problem(400, "targeting_key_missing", "context.targetingKey must be the user's id")
    try:
        return msgspec.convert(asked.context["targetingKey"], Id)
    except msgspec.ValidationError as error:
        raise Problem(400, "bad_context", f"context.targetingKey: {error}") from error


def _evaluations(call: Call, user_id: str) -> list[Evaluation]:
    """Flags and client values, by key; a flag that is named like a client value stands behind it."""
    plan = call.worker.parts.live.experiments
    found = {flag.name: _of_flag(flag, user_id) for flag in plan.flags} | _of_client(plan, user_id)
    return [found[key] for key in sorted(found)]


def _of_flag(flag: Flag, user_id: str) -> Evaluation:
    """A flag's value."""
    reasons: dict[float, Reason] = {0.0: "DISABLED", 1.0: "STATIC"}
    return Evaluation(flag.name, flag.value(user_id), reasons.get(flag.share, "SPLIT"), flag.variant(user_id))


def _of_client(plan: Plan, user_id: str) -> dict[str, Evaluation]:
    """The client's values: the usual ones, or what the user's arms set."""
    found = {key: Evaluation(key, value, "DEFAULT", "usual") for key, value in USUAL.items()}
    for each in plan.assign(user_id):
        reason: Reason = "TARGETING_MATCH" if each.overridden else "SPLIT"
        told: dict[str, str | int] = {"experiment": each.definition.name, "version": each.definition.version}
        knobs = {} if each.interleaved else {key: None for key in each.definition.knobs if key in USUAL}
        for key, value in (knobs | set_knobs(each.arm.policy)).items():
            if key in knobs:
                usual = USUAL[key] if value is None else value
                found[key] = Evaluation(key, usual, reason, each.arm.name, told)
    return found


OPERATIONS = (
    Operation(
        "ofrep", "POST", "/ofrep/v1/evaluate/flags/{key}", "One flag or client value", evaluate, Evaluation, FRONTEND,
        path_type=KeyPath, body_types=(EvaluationBody,), refuse=refuse_as_ofrep,
    ),
    Operation(
        "ofrep_all", "POST", "/ofrep/v1/evaluate/flags", "Every flag and client value", evaluate_all, Evaluations,
        FRONTEND, body_types=(EvaluationBody,), refuse=refuse_as_ofrep,
    ),
)  # fmt: skip
