"""`vernissage off-policy` on our own log: lists that the real sampler drew, and likes that were planted."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner, Result

from features.errors import BadBundleError, WeakEvidenceError
from features.settings import Settings
from serving import bundle as bundles
from serving.exploration import Sampler, draw
from tests.benchmarks.world import factor_arrays, manifest
from tests.host import Host
from training.cli import app
from training.experiments.drawn import read_drawn, rescore
from training.pool import take_pool

USERS, ARTWORKS, LENGTH = 800, 30, 3
LIST = """
INSERT INTO vernissage.served_lists (
    recommendation_id, user_id, session_id, served_at, policy, requested, artwork_keys, scores, rungs, propensities,
    candidate_hash, candidate_size, excluded, inputs, sampler, head_keys, head_scores)
VALUES (%(id)s, %(user)s, 'tab', now() - interval '2 days' + %(later)s * interval '1 hour', 'ladder-1', 3, %(keys)s,
    '{}', '{}', %(chances)s, 0, 30, '{}', '{}', %(sampler)s, %(head)s, %(scores)s)
"""
LIKE = """
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, received_at)
SELECT gen_random_uuid(), %(user)s, key, 'like', now() - interval '1 day', now() - interval '1 day'
FROM unnest(%(keys)s::integer[]) AS key
"""
SAMPLER = Sampler(1.0, 0.2)
GOOD, BAD = 0.6, 0.1  # chance of a like


@pytest.fixture
def keys(connection: psycopg.Connection) -> list[int]:
    """A pool's artworks; users like every second one."""
    Host(connection).add_artworks(ARTWORKS)
    return sorted(take_pool(connection).keys.tolist())


def serve(connection: psycopg.Connection, user: str, head: list[int], seed: int, later: int = 0) -> list[int]:
    """Log a list that was drawn from a head by scores that know nothing of likes; its artworks."""
    scores = np.linspace(1, -1, len(head)).astype(np.float32)
    drawn = draw(scores, LENGTH, SAMPLER, seed)
    listed = [head[place] for place in drawn.places]
    row = {
        "id": uuid.uuid4(), "user": user, "later": later, "keys": listed, "chances": drawn.propensities.tolist(),
        "sampler": Jsonb({"temperature": 1.0, "epsilon": 0.2, "seed": seed, "drawn": LENGTH}), "head": head,
        "scores": scores.tolist(),
    }  # fmt: skip
    connection.execute(LIST, row)
    return listed


@pytest.fixture
def log(connection: psycopg.Connection, keys: list[int]) -> list[int]:
    """One list for each of many users; the heads are in one order, so that rank says nothing of likes."""
    rng = np.random.default_rng(6)
    with connection.transaction():
        for number in range(USERS):
            listed = serve(connection, f"user-{number}", keys, number)
            liked = [key for key in listed if rng.random() < (GOOD if key % 2 else BAD)]
            connection.execute(LIKE, {"user": f"user-{number}", "keys": liked})
    return keys


@pytest.fixture
def model(settings: Settings, connection: psycopg.Connection, keys: list[int]) -> str:
    """A version that puts what is liked first, for everybody alike."""
    pool = take_pool(connection)
    arrays = factor_arrays(np.array(pool.ids), 1)
    arrays["prior"] = np.where(pool.keys % 2, 1.0, -1.0).astype(np.float32)
    bundles.save(settings.bundles_path / "5-knowing", manifest("5"), arrays)
    assert len(pool.keys) == len(keys)
    return "5"


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *options: str) -> Result:
    """The command."""
    monkeypatch.setenv("VERNISSAGE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("VERNISSAGE_HOME", settings.home)
    return CliRunner().invoke(app, ["off-policy", *options])


def numbers(output: str, by: str) -> tuple[float, float, float]:
    """Mean and ends of one line of the table."""
    found = re.search(rf"{by}\s+(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)", output)
    assert found is not None, output
    return float(found[1]), float(found[2]), float(found[3])


@pytest.mark.usefixtures("log")
def test_a_hotter_policy_is_worth_about_the_same_and_a_knowing_model_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """The scores that served know nothing of likes; those of the other model do."""
    hotter = run(settings, monkeypatch, "--temperature", "2", "--epsilon", "0.2")
    knowing = run(settings, monkeypatch, "--temperature", "2", "--epsilon", "0.2", "--model", model)
    assert (hotter.exit_code, knowing.exit_code) == (0, 0), (hotter.output, knowing.exception)
    for by in ("IPS", "SNIPS", "DR"):
        mean, low, high = numbers(hotter.output, by)
        assert low < 0.35 < high
        assert numbers(knowing.output, by)[0] > mean + 0.05
    assert "2,400 slots of 800 units" in hotter.output


@pytest.mark.usefixtures("log")
def test_by_rank_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is printed but why."""
    result = run(settings, monkeypatch)
    assert isinstance(result.exception, WeakEvidenceError)
    assert "temperature 0, epsilon 0" in str(result.exception)
    assert "SNIPS" not in result.output


def test_without_any_drawn_list_it_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by default, when lists are by rank."""
    assert isinstance(run(settings, monkeypatch, "--temperature", "1").exception, WeakEvidenceError)


def test_a_like_counts_once_for_the_last_list_that_the_artwork_was_drawn_for(
    connection: psycopg.Connection, keys: list[int]
) -> None:
    """An artwork that nobody showed is drawn again; its like is not counted twice."""
    first = serve(connection, "ada", keys[:3], 1)
    second = serve(connection, "ada", keys[:3], 2, later=1)
    serve(connection, "bob", keys[:3], 3, later=2)
    connection.execute(LIKE, {"user": "ada", "keys": keys[:1]})
    one, two, other = read_drawn(connection, days=28)
    assert one.rewards == dict.fromkeys(first, 0.0)
    assert two.rewards == dict.fromkeys(second, 0.0) | {keys[0]: 1.0}
    assert (one.unit == two.unit, sum(other.rewards.values())) == (True, 0.0)


def test_lists_whose_artworks_are_gone_are_left_out_for_another_model(
    settings: Settings, connection: psycopg.Connection, keys: list[int], model: str
) -> None:
    """A head that cannot be scored whole cannot be drawn from; an unknown version is an error."""
    serve(connection, "ada", keys[:4], 1)
    serve(connection, "bob", keys[4:8], 2)
    connection.execute("UPDATE public.art_sessions SET pool_status = 'archived' WHERE id = (SELECT artwork_id"
                       " FROM vernissage.artwork_keys WHERE artwork_key = %s)", (keys[0],))  # fmt: skip
    found = rescore(connection, settings, read_drawn(connection, days=28), model)
    assert ([each.user_id for each in found.lists], found.left_out) == (["bob"], 1)
    with pytest.raises(BadBundleError):
        rescore(connection, settings, [], "6")


def test_a_shops_log_is_read_from_a_folder(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No database in it; the policy's own log stands beside."""
    for name, clicks in (("log", 40), ("own", 10)):
        (tmp_path / name).mkdir()
        rows = [f"{number % 2},1,{int(number < clicks)},0.5" for number in range(400)]
        (tmp_path / name / "rows.csv").write_text("action,position,reward,pscore\n" + "\n".join(rows))
    result = run(settings, monkeypatch, "--bandit", str(tmp_path / "log"), "--beside", str(tmp_path / "own"))
    assert result.exit_code == 0, result.exception
    assert numbers(result.output, "IPS")[0] == pytest.approx(0.1)
    assert numbers(result.output, "its own log")[0] == pytest.approx(0.025)
