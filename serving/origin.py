"""What a list is logged with, to be made again by: what it was drawn from, and what no other table keeps. Pure.

Seen marks, signals, models, artworks and experiments have tables of their own; filters, leases and how a pool once
looked have not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from features.arrays import Floats, Keys
from features.settings import Settings
from serving.leases import Origin, UserState
from serving.live import View
from serving.ranking import Ask

ASKED = ("orientation", "styles", "artists", "strict_styles", "exclude", "smooth")  # fields of `Ask`
HELD = ("held", "retired", "held_elsewhere")  # fields of `UserState`: keys
SAMPLED = ("temperature", "epsilon", "seed", "drawn")  # fields of `Head`
TUNED = ("variety", "exploration")  # settings; an arm's own knobs are in its definition


@dataclass(frozen=True)
class Head:
    """What a list was drawn from, best first, and with which seed; ``keys`` and ``scores`` of shape (n,)."""

    keys: Keys
    scores: Floats
    temperature: float
    epsilon: float
    seed: int
    drawn: int  # how many; spares too


def make_origin(ask: Ask, state: UserState, view: View, settings: Settings, head: Head | None) -> Origin:
    """The log of a list; what is as usual (empty, False, 0) is left out. Without ``head`` it was not drawn."""
    inputs: dict[str, Any] = {name: getattr(ask, name) for name in ASKED}
    inputs |= {name: getattr(state, name).tolist() for name in HELD}
    inputs |= {"chosen_styles": state.styles, "preferred_orientation": state.orientation}
    inputs |= {name: getattr(settings, name) for name in TUNED}
    inputs |= {"bundle": view.model.bundle.digest if view.model else None}
    told = {name: value for name, value in inputs.items() if value} | {"pool": view.catalogue.fingerprint}
    if head is None:
        return Origin(told)
    sampler = {name: getattr(head, name) for name in SAMPLED}
    return Origin(told, sampler, head.keys, head.scores)
