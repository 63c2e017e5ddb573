"""Lists made again from their logs: bit for bit while everything is there, and what is not there is named."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from typer.testing import CliRunner, Result

from features.database import connect, query
from serving import bundle as bundles
from tests.benchmarks.world import factor_arrays, manifest
from tests.experiments import definition
from tests.host import Host
from tests.integration.conftest import BRISK
from tests.service import Service
from training.cli import app

ARTWORKS = 120
CURIOUS = {"VERNISSAGE_TEMPERATURE": "0.8", "VERNISSAGE_EPSILON": "0.1", "VERNISSAGE_VARIETY": "0.4"}
SAME = "the same, bit for bit"

Replay = Callable[[str], Result]


@pytest.fixture(scope="module")
def home(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the bundle of a live model of the pool."""
    folder = tmp_path_factory.mktemp("home")
    with connect(module_database, autocommit=True) as connection:
        ids = np.array(sorted(Host(connection).add_artworks(ARTWORKS)))
        bundle = bundles.save(folder / "bundles" / "1-drawn", manifest("1"), factor_arrays(ids, 1))
        row = {"alias": "champion", "version": "1", "bundle_path": str(folder / "bundles" / "1-drawn")}
        connection.execute(query("set_live_model"), row | {"digest": bundle.digest})
    return folder


@pytest.fixture(scope="module")
def plain(module_database: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that lists by rank."""
    assert home
    with Service(module_database, tmp_path_factory.mktemp("plain"), environment=BRISK) as started:
        await_model(started)
        yield started


@pytest.fixture(scope="module")
def curious(module_database: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that draws its lists by chance."""
    assert home
    with Service(module_database, tmp_path_factory.mktemp("curious"), environment=BRISK | CURIOUS) as started:
        await_model(started)
        yield started


@pytest.fixture
def replay(module_database: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """The command, on the module's database."""
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", module_database)
    monkeypatch.setenv("VERNISSAGE_HOME", str(home))
    return lambda recommendation_id: CliRunner().invoke(app, ["replay", recommendation_id])


def await_model(service: Service) -> None:
    """Until it ranks with the model."""
    end = time.monotonic() + 30
    while service.next(f"early-{uuid.uuid4()}", limit=1)["model"] is None:
        assert time.monotonic() < end
        time.sleep(0.05)


def logged(host: Host, answer: dict[str, Any]) -> dict[str, Any]:
    """The row of a list."""
    with host.connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query("served_list"), {"recommendation_id": answer["recommendation_id"]}).fetchone()
    assert row is not None
    return row


def live(service: Service, user: str) -> list[dict[str, Any]]:
    """Three lists of a session in which two artworks of five are shown each time and one is liked."""
    answers = []
    for number in range(3):
        answers.append(service.next(user, "tab", limit=5))
        shown = [item["artwork_id"] for item in answers[-1]["items"][:2]]
        service.display(user, shown, "tab")
        service.record({"event_id": f"like-{number}", "user_id": user, "artwork_id": shown[0], "kind": "like"})
    return answers


def text_of(result: Result) -> str:
    """What was printed, and the error where there is one."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{result.output}{result.exception}"
    return result.output


def test_by_default_nothing_is_left_to_chance(plain: Service, host: Host, user: str) -> None:
    """Order of rank, chances of one, nothing more in the log."""
    answer = plain.next(user, limit=8)
    row = logged(host, answer)
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert row["propensities"] == [1.0] * 8
    assert (row["sampler"], row["head_keys"], row["head_scores"]) == (None, None, None)


def test_a_list_that_is_drawn_logs_its_chances_and_crosses_no_rung(curious: Service, host: Host, user: str) -> None:
    """Relevant artworks alone, however long the list; the chances are those of the relevant head."""
    answer = curious.next(user, limit=100)
    row = logged(host, answer)
    rungs = [item["rung"] for item in answer["items"]]
    assert rungs == sorted(rungs)
    head = len(row["head_keys"])
    assert set(row["artwork_keys"][:head]) == set(row["head_keys"])
    assert row["head_scores"] == sorted(row["head_scores"], reverse=True)
    assert row["artwork_keys"][:head] != row["head_keys"]
    assert all(0 < chance < 1 for chance in row["propensities"][: head - 1])
    assert row["propensities"][head - 1] == pytest.approx(1)
    assert row["propensities"][head:] == [1.0] * (100 - head)
    assert row["sampler"] | {"seed": 0} == {"temperature": 0.8, "epsilon": 0.1, "seed": 0, "drawn": head}


def test_two_users_are_drawn_apart(curious: Service, host: Host, user: str) -> None:
    """Neither has any history: by rank both would get the same."""
    rows = [logged(host, curious.next(f"{user}-{number}", limit=10)) for number in range(2)]
    assert rows[0]["head_keys"] == rows[1]["head_keys"]
    assert rows[0]["artwork_keys"] != rows[1]["artwork_keys"]


def test_what_is_offered_again_was_not_drawn(curious: Service, host: Host, user: str) -> None:
    """A re-offer is certain; the rest of the list is drawn from what the session does not hold."""
    first = curious.next(user, "tab", limit=4)
    row = logged(host, curious.next(user, "tab", limit=6))
    assert row["artwork_keys"][:4] == logged(host, first)["artwork_keys"]
    assert row["propensities"][:4] == [1.0] * 4
    assert all(0 < chance < 1 for chance in row["propensities"][4:])
    assert not set(row["head_keys"]) & set(row["artwork_keys"][:4])


def test_lists_by_rank_are_made_again(plain: Service, replay: Replay, user: str) -> None:
    """Whatever came after: held artworks, displays and likes are as they were then."""
    for answer in live(plain, user):
        result = replay(answer["recommendation_id"])
        assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)


def test_lists_by_chance_are_made_again(curious: Service, replay: Replay, user: str) -> None:
    """Draw, head, scores and chances; prefetch too, and with filters."""
    answers = live(curious, user)
    body = {"session_id": "second-tab", "depth": 6}
    answers.append(curious.client.post(f"/v1/users/{user}/prefetch", json=body).raise_for_status().json())
    assert answers[-1]["rank_traded"] == 0  # a list that is drawn keeps its order
    answers.append(curious.next(user, "third-tab", limit=4, exclude=answers[0]["items"][4]["artwork_id"]))
    curious.display(user, [item["artwork_id"] for item in answers[-1]["items"]], "third-tab")
    for answer in answers:
        result = replay(answer["recommendation_id"])
        assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)
        assert "temperature 0.8, epsilon 0.1" in result.output


@pytest.fixture
def tried(plain: Service, host: Host) -> Iterator[dict[str, str]]:
    """An experiment whose arms turn the knobs of a list, and a user in each arm."""
    knobs = {"control": {}, "varied": {"variety": 0.6, "exploration": 0.5}, "drawn": {"temperature": 0.5}}
    arms = [{"name": name, "policy": policy} for name, policy in knobs.items()]
    users = {name: f"{name}-{uuid.uuid4()}" for name in knobs}
    whole = Jsonb(definition("tried", arms=arms))
    host.connection.execute("INSERT INTO vernissage.experiments VALUES ('tried', 1, %s)", (whole,))
    for arm, user in users.items():
        host.connection.execute(query("set_override"), {"name": "tried", "user_id": user, "arm": arm})
    state = "INSERT INTO vernissage.experiment_states (name, version, state, slots) VALUES ('tried', 1, %s, 10000)"
    host.connection.execute(state, ("running",))
    await_running(plain, 1)
    yield users
    host.connection.execute(state, ("stopped",))
    await_running(plain, 0)


def await_running(service: Service, count: int) -> None:
    """Until the worker knows of so many."""
    end = time.monotonic() + 30
    while service.metrics().get("vernissage_experiments_running") != count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_lists_of_an_experiment_are_made_again_as_their_arm_had_them(
    plain: Service, host: Host, replay: Replay, tried: dict[str, str]
) -> None:
    """By the definition, which never changes; the temperature of one arm is no other's."""
    for arm, user in tried.items():
        answer = plain.next(user, limit=6)
        row = logged(host, answer)
        assert row["experiments"] == {"tried": {"version": 1, "arm": arm, "overridden": True}}
        assert (row["sampler"] or {}).get("temperature") == (0.5 if arm == "drawn" else None)
        result = replay(answer["recommendation_id"])
        assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)


def test_a_model_that_is_gone_is_named_and_the_draw_still_told(
    curious: Service, replay: Replay, home: Path, user: str
) -> None:
    """The log has the scores that it was drawn from."""
    answer = curious.next(user, limit=5)
    shutil.move(home / "bundles" / "1-drawn", home / "away")
    try:
        result = replay(answer["recommendation_id"])
    finally:
        shutil.move(home / "away", home / "bundles" / "1-drawn")
    assert result.exit_code == 1
    assert "no longer there: the model drawn:1" in result.output
    assert "from its logged scores and seed  the same" in result.output
    assert SAME not in result.output


@pytest.mark.parametrize(
    ("change", "back", "said"),
    [
        ("prompt = 'Something else, a dragon in a storm'", "prompt = 'A quiet study, number 5'", "were edited since"),
        ("pool_status = 'archived'", "pool_status = 'active'", "artworks have left it since"),
    ],
    ids=["edited", "archived"],
)
def test_an_artwork_that_changed_is_told(
    *, plain: Service, replay: Replay, host: Host, user: str, change: str, back: str, said: str
) -> None:
    """Not another list instead; when it is as it was, so is the list."""
    answer = plain.next(user, limit=5)
    artwork = host.connection.execute("SELECT id FROM public.art_sessions WHERE prompt LIKE '%% 5'").fetchone()
    assert artwork is not None
    host.connection.execute(f"UPDATE public.art_sessions SET {change} WHERE id = %s", artwork)
    result = replay(answer["recommendation_id"])
    host.connection.execute(f"UPDATE public.art_sessions SET {back} WHERE id = %s", artwork)
    assert (said in result.output, result.exit_code) == (True, 1), text_of(result)
    assert SAME in replay(answer["recommendation_id"]).output
    host.wait(plain)


def test_artworks_that_came_later_do_not_matter(plain: Service, replay: Replay, host: Host, user: str) -> None:
    """The pool of then ends with its newest key."""
    answer = plain.next(user, limit=5)
    added = host.add_artwork()
    host.wait(plain)
    assert SAME in replay(answer["recommendation_id"]).output
    host.delete(added)
    host.wait(plain)


def test_an_erased_user_has_no_list_any_more(plain: Service, replay: Replay, host: Host, user: str) -> None:
    """And it is said what that may mean."""
    answer = plain.next(user, limit=5)
    host.connection.execute(query("erase_users"), {"user_ids": [user]})
    result = replay(answer["recommendation_id"])
    assert result.exit_code == 1
    assert "its user has been erased" in text_of(result)


def test_a_log_that_was_tampered_with_is_told(
    curious: Service, replay: Replay, user: str, connection_beside: psycopg.Connection
) -> None:
    """One chance, by one bit."""
    answer = curious.next(user, limit=5)
    with connection_beside.transaction():
        connection_beside.execute("ALTER TABLE vernissage.served_lists DISABLE TRIGGER served_lists_immutable")
        connection_beside.execute(
            "UPDATE vernissage.served_lists SET propensities[2] = propensities[2] * 1.0000001::real"
            " WHERE recommendation_id = %s",
            (answer["recommendation_id"],),
        )
        connection_beside.execute("ALTER TABLE vernissage.served_lists ENABLE TRIGGER served_lists_immutable")
    result = replay(answer["recommendation_id"])
    assert result.exit_code == 1
    assert "give another list now" in result.output
    assert "the chances of the draw" in result.output


@pytest.fixture
def connection_beside(module_database: str) -> Iterator[psycopg.Connection]:
    """Another connection to the module's database."""
    with connect(module_database, autocommit=True) as opened:
        yield opened
