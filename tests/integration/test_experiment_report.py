"""Reports on logged experiments: what was planted is found, what was not is not, and a broken log is called one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from features.errors import UnknownExperimentError
from serving.experiments.assignment import arm_of
from serving.experiments.definitions import Definition, make_definition
from tests.experiments import definition
from training.cli import app
from training.experiments.reading import read_exposed
from training.experiments.report import Report, make_report

USERS, SHOWN = 900, 12
DAYS_AGO, HORIZON = 15, 14

STATE = """
INSERT INTO vernissage.experiment_states (name, version, state, slots, horizon_days, power, at)
VALUES (%(name)s, %(version)s, 'running', 10000, %(horizon)s, 0.9, now() - make_interval(days => %(ago)s))
"""
LIST = """
INSERT INTO vernissage.served_lists (
    recommendation_id, user_id, session_id, served_at, policy, requested, artwork_keys, scores, rungs, propensities,
    candidate_hash, candidate_size, excluded, experiments)
VALUES (gen_random_uuid(), %(user_id)s, 'tab', now() - make_interval(days => %(ago)s) + interval '1 hour', 'ladder-1',
    %(requested)s, %(keys)s, '{}', '{}', '{}', 0, 100, '{}', %(experiments)s)
"""
EVENT = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at)
SELECT gen_random_uuid(), %(user_id)s, key, %(kind)s,
       now() - make_interval(days => %(ago)s) + %(after)s * interval '1 hour'
FROM unnest(%(keys)s::integer[]) AS key
"""
SEEN = """
INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
SELECT e.user_id, e.artwork_key, min(e.at) FROM vernissage.events AS e WHERE e.kind = 'displayed'
GROUP BY e.user_id, e.artwork_key ON CONFLICT DO NOTHING
"""

Log = Callable[..., Definition]


@pytest.fixture
def log(connection: psycopg.Connection) -> Log:
    """Writes what an experiment would have left: lists, displays, likes of a month."""

    def written(
        likes: tuple[float, float], *, short: float = 0.0, lost: float = 0.0, ago: int = DAYS_AGO, **fields: Any
    ) -> Definition:
        made = make_definition(definition("logged", **fields))
        row = {"name": made.name, "version": made.version}
        connection.execute(
            "INSERT INTO vernissage.experiments (name, version, definition) VALUES (%(name)s, %(version)s, %(whole)s)",
            row | {"whole": Jsonb(msgspec.to_builtins(made))},
        )
        connection.execute(STATE, row | {"horizon": HORIZON, "ago": ago})
        rng = np.random.default_rng(4)
        with connection.transaction(), connection.cursor() as cursor:
            for number in range(USERS):
                _live(cursor, made, f"user-{number}", rng, likes=likes, short=short, lost=lost, ago=ago)
            cursor.execute(SEEN)
        return made

    return written


def _live(
    cursor: psycopg.Cursor, made: Definition, user: str, rng: np.random.Generator, *,
    likes: tuple[float, float], short: float, lost: float, ago: int,
) -> None:  # fmt: skip
    """One user's past, exposure, displays and likes."""
    place = [arm.name for arm in made.arms].index(arm_of(made, user).name)
    person = rng.beta(6, 6) * 2  # likes more or less than others, before and after
    before, keys = list(range(1, 13)), list(range(101, 101 + SHOWN))
    fond = [key for key in before if rng.random() < likes[0] * person]
    common = {"user_id": user, "ago": ago}
    for kind, chosen, after in (("displayed", before, -48), ("like", fond, -47)):
        cursor.execute(EVENT, common | {"kind": kind, "keys": chosen, "after": after})
    if place == 1 and rng.random() < lost:
        return
    teams = {made.arms[0].name: keys[::2], made.arms[1].name: keys[1::2]}
    both = made.design == "interleaved"
    what = {"teams": teams} if both else {"arm": made.arms[place].name}
    requested = SHOWN + (SHOWN if place == 1 and rng.random() < short else 0)
    said = Jsonb({made.name: {"version": made.version} | what})
    cursor.execute(LIST, common | {"requested": requested, "keys": keys, "experiments": said})
    chance = [likes[(key % 2 == 0) if both else place] * person for key in keys]
    fond = [key for key, each in zip(keys, chance, strict=True) if rng.random() < each]
    for kind, chosen, after in (("displayed", keys, 2), ("like", fond, 3)):
        cursor.execute(EVENT, common | {"kind": kind, "keys": chosen, "after": after})


def reported(connection: psycopg.Connection) -> Report:
    """The report on it."""
    return make_report(read_exposed(connection, "logged"))


def test_a_planted_difference_is_found_with_its_size(log: Log, connection: psycopg.Connection) -> None:
    """The interval holds the truth, CUPED's is the narrower, and the users are those of the hash."""
    made = log((0.20, 0.28))
    found = reported(connection)
    expected = [sum(arm_of(made, f"user-{number}").name == arm.name for number in range(USERS)) for arm in made.arms]
    assert list(found.counts.values()) == expected
    (compared,) = found.primary
    assert compared.estimate.low < 0.08 < compared.estimate.high
    assert compared.estimate.high - compared.estimate.low < compared.plain.high - compared.plain.low
    assert found.verdict.startswith("varied is better: likes_per_display +")
    assert not any(each.harmed for each in found.guardrails)


def test_where_nothing_was_planted_nothing_is_found(log: Log, connection: psycopg.Connection) -> None:
    """And it says what would have been."""
    log((0.2, 0.2))
    assert reported(connection).verdict == "No difference was found; 30% would have been with a chance of 90%."


def test_before_the_horizon_nothing_is_decided(log: Log, connection: psycopg.Connection) -> None:
    """However large the difference looks."""
    log((0.2, 0.4), ago=9)
    assert reported(connection).verdict == "It is at day 9.0 of 14: too early to decide."


def test_what_came_after_a_stop_does_not_count(log: Log, connection: psycopg.Connection) -> None:
    """Stopped on the day of the start, two hours before the displays, and archived since."""
    log((0.2, 0.4))
    for state in ("stopped", "archived"):
        at = "now() - make_interval(days => %(ago)s) + interval '90 minutes'" if state == "stopped" else "now()"
        connection.execute(
            "INSERT INTO vernissage.experiment_states (name, version, state, slots, horizon_days, at)"
            f" VALUES ('logged', 1, '{state}', 0, 14, {at})",
            {"ago": DAYS_AGO},
        )
    found = reported(connection)
    assert sum(found.counts.values()) == USERS
    assert found.primary[0].mean == 0
    assert found.verdict == "It was stopped at day 0.1 of 14: too early to decide."


def test_lost_lists_of_one_arm_void_everything(log: Log, connection: psycopg.Connection) -> None:
    """A third of the treated is missing: the sample ratio is wrong, whatever the metric says."""
    log((0.2, 0.4), lost=0.34)
    found = reported(connection)
    assert found.ratio_is_wrong
    assert "believe nothing" in found.verdict


def test_harm_is_said_before_the_horizon(log: Log, connection: psycopg.Connection) -> None:
    """Short lists in one arm."""
    log((0.2, 0.2), short=0.5, ago=9)
    found = reported(connection)
    (guarded,) = [each for each in found.guardrails if each.harmed]
    assert (guarded.guardrail, guarded.arm) == ("fill_rate", "varied")
    assert guarded.low < -0.25 < guarded.high
    assert found.verdict == "Harm is certain enough to stop: fill_rate by varied."


def test_an_interleaved_experiment_says_which_ranking_users_prefer(log: Log, connection: psycopg.Connection) -> None:
    """By the likes of what each picked: the even keys are the second team's."""
    log((0.15, 0.25), design="interleaved")
    found = reported(connection)
    assert found.counts == {"both": USERS}
    assert found.preference is not None
    assert found.preference.low > 0
    assert found.verdict == "Users prefer varied."


def test_users_are_compared_at_matched_coverage_too(log: Log, connection: psycopg.Connection) -> None:
    """By the tenth of the pool that they had seen; here twelve artworks before, of a pool of none: the last tenth."""
    log((0.2, 0.3))
    (tenth,) = reported(connection).tenths
    assert (tenth.tenth, tenth.arm) == (9, "varied")
    assert tenth.estimate.low < 0.1 < tenth.estimate.high


def test_nobody_and_nothing_are_said_so(connection: psycopg.Connection) -> None:
    """No such experiment is an error; one without users is not."""
    with pytest.raises(UnknownExperimentError):
        read_exposed(connection, "logged")


def test_the_command_prints_tables_and_verdict(
    log: Log, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For people."""
    log((0.2, 0.28))
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", database_url)
    monkeypatch.setenv("VERNISSAGE_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["experiment", "report", "logged"])
    assert result.exit_code == 0, result.output
    for words in ("sample ratio as it should be", "with CUPED", "fill_rate", "varied is better"):
        assert words in result.output
