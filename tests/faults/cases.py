"""What is done to the service: each case breaks something for real and reports what its clients met.

Nothing here judges; the tests and the evidence script do.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import psutil

from features import postgres
from features.database import connect
from features.settings import Settings
from serving import bundle as bundles
from serving.bundle import ARRAYS, MANIFEST, Manifest
from tests.faults.clients import Audience, Caller, Met, Report, report
from tests.proxy import Proxy
from tests.service import Service

Manner = Literal["reset", "stalled"]

FAULTY = "tests.faulty:Vernissage"
FAULTS = "FAULTS"  # the variable that tells it where to read of its troubles

ARTWORKS = 6_000  # more than the quickest audience can draw in a case
STYLES, RARE = 4, 5
OUTAGE_SECONDS = 5.0
BEFORE_SECONDS = 1.0
AFTER_SECONDS = 1.0
RECOVERY_SECONDS = 30.0
RANK_THREADS = 4
BODY_SECONDS = 2.0
ATTEMPTS = 5
SLOW_CLIENTS = 30
BROKEN_LINE = "bundle refused, the old one keeps serving"


# What the service stands on


def stock(database_url: str, artworks: int = ARTWORKS) -> None:
    """Fill an empty pool; every artwork is in one of four styles, but for five that are in a rare one."""
    with connect(database_url) as connection:
        connection.execute(
            """
            INSERT INTO public.art_sessions (id, session_id, image_url, prompt, styles)
            SELECT 'artwork-' || i, 'catalogue-seed', '/' || i || '.png', 'picture ' || i,
                   ARRAY[CASE WHEN i <= %s THEN 'rare' ELSE 'style' || i %% %s END]
            FROM generate_series(1, %s) AS i
            """,
            (RARE, STYLES, artworks),
        )


def write_bundle(folder: Path, version: str, artworks: int = ARTWORKS) -> str:
    """A sound popularity bundle that knows the whole pool; its digest."""
    arrays = {
        "artwork_ids": np.array([f"artwork-{number}" for number in range(1, artworks + 1)]),
        "factors": np.arange(artworks, dtype=np.float32).reshape(-1, 1),
        "prior": np.arange(artworks, dtype=np.float32),
    }
    manifest = Manifest(
        kind="factors",
        model="popularity",
        version=version,
        fold_in="constant",
        created_at="2025-11-01T00:00:00Z",
        snapshot="0" * 64,
        half_life_days=90.0,
    )
    return bundles.save(folder, manifest, arrays).digest


def point_at(database_url: str, folder: Path, version: str, digest: str) -> None:
    """Make this bundle the champion, as publishing does."""
    with connect(database_url) as connection:
        connection.execute(
            """
            INSERT INTO vernissage.live_models (alias, version, bundle_path, digest) VALUES ('champion', %s, %s, %s)
            ON CONFLICT (alias) DO UPDATE SET version = excluded.version, bundle_path = excluded.bundle_path,
                digest = excluded.digest, moved_at = now()
            """,
            (version, str(folder), digest),
        )


def publish(database_url: str, home: Path, version: str) -> None:
    """A sound bundle, live; the same version is the same bundle."""
    folder = home / f"bundle-{version}"
    point_at(database_url, folder, version, write_bundle(folder, version))


def flip_a_byte(folder: Path, digest: str) -> str:
    """Change one bit of the arrays."""
    content = bytearray((folder / ARRAYS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / ARRAYS).write_bytes(content)
    return digest


def lose_a_file(folder: Path, digest: str) -> str:
    """Remove the arrays."""
    (folder / ARRAYS).unlink()
    return digest


def garble_the_manifest(folder: Path, digest: str) -> str:
    """Make the manifest something that is not JSON."""
    (folder / MANIFEST).write_text("not { JSON", "utf-8")
    return digest


def mistake_the_digest(_: Path, digest: str) -> str:
    """Leave the bundle alone and write another digest into the row."""
    return digest[::-1]


DAMAGES: dict[str, Callable[[Path, str], str]] = {
    "byte flipped": flip_a_byte,
    "file missing": lose_a_file,
    "manifest not JSON": garble_the_manifest,
    "wrong digest": mistake_the_digest,
}


def publish_damaged(database_url: str, home: Path, version: str, damage: str) -> None:
    """A broken bundle, live."""
    folder = home / f"bundle-{version}"
    point_at(database_url, folder, version, DAMAGES[damage](folder, write_bundle(folder, version)))


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until ``holds``, and return the seconds it took. Raises TimeoutError naming ``what``."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - started


def counter(service: Service, name: str, **labels: str) -> float:
    """A counter's value; 0 when it was never touched."""
    text = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return service.metrics().get(f"{name}{{{text}}}", 0.0)


def skipped(service: Service, source: str, reason: str) -> float:
    """How often a source of ranking was passed over for this reason."""
    return counter(service, "vernissage_rung_skipped_total", source=source, reason=reason)


def refusals(service: Service) -> float:
    """How many bundles were refused."""
    return counter(service, "vernissage_bundle_loads_total", outcome="refused")


def refusal_lines(service: Service) -> list[str]:
    """The versions named in the log's lines about refusals."""
    return [line["version"] for line in service.log_lines() if line["event"] == BROKEN_LINE]


def health(service: Service) -> dict[str, Any]:
    """The body of /v1/health, whatever its status."""
    found: dict[str, Any] = service.stranger.get("/v1/health").json()
    return found


def live_version(service: Service) -> str | None:
    """The version that ranks."""
    found: str | None = service.client.get("/v1/models/live").json()["version"]
    return found


# Models


def no_bundle(service: Service) -> Report:
    """Ask without any bundle: as a stranger, as somebody with likes, and wanting more of a style than there is.

    On a busy machine nearness may be late once or twice, and is asked for again.
    """
    caller, rungs = Caller(service), set[int]()
    for number in range(ATTEMPTS):
        stranger, fan = f"stranger-{number}", f"fan-{number}"
        caller.record(fan, "s", ["artwork-8", "artwork-12", "artwork-16"], "like")
        rungs.update(_rungs(caller.next(stranger, "s")))
        rungs.update(_rungs(caller.next(fan, "s")))
        rungs.update(_rungs(caller.next(fan, "other", limit=4 * RARE, styles="rare")))
        if len(rungs) > 2:
            break
    caller.close()
    asked = sum(met.route == "next" for met in caller.met)
    unanswered = asked - skipped(service, "model", "missing")
    return report(caller.met, rungs=sorted(rungs), uncounted=unanswered, bundle=health(service)["bundle"]["state"])


def corrupt_bundles(database_url: str, home: Path) -> Report:
    """Every damage with no bundle before it (the first one at the start), then every one while a good one serves."""
    first, *others = DAMAGES
    publish_damaged(database_url, home, "bad-0", first)
    with Service(database_url, home / "service") as service:
        wait_for("a refusal at the start", lambda: refusals(service) == 1)
        at_start = health(service)["bundle"]["state"]
        with Audience(service, "corrupt", users=2, tabs=1) as audience:
            for number, damage in enumerate(others, start=1):
                publish_damaged(database_url, home, f"bad-{number}", damage)
                wait_for(damage, lambda number=number: refusals(service) == number + 1)
            without = live_version(service)
            publish(database_url, home, "good-1")
            loads = [wait_for("good-1", lambda: live_version(service) == "good-1")]
            kept = []
            for number, damage in enumerate(DAMAGES, start=len(DAMAGES)):
                publish_damaged(database_url, home, f"bad-{number}", damage)
                wait_for(damage, lambda number=number: refusals(service) == number + 1)
                kept.append(live_version(service))
            refused = health(service)["bundle"]["state"]
            publish(database_url, home, "good-1")
            wait_for("the rollback", lambda: health(service)["bundle"]["state"] == "ok")
            publish(database_url, home, "good-2")
            loads.append(wait_for("good-2", lambda: live_version(service) == "good-2"))
        return report(
            audience.met,
            audience.people,
            database_url,
            at_start=at_start,
            without=without,
            kept=kept,
            refused=refused,
            finally_=health(service)["bundle"]["state"],
            load_seconds=max(loads),
            refusals=refusals(service),
            lines=refusal_lines(service),
            workers=service.started_workers(),
        )


@contextlib.contextmanager
def trouble(faults: Path, *lines: str) -> Iterator[None]:
    """Rankers in trouble for a while."""
    faults.write_text("\n".join(lines), "utf-8")
    try:
        yield
    finally:
        faults.write_text("", "utf-8")


def raising_rankers(service: Service, faults: Path) -> Report:
    """The model breaks, then nearness as well."""
    caller = Caller(service)
    caller.record("raising", "s", ["artwork-8"], "like")
    with trouble(faults, "model raise"):
        near = caller.next("raising", "s", limit=20)
    with trouble(faults, "model raise", "content raise"):
        last = caller.next("raising", "t", limit=20)
    after = caller.next("raising", "u", limit=20)
    caller.close()
    return report(
        caller.met,
        model_broken_rungs=_rungs(near),
        both_broken_rungs=_rungs(last),
        after_rungs=_rungs(after),
        model_broken=skipped(service, "model", "broken"),
        content_broken=skipped(service, "content", "broken"),
        bundle=health(service)["bundle"]["state"],
    )


def sleeping_ranker(service: Service, faults: Path, seconds: float = 6.0) -> Report:
    """The model sleeps far beyond the deadline: first some threads are stuck, then all."""
    caller = Caller(service)
    usual = [_timed(caller, f"usual-{number}") for number in range(10)]
    busy, ready = [], []
    started = time.monotonic()
    with trouble(faults, f"model sleep {seconds}"):
        late = [_timed(caller, f"late-{number}") for number in range(RANK_THREADS)]
        for number in range(RANK_THREADS):
            busy.append(_timed(caller, f"busy-{number}"))
            ready.append(service.is_ready())
    asleep = time.monotonic() - started
    users = (f"awake-{number}" for number in itertools.count())  # each new, for what is on lease keeps its place
    recovered = wait_for("the model again", lambda: _rungs(caller.next(next(users), "s")) == [1], 2 * seconds)
    caller.close()
    return report(
        caller.met,
        late_added_ms=1000 * (max(late) - statistics.median(usual)),
        busy_added_ms=1000 * (max(busy) - statistics.median(usual)),
        late=skipped(service, "model", "late"),
        busy=skipped(service, "model", "busy"),
        ready=all(ready),
        woke_after=asleep + recovered,
    )


def _rungs(answer: dict[str, Any] | None) -> list[int]:
    """The rungs that served, once each."""
    return sorted({item["rung"] for item in answer["items"]}) if answer else []


def _timed(caller: Caller, user_id: str) -> float:
    """Seconds of one request."""
    caller.next(user_id, "s")
    return caller.met[-1].seconds


# The database


def start_without_database(service: Service, proxy: Proxy) -> Report:
    """Start the service while the database is down, ask, bring the database up."""
    proxy.refuse()
    service.start(wait=False)
    wait_for("a listening service", lambda: _probe(service, "/livez") == httpx.codes.OK, 60)
    readiness = _probe(service, "/readyz")
    caller = Caller(service)
    with ThreadPoolExecutor() as threads:
        threads.submit(caller.next, "early", "s")
        threads.submit(caller.display, "early", "s", ["artwork-1"])
        threads.submit(caller.get, "/v1/users/early/coverage")
        threads.submit(caller.get, "/v1/models/live")
        state = health(service)["status"]
    proxy.restore()
    ready = wait_for("readiness", service.is_ready, RECOVERY_SECONDS)
    codes = sorted({met.code or "none" for met in caller.met})
    refused = len(caller.met)
    caller.next("early", "s")
    caller.close()
    return report(caller.met, readiness_before=readiness, health=state, ready_after=ready, codes=codes, refused=refused)


def outage(service: Service, proxy: Proxy, database_url: str, manner: Manner, name: str) -> Report:
    """Cut the line for five seconds under load; everybody must be served again."""
    with Audience(service, name) as audience:
        time.sleep(BEFORE_SECONDS)
        broke = time.monotonic()
        (proxy.refuse if manner == "reset" else proxy.stall)()
        time.sleep(OUTAGE_SECONDS)
        restored = time.monotonic()
        proxy.restore()
        wait_for("everybody served", lambda: audience.everybody_served(restored), RECOVERY_SECONDS)
        time.sleep(AFTER_SECONDS)
    return _broken_for_a_while(audience, database_url, broke, restored)


def stop_in_a_stall(service: Service, proxy: Proxy) -> float:
    """Ask the service to end while the database swallows everything; the seconds that takes."""
    proxy.stall()
    return service.stop()


def database_killed(service: Service, settings: Settings) -> Report:
    """Kill PostgreSQL with all its processes under load, and start it again."""
    url = postgres.url(settings)
    with Audience(service, "killed") as audience:
        time.sleep(BEFORE_SECONDS)
        broke = time.monotonic()
        server = psutil.Process(postgres.status(settings).pid)
        _kill([server, *server.children()])
        assert postgres.start(settings) == url, "the port moved: the service cannot follow"
        restored = time.monotonic()
        wait_for("everybody served", lambda: audience.everybody_served(restored), RECOVERY_SECONDS)
        time.sleep(AFTER_SECONDS)
    found = _broken_for_a_while(audience, url, broke, restored)
    found.facts["restart_seconds"] = restored - broke
    return found


def worker_killed(service: Service, database_url: str) -> Report:
    """Kill one of two workers under load, and wait until it has been replaced."""
    with Audience(service, "worker") as audience:
        time.sleep(BEFORE_SECONDS)
        victim = service.worker_processes()[0]
        broke = time.monotonic()
        victim.kill()
        respawned = wait_for("a new worker", lambda: service.started_workers() == 3, RECOVERY_SECONDS)
        meanwhile = [met for met in audience.met if met.began > broke and met.status == httpx.codes.OK]
        time.sleep(AFTER_SECONDS)
    return report(
        audience.met,
        audience.people,
        database_url,
        respawned_after=respawned,
        served_meanwhile=len(meanwhile),
        workers=len(service.worker_processes()),
        longest_gap=_longest_gap(audience.met, broke),
    )


def _kill(processes: list[psutil.Process]) -> None:
    """Kill processes and wait until they are dead, which a signal does not."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for("their death", lambda: not any(_lives(process) for process in processes))


def _lives(process: psutil.Process) -> bool:
    """Whether a process still does anything."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _broken_for_a_while(audience: Audience, database_url: str, broke: float, restored: float) -> Report:
    """The report of a case in which the database was away from ``broke`` to ``restored``."""
    failed = [met for met in audience.met if met.status != httpx.codes.OK]
    return report(
        audience.met,
        audience.people,
        database_url,
        in_outage=sum(met.began < restored and met.ended > broke for met in audience.met),
        recovered_after=max((met.ended - restored for met in failed), default=0.0),
        codes=sorted({met.code or "none" for met in failed}),
        served_after=sum(met.began > restored and met.status == httpx.codes.OK for met in audience.met),
    )


def _longest_gap(met: list[Met], since: float) -> float:
    """The longest time after ``since`` in which nobody was served."""
    ends = [since, *(each.ended for each in met if each.status == httpx.codes.OK and each.ended > since)]
    return max(after - before for before, after in itertools.pairwise(ends))


def _probe(service: Service, path: str) -> int:
    """The status of one of BentoML's probes; 0 while nobody listens."""
    try:
        return httpx.get(service.url + path, timeout=5).status_code
    except httpx.TransportError:
        return 0


# Clients


def clients_that_leave(service: Service, faults: Path) -> Report:
    """Clients that hang up while their list is made, and in the middle of their body."""
    caller = Caller(service)
    with trouble(faults, "model sleep 0.04"):
        for number in range(SLOW_CLIENTS):
            line = _send(service, f"GET /v1/users/leaver/next?session_id={number} HTTP/1.1", "")
            time.sleep(0.01)
            line.close()
    for _ in range(SLOW_CLIENTS):
        _send_half(service).close()
    gone = {"route": "/v1/impressions", "code": "client_gone"}
    wait_for("the hang-ups", lambda: counter(service, "vernissage_problems_total", **gone) == SLOW_CLIENTS)
    for number in range(10):
        caller.next("leaver", f"after-{number}")
    caller.close()
    traces = service.read_log().count("Traceback")
    return report(caller.met, gone=counter(service, "vernissage_problems_total", **gone), traces=traces)


def clients_that_dawdle(service: Service) -> Report:
    """Clients that send half a body and wait, while others want to be served."""
    lines = [_send_half(service) for _ in range(SLOW_CLIENTS)]
    caller = Caller(service)
    for number in range(20):
        caller.next(f"prompt-{number}", "s")
    started = time.monotonic()
    answers = [_read_all(line) for line in lines]
    waited = time.monotonic() - started
    caller.close()
    refused = sum(b"408" in answer.split(b"\r\n")[0] and b"body_too_slow" in answer for answer in answers)
    return report(caller.met, refused=refused, waited=waited)


def _send(service: Service, request: str, body: str) -> socket.socket:
    """Send a request by hand and leave the line open."""
    line = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    line.sendall(
        f"{request}\r\nHost: test\r\nAuthorization: Bearer {service.key}\r\n{body or chr(13) + chr(10)}".encode()
    )
    return line


def _send_half(service: Service) -> socket.socket:
    """Announce a body and send the beginning of it."""
    return _send(service, "POST /v1/impressions HTTP/1.1", 'Content-Length: 1000\r\n\r\n{"user_id": "slow", ')


def _read_all(line: socket.socket) -> bytes:
    """Whatever arrives until the service hangs up."""
    with line:
        return b"".join(iter(lambda: line.recv(65_536), b""))
