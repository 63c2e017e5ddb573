"""The write path of the real service: recorded once each however often sent, never lost, never refused in error."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.host import Host
from tests.service import Service

EVENTS = "SELECT count(*) FROM vernissage.events WHERE user_id = %s"
SEEN = "SELECT count(*) FROM vernissage.seen WHERE user_id = %s"
KINDS = ["displayed", "dwell", "like", "dislike", "skip", "favourite"]


def event(user: str, artwork: str, kind: str = "displayed", **fields: Any) -> dict[str, Any]:
    """One event with an id of its own."""
    return {"event_id": str(uuid.uuid4()), "user_id": user, "artwork_id": artwork, "kind": kind} | fields


def offered(service: Service, user: str, session: str = "") -> set[str]:
    """Everything that the user may still be offered."""
    return {item["artwork_id"] for item in service.next(user, session, limit=200)["items"]}


class TestOnce:
    """A double send is not a double display."""

    def test_a_plain_list_sent_twice_is_recorded_once(self, service: Service, host: Host, user: str) -> None:
        """By user, session and artwork; the second time everything is known."""
        pool = host.fill(service, 5)
        first = service.display(user, pool[:3], "tab")
        again = service.display(user, pool[:4], "tab")
        assert (first["new"], first["known"], first["received"]) == (pool[:3], [], 3)
        assert (again["new"], again["known"], again["received"]) == (pool[3:4], pool[:3], 4)
        assert host.count(EVENTS, user) == 4
        assert host.count(SEEN, user) == 4

    def test_another_session_s_display_is_another_event_of_something_known(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Two displays, one sighting."""
        pool = host.fill(service, 2)
        service.display(user, pool[:1], "one")
        assert service.display(user, pool[:1], "two")["known"] == pool[:1]
        assert (host.count(EVENTS, user), host.count(SEEN, user)) == (2, 1)

    def test_an_event_sent_twice_is_recorded_once(self, service: Service, host: Host, user: str) -> None:
        """By its id, whatever else the second one says; another user's client may use the same ids."""
        pool = host.fill(service, 2)
        like = event(user, pool[0], "like", event_id="1")
        assert service.record(like)["new"] == ["1"]
        again = service.record(like | {"kind": "dislike"}, event(user, pool[1], event_id="2"))
        assert (again["new"], again["known"]) == (["2"], ["1"])
        assert service.record(like | {"user_id": f"{user}-2"})["new"] == ["1"]
        kinds = "SELECT string_agg(kind, ',' ORDER BY kind) FROM vernissage.events WHERE user_id = %s"
        assert host.connection.execute(kinds, (user,)).fetchone() == ("displayed,like",)

    def test_duplicates_within_a_batch_count_once(self, service: Service, host: Host, user: str) -> None:
        """In the answer, in the log and in the metrics."""
        pool = host.fill(service, 2)
        before = service.metrics()
        answer = service.display(user, [pool[0], pool[1], pool[0]])
        assert (answer["received"], answer["new"], answer["known"]) == (3, pool, [])
        twice = event(user, pool[0], "skip", event_id="same")
        assert service.record(twice, twice)["new"] == ["same"]
        assert host.count(EVENTS, user) == 3
        name = 'vernissage_events_total{kind="skip",outcome="new"}'
        assert service.metrics()[name] - before.get(name, 0.0) == 1.0

    def test_an_event_id_used_for_two_artworks_marks_both_as_seen(
        self, service: Service, host: Host, user: str
    ) -> None:
        """A client's mistake must not bring back what was shown."""
        pool = host.fill(service, 3)
        service.record(event(user, pool[0], event_id="x"), event(user, pool[1], event_id="x"))
        assert offered(service, user) == {pool[2]}

    @pytest.mark.parametrize("shape", ["list", "events"])
    def test_eight_threads_that_send_the_same_batch_record_it_once(
        self, service: Service, host: Host, user: str, shape: str
    ) -> None:
        """Each artwork is new in exactly one answer."""
        pool = host.fill(service, 40)
        batch = [event(user, artwork) for artwork in pool]

        def send(_: int) -> dict[str, Any]:
            return service.display(user, pool, "tab") if shape == "list" else service.record(*batch)

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(send, range(8)))
        assert sum(len(answer["new"]) for answer in answers) == 40
        assert (host.count(EVENTS, user), host.count(SEEN, user)) == (40, 40)

    def test_batches_of_many_users_at_once_do_not_lock_each_other_out(self, service: Service, host: Host) -> None:
        """Eight threads, the same twelve users in different orders."""
        pool = host.fill(service, 12)
        users = [f"user-{uuid.uuid4()}" for _ in range(12)]

        def send(turn: int) -> dict[str, Any]:
            order = users[turn:] + users[:turn]
            return service.record(*(event(user, artwork) for user, artwork in zip(order, pool, strict=True)))

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(send, range(12)))
        assert sum(len(answer["new"]) for answer in answers) == 144
        assert all(host.count(SEEN, user) == 12 for user in users)

    @given(data=st.data())
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_sequence_of_batches_answers_what_sets_would(
        self, service: Service, host: Host, six: list[str], data: st.DataObject
    ) -> None:
        """New is what no batch had before, known is what one had; nothing is lost or invented."""
        user = f"user-{uuid.uuid4()}"
        sent: set[tuple[str, str]] = set()
        seen: set[str] = set()
        batches = st.lists(st.lists(st.sampled_from([*six, "ghost"]), min_size=1, max_size=6), max_size=4)
        for batch in data.draw(batches):
            session = data.draw(st.sampled_from(["one", "two"]))
            answer = service.display(user, batch, session)
            here = [artwork for artwork in dict.fromkeys(batch) if artwork != "ghost"]
            assert answer["new"] == [artwork for artwork in here if artwork not in seen]
            assert answer["known"] == [artwork for artwork in here if artwork in seen]
            assert answer["unknown"] == (["ghost"] if "ghost" in batch else [])
            assert answer["received"] == len(batch)
            seen |= set(batch)
            sent |= {(session, artwork) for artwork in batch}
        assert (host.count(EVENTS, user), host.count(SEEN, user)) == (len(sent), len(seen))
        assert offered(service, user) == set(six) - seen


class TestUnknown:
    """What the host does not hold is answered 200, kept where it matters, and counted."""

    def test_an_unknown_user_s_impressions_count_for_never_repeating(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The host's own table has no room for them: its users are a foreign key."""
        pool = host.fill(service, 4)
        name = 'vernissage_unknown_references_total{what="user"}'
        before = service.metrics().get(name, 0.0)
        answer = service.display(user, pool[:3])
        assert (answer["new"], answer["unknown"], answer["unknown_users"]) == (pool[:3], [], [user])
        assert offered(service, user) == {pool[3]}
        assert host.count("SELECT count(*) FROM public.user_art_impressions WHERE user_id = %s", user) == 0
        assert service.metrics()[name] == before + 1

    def test_an_unknown_artwork_is_kept_and_not_offered_when_it_appears(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The impression came before the row."""
        pool = host.fill(service, 2)
        name = 'vernissage_unknown_references_total{what="artwork"}'
        before = service.metrics().get(name, 0.0)
        coming = f"artwork-{user}"
        answer = service.display(user, [coming, pool[0]])
        assert (answer["new"], answer["known"], answer["unknown"]) == ([pool[0]], [], [coming])
        assert service.metrics()[name] == before + 1
        host.add_artwork(coming)
        host.wait(service)
        assert offered(service, user) == {pool[1]}
        assert coming in offered(service, f"{user}-2")

    def test_events_name_what_is_unknown_too(self, service: Service, host: Host, user: str) -> None:
        """Event ids where events were sent, artwork ids where artworks are meant."""
        host.fill(service, 1)
        answer = service.record(event(user, "nowhere", "like", event_id="e"))
        assert (answer["new"], answer["unknown"], answer["unknown_users"]) == (["e"], ["nowhere"], [user])


class TestHostTables:
    """What we record is where the host looks for it."""

    def test_a_known_user_s_displays_become_the_host_s_impressions(
        self, service: Service, host: Host, user: str
    ) -> None:
        """With the moment of the display, in UTC and without a zone."""
        pool = host.fill(service, 2)
        host.add_user(user)
        service.record(event(user, pool[0], at="2026-03-01T12:00:00+02:00"))
        rows = host.connection.execute(
            "SELECT artwork_id, viewed_at FROM public.user_art_impressions WHERE user_id = %s", (user,)
        ).fetchall()
        assert rows == [(pool[0], datetime(2026, 3, 1, 10, tzinfo=UTC).replace(tzinfo=None))]

    def test_the_first_sighting_stays(self, service: Service, host: Host, user: str) -> None:
        """Ours keeps the first one, in the host's table too."""
        (artwork,) = host.fill(service, 1)
        host.add_user(user)
        host.see(user, [artwork], viewed_at="2025-06-01")
        service.record(event(user, artwork), event(user, artwork, "like"))
        rows = host.connection.execute(
            "SELECT viewed_at::text, version FROM public.user_art_impressions WHERE user_id = %s", (user,)
        ).fetchall()
        assert rows == [("2025-06-01 00:00:00", 1)]
        assert service.next(user)["items"] == []


class TestEvents:
    """Kinds, moments and values."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_comes_from_somebody_who_has_seen_the_artwork(
        self, service: Service, host: Host, user: str, kind: str
    ) -> None:
        """Also a like without a display."""
        pool = host.fill(service, 2)
        lease = str(uuid.uuid4())
        service.record(
            event(user, pool[0], kind, value=3.5, session_id="tab", lease_id=lease, at="2026-01-02T03:04:05Z")
        )
        row = host.connection.execute(
            "SELECT kind, value, session_id, lease_id::text, at FROM vernissage.events WHERE user_id = %s", (user,)
        ).fetchone()
        assert row == (kind, 3.5, "tab", lease, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert offered(service, user) == {pool[1]}

    def test_a_moment_without_a_zone_is_utc_and_one_ahead_of_the_clock_is_now(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Clients' clocks are wrong now and then."""
        pool = host.fill(service, 2)
        ahead = datetime.now(UTC) + timedelta(hours=5)
        service.record(event(user, pool[0], at="2026-01-02T03:04:05"), event(user, pool[1], at=ahead.isoformat()))
        rows = host.connection.execute("SELECT at FROM vernissage.events WHERE user_id = %s ORDER BY at", (user,))
        first, second = (row[0] for row in rows)
        assert first == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert abs(second - datetime.now(UTC)) < timedelta(minutes=1)

    @pytest.mark.parametrize("value", [0, 1e-300, 1e6, 0.1, 5e-324])
    def test_any_value_within_the_bounds_is_recorded(
        self, service: Service, host: Host, user: str, value: float
    ) -> None:
        """Also one that is too small for the column: it is as good as zero."""
        (artwork,) = host.fill(service, 1)
        assert len(service.record(event(user, artwork, "dwell", value=value))["new"]) == 1
        found = host.connection.execute("SELECT value FROM vernissage.events WHERE user_id = %s", (user,)).fetchone()
        assert found == (pytest.approx(value, rel=1e-6, abs=1e-30),)


class TestTransport:
    """How browsers send."""

    def test_a_beacon_of_1680_ids_as_plain_text_is_recorded(self, service: Service, host: Host, user: str) -> None:
        """SendBeacon sends text/plain, and 64 KiB hold about that many uuids."""
        host.fill(service, 1)
        ids = [str(uuid.uuid4()) for _ in range(1_680)]
        body = json.dumps({"user_id": user, "artwork_ids": ids})
        answer = service.client.post("/v1/impressions", content=body, headers={"Content-Type": "text/plain"})
        assert answer.status_code == 200
        assert answer.json()["unknown"] == ids

    def test_five_thousand_events_of_as_many_users_are_one_batch(self, service: Service, host: Host) -> None:
        """The largest batch that is allowed, and each user has a lock of its own."""
        (artwork,) = host.fill(service, 1)
        batch = [event(f"user-{uuid.uuid4()}", artwork, "like") for _ in range(5_000)]
        answer = service.record(*batch)
        assert (answer["received"], len(answer["new"]), len(answer["unknown_users"])) == (5_000, 5_000, 5_000)


class TestTwoWorkers:
    """Impressions posted to one worker count at once on the other."""

    def test_what_one_worker_records_the_other_knows(self, pair: Service, own_host: Host, user: str) -> None:
        """One worker at a time is put to sleep, so that it is known who answers."""
        own_host.add_artworks(20)
        own_host.wait(pair)
        first, second = pair.worker_processes()
        shown: set[str] = set()
        for awake, asleep in [(first, second), (second, first)] * 2:
            awake.resume()
            asleep.suspend()
            pair.client.close()
            del pair.client
            answer = pair.next(user, "tab", limit=3)
            artworks = [item["artwork_id"] for item in answer["items"]]
            assert len(artworks) == 3
            assert not shown & set(artworks)
            assert answer["unseen_total"] == 20 - len(shown)
            held = {item["artwork_id"] for item in pair.next(user, "other", limit=3)["items"]}
            assert not held & (shown | set(artworks))
            pair.display(user, artworks, "tab")
            shown |= set(artworks)
        assert len(shown) == 12


@pytest.fixture
def pair(start: Any) -> Iterator[Service]:
    """A service of two workers."""
    return start(workers=2)


@pytest.fixture(scope="module")
def six(service: Service, host: Host) -> list[str]:
    """A pool of six."""
    return host.fill(service, 6)
