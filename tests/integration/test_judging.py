"""Models judged and compared on a real database and on files, as a person does it at a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
import pytest
from typer.testing import Result

from features.errors import BadSettingError, TooLittleDataError, UnknownModelError
from features.settings import Settings
from serving import bundle as bundles
from tests.learning import learn
from training import roster, tracking
from training.judging import judge_alone
from training.learner import Given
from training.learner import learn as fit
from training.recipes import make_learner, remake_learner
from training.run import make_bundle, read_given
from training.search import SPACES, draw_points


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A train and a test file: even users like even artworks, and each misses the artwork of its own number."""
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    works = {user: [work for work in range(user % 2, 40, 2) if work != user] for user in range(40)}
    train.write_text("".join(f"{user} {' '.join(map(str, liked))}\n" for user, liked in works.items()))
    test.write_text("".join(f"{user} {user}\n" for user in works))
    return train, test


# On files ------------------------------------------------------------------------------------------------------------


def test_files_are_judged_with_one_object_per_model(
    command: Callable[..., Result], files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Every test user, all signals; figures, intervals, seconds and memory of each model."""
    out = tmp_path / "out.json"
    words = ("--train", str(files[0]), "--test", str(files[1]), "--models", "popularity,ease", "--json", str(out))
    shown = command("evaluate", *words).stdout
    found = {each["model"]: each for each in json.loads(out.read_text())}
    assert list(found) == ["popularity", "ease"]
    assert found["ease"]["recall@20"] == 1
    assert found["ease"]["ndcg@20"] > 0.9 > found["popularity"]["ndcg@20"]
    for each in found.values():
        low, high = each["intervals"]["ndcg@20"]
        assert low <= each["ndcg@20"] <= high
        assert each["metrics"]["users_judged"] == 40
        assert 20 < each["peak_mb"] < 2_000
        assert each["train_seconds"] >= 0
    assert shown.index("ease") < shown.index("popularity")  # the better one first


def test_the_memory_of_one_model_does_not_hide_anothers(files: tuple[Path, Path]) -> None:
    """Much memory of this process, or of a model before, is not counted."""
    before = judge_alone("popularity", *files).peak_mb
    assert before is not None
    ballast = np.ones(50_000_000)
    after = judge_alone("popularity", *files).peak_mb
    assert after is not None
    assert abs(after - before) < ballast.nbytes / 2**20 / 4


def test_one_file_is_not_enough(command: Callable[..., Result], files: tuple[Path, Path]) -> None:
    """Nor is a name that no learner has."""
    result = command("evaluate", "--train", str(files[0]))
    assert (result.exit_code, "give both files or none" in result.stderr) == (2, True)
    with pytest.raises(UnknownModelError, match=r"no model called 'svn'; there are popularity, content"):
        command("evaluate", "--train", str(files[0]), "--test", str(files[1]), "--models", "ease,svn")


# On the database -----------------------------------------------------------------------------------------------------


def test_the_champions_recipe_is_judged_on_the_split(
    ready: Settings, command: Callable[..., Result], connection: psycopg.Connection, tmp_path: Path
) -> None:
    """As it was judged when it was trained: fitted on the earlier signals, for the live bundle has seen them all."""
    trained = learn(make_learner("nmf", {"n_components": 4}), ready, connection)
    assert command("publish", trained.version).exit_code == 0
    shown = command("evaluate", "--lists", "2", "--json", str(tmp_path / "out.json")).stdout
    (found,) = json.loads((tmp_path / "out.json").read_text())
    assert found["model"] == "nmf"
    of_lists = {name: value for name, value in trained.metrics.items() if not name.startswith("forecast_")}
    assert found["metrics"] == {name: pytest.approx(value) for name, value in of_lists.items()}
    for word in ("recall_cold_at_20", "light, 5 to 49", "exposure", "cubism", "found of what was left"):
        assert word in shown


def test_too_little_to_judge_is_said(command: Callable[..., Result], settings: Settings) -> None:
    """An empty database is no error."""
    result = command("evaluate", "--models", "popularity")
    assert result.exit_code == 0
    least = settings.min_training_users
    assert str(TooLittleDataError(model="popularity", users=0, interactions=0, min_users=least)) in result.stdout


# Training ------------------------------------------------------------------------------------------------------------


def test_all_learners_are_trained_and_a_refusal_is_said(
    ready: Settings, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One table at the end; one that takes no pool of this size is skipped."""
    monkeypatch.setattr(roster, "NAMES", ("popularity", "ease", "svd"))
    small = roster.item_item.make_ease(roster.item_item.EaseConfig(most_artworks=10))
    monkeypatch.setitem(roster.MAKERS, "ease", lambda _: small)
    shown = command("train", "--all").stdout
    assert "skipped: Too many artworks to train ease" in shown
    assert [line.split()[:2] for line in shown.splitlines() if line.strip()[:1].isdigit()][:2] == [
        ["1", "popularity"],
        ["2", "svd"],
    ]
    assert ready.registered_model == "vernissage"


def test_a_learner_is_trained_by_its_name(ready: Settings, command: Callable[..., Result]) -> None:
    """With the settings that it has, and an error for those that it has not."""
    said = command("train", "als", "--components", "4", "--iterations", "2").stdout.splitlines()[-1]
    assert said.startswith("version 1 (als) registered: recall@20 0.")
    with pytest.raises(BadSettingError, match="ease has most_artworks, neighbours, penalty"):
        command("train", "ease", "--components", "4")
    with pytest.raises(UnknownModelError):
        command("train", "nothing")
    assert ready.registered_model == "vernissage"


@pytest.mark.parametrize("name", [name for name in roster.NAMES if name != roster.DEFAULT])
def test_a_recipe_is_read_back_from_the_bundle(name: str, ready: Settings, connection: psycopg.Connection) -> None:
    """Name and settings, also those that differ from the usual ones."""
    given = read_given(ready, connection)
    learner = make_learner(name, seed=3)
    if name in {"popularity", "content"}:
        changed = learner
    else:
        setting, value = next((key, value) for key, value in learner.params.items() if type(value) is int)
        changed = make_learner(name, {setting: value + 1}, seed=3)
    manifest = fit(changed, given).manifest
    again = remake_learner(manifest)
    assert (again.name, again.kind, dict(again.params)) == (changed.name, changed.kind, dict(changed.params))


@pytest.mark.parametrize("name", ["nmf", "als", "blend"])
def test_equal_data_and_seed_give_equal_bytes(
    name: str, ready: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """The whole bundle but for the time it was made; als too, whose threads share rows and never a sum."""
    given = read_given(ready, connection)
    for turn in ("once", "again"):
        fresh = Given(given.snapshot, given.pool)
        bundle = make_bundle(fit(make_learner(name), fresh), fresh, "time", {})
        bundles.save(tmp_path / turn, bundle.manifest, bundle.arrays)
    arrays = {(tmp_path / turn / bundles.ARRAYS).read_bytes() for turn in ("once", "again")}
    assert len(arrays) == 1
    told = [json.loads((tmp_path / turn / bundles.MANIFEST).read_bytes()) for turn in ("once", "again")]
    assert {**told[0], "created_at": ""} == {**told[1], "created_at": ""}


# When to train anew --------------------------------------------------------------------------------------------------


def test_a_young_model_of_the_same_data_is_left_alone(
    ready: Settings, command: Callable[..., Result], connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing live: train. Same data, however old: do nothing. Others, and old or far moved: train. Drift is noted."""
    first = command("train", "popularity", "--if-stale", "--publish").stdout
    assert first.startswith("training: nothing is live\n")
    monkeypatch.setenv("VERNISSAGE_RETRAIN_HOURS", "0.000001")
    assert command("train", "popularity", "--if-stale").stdout == "nothing to do: the data have moved by 0.0%\n"
    connection.execute("""
        INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at)
        SELECT gen_random_uuid(), user_id, 1, 'favourite', '2026-03-02' FROM vernissage.events""")
    assert command("train", "popularity", "--if-stale").stdout.startswith("training: it is 0 hours old\n")
    monkeypatch.delenv("VERNISSAGE_RETRAIN_HOURS")
    assert command("train", "popularity", "--if-stale").stdout.startswith("training: the data have moved by ")
    monkeypatch.setenv("VERNISSAGE_RETRAIN_DRIFT", "1")
    assert command("train", "popularity", "--if-stale").stdout.startswith("nothing to do: the data have moved by ")
    (drift,) = connection.execute("SELECT drift FROM vernissage.live_models").fetchone() or (0.0,)
    assert 0.05 < drift < 1
    assert len(tracking.versions(ready)) == 3


# Searching for settings ----------------------------------------------------------------------------------------------


def test_a_search_goes_on_where_it_ended(ready: Settings, command: Callable[..., Result]) -> None:
    """Finished trials are found again by data and settings, make no versions, and the best can be trained as said."""
    first = command("tune", "svd", "--trials", "2").stdout
    assert "found" not in "".join(first.splitlines()[1:3])
    again = command("tune", "svd", "--trials", "3").stdout.splitlines()
    assert sum(line.rstrip().endswith("found") for line in again) == 2
    ndcg = [float(line.split()[2]) for line in again[1:4]]
    assert ndcg == sorted(ndcg, reverse=True)
    assert tracking.versions(ready) == []
    said = again[-1].removeprefix("best by ndcg_at_20: vernissage ")
    assert f"n_components={again[1].split()[0]}" in said
    assert command(*said.split()).stdout.splitlines()[-1].startswith("version 1 (svd) registered")


def test_what_cannot_be_searched_is_told_what_can(command: Callable[..., Result]) -> None:
    """Before anything is read."""
    with pytest.raises(UnknownModelError, match="there are nmf, svd, als"):
        command("tune", "popularity")
    assert command("train", "svd", "--set", "n_components").exit_code == 2


def test_every_space_holds_settings_that_its_learner_has() -> None:
    """And the usual ones are within its range, so that a search can confirm them."""
    for name in SPACES:
        for point in draw_points(name, 1_000, seed=0):
            assert make_learner(name, point).params.items() >= point.items()
    assert draw_points("als", 3, seed=1) == draw_points("als", 9, seed=1)[:3]
