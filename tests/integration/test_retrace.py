"""Lists made again from their logs: bit for bit while everything is there, and what is not there is named."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from typer.testing import CliRunner, Result

from features.database import connect, make_pool, query
from features.host import read_host
from features.settings import Settings
from serving import bundle as bundles
from serving.experiments.assignment import Plan
from serving.leases import Leases
from serving.live import View
from serving.model import make_model
from serving.ranking import Ask
from serving.recommend import Answer, Recommender
from tests.benchmarks.world import factor_arrays, manifest
from tests.experiments import definition
from tests.host import Host
from tests.integration.conftest import BRISK
from tests.service import Service
from training.cli import app
from training.pool import take_pool

ARTWORKS = 120
ARMS: dict[str, dict[str, float]] = {
    "control": {},
    "varied": {"variety": 0.6, "exploration": 0.5},
    "drawn": {"temperature": 0.8, "epsilon": 0.1, "variety": 0.4},
}
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
    environment = BRISK | {"VERNISSAGE_EXPERIMENT_POLL_SECONDS": "0.05"}
    with Service(module_database, tmp_path_factory.mktemp("plain"), environment=environment) as started:
        await_model(started)
        yield started


@pytest.fixture(scope="module")
def tried(plain: Service, host: Host) -> Callable[[str, str], None]:
    """An experiment whose arms turn the knobs of a list; puts users into arms, nobody else is in one."""
    arms = [{"name": name, "policy": policy} for name, policy in ARMS.items()]
    whole = Jsonb(definition("tried", arms=arms))
    host.connection.execute("INSERT INTO vernissage.experiments VALUES ('tried', 1, %s)", (whole,))
    host.connection.execute(
        "INSERT INTO vernissage.experiment_states (name, version, state) VALUES ('tried', 1, 'running')"
    )

    def put(user: str, arm: str) -> None:
        host.connection.execute(query("set_override"), {"name": "tried", "user_id": user, "arm": arm})
        end = time.monotonic() + 30
        while not plain.client.get(f"/v1/users/{user}/assignments").json()["assignments"]:
            assert time.monotonic() < end
            time.sleep(0.05)

    return put


@pytest.fixture
def curious(tried: Callable[[str, str], None]) -> str:
    """A user whose lists are drawn by chance."""
    user = f"curious-{uuid.uuid4()}"
    tried(user, "drawn")
    return user


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


def test_a_list_that_the_model_had_no_time_for_is_made_again_without_it(
    module_database: str, home: Path, replay: Replay, user: str
) -> None:
    """As it was: by what else could answer."""
    answer = asyncio.run(served_busy(module_database, home, user))
    assert {offer.rung for offer in answer.offers} == {4}
    result = replay(str(answer.recommendation_id))
    assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)


async def served_busy(url: str, home: Path, user: str) -> Answer:
    """A list by a worker all of whose threads are busy."""
    settings = Settings(database_url=url)
    with connect(url, autocommit=True) as connection:
        catalogue, host = take_pool(connection), read_host(connection)
    model = make_model(bundles.load(home / "bundles" / "1-drawn")).aligned(catalogue.ids, catalogue.vectors)
    live = SimpleNamespace(view_for=lambda _: View(catalogue, model), experiments=Plan())
    async with make_pool(url, settings) as pool:
        recommender = Recommender(Leases(pool, host, settings), live, settings)  # type: ignore[arg-type] # a stand-in
        recommender._sorter._running = settings.rank_threads  # as when every thread is busy
        answer = await recommender.next(Ask(user, "tab", 5))
    recommender.close()
    return answer


def test_a_list_that_is_drawn_logs_its_chances_and_crosses_no_rung(plain: Service, host: Host, curious: str) -> None:
    """Relevant artworks alone, however long the list; the chances are those of the relevant head."""
    answer = plain.next(curious, limit=100)
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


def test_two_users_are_drawn_apart(
    plain: Service, host: Host, tried: Callable[[str, str], None], curious: str, user: str
) -> None:
    """Neither has any history: by rank both would get the same."""
    tried(user, "drawn")
    one, other = (logged(host, plain.next(each, limit=10)) for each in (curious, user))
    assert one["head_keys"] == other["head_keys"]
    assert one["artwork_keys"] != other["artwork_keys"]


def test_what_is_offered_again_was_not_drawn(plain: Service, host: Host, curious: str) -> None:
    """A re-offer is certain; the rest of the list is drawn from what the session does not hold."""
    first = plain.next(curious, "tab", limit=4)
    row = logged(host, plain.next(curious, "tab", limit=6))
    assert row["artwork_keys"][:4] == logged(host, first)["artwork_keys"]
    assert row["propensities"][:4] == [1.0] * 4
    assert all(0 < chance < 1 for chance in row["propensities"][4:])
    assert not set(row["head_keys"]) & set(row["artwork_keys"][:4])


def test_lists_by_rank_are_made_again(plain: Service, replay: Replay, user: str) -> None:
    """Whatever came after: held artworks, displays and likes are as they were then."""
    for answer in live(plain, user):
        result = replay(answer["recommendation_id"])
        assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)


def test_lists_by_chance_are_made_again(plain: Service, replay: Replay, curious: str) -> None:
    """Draw, head, scores and chances; prefetch too, and with filters."""
    answers = live(plain, curious)
    body = {"session_id": "second-tab", "depth": 6}
    answers.append(plain.client.post(f"/v1/users/{curious}/prefetch", json=body).raise_for_status().json())
    assert answers[-1]["rank_traded"] == 0  # a list that is drawn keeps its order
    answers.append(plain.next(curious, "third-tab", limit=4, exclude=answers[0]["items"][4]["artwork_id"]))
    plain.display(curious, [item["artwork_id"] for item in answers[-1]["items"]], "third-tab")
    for answer in answers:
        result = replay(answer["recommendation_id"])
        assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)
        assert "temperature 0.8, epsilon 0.1" in result.output


@pytest.mark.parametrize("arm", ["control", "varied", "drawn"])
def test_a_list_of_an_experiment_is_made_again_as_its_arm_had_it(
    *, plain: Service, host: Host, replay: Replay, tried: Callable[[str, str], None], user: str, arm: str
) -> None:
    """By the definition, which never changes; the temperature of one arm is no other's."""
    tried(user, arm)
    answer = plain.next(user, limit=6)
    row = logged(host, answer)
    assert row["experiments"] == {"tried": {"version": 1, "arm": arm, "overridden": True}}
    assert (row["sampler"] or {}).get("temperature") == ARMS[arm].get("temperature")
    result = replay(answer["recommendation_id"])
    assert (SAME in result.output, result.exit_code) == (True, 0), text_of(result)


def test_a_model_that_is_gone_is_named_and_the_draw_still_told(
    plain: Service, replay: Replay, home: Path, curious: str
) -> None:
    """The log has the scores that it was drawn from."""
    answer = plain.next(curious, limit=5)
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
    plain: Service, replay: Replay, curious: str, connection_beside: psycopg.Connection
) -> None:
    """One chance, by one bit."""
    answer = plain.next(curious, limit=5)
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
