"""What an experiment is, as its file says it: typed, checked, with errors that name the field and the rule.

Nothing here knows other experiments or the traffic; what is refused in their sight stands in
serving.experiments.registry.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from features.errors import BadExperimentError
from serving.experiments.blocks import Blocks, GenerationPolicy

SLOTS = 10_000  # of a layer
FLOOR_SHARE = 0.01  # of an arm: a smaller one tells nothing
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}$(?!\n)", description="small letters, digits and dashes")]
Text = Annotated[str, Meta(min_length=1, max_length=2_000, pattern=r"^[^\x00]+$")]
Share = Annotated[float, Meta(ge=0, le=1)]
Design = Literal["split", "interleaved", "switchback"]
Metric = Literal[
    "likes_per_display", "skips_per_display", "likes_per_user", "displays_per_user", "dwell_per_display",
    "stockout_rate", "cost_per_impression", "waste",
]  # fmt: skip
OF_BLOCKS = frozenset({"stockout_rate", "cost_per_impression", "waste"})  # metrics of blocks of time, not of users
Guardrail = Literal[
    "fill_rate", "stockout_rate", "display_freshness", "p95_latency", "error_rate", "cost_per_impression",
    "displays_per_user", "skips_per_display",
]  # fmt: skip


class Policy(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an arm sets; a field that is left out stays as the service has it."""

    model: (
        Annotated[str, Meta(pattern=r"^(none|[0-9]{1,9})$(?!\n)", description="a version's number; none: no model")]
        | None
    ) = None
    variety: Share | None = None
    exploration: Share | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    epsilon: Share | None = None
    prefetch_depth: Annotated[int, Meta(ge=1, le=50)] | None = None
    flush_delay_s: Literal[1, 2, 5] | None = None
    batch: Literal[100, 200, 500] | None = None
    retry: Literal["flat", "doubling"] | None = None
    generation: GenerationPolicy | None = None  # of blocks of time only: see `check`


class Arm(Struct, frozen=True, forbid_unknown_fields=True):
    """One of the things that are compared; the first arm of an experiment is its control."""

    name: Name
    weight: Annotated[int, Meta(ge=1, le=10_000)] = 1
    policy: Policy = Policy()


class SlotRange(Struct, frozen=True, forbid_unknown_fields=True):
    """Slots of a layer that the experiment owns, whether its ramp has got to them or not."""

    first: Annotated[int, Meta(ge=0, lt=SLOTS)]
    count: Annotated[int, Meta(ge=1, le=SLOTS)]

    @property
    def end(self) -> int:
        """The first slot after them."""
        return self.first + self.count


class Definition(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version of an experiment; never changed, only followed by another."""

    name: Name
    version: Annotated[int, Meta(ge=1, le=9_999)] = 1
    hypothesis: Text
    owner: Text
    unit: Literal["user", "block"] = "user"
    layer: Name
    slots: SlotRange
    design: Design = "split"
    arms: Annotated[tuple[Arm, ...], Meta(min_length=2, max_length=8)]
    primary_metric: Metric
    smallest_effect: Annotated[float, Meta(ge=0.001, le=10, description="relative change worth finding")]
    guardrails: tuple[Guardrail, ...] = (
        "fill_rate", "stockout_rate", "display_freshness", "p95_latency", "error_rate", "cost_per_impression",
    )  # fmt: skip
    stop_on_harm: bool = False  # the watcher stops it when a guardrail or the sample ratio is surely wrong
    blocks: Blocks | None = None  # of the design switchback

    @property
    def salt(self) -> str:
        """What this version's arms are drawn with: another version shuffles anew."""
        return f"{self.name}/{self.version}"

    @property
    def knobs(self) -> frozenset[str]:
        """The fields of a policy that any arm sets."""
        return frozenset(name for arm in self.arms for name in set_knobs(arm.policy))

    def arm(self, name: str) -> Arm | None:
        """The arm of this name."""
        return next((arm for arm in self.arms if arm.name == name), None)


CHANCE = frozenset({"temperature", "epsilon"})
SERVED = frozenset({"model", "variety", "exploration"}) | CHANCE  # knobs that change which artworks a list holds


CLIENT = frozenset({"flush_delay_s", "batch", "retry"})  # knobs that a client acts on, and reports


def set_knobs(policy: Policy) -> dict[str, Any]:
    """What a policy sets."""
    given = {name: getattr(policy, name) for name in policy.__struct_fields__}
    return {name: value for name, value in given.items() if value is not None and value != GenerationPolicy()}


def read_definition(text: str | bytes) -> Definition:
    """A definition from YAML or JSON. Raises BadExperimentError naming the field and the rule."""
    try:
        data = msgspec.yaml.decode(text)
    except (msgspec.DecodeError, ValueError, AttributeError, RecursionError) as error:  # a month 13, !!timestamp abc
        raise BadExperimentError(field="file", rule=f"it is not YAML: {error}") from error
    return make_definition(data)


def make_definition(data: Any) -> Definition:
    """A checked definition from parsed YAML or JSON. Raises BadExperimentError."""
    try:
        definition = msgspec.convert(data, Definition)
    except msgspec.ValidationError as error:
        raise _refusal(error) from error
    check(definition)
    return definition


def check(definition: Definition) -> None:
    """What types cannot say. Raises BadExperimentError."""
    names = [arm.name for arm in definition.arms]
    if len(set(names)) < len(names):
        raise BadExperimentError(field="arms", rule="two arms have the same name")
    if definition.slots.end > SLOTS:
        raise BadExperimentError(field="slots", rule=f"they end at {definition.slots.end}, but a layer has {SLOTS}")
    if len(set(definition.guardrails)) < len(definition.guardrails):
        raise BadExperimentError(field="guardrails", rule="one is named twice")
    if definition.layer == "holdout":
        raise BadExperimentError(field="layer", rule="holdout is the name of the layer that keeps users out of all")
    if definition.design != "switchback" and any(arm.policy.generation is not None for arm in definition.arms):
        rule = "all users share the pool that it fills, so arms of users tell nothing: use blocks of time (switchback)"
        raise BadExperimentError(field="generation", rule=rule)
    _check_unit(definition)
    if all(set_knobs(arm.policy) == set_knobs(definition.arms[0].policy) for arm in definition.arms):
        raise BadExperimentError(field="arms", rule="all of them set the same")
    least = min(arm.weight for arm in definition.arms) / sum(arm.weight for arm in definition.arms)
    if least < FLOOR_SHARE:
        raise BadExperimentError(
            field="weight", rule=f"the smallest arm has {least:.2%} of the units; give it 1% or more"
        )
    if definition.design == "interleaved":
        _check_interleaved(definition)
    if definition.blocks is not None:
        _check_switchback(definition, definition.blocks)


def _check_unit(definition: Definition) -> None:
    """Blocks of time go with the design switchback, users with the others; each has metrics of its own."""
    by_blocks = definition.design == "switchback"
    if by_blocks != (definition.unit == "block"):
        raise BadExperimentError(field="unit", rule="block is the unit of the design switchback, user of the others")
    if by_blocks != (definition.blocks is not None):
        raise BadExperimentError(field="blocks", rule="the design switchback has them, and no other")
    if by_blocks != (definition.primary_metric in OF_BLOCKS):
        rule = f"{', '.join(sorted(OF_BLOCKS))} are of blocks of time, the others of users"
        raise BadExperimentError(field="primary_metric", rule=rule)


def _check_switchback(definition: Definition, blocks: Blocks) -> None:
    """Two generation policies take turns, each for a whole block and for all users."""
    if len(definition.arms) != 2:  # noqa: PLR2004 - the blocks of a pair
        raise BadExperimentError(field="arms", rule="a switchback has two")
    if definition.knobs != {"generation"}:
        raise BadExperimentError(field="policy", rule="the arms of a switchback set generation and nothing else")
    if len({arm.weight for arm in definition.arms}) > 1:
        raise BadExperimentError(field="weight", rule="each arm of a switchback has one block of each pair")
    if definition.slots.count != SLOTS:
        raise BadExperimentError(field="slots", rule=f"blocks of time are for all users: 0 to {SLOTS - 1}")
    if blocks.washout_minutes * 2 > blocks.minutes:
        raise BadExperimentError(field="blocks", rule="the washout leaves less than half of a block")
    if definition.stop_on_harm:
        raise BadExperimentError(field="stop_on_harm", rule="blocks of time are judged when all are over")
    if {"displays_per_user", "skips_per_display"} & set(definition.guardrails):
        raise BadExperimentError(field="guardrails", rule="those of users cannot guard blocks of time")


def _check_interleaved(definition: Definition) -> None:
    """Two rankings take turns in one list: there is nothing else that could differ."""
    if len(definition.arms) != 2:  # noqa: PLR2004 - two teams
        raise BadExperimentError(field="arms", rule="an interleaved experiment has two")
    other = definition.knobs - SERVED
    if other:
        rule = f"one list cannot have two of {', '.join(sorted(other))}: use the design split"
        raise BadExperimentError(field="design", rule=rule)
    if definition.knobs & CHANCE:
        rule = "where two rankings take turns, a slot's chance is not known: use the design split"
        raise BadExperimentError(field="temperature", rule=rule)
    if len({arm.weight for arm in definition.arms}) > 1:
        raise BadExperimentError(
            field="weight", rule="the teams of an interleaved experiment pick by turns: equal weights"
        )
    if definition.stop_on_harm:
        raise BadExperimentError(field="stop_on_harm", rule="an interleaved experiment has no arms of users to guard")
    if definition.primary_metric != "likes_per_display":
        raise BadExperimentError(field="primary_metric", rule="an interleaved experiment compares likes_per_display")


_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")


def _refusal(error: msgspec.ValidationError) -> BadExperimentError:
    """The library's message, parted into field and rule."""
    text = str(error)
    found = _AT.search(text)
    missing = re.match(r"Object missing required field `(\w+)`", text)
    inside = found["path"] if found else ""
    path = ".".join(part for part in (inside, missing[1] if missing else "") if part)
    return BadExperimentError(field=path or "definition", rule=_AT.sub("", text))
