"""The promotion gate on a real registry: what is let pass, what is refused and why, and the trace that force leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from typer.testing import Result

from features.errors import GuardrailError
from features.settings import Settings
from tests.learning import learn
from training import gate, nmf, popularity, tracking
from training.gate import GUARDRAILS, LEAST_USERS, falls, promote, weigh
from training.learner import Learner
from training.publish import live_version, rollback

NMF = nmf.make_learner(nmf.NmfConfig(n_components=8))
POPULARITY = popularity.make_learner()
GOOD = {
    **{rail.metric: 0.5 for rail in GUARDRAILS},
    "repeat_rate": 0.0, "users_judged": 500.0, "users_judged_cold": 500.0,
}  # fmt: skip


@pytest.fixture
def live(ready: Settings, connection: psycopg.Connection) -> Settings:
    """Version 1, NMF, is live; version 2, popularity, lists the same few artworks to everybody."""
    assert learn(NMF, ready, connection).version == "1"
    assert learn(POPULARITY, ready, connection).version == "2"
    promote("1", ready, connection)
    return ready


def audit(connection: psycopg.Connection) -> list[tuple[str, str, dict[str, Any]]]:
    """What the audit log says of models."""
    rows = connection.execute("SELECT action, subject, detail FROM vernissage.audit_log ORDER BY entry_id").fetchall()
    return [(action, subject, detail) for action, subject, detail in rows]


def like_something(connection: psycopg.Connection) -> None:
    """One more signal, so that the data are others."""
    connection.execute("""
        INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at)
        SELECT gen_random_uuid(), user_id, artwork_key, 'favourite', at FROM vernissage.events LIMIT 1""")


@pytest.mark.parametrize("rail", GUARDRAILS, ids=lambda rail: rail.metric)
def test_each_guardrail_holds_at_its_threshold(rail: gate.Guardrail) -> None:
    """A little less of a fall passes, a little more does not, and it is the only one that is named."""
    assert falls({**GOOD, rail.metric: 0.5 * (1 - rail.fall + 0.001)}, GOOD) == ()
    (said,) = falls({**GOOD, rail.metric: 0.5 * (1 - rail.fall - 0.001)}, GOOD)
    assert said.startswith(f"{rail.metric} fell from 0.5000 to ")


def test_a_fall_that_may_be_chance_is_no_fall() -> None:
    """A tenth less of what is only known to a tenth; by three times that it is one."""
    unsure = {**GOOD, "recall_at_20_error": 0.05}
    assert falls({**unsure, "recall_at_20": 0.45}, unsure) == ()
    assert len(falls({**unsure, "recall_at_20": 0.35}, unsure)) == 1


def test_a_fall_over_few_users_is_no_fall() -> None:
    """Cold recall of a handful of people stands for nothing; one repeat is one too many whatever is live."""
    worse = {**GOOD, "recall_cold_at_20": 0.0, "users_judged_cold": LEAST_USERS - 1.0}
    assert falls(worse, GOOD) == ()
    assert falls({**GOOD, "repeat_rate": 1e-6}, {}) == ("repeat_rate is 1e-06 and must be 0",)


def test_a_version_that_fell_is_refused_and_the_live_one_stays(
    live: Settings, connection: psycopg.Connection, command: Callable[..., Result]
) -> None:
    """The error names the metric and by how much, and the audit log remembers."""
    with pytest.raises(GuardrailError, match=r"Version 2 is not published: .*coverage_at_20 fell from .* by \d+%"):
        command("publish", "2")
    assert live_version(connection) == tracking.alias(live, "champion") == "1"
    action, subject, detail = audit(connection)[-1]
    assert (action, subject) == ("hold", "2")
    assert detail["ground"] == "beside version 1 (nmf), as judged when trained"
    assert "coverage_at_20 fell" in detail["reason"]


def test_force_publishes_and_leaves_a_trace(
    live: Settings, connection: psycopg.Connection, command: Callable[..., Result]
) -> None:
    """What fell is written beside the digest; the way back is not gated, and neither is forgotten in the line."""
    assert command("publish", "2", "--force").stdout.splitlines()[-1] == "version 2 (popularity) is live"
    action, subject, detail = audit(connection)[-1]
    assert (action, subject) == ("publish", "2")
    assert "coverage_at_20 fell" in detail["forced"]
    assert rollback(live, connection).bundle.label == "nmf:1"
    assert audit(connection)[-1][:2] == ("rollback", "1")


def test_publishing_after_training_is_gated_too(live: Settings, command: Callable[..., Result]) -> None:
    """The version stays registered."""
    with pytest.raises(GuardrailError, match="Version 3 is not published"):
        command("train", "popularity", "--publish")
    assert tracking.versions(live)[0].number == "3"


def test_versions_of_other_data_are_judged_on_the_split_as_it_is_now(
    live: Settings, connection: psycopg.Connection
) -> None:
    """One more signal, and what was measured then counts no more: both recipes are fitted again."""
    like_something(connection)
    assert learn(POPULARITY, live, connection).version == "3"
    said: list[str] = []
    verdict = weigh("3", live, connection, said.append)
    assert verdict.ground == "beside version 1 (nmf), both judged now"
    assert any("coverage_at_20 fell" in reason for reason in verdict.against)
    assert [line.split()[1] for line in said if line.startswith("judging")] == ["popularity", "nmf"]


def test_a_model_whose_recipe_is_unknown_is_held(live: Settings, connection: psycopg.Connection) -> None:
    """It cannot be judged beside one that was; by force it goes live."""
    like_something(connection)
    stranger = Learner("stranger", "factors", "constant", POPULARITY.fit)
    version = learn(stranger, live, connection).version
    (reason,) = weigh(version, live, connection, lambda _: None).against
    assert "There is no model called 'stranger'" in reason
    promote(version, live, connection, force=True)
    assert live_version(connection) == version


def test_the_first_version_and_the_same_again_have_nothing_to_fear(
    live: Settings, connection: psycopg.Connection
) -> None:
    """Nothing is live, or nothing else."""
    assert weigh("1", live, connection, lambda _: None).ground == "nothing else is live"
    assert audit(connection) == [("publish", "1", {"digest": audit(connection)[0][2]["digest"]})]


def test_versions_are_compared_on_the_same_users(live: Settings, command: Callable[..., Result]) -> None:
    """The live one first and the newest beside it; a difference whose interval leaves 0 out is marked."""
    shown = command("compare").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["1", "nmf", "recall"] in [row[:3] for row in rows]
    (told,) = [row for row in rows if row[:3] == ["2", "popularity", "recall"]]
    value, difference, low, high = map(float, told[3:7])
    assert low <= difference <= high
    assert (told[7:] == ["*"]) == (low > 0 or high < 0)
    of_live = float(next(row[3] for row in rows if row[:3] == ["1", "nmf", "recall"]))
    assert value - of_live == pytest.approx(difference, abs=2e-4)
    assert live.registered_model == "vernissage"


def test_a_version_beside_itself_does_not_differ(
    live: Settings, connection: psycopg.Connection, command: Callable[..., Result]
) -> None:
    """Not by a digit."""
    again = learn(NMF, live, connection).version
    rows = [line.split() for line in command("compare", "1", again).stdout.splitlines()]
    assert [row[4:7] for row in rows if row[:1] == [again]] == [["+0.0000"] * 3] * 4
