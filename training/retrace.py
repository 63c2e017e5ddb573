"""Makes a served list again from what was logged and what the tables still hold, by the code that serves.

A list that was drawn is drawn again from its logged head and seed, which always can be. Then the whole list is made
anew: the pool up to the newest artwork of then, the user's marks and signals up to the moment of serving, the bundle
by its digest; hashes that were logged tell whether each of these is still what it was. What changed in the meantime is
named, and the list is not made again from anything else.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import psycopg
from psycopg.rows import dict_row

from features.arrays import Floats, Keys, mark
from features.database import query
from features.errors import BadBundleError, UnknownListError
from features.host import read_host
from features.packed import unpack_keys, unpack_signals
from features.settings import Settings
from features.weights import KINDS
from serving import bundle as bundles
from serving.experiments.definitions import set_knobs
from serving.experiments.registry import entry_of
from serving.experiments.trial import Trial, Way
from serving.exploration import Sampler, draw
from serving.leases import ListRow, UserState
from serving.listing import POLICY, SPARES, Begun, draw_up, list_row
from serving.live import View
from serving.model import Model, make_model
from serving.origin import ASKED, TUNED
from serving.ranking import Ask, Candidates, choose_candidates
from serving.sorter import Sorter
from training.pool import take_pool
from training.replay import PATIENT


@dataclass(frozen=True)
class Then:
    """What a request had before it."""

    view: View
    ask: Ask
    state: UserState
    candidates: Candidates


@dataclass(frozen=True)
class Retraced:
    """What was found: by name what was held against the log, and whether it is the same bit for bit."""

    row: dict[str, Any]
    checks: list[tuple[str, bool]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # inputs that are no longer there, in words

    @property
    def same(self) -> bool:
        """Whether all of the list came out as it was."""
        return not self.gone and all(same for _, same in self.checks)

    def check(self, what: str, *, same: bool) -> bool:
        """Note a comparison, and say how it went."""
        self.checks.append((what, same))
        return same


def retrace(connection: psycopg.Connection, settings: Settings, recommendation_id: uuid.UUID) -> Retraced:
    """Make one list again. Raises UnknownListError."""
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        row = cursor.execute(query("served_list"), {"recommendation_id": recommendation_id}).fetchone()
    if row is None:
        raise UnknownListError(recommendation_id=recommendation_id)
    found = Retraced(row)
    if row["sampler"] is not None:
        _draw_again(found)
    if not _can_be_made(found):
        return found
    view = _view_then(found, connection, settings)
    ask, state = _ask_of(row), _state_then(row, connection, settings)
    then = Then(view, ask, state, choose_candidates(view.catalogue, state, ask))
    _check_inputs(found, then)
    if not found.gone:
        _compare(found, _make(row, then, _knobs_then(row, connection)))
    return found


def _draw_again(found: Retraced) -> None:
    """The draw alone, from its log."""
    row, sampler = found.row, found.row["sampler"]
    keys = np.array(row["head_keys"], np.int32)
    scores = np.array(row["head_scores"], np.float32)
    drawn = draw(scores, sampler["drawn"], _sampler_of(row), sampler["seed"])
    chance = dict(zip(keys[drawn.places].tolist(), drawn.propensities, strict=True))
    served = [key for key in row["artwork_keys"] if key in chance]
    order = [key for key in chance if key in set(served)]  # what had left the pool by then was passed over
    said = [row["propensities"][row["artwork_keys"].index(key)] for key in served]
    found.check("the order of the draw, from its logged scores and seed", same=order == served)
    found.check("the chances of the draw", same=_equal(np.array([chance[key] for key in served]), said))


def _can_be_made(found: Retraced) -> bool:
    """Whether the log says enough."""
    row = found.row
    if row["inputs"] is None:
        found.gone.append("what was asked for: the list was served before that was logged")
    elif row["policy"] != POLICY:
        found.gone.append(f"the policy {row['policy']}: this version of the code has {POLICY}")
    elif any("teams" in each for each in (row["experiments"] or {}).values()):
        found.gone.append("the order of one ranking: two took turns, and the log names one model")
    return not found.gone


def _view_then(found: Retraced, connection: psycopg.Connection, settings: Settings) -> View:
    """The pool up to the newest artwork of then, and the model."""
    catalogue = take_pool(connection, found.row["inputs"]["pool"][0])
    model = _model_then(found, settings)
    return View(catalogue, None if model is None else model.aligned(catalogue.ids, catalogue.vectors))


def _model_then(found: Retraced, settings: Settings) -> Model | None:
    """The model by the digest of its bundle; None where there was none, or is none any more."""
    digest = found.row["inputs"].get("bundle")
    if digest is None:
        return None
    for folder in sorted(settings.bundles_path.glob("*")):
        try:
            bundle = bundles.load(folder)
        except BadBundleError:
            continue
        if bundle.digest == digest:
            return make_model(bundle)
    found.gone.append(f"the model {found.row['model_version']}: no bundle on this disk has the digest {digest[:12]}")
    return None


def _ask_of(row: dict[str, Any]) -> Ask:
    """The request."""
    told = {name: value for name, value in row["inputs"].items() if name in ASKED}
    texts = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
    return Ask(row["user_id"], row["session_id"], row["requested"], **told | texts)


def _state_then(row: dict[str, Any], connection: psycopg.Connection, settings: Settings) -> UserState:
    """The user at the moment of serving."""
    inputs, asked = row["inputs"], {name: row[name] for name in ("user_id", "session_id")} | {"at": row["served_at"]}
    marks = connection.execute(query("seen_then"), asked, binary=True).fetchone()
    held, retired, elsewhere = (_keys(inputs.get(name)) for name in ("held", "retired", "held_elsewhere"))
    keys, weights = signals_then(asked, connection, settings)
    return UserState(
        known=True,
        seen=mark(np.setdiff1d(unpack_keys(marks[0] if marks else None), held)),  # what it held was not seen yet
        held=held,
        passes=np.zeros(len(held), np.int32),
        retired=retired,
        held_elsewhere=elsewhere,
        next_expiry=None,
        last_list=None,
        signal_keys=keys,
        signal_weights=weights,
        orientation=inputs.get("preferred_orientation"),
        styles=inputs.get("chosen_styles", []),
    )


def signals_then(asked: dict[str, Any], connection: psycopg.Connection, settings: Settings) -> tuple[Keys, Floats]:
    """The user's signals as a request had them."""
    favourites = query("favourites_then") if read_host(connection).has("art_favorites") else ""
    values = asked | {"signals": settings.signals_per_user, "kinds": list(KINDS)}
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        row = cursor.execute(query("signals_then", favourites=favourites), values).fetchone()
    assert row is not None  # noqa: S101 - an aggregate is one row
    return unpack_signals(row, settings.half_life_days)


def _check_inputs(found: Retraced, then: Then) -> None:
    """Pool and candidates against their hashes."""
    row, pool, candidates = found.row, then.view.catalogue, then.candidates
    _, members, contents = row["inputs"]["pool"]
    _, members_now, contents_now = pool.fingerprint
    if members != members_now:
        found.gone.append("the pool: artworks have left it since, or come back")
    elif contents != contents_now:
        found.gone.append("what was known of the artworks: one of the pool or more were edited since")
    now = (len(candidates.rows), pool.hash_of(candidates.rows))
    same = found.check("the candidates", same=now == (row["candidate_size"], row["candidate_hash"]))
    if members == members_now and not (same and row["excluded"] == candidates.excluded):
        found.gone.append("what the user had seen by then: the candidates are not those of the log")


def _make(row: dict[str, Any], then: Then, knobs: dict[str, Any]) -> ListRow:
    """The list, by the code that serves, without a deadline."""
    service = msgspec.structs.replace(PATIENT, **{name: row["inputs"].get(name, 0.0) for name in TUNED})
    told = {name: getattr(service, name) for name in TUNED} | knobs
    view = View(then.view.catalogue, None) if row["fallback"] else then.view
    trial = Trial((Way(view, told["variety"], told["exploration"], _sampler_of(row)),))
    begun = Begun(then.ask, then.state, then.candidates, trial)
    sorter = Sorter(service)
    try:
        rankings = asyncio.run(sorter.rank(begun.tasks))
    finally:
        sorter.close()
    drawn = draw_up(begun, rankings, row["recommendation_id"])
    return list_row(drawn, service)


def _knobs_then(row: dict[str, Any], connection: psycopg.Connection) -> dict[str, Any]:
    """What the user's arms set; the model and the sampler are logged themselves."""
    knobs: dict[str, Any] = {}
    for name, told in (row["experiments"] or {}).items():
        with connection.cursor(row_factory=dict_row) as cursor:
            entries = [entry_of(each) for each in cursor.execute(query("experiment"), {"name": name}).fetchall()]
        definition = next(entry.definition for entry in entries if entry.definition.version == told["version"])
        arm = definition.arm(told["arm"])
        knobs |= {} if arm is None else set_knobs(arm.policy)
    return {name: value for name, value in knobs.items() if name in TUNED}


def _compare(found: Retraced, made: ListRow) -> None:
    """The list that was made against the one that was served; spares, and what had left the pool, aside."""
    row = found.row
    served = np.array(row["artwork_keys"], np.int32)
    kept = np.isin(made.artwork_keys, served)
    whole = (
        len(served) == min(row["requested"], len(made.artwork_keys)) or len(made.artwork_keys) - len(served) <= SPARES
    )
    found.check("the artworks and their order", same=whole and np.array_equal(made.artwork_keys[kept], served))
    found.check("their scores", same=_equal(made.scores[kept], row["scores"]))
    found.check("their rungs", same=made.rungs[kept].tolist() == row["rungs"])
    found.check("their chances", same=_equal(made.propensities[kept], row["propensities"]))
    if made.origin.head_keys is not None and made.origin.head_scores is not None:
        same = made.origin.head_keys.tolist() == row["head_keys"]
        found.check("what it was drawn from", same=same and _equal(made.origin.head_scores, row["head_scores"]))


def _sampler_of(row: dict[str, Any]) -> Sampler:
    """How the list was drawn."""
    sampler = row["sampler"]
    return Sampler() if sampler is None else Sampler(sampler["temperature"], sampler["epsilon"])


def _equal(found: Floats, said: list[float]) -> bool:
    """Whether numbers are equal bit for bit as PostgreSQL's real has them."""
    return np.asarray(found, np.float32).tobytes() == np.array(said, np.float32).tobytes()


def _keys(keys: list[int] | None) -> Keys:
    """A list of the log as keys."""
    return np.array(keys or [], np.int32)
