"""The routes of experiments: defined, started, ramped, stopped, archived; and what is tried on a user."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec

from features.errors import BadExperimentError, ExperimentConflictError, UnknownExperimentError
from serving import telemetry
from serving.api.experiment_shapes import (
    ExposuresAnswer,
    ExposuresBody,
    FlagsAnswer,
    OverrideAnswer,
    OverrideBody,
    OverridePath,
)
from serving.api.operations import FRONTEND, Call, Operation
from serving.api.problems import Problem
from serving.api.schemas import (
    Assignment,
    AssignmentsAnswer,
    Experiment,
    ExperimentPath,
    ExperimentsAnswer,
    RampBody,
    StartBody,
    StopBody,
    UserPath,
)
from serving.experiments.assignment import Plan, held_out, settings_of
from serving.experiments.definitions import CLIENT, Definition, Policy, check
from serving.experiments.exposures import note_exposures
from serving.experiments.flags import Value
from serving.experiments.registry import Entry

SCOPE = "experiments"
CONFLICT, UNKNOWN = "experiment_conflict", "unknown_experiment"


async def experiments(call: Call) -> ExperimentsAnswer:
    """All of them."""
    return ExperimentsAnswer([_experiment(entry) for entry in await call.worker.parts.registry.entries()])


async def experiment(call: Call) -> ExperimentsAnswer:
    """Every version of one."""
    found = await _changed(call.worker.parts.registry.versions(call.path["name"]))
    return ExperimentsAnswer([_experiment(entry) for entry in found])


async def create(call: Call) -> Experiment:
    """A draft."""
    return _experiment(await _changed(_create(call)))


async def start(call: Call) -> Experiment:
    """Run the newest version."""
    slots = None if call.body.slots is msgspec.UNSET else call.body.slots
    return _experiment(await _changed(call.worker.parts.registry.start(call.path["name"], call.key_id, slots)))


async def ramp(call: Call) -> Experiment:
    """Grow it."""
    return _experiment(await _changed(call.worker.parts.registry.ramp(call.path["name"], call.key_id, call.body.slots)))


async def stop(call: Call) -> Experiment:
    """End it for good."""
    return _experiment(
        await _changed(call.worker.parts.registry.stop(call.path["name"], call.key_id, call.body.reason))
    )


async def archive(call: Call) -> Experiment:
    """Put it away."""
    return _experiment(await _changed(call.worker.parts.registry.archive(call.path["name"], call.key_id)))


async def override(call: Call) -> OverrideAnswer:
    """Choose a user's arm."""
    return await _override(call, call.body.arm)


async def unset_override(call: Call) -> OverrideAnswer:
    """Leave it to the hash again."""
    return await _override(call, None)


async def assignments(call: Call) -> AssignmentsAnswer:
    """What is tried on one user; nothing is written, for to ask is not to be exposed."""
    user_id = call.path["user_id"]
    plan = call.worker.parts.live.experiments
    found = plan.assign(user_id)
    return AssignmentsAnswer(
        user_id=user_id,
        held_out=held_out(user_id, plan.holdout),
        assignments=[
            Assignment(
                experiment=each.definition.name,
                version=each.definition.version,
                arm=None if each.interleaved else each.arm.name,
                overridden=each.overridden,
                client_values=sorted(each.definition.knobs & CLIENT),
            )
            for each in found
        ],
        settings=Policy(**settings_of(found)),
        flags=_flags(plan, user_id),
    )


async def flags(call: Call) -> FlagsAnswer:
    """Every flag's value for one user."""
    user_id = call.path["user_id"]
    return FlagsAnswer(user_id=user_id, flags=_flags(call.worker.parts.live.experiments, user_id))


async def exposures(call: Call) -> ExposuresAnswer:
    """Note which arms' client values were acted on; only arms that are the user's count."""
    user_id, sent = call.path["user_id"], call.body
    assigned = {
        (each.definition.name, each.definition.version, each.arm.name): each
        for each in call.worker.parts.live.experiments.assign(user_id)
    }
    named = {(each.experiment, each.version, each.arm) for each in sent.exposures}
    found = [assigned[each] for each in sorted(named & assigned.keys())]
    new = await note_exposures(call.worker.pool, user_id, sent.session_id, found)
    counted = {"new": new, "known": len(found) - new, "stale": len(named) - len(found)}
    for outcome, count in counted.items():
        telemetry.EXPOSURES.labels(outcome).inc(count)
    return ExposuresAnswer(**counted)


def _flags(plan: Plan, user_id: str) -> dict[str, Value]:
    """By name."""
    return {flag.name: flag.value(user_id) for flag in plan.flags}


async def _override(call: Call, arm: str | None) -> OverrideAnswer:
    """One user's arm as it is from now on."""
    name, user_id = call.path["name"], call.path["user_id"]
    await _changed(call.worker.parts.registry.override(name, call.key_id, user_id, arm))
    return OverrideAnswer(experiment=name, user_id=user_id, arm=arm)


async def _create(call: Call) -> Entry:
    """Check what types cannot say, then write."""
    definition: Definition = call.body
    check(definition)
    return await call.worker.parts.registry.create(definition, call.key_id)


async def _changed(change: Awaitable[Any]) -> Any:
    """What a change came to, or the problem that its refusal is."""
    try:
        return await change
    except BadExperimentError as error:  # each field is right, and together they are not
        raise Problem(409, CONFLICT, str(error), field=str(error.context["field"])) from error
    except ExperimentConflictError as error:
        raise Problem(409, CONFLICT, str(error)) from error
    except UnknownExperimentError as error:
        raise Problem(404, UNKNOWN, str(error)) from error


def _experiment(entry: Entry) -> Experiment:
    """An entry as its schema."""
    return Experiment(
        definition=entry.definition,
        state=entry.state,
        slots=entry.slots,
        horizon_days=entry.horizon_days,
        power=entry.power,
        reason=entry.reason,
        at=entry.at,
        started_at=entry.started_at,
        stopped_at=entry.stopped_at,
    )


def _by_hand(name: str, method: str, summary: str, handler: Any, *bodies: type) -> Operation:
    """A route that changes the arm of one user."""
    return Operation(
        f"{name}_override", method, "/v1/experiments/{name}/overrides/{user_id}", summary, handler, OverrideAnswer,
        SCOPE, path_type=OverridePath, body_types=bodies, conflict=CONFLICT if bodies else None, missing=UNKNOWN,
    )  # fmt: skip


def _change(name: str, summary: str, handler: Any, *bodies: type) -> Operation:
    """A route that changes one experiment."""
    return Operation(
        f"{name}_experiment", "POST", f"/v1/experiments/{{name}}/{name}", summary, handler, Experiment, SCOPE,
        path_type=ExperimentPath, body_types=bodies, conflict=CONFLICT, missing=UNKNOWN,
    )  # fmt: skip


OPERATIONS = (
    Operation(
        "experiments", "GET", "/v1/experiments", "Every version of every experiment", experiments, ExperimentsAnswer,
        SCOPE,
    ),
    Operation(
        "create_experiment", "POST", "/v1/experiments", "Define an experiment, or its next version", create, Experiment,
        SCOPE, body_types=(Definition,), conflict=CONFLICT,
    ),
    Operation(
        "experiment", "GET", "/v1/experiments/{name}", "Every version of one experiment", experiment, ExperimentsAnswer,
        SCOPE, path_type=ExperimentPath, conflict=CONFLICT, missing=UNKNOWN,
    ),
    _change("start", "Run the newest version", start, StartBody),
    _change("ramp", "Give the running version more of its slots", ramp, RampBody),
    _change("stop", "End the running version for good", stop, StopBody),
    _change("archive", "Put the newest version away", archive),
    _by_hand("set", "PUT", "Choose a user's arm by hand", override, OverrideBody),
    _by_hand("unset", "DELETE", "Leave a user's arm to the hash again", unset_override),
    Operation(
        "assignments", "GET", "/v1/users/{user_id}/assignments", "What is tried on a user, and what it sets",
        assignments, AssignmentsAnswer, FRONTEND, path_type=UserPath,
    ),
    Operation(
        "flags", "GET", "/v1/users/{user_id}/flags", "Every feature flag's value for a user", flags, FlagsAnswer,
        FRONTEND, path_type=UserPath,
    ),
    Operation(
        "exposures", "POST", "/v1/users/{user_id}/exposures", "Which arms' client values were acted on", exposures,
        ExposuresAnswer, FRONTEND, path_type=UserPath, body_types=(ExposuresBody,),
    ),
)  # fmt: skip
