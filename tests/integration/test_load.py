"""The load generator against the real service: what it asks for, what it counts, and that its account finds faults."""

from __future__ import annotations

import dataclasses
import json
import threading
import time

import pytest
from typer.testing import CliRunner

from features.database import connect
from features.errors import LoadFailedError
from tests.host import Host
from tests.service import Service
from training.cli import app
from training.load.checks import add_people, settle
from training.load.crowd import Load, Run, drive

TABS = 20
#: All times are exact as binary fractions, so that what falls due within them is exact too.
LOAD = Load(sessions=TABS, seconds_per_artwork=0.125, seconds=2.5, connections=4, retry_seconds=0.5, lists_per_visit=3)


def loaded(service: Service, host: Host, load: Load, people: str) -> Run:
    """What a run against the service saw."""
    add_people(host.connection, people, load.sessions)
    return drive(load, service.url, service.key, people=people, visit=f"{people}-tab")


def test_every_display_is_claimed_told_of_and_stored_once(service: Service, host: Host) -> None:
    """Each tab shows 10 artworks per list, which the log, the seen marks and the host's table hold; faults show."""
    host.fill(service, 200)
    run = loaded(service, host, LOAD, "calm")
    account = settle(host.connection, run)
    assert (account.lost, account.lost_signals, account.repeated) == (0, 0, 0)
    assert {len(tab.shown) for tab in run.tabs} <= {40, 50}  # the last list begun in time or not
    assert account.displays == host.count("SELECT count(*) FROM vernissage.events WHERE kind = 'displayed'")
    assert account.signals == host.count("SELECT count(*) FROM vernissage.events WHERE kind = 'dwell'")
    assert sum(tab.dry for tab in run.tabs) == sum(tab.refused for tab in run.tabs) == 0
    assert {kind: len(seen.took) for kind, seen in run.seen.items()} == dict.fromkeys(run.seen, 2 * TABS)
    assert all(seen.first_tries == len(seen.took) and not seen.unanswered for seen in run.seen.values())

    assert run.beacons > TABS / 2  # every page was loaded again, but for those that had seen nothing by then
    sessions = "SELECT count(DISTINCT session_id) FROM vernissage.events WHERE session_id LIKE 'calm-tab-%%'"
    assert host.count(sessions) > TABS

    one = run.tabs[3]
    host.connection.execute("DELETE FROM public.user_art_impressions WHERE user_id = %s", (one.user_id,))
    assert settle(host.connection, run).lost == len(one.shown)
    host.connection.execute("DELETE FROM vernissage.events WHERE user_id = %s AND kind = 'dwell'", (one.user_id,))
    assert settle(host.connection, run).lost_signals == one.signals
    host.connection.execute(
        """INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at)
           SELECT gen_random_uuid(), user_id, artwork_key, 'displayed', now() FROM vernissage.seen
           WHERE user_id = %s LIMIT 3""",
        (run.tabs[4].user_id,),
    )
    assert settle(host.connection, run).repeated == 3


def test_what_is_not_answered_in_time_is_sent_again_and_stored_once(service: Service, host: Host) -> None:
    """A worker stands still and goes on: it answers what was given up as well as what came in its place."""
    host.fill(service, 200)
    sleeper = threading.Thread(target=_pause_worker, args=(service, "rough"))
    sleeper.start()
    run = loaded(service, host, dataclasses.replace(LOAD, seconds=5, timeout=0.5), "rough")
    sleeper.join()
    account = settle(host.connection, run)
    assert (account.lost, account.lost_signals, account.repeated) == (0, 0, 0)
    assert sum(seen.statuses[0] for seen in run.seen.values()) > 0
    assert sum(len(seen.took) - seen.first_tries for seen in run.seen.values()) > 0


def test_the_command_prints_what_came_of_it(service: Service, host: Host) -> None:
    """As JSON, with the growth of the database; it needs no more than the address, a key and the database."""
    host.fill(service, 200)
    options = ["--sessions", "5", "--seconds-per-artwork", "0.1", "--minutes", "0.05", "--json"]
    given = ["load", service.url, "--key", service.key, *options]
    done = CliRunner().invoke(app, given, env={"DATABASE_URL": service.database_url}, catch_exceptions=False)
    assert done.exit_code == 0
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["lost"], found["lost_signals"], found["repeated"]) == (0, 0, 0)
    assert found["displays_per_second_asked"] == 50
    assert found["wal_kb_per_1000_displays"] > 0
    assert found["routes"]["claims"]["first_try_share"] == 1


@pytest.mark.parametrize(
    ("scopes", "words"), [([], "status 401: give a key"), (["tokens"], "status 403: the key needs")]
)
def test_a_load_without_a_good_key_fails_at_once_and_says_so(service: Service, scopes: list[str], words: str) -> None:
    """401 and 403, each with what to do about it; ten minutes of it would say no more."""
    key = ["--key", service.make_key(*scopes)] if scopes else []
    given = ["load", service.url, *key, "--sessions", "5"]
    done = CliRunner().invoke(app, given, env={"DATABASE_URL": service.database_url})
    assert isinstance(done.exception, LoadFailedError)
    assert words in str(done.exception)


def _pause_worker(service: Service, people: str) -> None:
    """Let the worker stand still for a moment once the warm-up is over: somebody has shown a third list."""
    (worker,) = service.worker_processes()
    shown = "SELECT count(*) FROM vernissage.events WHERE user_id LIKE %s AND kind = 'displayed'"
    with connect(service.database_url, autocommit=True) as connection:
        while (connection.execute(shown, (f"{people}-%",)).fetchone() or (0,))[0] <= TABS * 20:
            time.sleep(0.05)
    worker.suspend()
    time.sleep(1.5)
    worker.resume()
