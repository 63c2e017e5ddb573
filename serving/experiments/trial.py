"""What a user's arms do to a list: which model, how varied, how curious; one way, or two that take turns. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from features.settings import Settings
from serving import telemetry
from serving.experiments.assignment import Assigned, settings_of
from serving.experiments.definitions import Arm, set_knobs
from serving.experiments.following import models_of
from serving.experiments.registry import NO_MODEL
from serving.exploration import Sampler
from serving.live import View

LACKING = "no_model"  # marks lists that were served without an arm's model


@dataclass(frozen=True)
class Way:
    """How a list is made."""

    view: View
    variety: float
    lift: float
    sampler: Sampler  # of its lists; where two take turns nothing is drawn, for a slot's chance would not be known


@dataclass(frozen=True)
class Trial:
    """The ways that make a user's list, and what the log says of it."""

    ways: tuple[Way, ...]  # two where an interleaved experiment has its arms take turns
    assigned: tuple[Assigned, ...] = ()
    unable: tuple[Assigned, ...] = ()  # an arm's model is not there: no exposure of any arm

    @property
    def teams(self) -> tuple[str, ...]:
        """The arms that take turns; none in most lists."""
        return next((tuple(arm.name for arm in each.definition.arms) for each in self.assigned if each.interleaved), ())

    def log(self, picked: dict[str, list[int]]) -> dict[str, Any] | None:
        """What the list's row says: by experiment its version and arm, or the artwork keys that each team picked."""
        if not self.assigned and not self.unable:
            return None
        exposed = {each.definition.name: _entry(each, picked) for each in self.assigned}
        return exposed | {each.definition.name: _entry(each, {}) | {"fallback": LACKING} for each in self.unable}


def make_trial(assigned: tuple[Assigned, ...], view: View, settings: Settings) -> Trial:
    """The ways of a user's arms.

    An experiment one of whose models is not there (yet, or any more) sets nothing in any arm; its lists are marked, so
    that the analysis leaves them out of all arms alike, and counted.
    """
    if not assigned:
        return Trial((_way(view, {}, settings),))
    able = tuple(each for each in assigned if models_of(each.definition) <= set(view.beside))
    for each in assigned:
        telemetry.TRIALS.labels("exposed" if each in able else LACKING).inc()
    common = settings_of(able)
    arms: tuple[Arm, ...] = next((each.definition.arms for each in able if each.interleaved), ())
    ways = tuple(_way(view, common | set_knobs(arm.policy), settings) for arm in arms)
    unable = tuple(each for each in assigned if each not in able)
    return Trial(ways or (_way(view, common, settings),), able, unable)


def _way(view: View, knobs: dict[str, Any], settings: Settings) -> Way:
    """The service's own settings but for these knobs."""
    version = knobs.get("model")
    if version is not None:
        view = replace(view, model=None if version == NO_MODEL else view.beside[version])
    known = {name: getattr(settings, name) for name in ("variety", "exploration", "temperature", "epsilon")} | knobs
    sampler = Sampler(known["temperature"], known["epsilon"])
    return Way(view, known["variety"], known["exploration"], sampler)


def _entry(each: Assigned, picked: dict[str, list[int]]) -> dict[str, Any]:
    """What the log says of one experiment."""
    what: dict[str, Any] = {"teams": picked} if each.interleaved else {"arm": each.arm.name}
    marked = {"overridden": True} if each.overridden else {}
    return {"version": each.definition.version, **what, **marked}
