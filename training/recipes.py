"""Learners from a name and settings: of the roster with some settings changed, or the recipe of a bundle again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from features.errors import BadSettingError, UnknownModelError
from serving.bundle import Manifest
from training import als, bpr, item_item, nmf, roster, svd
from training.learner import Learner

_MAKERS: dict[str, tuple[type[msgspec.Struct], Callable[[Any], Learner]]] = {
    "nmf": (nmf.NmfConfig, nmf.make_learner),
    "minibatch-nmf": (nmf.NmfConfig, nmf.make_learner),
    "svd": (svd.SvdConfig, svd.make_learner),
    "als": (als.AlsConfig, als.make_learner),
    "plain-als": (als.AlsConfig, als.make_learner),
    "bpr": (bpr.BprConfig, bpr.make_learner),
    "cosine": (item_item.NeighbourConfig, item_item.make_cosine),
    "bm25": (item_item.NeighbourConfig, item_item.make_bm25),
    "linear-filter": (item_item.GraphConfig, item_item.make_graph_filter),
    "gf-cf": (item_item.GraphConfig, item_item.make_graph_filter),
    "ease": (item_item.EaseConfig, item_item.make_ease),
}


def make_learner(
    name: str, changed: Mapping[str, Any] | None = None, seed: int = 0, on_step: Callable[[str], None] = lambda _: None
) -> Learner:
    """The learner of the roster, with ``changed`` settings where there are any.

    Raises UnknownModelError for a name that the roster has not, BadSettingError for a setting that the learner has not
    or a value that it does not take.
    """
    if name not in roster.NAMES:
        raise UnknownModelError(model=name, known=", ".join(roster.NAMES))
    usual = roster.make_learner(name, seed, on_step)
    if not changed:
        return usual
    kind, make = _MAKERS.get(name, (msgspec.Struct, lambda _: usual))
    known = {field.name for field in msgspec.structs.fields(kind)}
    for setting, value in changed.items():
        if setting not in known:
            rule = f"{name} has {', '.join(sorted(known)) or 'no settings'}"
            raise BadSettingError(key=setting, value=value, rule=rule)
    try:
        return make(msgspec.convert({**usual.params, **changed}, kind))
    except msgspec.ValidationError as error:
        raise BadSettingError(key=f"of {name}", value=dict(changed), rule=str(error)) from error


def remake_learner(manifest: Manifest, on_step: Callable[[str], None] = lambda _: None) -> Learner:
    """The learner that made a bundle, with the settings that its manifest tells. Raises UnknownModelError.

    A blend searches its weights anew: they belong to the data and not to the recipe.
    """
    if manifest.model not in roster.NAMES:
        raise UnknownModelError(model=manifest.model, known=", ".join(roster.NAMES))
    seed = int(manifest.params.get("seed", 0))
    kind, _ = _MAKERS.get(manifest.model, (msgspec.Struct, None))
    known = {field.name for field in msgspec.structs.fields(kind)}
    told = {setting: value for setting, value in manifest.params.items() if setting in known}
    return make_learner(manifest.model, told, seed, on_step)
