"""Who is in which arm: layers, slots, ramps, the universal holdout and overrides. Pure, and microseconds.

Layers with slots: Tang, Agarwal, O'Brien & Meyer, "Overlapping experiment infrastructure" (KDD 2010). Experiments of
one layer own disjoint slots, so that nobody is in two of them; layers are drawn apart from each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from serving.experiments.definitions import SLOTS, Arm, Definition, set_knobs
from serving.experiments.flags import CANARY, Flag
from serving.experiments.hashing import pick, place

HOLDOUT = "holdout"  # the layer whose first slots are in no experiment at all


@dataclass(frozen=True)
class Running:
    """An experiment that runs, and how many of its slots its ramp has got to."""

    definition: Definition
    slots: int
    overrides: Mapping[str, str] = field(default_factory=dict)  # arm by user id


@dataclass(frozen=True)
class Assigned:
    """A unit's arm in one experiment."""

    definition: Definition
    arm: Arm
    overridden: bool = False  # somebody chose it: left out of the analysis

    @property
    def interleaved(self) -> bool:
        """Whether both arms take turns in the unit's lists."""
        return self.definition.design == "interleaved" and not self.overridden


@dataclass(frozen=True)
class Plan:
    """All that runs at one moment; ``holdout`` is the share of users who are in none of it."""

    running: tuple[Running, ...] = ()
    holdout: float = 0.0
    flags: tuple[Flag, ...] = ()

    def assign(self, user_id: str) -> tuple[Assigned, ...]:
        """The user's arms, by experiment; in the layer of an arm that was chosen by hand it is the only one."""
        if not self.running:
            return ()
        held = held_out(user_id, self.holdout)
        found = [_assigned(experiment, user_id, held=held) for experiment in self.running]
        assigned = [each for each in found if each is not None]
        chosen = {each.definition.layer: each for each in reversed(assigned) if each.overridden}
        return tuple(each for each in assigned if chosen.get(each.definition.layer, each) is each)

    def canary(self, user_id: str) -> str | None:
        """The version of the model that the user is ranked with before the others; None: the live one's."""
        flag = next((flag for flag in self.flags if flag.name == CANARY), None)
        if flag is None or flag.variant(user_id) == "off":
            return None
        return str(flag.on)


def held_out(user_id: str, share: float) -> bool:
    """Whether the user is in the universal holdout."""
    return place(HOLDOUT, user_id, SLOTS) < round(share * SLOTS)


def slot_of(layer: str, unit_id: str) -> int:
    """The unit's slot in a layer, from 0."""
    return place(layer, unit_id, SLOTS)


def arm_of(definition: Definition, unit_id: str) -> Arm:
    """The arm of a unit that is in the experiment."""
    return definition.arms[pick(definition.salt, unit_id, [arm.weight for arm in definition.arms])]


def settings_of(assigned: tuple[Assigned, ...]) -> dict[str, Any]:
    """What a user's arms set, together; no two experiments that run set the same knob. Interleaved ones set none."""
    apart = (each for each in assigned if not each.interleaved)
    return reduce(lambda found, each: found | set_knobs(each.arm.policy), apart, {})


def _assigned(experiment: Running, user_id: str, *, held: bool) -> Assigned | None:
    """The user's arm in one experiment, or None."""
    definition = experiment.definition
    if definition.unit != "user":
        return None
    chosen = definition.arm(experiment.overrides.get(user_id, ""))
    if chosen is not None:
        return Assigned(definition, chosen, overridden=True)
    if held or not 0 <= slot_of(definition.layer, user_id) - definition.slots.first < experiment.slots:
        return None
    return Assigned(definition, arm_of(definition, user_id))
