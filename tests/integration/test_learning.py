"""From rows to a live model on a real database and a real registry: read, train, publish, follow, refuse, roll back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import msgspec
import numpy as np
import polars as pl
import psycopg
import pytest
from mlflow import MlflowClient
from structlog.testing import capture_logs
from threadpoolctl import threadpool_info, threadpool_limits
from typer.testing import Result

from features.errors import BadBundleError, NoEarlierVersionError, TooLittleDataError, TrackingError
from features.settings import Settings
from features.signals import read_events, read_signals
from serving import bundle as bundles
from tests.learning import RECIPE, learn
from training import nmf, popularity, tracking
from training.dataset import take_snapshot
from training.evaluate import FIGURES, WITH_ERROR
from training.learner import learn as fit
from training.publish import deliver, live_version, publish, rollback
from training.run import _at_once, read_given
from training.synth import World
from training.synth_store import write_world
from training.watch import Watcher

HALF_LIFE = 90.0
NMF = nmf.make_learner(nmf.NmfConfig(n_components=8))
POPULARITY = popularity.make_learner()
METRICS = {
    *(f"{name}_at_20" for name in (*FIGURES, "coverage", "novelty")),
    *(f"{name}_at_20_error" for name in WITH_ERROR),
    "auc_shown", "calibration_error", "repeat_rate", "users_judged", "users_judged_cold", "training_seconds",
    "forecast_ece", "forecast_brier",
}  # fmt: skip


@pytest.fixture
def two_versions(ready: Settings, connection: psycopg.Connection) -> Settings:
    """A registry with popularity as version 1 and NMF as version 2; version 1 is live."""
    assert learn(POPULARITY, ready, connection).version == "1"
    assert learn(NMF, ready, connection).version == "2"
    publish("1", ready, connection)
    return ready


def client(settings: Settings) -> MlflowClient:
    """MLflow's own client, as a notebook would use it."""
    uri = f"sqlite:///{settings.home_path / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def artifact(settings: Settings, version: str, name: str) -> Path:
    """A file of a registered version, where the registry keeps it."""
    source = client(settings).get_model_version("vernissage", version).source
    return Path(str(source).removeprefix("file://")) / name


def row(connection: psycopg.Connection) -> dict[str, Any]:
    """The row that workers watch."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return dict(cursor.execute("SELECT * FROM vernissage.live_models").fetchone() or {})


def audit(connection: psycopg.Connection) -> list[tuple[str, str]]:
    """What the audit log says of models."""
    return connection.execute("SELECT action, subject FROM vernissage.audit_log ORDER BY entry_id").fetchall()


# Signals ------------------------------------------------------------------------------------------------------------

HISTORY = """
INSERT INTO public.users (id) VALUES ('ann'), ('bob'), ('10');
INSERT INTO public.art_sessions (id, session_id, image_url, prompt) VALUES
    ('one', 's', '/1', 'a lake, "still"'), ('two', 's', '/2', 'same'),
    ('twin', 's', '/3', 'same'), ('007', 's', '/4', 'x');
INSERT INTO vernissage.artwork_keys (artwork_id) VALUES ('one'), ('two'), ('gone');
INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
    SELECT user_id, artwork_key, '2026-03-01 10:00+00'
    FROM vernissage.artwork_keys, (VALUES ('ann'), ('10')) AS u (user_id) WHERE user_id = 'ann' OR artwork_id = 'two';
INSERT INTO public.user_art_impressions (user_id, artwork_id, viewed_at) VALUES
    ('ann', 'one', '2026-03-05 10:00'), ('10', '007', '2026-03-02 10:00'),
    ('10', 'one', '2026-03-02 11:00'), ('10', 'two', '2026-03-02 12:00');
INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, value)
    SELECT gen_random_uuid(), 'ann', artwork_key, kind, '2026-03-01 10:01+00', value
    FROM vernissage.artwork_keys, (VALUES ('displayed', NULL), ('dwell', 8), ('favourite', NULL)) AS e (kind, value)
    WHERE artwork_id = 'two';
INSERT INTO public.art_favorites (user_id, artwork_id, created_at) VALUES
    ('ann', 'two', '2026-03-01 10:01'), ('bob', '007', '2026-03-03 10:00');
INSERT INTO vernissage.sessions (user_id, session_id, expires_at) VALUES
    ('bob', 'bobs', now()), ('bob', 'shared', now());
INSERT INTO public.rai_sessions (user_id, client_session_id) VALUES
    ('ann', 'anns'), ('ann', 'shared'), (NULL, 'nobodys');
INSERT INTO vernissage.served_lists (recommendation_id, user_id, session_id, policy, requested, artwork_keys, scores,
    rungs, propensities, candidate_hash, candidate_size, excluded)
    VALUES (gen_random_uuid(), '10', 'tens', 'p', 1, '{}', '{}', '{}', '{}', 0, 0, '{}');
INSERT INTO public.art_votes (session_id, art_prompt, vote, created_at) VALUES
    ('bobs', 'a lake, "still"', 1, '2026-03-04 10:00'),
    ('bobs', 'a lake, "still"', -1, '2026-03-04 10:05'),
    ('anns', 'x', 1, '2026-03-04 10:00'),
    ('tens', 'x', -1, '2026-03-04 10:00'),
    ('bobs', 'same', 1, '2026-03-04 10:00'),
    ('shared', 'x', 1, '2026-03-04 10:00'),
    ('nobodys', 'x', 1, '2026-03-04 10:00'),
    ('bobs', 'never made', 1, '2026-03-04 10:00'),
    ('bobs', 'x', 0, '2026-03-04 10:00');
"""


def test_every_source_ends_in_one_frame(connection: psycopg.Connection) -> None:
    """Seen marks, host impressions, events, favourites and votes, each once, at its time in UTC."""
    connection.execute(HISTORY)
    found = read_events(connection)
    rows = [(u, a, kind, value, f"{at:%m-%d %H:%M}") for u, a, kind, value, at in found.frame.iter_rows()]
    assert rows == [
        ("10", "007", "displayed", None, "03-02 10:00"),
        ("10", "007", "dislike", None, "03-04 10:00"),
        ("10", "one", "displayed", None, "03-02 11:00"),
        ("10", "two", "displayed", None, "03-01 10:00"),
        ("ann", "007", "like", None, "03-04 10:00"),
        ("ann", "gone", "displayed", None, "03-01 10:00"),
        ("ann", "one", "displayed", None, "03-01 10:00"),
        ("ann", "two", "displayed", None, "03-01 10:00"),
        ("ann", "two", "dwell", 8.0, "03-01 10:01"),
        ("ann", "two", "favourite", None, "03-01 10:01"),
        ("bob", "007", "favourite", None, "03-03 10:00"),
        ("bob", "one", "dislike", None, "03-04 10:05"),
    ]
    assert found.frame["at"].dtype == pl.Datetime("us", "UTC")


def test_votes_of_unclear_origin_are_left_out_and_counted(connection: psycopg.Connection) -> None:
    """An ambiguous or unknown prompt, a session of two people or of nobody: four votes, none guessed."""
    connection.execute(HISTORY)
    assert read_events(connection).votes_left_out == 4


def test_a_host_without_the_optional_tables_is_read(connection: psycopg.Connection) -> None:
    """No votes, favourites or session log: what is there still counts."""
    connection.execute(HISTORY)
    connection.execute("DROP TABLE public.rai_sessions CASCADE")
    likes = read_events(connection).frame.filter(pl.col("kind") == "like")["user_id"].to_list()
    assert likes == ["bob"]  # ann's session was known from there alone, and now nobody shares bob's
    connection.execute("DROP TABLE public.art_votes, public.art_favorites, public.user_art_impressions")
    assert read_signals(connection, HALF_LIFE)["user_id"].unique().sort().to_list() == ["10", "ann"]


def test_an_empty_database_gives_an_empty_frame(connection: psycopg.Connection) -> None:
    """With the same columns."""
    assert read_signals(connection, HALF_LIFE).columns == ["user_id", "artwork_id", "weight", "taste", "at"]


def test_equal_rows_have_an_equal_hash(connection: psycopg.Connection, world: World) -> None:
    """In whatever order the database returns them; one more event changes it."""
    write_world(connection, world)
    before = take_snapshot(connection, HALF_LIFE).digest
    connection.execute("CREATE TEMP TABLE kept AS TABLE vernissage.events; TRUNCATE vernissage.events")
    connection.execute("INSERT INTO vernissage.events SELECT * FROM kept ORDER BY event_key DESC")
    assert take_snapshot(connection, HALF_LIFE).digest == before
    one = "SELECT event_key FROM kept WHERE kind = 'dwell' LIMIT 1"
    connection.execute(f"DELETE FROM vernissage.events WHERE event_key = ({one})")
    assert take_snapshot(connection, HALF_LIFE).digest != before


# Training -----------------------------------------------------------------------------------------------------------


def test_what_is_registered_is_fitted_on_everything(
    two_versions: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Bit for bit what the learner makes of it alone, though a fit to be judged went on at the same time."""
    registered = bundles.load(tracking.download(two_versions, "2", tmp_path))
    alone = fit(NMF, read_given(two_versions, connection))
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(registered.arrays[name], array)


def test_fits_at_once_leave_threads_and_warnings_as_they_were() -> None:
    """Also where the one that began first ends first, and restores what it found."""
    with threadpool_limits(2), warnings.catch_warnings():
        warnings.simplefilter("default")
        before = [each["num_threads"] for each in threadpool_info()], warnings.filters[:]
        first, second = threading.Event(), threading.Event()

        def fit_first() -> None:
            with threadpool_limits(1), warnings.catch_warnings():
                first.set()
                second.wait()

        def fit_second() -> list[int]:
            first.wait()
            with threadpool_limits(1), warnings.catch_warnings():
                second.set()
                other.result()
                return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

        with _at_once(NMF) as beside:
            other = beside.submit(fit_first)
            assert set(beside.submit(fit_second).result()) == {1}
        assert ([each["num_threads"] for each in threadpool_info()], warnings.filters[:]) == before


def test_each_training_is_one_run_and_one_version(two_versions: Settings, connection: psycopg.Connection) -> None:
    """With parameters, metrics on the time split, the snapshot's hash and the bundle."""
    registry = client(two_versions)
    experiments = [experiment.experiment_id for experiment in registry.search_experiments()]
    runs = {run.info.run_name: run for run in registry.search_runs(experiments)}
    assert sorted(runs) == ["nmf", "popularity"]
    snapshot = take_snapshot(connection, two_versions.half_life_days)
    for name, version in (("popularity", "1"), ("nmf", "2")):
        run, registered = runs[name], registry.get_model_version("vernissage", version)
        assert registered.run_id == run.info.run_id
        assert run.info.status == "FINISHED"
        assert registered.tags == {"model": name, "snapshot": snapshot.digest, "split": "time"}
        assert registered.tags.items() <= run.data.tags.items()
        assert set(run.data.metrics) == METRICS
        assert (run.data.params["users"], run.data.params["half_life_days"]) == (str(snapshot.users), "90.0")
    assert runs["nmf"].data.params["n_components"] == "8"
    report = {artifact.path for artifact in registry.list_artifacts(runs["nmf"].info.run_id, "judged")}
    assert report == {f"judged/{name}" for name in (
        "metrics.csv", "slices.csv", "slices.png", "styles.csv", "styles.png"
    )}  # fmt: skip


def test_a_bundle_is_the_same_for_the_same_data_and_seed(
    two_versions: Settings, connection: psycopg.Connection
) -> None:
    """The arrays byte for byte; the manifest but for the time it was made."""
    third = learn(NMF, two_versions, connection).version
    first, again = (artifact(two_versions, version, bundles.ARRAYS).read_bytes() for version in ("2", third))
    assert first == again
    told = [json.loads(artifact(two_versions, version, bundles.MANIFEST).read_bytes()) for version in ("2", third)]
    assert {**told[0], "created_at": ""} == {**told[1], "created_at": ""}


def test_a_bundle_names_no_user(two_versions: Settings, world: World) -> None:
    """Neither in the manifest nor in the arrays, in either of numpy's encodings."""
    for name in (bundles.ARRAYS, bundles.MANIFEST):
        content = artifact(two_versions, "2", name).read_bytes()
        for user_id in world.users.ids:
            assert f'"{user_id}"'.encode() not in content
            assert str(user_id).ljust(4).encode("utf-32-le") not in content
    loaded = bundles.load(artifact(two_versions, "2", ""))
    assert set(loaded.arrays) == {
        "artwork_ids", "content_map", "factors", "projection", "gram", "prior",
        "probe_rows", "probe_weights", "probe_candidates", "probe_scores",
        "forecast/hazard", "forecast/returns", "forecast/said", "forecast/meant",
    }  # fmt: skip
    assert RECIPE.users not in {size for array in loaded.arrays.values() for size in array.shape}


def test_one_user_with_259_impressions_trains_nothing_and_exits_well(
    command: Callable[..., Result], connection: psycopg.Connection, settings: Settings
) -> None:
    """The host's own size: one sentence, a content bundle, published, exit code 0."""
    connection.execute("""
        INSERT INTO public.users (id) VALUES ('49396329');
        INSERT INTO public.art_sessions (id, session_id, image_url, prompt)
            SELECT 'art-' || n, 'catalogue-seed', '/' || n, 'prompt ' || n FROM generate_series(1, 265) AS n;
        INSERT INTO public.user_art_impressions (user_id, artwork_id)
            SELECT '49396329', 'art-' || n FROM generate_series(1, 259) AS n""")
    result = command("train", "nmf", "--publish")
    assert result.exit_code == 0
    too_little = TooLittleDataError(model="nmf", users=1, interactions=259, min_users=5)
    assert result.stdout == f"{too_little} Content and heuristics only.\nversion 1 (content) is live\n"
    live = bundles.load(Path(row(connection)["bundle_path"]))
    assert (live.manifest.kind, live.label, dict(live.arrays)) == ("content", "content:1", {})
    assert live_version(connection) == "1"
    assert settings.home_path.joinpath("mlflow.db").is_file()


def test_an_empty_database_trains_nothing_either(command: Callable[..., Result]) -> None:
    """Before the first impression."""
    result = command("train", "popularity")
    assert result.exit_code == 0
    assert "0 users, 0 signals" in result.stdout


# Publishing ---------------------------------------------------------------------------------------------------------


def test_publishing_delivers_a_bundle_marked_with_its_version(
    two_versions: Settings, connection: psycopg.Connection
) -> None:
    """Alias, row, folder and audit log agree; nothing half-made is left behind."""
    delivered = publish("2", two_versions, connection)
    live = row(connection)
    assert (live["alias"], live["version"], live["digest"]) == ("champion", "2", delivered.bundle.digest)
    loaded = bundles.load(Path(live["bundle_path"]))
    assert (loaded.label, loaded.digest) == ("nmf:2", live["digest"])
    assert client(two_versions).get_model_version_by_alias("vernissage", "champion").version in (2, "2")
    assert audit(connection) == [("publish", "1"), ("publish", "2")]
    assert Path(live["bundle_path"]).parent == two_versions.bundles_path
    assert not list(two_versions.bundles_path.glob(".incoming-*"))


def test_publishing_the_same_again_changes_nothing_on_disk(
    two_versions: Settings, connection: psycopg.Connection
) -> None:
    """The folder of a version stays as it is; a damaged one is made anew."""
    folder = publish("2", two_versions, connection).folder
    stamp = (folder / bundles.ARRAYS).stat().st_mtime_ns
    assert publish("2", two_versions, connection).folder == folder
    assert (folder / bundles.ARRAYS).stat().st_mtime_ns == stamp
    (folder / bundles.ARRAYS).write_bytes(b"spoilt")
    publish("2", two_versions, connection)
    assert bundles.load(folder).label == "nmf:2"


def test_rolling_back_walks_the_line_of_live_versions(two_versions: Settings, connection: psycopg.Connection) -> None:
    """Back to the version before, until there is none; a rollback is no version to come back to."""
    publish("2", two_versions, connection)
    third = learn(POPULARITY, two_versions, connection).version
    publish(third, two_versions, connection)
    assert rollback(two_versions, connection).bundle.label == "nmf:2"
    assert rollback(two_versions, connection).bundle.label == "popularity:1"
    assert live_version(connection) == tracking.alias(two_versions, "champion") == "1"
    with pytest.raises(NoEarlierVersionError, match="live so far: 1"):
        rollback(two_versions, connection)
    assert audit(connection)[-2:] == [("rollback", "2"), ("rollback", "1")]


def test_a_broken_version_cannot_be_published(two_versions: Settings, connection: psycopg.Connection) -> None:
    """The error says why; alias and row stay, and the refusal is in the audit log."""
    artifact(two_versions, "2", bundles.ARRAYS).write_bytes(b"spoilt")
    with pytest.raises(BadBundleError, match=r"the checksum of arrays\.npz does not match"):
        publish("2", two_versions, connection)
    assert tracking.alias(two_versions, "champion") == live_version(connection) == "1"
    assert audit(connection) == [("publish", "1"), ("refuse", "2")]
    assert row(connection)["refused_version"] == "2"


def test_a_version_that_scores_otherwise_cannot_be_published(
    two_versions: Settings, connection: psycopg.Connection
) -> None:
    """Sound files with other numbers than training's: the probes tell."""
    folder = artifact(two_versions, "2", "")
    loaded = bundles.load(folder)
    bundles.save(folder, loaded.manifest, {**loaded.arrays, "factors": loaded.arrays["factors"][::-1]})
    with pytest.raises(BadBundleError, match="its scores differ from training's"):
        publish("2", two_versions, connection)


def test_an_unknown_version_is_named(two_versions: Settings, connection: psycopg.Connection) -> None:
    """As a registry's error, and nothing moves."""
    with pytest.raises(TrackingError, match="no version 99; `vernissage models` lists"):
        publish("99", two_versions, connection)
    assert audit(connection) == [("publish", "1")]


def test_the_audit_log_names_the_account(two_versions: Settings, connection: psycopg.Connection) -> None:
    """Who ran it, and which bundle it was."""
    actor, detail = connection.execute("SELECT actor, detail FROM vernissage.audit_log").fetchone() or ("", {})
    assert actor
    assert detail == {"digest": row(connection)["digest"]}
    assert two_versions.registered_model == "vernissage"


# Following the alias ------------------------------------------------------------------------------------------------


def test_an_alias_moved_by_hand_is_followed(two_versions: Settings, connection: psycopg.Connection) -> None:
    """Through MLflow's own client, forth and back; a second look has nothing to do."""
    for version in ("2", "1"):
        client(two_versions).set_registered_model_alias("vernissage", "champion", version)
        outcome = deliver(two_versions, connection)
        assert outcome is not None
        assert (outcome.action, outcome.version) == ("publish", version)
        assert row(connection)["version"] == version
        assert deliver(two_versions, connection) is None
    assert audit(connection) == [("publish", "1"), ("publish", "2"), ("publish", "1")]


def test_a_broken_version_is_refused_once_and_the_old_one_stays(
    two_versions: Settings, connection: psycopg.Connection
) -> None:
    """The live row keeps its bundle and tells of the refusal; the next good version clears it."""
    before = row(connection)
    artifact(two_versions, "2", bundles.MANIFEST).unlink()
    client(two_versions).set_registered_model_alias("vernissage", "champion", "2")
    with capture_logs() as logs:
        watcher = Watcher(two_versions, two_versions.database_url)
        for _ in range(3):
            watcher.look()
    assert [(entry["log_level"], entry["version"]) for entry in logs] == [("error", "2")]
    after = row(connection)
    assert {key: after[key] for key in ("version", "bundle_path", "digest", "moved_at")} == {
        key: before[key] for key in ("version", "bundle_path", "digest", "moved_at")
    }
    assert (after["refused_version"], "manifest.json" in after["refused_reason"]) == ("2", True)
    assert audit(connection) == [("publish", "1"), ("refuse", "2")]
    third = learn(NMF, two_versions, connection).version
    client(two_versions).set_registered_model_alias("vernissage", "champion", third)
    assert deliver(two_versions, connection) is not None
    assert (row(connection)["version"], row(connection)["refused_version"]) == (third, None)


def test_a_version_without_files_is_refused(two_versions: Settings, connection: psycopg.Connection) -> None:
    """Registered by hand from nowhere."""
    registry = client(two_versions)
    version = str(registry.create_model_version("vernissage", source=str(two_versions.home_path / "nowhere")).version)
    registry.set_registered_model_alias("vernissage", "champion", version)
    outcome = deliver(two_versions, connection)
    assert outcome is not None
    assert (outcome.action, "holds no such files" in outcome.reason) == ("refuse", True)
    assert live_version(connection) == "1"


def test_a_lost_bundle_is_delivered_again(two_versions: Settings, connection: psycopg.Connection) -> None:
    """The row names it, the disk has lost it."""
    shutil.rmtree(two_versions.bundles_path)
    assert deliver(two_versions, connection) is not None
    assert bundles.load(Path(row(connection)["bundle_path"])).label == "popularity:1"


def test_without_an_alias_there_is_nothing_to_do(two_versions: Settings, connection: psycopg.Connection) -> None:
    """A deleted alias, like a registry that is still empty, leaves the live row alone."""
    client(two_versions).delete_registered_model_alias("vernissage", "champion")
    assert deliver(two_versions, connection) is None
    assert deliver(msgspec.structs.replace(two_versions, registered_model="another"), connection) is None
    assert live_version(connection) == "1"


def test_the_watcher_says_trouble_once_and_goes_on(
    two_versions: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registry away, database away, both back: one line each, and then it follows."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry_away = msgspec.structs.replace(two_versions, tracking_uri="http://127.0.0.1:9")
    watcher = Watcher(two_versions, two_versions.database_url)
    client(two_versions).set_registered_model_alias("vernissage", "champion", "2")
    with capture_logs() as logs:
        for settings, url in (
            (registry_away, two_versions.database_url),
            (registry_away, two_versions.database_url),
            (two_versions, "postgresql://127.0.0.1:9/none"),
            (two_versions, "postgresql://127.0.0.1:9/none"),
            (two_versions, two_versions.database_url),
        ):
            watcher._settings, watcher._database_url = settings, url
            watcher.look()
    assert [entry["event"] for entry in logs] == [
        "the alias cannot be followed, trying again",
        "the alias cannot be followed, trying again",
        "the alias is followed again",
        "version is live",
    ]
    assert [entry["reason"].split(":")[0] for entry in logs[:2]] == ["TrackingError", "DatabaseUnavailableError"]
    assert live_version(connection) == "2"


def test_the_watcher_process_follows_within_seconds_and_ends_when_told(
    two_versions: Settings, connection: psycopg.Connection
) -> None:
    """`vernissage watch`: an alias moved elsewhere is in the row well within 10 s; SIGTERM ends it with code 0."""
    environment = {**os.environ, "DATABASE_URL": two_versions.database_url, "VERNISSAGE_HOME": two_versions.home}
    command_line = [sys.executable, "-m", "training.cli", "watch"]
    with subprocess.Popen(command_line, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["event"] == "watching the registry"
        client(two_versions).set_registered_model_alias("vernissage", "champion", "2")
        moved = time.monotonic()
        while live_version(connection) != "2" and time.monotonic() < moved + 30:
            time.sleep(0.05)
        took = time.monotonic() - moved
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert took < 30
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["version is live"]


# The command --------------------------------------------------------------------------------------------------------


def test_the_command_trains_publishes_lists_and_rolls_back(ready: Settings, command: Callable[..., Result]) -> None:
    """What a person types, and what the last lines say."""
    assert command("models").stdout == "no versions yet: make one with `vernissage train nmf`\n"
    trained = command("train", "popularity", "--publish").stdout.splitlines()[-1]
    assert trained.startswith("version 1 (popularity) is live: recall@20 0.")
    trained = command("train", "nmf", "--components", "4").stdout.splitlines()[-1]
    assert trained.startswith("version 2 (nmf) registered: recall@20 0.")
    assert trained.endswith("(time split); publish it with `vernissage publish 2`")
    assert command("publish", "2", "--force").stdout.splitlines()[-1] == "version 2 (nmf) is live"
    listed = command("models").stdout
    assert "nmf" in listed
    assert "champion, live" in listed
    assert command("rollback").stdout == "version 1 (popularity) is live again\n"
    assert client(ready).get_model_version("vernissage", "2").tags["model"] == "nmf"


@pytest.mark.parametrize("words", [("publish", "0"), ("publish", "two"), ("train", "nmf", "--components", "0")])
def test_the_command_refuses_bad_arguments(command: Callable[..., Result], words: tuple[str, ...]) -> None:
    """With exit code 2 and a word about the argument."""
    result = command(*words)
    assert result.exit_code == 2
    assert "Invalid value" in result.stderr


def test_mlflow_is_told_to_phone_nobody() -> None:
    """Its telemetry is off wherever our tracking is imported."""
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert mlflow.__version__
