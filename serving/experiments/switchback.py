"""Which arm of a generation policy has its turn at a moment, and what that sets and is logged as. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.settings import Settings
from serving.experiments.assignment import Plan
from serving.experiments.blocks import GenerationPolicy, turn
from serving.experiments.definitions import Arm, Definition


@dataclass(frozen=True)
class Block:
    """A block of time, and whose it is."""

    definition: Definition
    number: int  # whole blocks since 1970
    arm: Arm

    @property
    def policy(self) -> GenerationPolicy:
        """What the arm sets."""
        return self.arm.policy.generation or GenerationPolicy()

    @property
    def by_floor(self) -> bool:
        """Whether the arm plans without the forecast."""
        return self.policy.planner == "floor"

    def under(self, settings: Settings) -> Settings:
        """The service's settings, but for what the arm sets."""
        return self.policy.under(settings)

    @property
    def log(self) -> dict[str, Any]:
        """What an order says of it."""
        made = self.definition
        return {"name": made.name, "version": made.version, "block": self.number, "arm": self.arm.name}


def block_at(plan: Plan, at: float) -> Block | None:
    """The block of the switchback that runs, at a moment (seconds since 1970); None while none runs."""
    for experiment in plan.running:
        definition = experiment.definition
        if definition.blocks is not None:
            number = definition.blocks.number_at(at)
            return Block(definition, number, arm_of_block(definition, number))
    return None


def arm_of_block(definition: Definition, number: int) -> Arm:
    """The arm whose turn a block is."""
    return definition.arms[turn(definition.salt, number)]
