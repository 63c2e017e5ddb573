"""What an experiment leaves in the database, written at once: lists, displays and likes of users who came over days."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from serving.experiments.assignment import arm_of
from serving.experiments.definitions import Definition, make_definition
from tests.experiments import definition

USERS, SHOWN = 900, 12
DAYS_AGO, HORIZON = 15, 14
USUAL_MS = 8.0

STATE = """
INSERT INTO vernissage.experiment_states (name, version, state, slots, horizon_days, power, at)
VALUES (%(name)s, %(version)s, 'running', 10000, %(horizon)s, 0.9, %(at)s)
"""
LIST = """
INSERT INTO vernissage.served_lists (
    recommendation_id, user_id, session_id, served_at, policy, requested, reason, artwork_keys, scores, rungs,
    propensities, candidate_hash, candidate_size, excluded, experiments, took_ms, fallback)
VALUES (gen_random_uuid(), %(user_id)s, 'tab', %(at)s, 'ladder-1',
    %(requested)s, %(reason)s, %(keys)s, '{}', '{}', '{}', 0, 100, '{}', %(experiments)s, %(took_ms)s, %(fallback)s)
"""
EVENT = "COPY vernissage.events (event_key, user_id, artwork_key, kind, at) FROM STDIN"
SEEN = """
INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
SELECT e.user_id, e.artwork_key, min(e.at) FROM vernissage.events AS e WHERE e.kind = 'displayed'
GROUP BY e.user_id, e.artwork_key ON CONFLICT DO NOTHING
"""

Liking = Callable[[int, int, int], float]  # chance by the arm's place, days since the first exposure, artworks shown


@dataclass(frozen=True)
class Lived:
    """How the users of a logged experiment lived, and what the second arm does to them."""

    likes: tuple[float, ...] | Liking  # chance by arm, of users who like more or less than others
    users: int = USERS
    visits: Sequence[int] = (0,)  # days after the first exposure; each shows SHOWN artworks
    over: float = 0.0  # days within which the users come
    ago: float = DAYS_AGO  # days since the start
    dry: float = 0.0  # share of the second arm's lists that find nothing unseen any more
    short: float = 0.0  # share of the second arm's lists that are half as long as asked for
    lost: float = 0.0  # share of its users whose lists were lost
    late: float = 0.0  # share of its lists that the model was too late for
    slower: float = 1.0  # so many times longer its lists take
    again: float = 0.0  # share of its users who are shown the same twice
    more: int = 1  # so many times more it shows
    lacking: Sequence[int] = ()  # visits (by number) at which the model is not there, for anybody
    fields: dict[str, Any] = field(default_factory=dict)  # of the definition


def write_log(connection: psycopg.Connection, lived: Lived, name: str = "logged") -> Definition:
    """Write it all."""
    made = make_definition(definition(name, **lived.fields))
    started = datetime.now(UTC) - timedelta(days=lived.ago)
    row = {"name": made.name, "version": made.version, "horizon": HORIZON, "at": started}
    connection.execute(
        "INSERT INTO vernissage.experiments (name, version, definition) VALUES (%(name)s, %(version)s, %(whole)s)",
        row | {"whole": Jsonb(msgspec.to_builtins(made))},
    )
    connection.execute(STATE, row)
    rng = np.random.default_rng(4)
    log = _Log([], [])
    for number in range(lived.users):
        first = started + timedelta(hours=1, days=lived.over * number / lived.users)
        _live(log, made, f"user-{number}", first, lived, rng)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(LIST, log.lists)
        with cursor.copy(EVENT) as copy:
            for event in log.events:
                copy.write_row(event)
        cursor.execute(SEEN)
    return made


@dataclass(frozen=True)
class _Log:
    """The rows to be."""

    lists: list[dict[str, Any]]
    events: list[tuple[Any, ...]]


def _live(  # noqa: PLR0917 - a life
    log: _Log, made: Definition, user: str, first: datetime, lived: Lived, rng: np.random.Generator
) -> None:
    """One user's past, exposure, displays and likes."""
    place = [arm.name for arm in made.arms].index(arm_of(made, user).name)
    person = rng.beta(6, 6) * 2  # likes more or less than others, before and after
    liking = lived.likes
    usual = liking[0] if isinstance(liking, tuple) else liking(0, 0, 0)
    _show(log, user, first - timedelta(days=2), list(range(1, SHOWN + 1)), [usual * person] * SHOWN, rng)
    if place == 1 and rng.random() < lived.lost:
        return
    shown = SHOWN * (lived.more if place == 1 else 1)
    for number, day in enumerate(lived.visits):
        keys = list(range(101 + number * shown, 101 + (number + 1) * shown))
        at = first + timedelta(days=day)
        _serve(log, made, user, at, place, keys, lived, rng, lacking=number in lived.lacking)
        both = made.design == "interleaved"
        chances = []
        for position, key in enumerate(keys):
            arm = key % 2 == 0 if both else place
            chances.append(liking[arm] if isinstance(liking, tuple) else liking(arm, day, number * shown + position))
        _show(log, user, at + timedelta(hours=1), keys, [chance * person for chance in chances], rng)
        if place == 1 and rng.random() < lived.again:
            _show(log, user, at + timedelta(hours=3), keys, [0.0] * len(keys), rng)


def _serve(  # noqa: PLR0917 - a row's columns
    log: _Log, made: Definition, user: str, at: datetime, place: int, keys: list[int], lived: Lived,
    rng: np.random.Generator, *, lacking: bool,
) -> None:  # fmt: skip
    """One list."""
    treated = place == 1
    teams = {made.arms[0].name: keys[::2], made.arms[1].name: keys[1::2]}
    what: dict[str, Any] = {"teams": teams} if made.design == "interleaved" else {"arm": made.arms[place].name}
    row = {
        "user_id": user,
        "at": at,
        "requested": len(keys) * (2 if treated and rng.random() < lived.short else 1),
        "keys": keys,
        "experiments": Jsonb(
            {made.name: {"version": made.version} | what | ({"fallback": "no_model"} if lacking else {})}
        ),
        "took_ms": rng.gamma(4, USUAL_MS / 4) * (lived.slower if treated else 1),
        "fallback": "late" if treated and rng.random() < lived.late else None,
    }
    dry = treated and rng.random() < lived.dry
    log.lists.append(row | {"reason": "exhausted" if dry else "filtered" if row["requested"] > len(keys) else None})


def _show(  # noqa: PLR0917 - who, when, what
    log: _Log, user: str, at: datetime, keys: list[int], chances: list[float], rng: np.random.Generator
) -> None:
    """Displays, and a like a minute after them by these chances."""
    fond = [key for key, chance in zip(keys, chances, strict=True) if rng.random() < chance]
    for kind, chosen, after in (("displayed", keys, 0), ("like", fond, 60)):
        moments = [at + timedelta(seconds=after + place) for place in range(len(chosen))]
        log.events.extend((uuid.uuid4(), user, key, kind, at) for key, at in zip(chosen, moments, strict=True))
