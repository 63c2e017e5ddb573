"""Claims against the real service: what may be drawn is granted once, to the session that holds it, and to no other."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from features.database import connect
from tests.host import Host
from tests.integration.conftest import BRISK
from tests.service import Service
from tests.tab import assert_lost, claim_of, displays_of, expire, items_of, seen_of, send, statuses

THREADS = 16
SPOIL = "UPDATE vernissage.sessions SET expires_at = now() WHERE user_id = %s AND random() < 0.3"


class TestGranted:
    """What a claim does when it is granted."""

    def test_a_claim_is_display_log_seen_mark_and_impression_in_one(
        self, service: Service, host: Host, user: str
    ) -> None:
        """All three are there once it is answered, and the artwork is held no more."""
        host.fill(service, 6)
        host.add_user(user)
        item = items_of(service, user, "tab", 3)[0]
        body = claim_of(user, "tab", item)
        answer = send(service, body)
        assert answer.status_code == 200
        expected = {"claim_id": body["claim_id"], "artwork_id": item["artwork_id"], "status": "claimed"}
        assert answer.json() == {"claims": [expected]}
        assert displays_of(host, user) == {item["artwork_id"]: 1}
        assert seen_of(host, user) == {item["artwork_id"]}
        impressions = "SELECT count(*) FROM public.user_art_impressions WHERE user_id = %s AND artwork_id = %s"
        assert host.count(impressions, user, item["artwork_id"]) == 1
        assert item["artwork_id"] not in {other["artwork_id"] for other in items_of(service, user, "tab", 6)}
        lease = host.connection.execute(
            "SELECT lease_id::text, session_id FROM vernissage.events WHERE user_id = %s", (user,)
        ).fetchone()
        assert lease == (item["lease_id"], "tab")

    def test_the_same_claim_again_gets_the_same_answer_and_is_one_display(
        self, service: Service, host: Host, user: str
    ) -> None:
        """A lost reply is not a lost artwork, also after the lease has ended."""
        host.fill(service, 6)
        body = claim_of(user, "tab", items_of(service, user, "tab", 3)[0])
        first = send(service, body)
        again = send(service, body)
        expire(host, user, "tab")
        late = send(service, body)
        assert [answer.status_code for answer in (first, again, late)] == [200, 200, 200]
        assert first.json() == again.json() == late.json()
        assert displays_of(host, user).total() == 1

    def test_an_unknown_user_may_claim(self, service: Service, host: Host, user: str) -> None:
        """Nobody has to be in the host's table of users."""
        host.fill(service, 3)
        assert send(service, claim_of(user, "tab", items_of(service, user, "tab", 1)[0])).status_code == 200

    def test_callers_without_a_session_share_one(self, service: Service, host: Host, user: str) -> None:
        """The empty session id is an id like any other."""
        host.fill(service, 3)
        assert send(service, claim_of(user, "", items_of(service, user, "", 1)[0])).status_code == 200

    def test_a_claim_is_a_sign_of_life(self, service: Service, host: Host, user: str) -> None:
        """From then on the leases live as long as showing them takes, not for the first minute only."""
        host.fill(service, 10)
        items = items_of(service, user, "tab", 10)
        left = "SELECT extract(epoch FROM expires_at - now()) FROM vernissage.sessions WHERE user_id = %s"
        assert 50 < host.count(left, user) <= 60
        send(service, claim_of(user, "tab", items[0])).raise_for_status()
        assert host.count(left, user) > 10 * 60

    def test_an_artwork_from_an_earlier_list_that_was_offered_again_may_be_claimed_by_either_lease(
        self, service: Service, host: Host, user: str
    ) -> None:
        """A re-offer names another list; the client may have either in mind."""
        host.fill(service, 6)
        first, again = items_of(service, user, "tab", 2), items_of(service, user, "tab", 2)
        assert [item["artwork_id"] for item in first] == [item["artwork_id"] for item in again]
        assert send(service, claim_of(user, "tab", first[0])).status_code == 200
        assert send(service, claim_of(user, "tab", again[1])).status_code == 200

    def test_what_only_its_own_session_has_loaded_may_be_claimed_by_it_and_counts_as_displayed_then(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Loaded is not displayed; another session's load forbids the claim."""
        host.fill(service, 6)
        own, others = items_of(service, user, "tab", 2)
        for item, session in ((own, "tab"), (others, "another")):
            host.connection.execute(
                "INSERT INTO vernissage.seen (user_id, artwork_key, loaded_by)"
                " SELECT %s, artwork_key, %s FROM vernissage.artwork_keys WHERE artwork_id = %s",
                (user, session, item["artwork_id"]),
            )
        assert send(service, claim_of(user, "tab", own)).status_code == 200
        assert_lost(send(service, claim_of(user, "tab", others)))
        assert host.count("SELECT count(*) FROM vernissage.seen WHERE user_id = %s AND loaded_by IS NULL", user) == 1


class TestRefused:
    """409 lease_lost, and nothing is written."""

    def test_another_claim_id_for_a_shown_artwork(self, service: Service, host: Host, user: str) -> None:
        """Shown is shown, by whatever claim."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        send(service, claim_of(user, "tab", item)).raise_for_status()
        assert_lost(send(service, claim_of(user, "tab", item)))
        assert displays_of(host, user).total() == 1

    def test_the_lease_of_another_session(self, service: Service, host: Host, user: str) -> None:
        """Naming that session's lease does not help."""
        host.fill(service, 6)
        item = items_of(service, user, "one", 2)[0]
        items_of(service, user, "two", 2)
        assert_lost(send(service, claim_of(user, "two", item)))
        assert_lost(send(service, claim_of(user, "never-asked", item)))
        assert displays_of(host, user).total() == 0
        assert send(service, claim_of(user, "one", item)).status_code == 200

    def test_the_lease_of_another_user(self, service: Service, host: Host, user: str) -> None:
        """The same session id does not help."""
        host.fill(service, 6)
        theirs = items_of(service, f"{user}-2", "tab", 6)[0]
        items_of(service, user, "tab", 6)
        assert_lost(send(service, claim_of(user, "tab", theirs)))
        assert seen_of(host, user) == set()

    def test_a_lease_id_that_is_nobody_s(self, service: Service, host: Host, user: str) -> None:
        """The artwork is held, but not by that lease."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        assert_lost(send(service, claim_of(user, "tab", item | {"lease_id": str(uuid.uuid4())})))

    def test_the_lease_of_another_list_of_its_own(self, service: Service, host: Host, user: str) -> None:
        """Both artworks are held, each by its own list."""
        host.fill(service, 4)
        first = items_of(service, user, "tab", 1)[0]
        second = items_of(service, user, "tab", 2)[1]
        assert_lost(send(service, claim_of(user, "tab", second | {"lease_id": first["lease_id"]})))

    def test_an_artwork_that_is_not_on_the_list_or_nowhere(self, service: Service, host: Host, user: str) -> None:
        """A lease is of the artworks on it."""
        pool = host.fill(service, 6)
        items = items_of(service, user, "tab", 2)
        free = next(artwork for artwork in pool if artwork not in {item["artwork_id"] for item in items})
        assert_lost(send(service, claim_of(user, "tab", items[0] | {"artwork_id": free})))
        assert_lost(send(service, claim_of(user, "tab", items[0] | {"artwork_id": "no such artwork"})))
        assert seen_of(host, user) == set()

    def test_an_expired_lease_even_where_nobody_else_took_it(self, service: Service, host: Host, user: str) -> None:
        """Whoever slept too long asks again; then the artwork is on lease once more."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 3)[0]
        expire(host, user, "tab")
        assert_lost(send(service, claim_of(user, "tab", item)))
        assert seen_of(host, user) == set()
        again = {other["artwork_id"]: other for other in items_of(service, user, "tab", 3)}
        assert send(service, claim_of(user, "tab", again[item["artwork_id"]])).status_code == 200

    def test_what_expired_goes_to_the_next_session_and_is_that_one_s_alone(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The sleeper wakes before or after the new holder's claim: it is refused either way."""
        host.fill(service, 4)
        old = items_of(service, user, "sleeper", 4)
        expire(host, user, "sleeper")
        new = {item["artwork_id"]: item for item in items_of(service, user, "awake", 4)}
        assert set(new) == {item["artwork_id"] for item in old}
        assert_lost(send(service, claim_of(user, "sleeper", old[0])))
        assert send(service, claim_of(user, "awake", new[old[0]["artwork_id"]])).status_code == 200
        assert_lost(send(service, claim_of(user, "sleeper", old[0])))
        assert displays_of(host, user) == {old[0]["artwork_id"]: 1}

    def test_what_was_displayed_past_the_claims(self, service: Service, host: Host, user: str) -> None:
        """An impression of another session, or one that the host wrote itself, ends the lease."""
        host.fill(service, 4)
        host.add_user(user)
        items = items_of(service, user, "tab", 2)
        service.display(user, [items[0]["artwork_id"]], "another")
        host.see(user, [items[1]["artwork_id"]])
        assert_lost(send(service, claim_of(user, "tab", items[0])))
        assert_lost(send(service, claim_of(user, "tab", items[1])))

    @pytest.mark.parametrize("status", ["archived", "pending"])
    def test_an_artwork_that_left_the_pool(self, service: Service, host: Host, user: str, status: str) -> None:
        """The host's word counts at the very moment of the claim."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        host.set_status(item["artwork_id"], status)
        assert_lost(send(service, claim_of(user, "tab", item)))
        assert seen_of(host, user) == set()
        host.set_status(item["artwork_id"], None)
        assert send(service, claim_of(user, "tab", item)).status_code == 200

    def test_an_artwork_that_the_host_deleted(self, service: Service, host: Host, user: str) -> None:
        """There is nothing left to draw."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        host.delete(item["artwork_id"])
        assert_lost(send(service, claim_of(user, "tab", item)))

    def test_a_user_whom_the_host_deleted(self, service: Service, host: Host, user: str) -> None:
        """At once, whenever the rows themselves go."""
        host.fill(service, 3)
        host.add_user(user)
        items = items_of(service, user, "tab", 2)
        assert send(service, claim_of(user, "tab", items[0])).status_code == 200
        host.connection.execute("DELETE FROM public.users WHERE id = %s", (user,))
        assert_lost(send(service, claim_of(user, "tab", items[1])))

    def test_the_refusals_and_grants_are_counted(self, service: Service, host: Host, user: str) -> None:
        """By outcome."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        before = service.metrics()
        body = claim_of(user, "tab", item)
        for sent in (body, body, claim_of(user, "tab", item)):
            send(service, sent)
        after = service.metrics()
        for outcome in ("granted", "repeated", "lost"):
            name = f'vernissage_claims_total{{outcome="{outcome}"}}'
            assert after[name] - before.get(name, 0) == 1


class TestLists:
    """Claims ahead, for short times without a line."""

    def test_a_list_is_claimed_artwork_by_artwork(self, service: Service, host: Host, user: str) -> None:
        """One that is lost does not spoil the others; the same list again gets the same answer."""
        host.fill(service, 8)
        items = items_of(service, user, "tab", 4)
        host.set_status(items[1]["artwork_id"], "archived")
        claims = [claim_of(user, "tab", item) for item in items]
        first, again = send(service, *claims), send(service, *claims)
        assert statuses(first) == ["claimed", "lease_lost", "claimed", "claimed"]
        assert first.json() == again.json()
        assert [claim["claim_id"] for claim in first.json()["claims"]] == [claim["claim_id"] for claim in claims]
        assert displays_of(host, user).total() == 3

    def test_a_list_of_one_that_is_lost_is_an_answer_and_no_error(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Only a single claim is answered 409."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        body = {"claims": [claim_of(user, "another", item)]}
        assert statuses(service.client.post("/v1/claims", json=body)) == ["lease_lost"]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            (lambda claims: claims * 11, "claims"),
            (lambda _: [], "claims"),
            (lambda claims: [claims[0], claims[0] | {"claim_id": "another"}], "claims"),
            (lambda claims: [claims[0], claims[1] | {"claim_id": claims[0]["claim_id"]}], "claims"),
            (lambda claims: [claims[0], claims[1] | {"session_id": "another"}], "claims"),
            (lambda claims: [claims[0], claims[1] | {"user_id": "another"}], "claims"),
            (lambda claims: [claims[0], claims[1] | {"claim_id": ""}], "claims[1].claim_id"),
            (lambda claims: [claims[0], claims[1] | {"lease_id": "seven"}], "claims[1].lease_id"),
        ],
        ids=["22", "none", "artwork twice", "claim id twice", "two sessions", "two users", "no id", "bad lease"],
    )
    def test_a_list_that_breaks_a_rule_is_refused_as_a_whole(
        self, service: Service, host: Host, user: str, change: Any, field: str
    ) -> None:
        """1 to 20 claims of one session, each artwork and each id once."""
        host.fill(service, 4)
        claims = [claim_of(user, "tab", item) for item in items_of(service, user, "tab", 2)]
        answer = service.client.post("/v1/claims", json={"claims": change(claims)})
        assert answer.status_code == 400
        assert answer.json()["field"] == field
        assert seen_of(host, user) == set()


class TestIds:
    """A claim id is its session's own: clients may simply count."""

    def test_two_sessions_may_use_the_same_claim_ids(self, service: Service, host: Host, user: str) -> None:
        """Each is granted what it holds."""
        host.fill(service, 6)
        for session in ("one", "two"):
            item = items_of(service, user, session, 1)[0]
            assert send(service, claim_of(user, session, item, "1")).status_code == 200
        assert len(seen_of(host, user)) == 2

    def test_a_sleeper_with_the_same_claim_id_is_not_taken_for_the_one_who_was_granted_it(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Both tabs count from 1, and the artwork has passed from the one to the other."""
        host.fill(service, 1)
        old = items_of(service, user, "sleeper", 1)[0]
        expire(host, user, "sleeper")
        new = items_of(service, user, "awake", 1)[0]
        assert send(service, claim_of(user, "awake", new, "1")).status_code == 200
        assert_lost(send(service, claim_of(user, "sleeper", old, "1")))

    def test_an_id_that_has_been_used_for_another_artwork_is_refused_and_burns_nothing(
        self, service: Service, host: Host, user: str
    ) -> None:
        """What it names stays unseen, and can be claimed by an id of its own."""
        host.fill(service, 4)
        first, second = items_of(service, user, "tab", 2)
        send(service, claim_of(user, "tab", first, "1")).raise_for_status()
        assert_lost(send(service, claim_of(user, "tab", second, "1")))
        assert seen_of(host, user) == {first["artwork_id"]}
        assert send(service, claim_of(user, "tab", second, "2")).status_code == 200


class TestPassedOver:
    """An artwork that later ones were shown before three times is broken for that session."""

    def test_it_is_taken_out_for_that_session_and_no_other(self, service: Service, host: Host, user: str) -> None:
        """Its image does not load there: it is offered to another tab."""
        pool = host.fill(service, 8)
        items = items_of(service, user, "tab", 4)
        broken = items[0]["artwork_id"]
        for item in items[1:3]:
            send(service, claim_of(user, "tab", item)).raise_for_status()
        assert items_of(service, user, "tab", 1)[0]["artwork_id"] == broken, "twice is not too often"
        send(service, claim_of(user, "tab", items[3])).raise_for_status()
        shown = {item["artwork_id"] for item in items[1:4]}
        answer = service.next(user, "tab", limit=8)
        assert {item["artwork_id"] for item in answer["items"]} == set(pool) - shown - {broken}
        assert answer["reason"] == "filtered"
        expire(host, user, "tab")
        assert {item["artwork_id"] for item in items_of(service, user, "other", 8)} == set(pool) - shown

    def test_claims_ahead_of_one_request_pass_once(self, service: Service, host: Host, user: str) -> None:
        """Three claimed together do not take out what comes first."""
        host.fill(service, 8)
        items = items_of(service, user, "tab", 4)
        assert statuses(send(service, *[claim_of(user, "tab", item) for item in items[1:]])) == ["claimed"] * 3
        assert items_of(service, user, "tab", 1)[0]["artwork_id"] == items[0]["artwork_id"]

    def test_what_was_passed_over_is_taken_out_when_its_lease_expires(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Once is enough then: it was offered and never drawn while others were."""
        pool = host.fill(service, 6)
        items = items_of(service, user, "tab", 3)
        send(service, claim_of(user, "tab", items[1])).raise_for_status()
        expire(host, user, "tab")
        offered = {item["artwork_id"] for item in items_of(service, user, "tab", 6)}
        assert offered == set(pool) - {items[0]["artwork_id"], items[1]["artwork_id"]}


class TestRaces:
    """Two worker processes, many threads, one artwork."""

    def test_of_many_claims_of_one_artwork_exactly_one_wins(self, workers: Service, host: Host, user: str) -> None:
        """Different claim ids at once, again and again."""
        host.fill(workers, 12)
        items = items_of(workers, user, "tab", 10)
        with ThreadPoolExecutor(THREADS) as threads:
            for item in items:
                sent = [claim_of(user, "tab", item) for _ in range(THREADS)]
                codes = list(threads.map(lambda body: send_anew(workers, body), sent))
                assert sorted(codes) == [200, *[409] * (THREADS - 1)]
        assert set(displays_of(host, user).values()) == {1}

    def test_the_same_claim_sent_at_once_is_granted_each_time_and_is_one_display(
        self, workers: Service, host: Host, user: str
    ) -> None:
        """Double sends of one claim id."""
        host.fill(workers, 12)
        with ThreadPoolExecutor(THREADS) as threads:
            for item in items_of(workers, user, "tab", 5):
                body = claim_of(user, "tab", item)
                assert set(threads.map(lambda _, body=body: send_anew(workers, body), range(THREADS))) == {200}
        assert set(displays_of(host, user).values()) == {1}
        assert displays_of(host, user).total() == 5

    def test_tabs_that_lose_their_leases_all_the_time_never_draw_the_same(
        self, workers: Service, host: Host, user: str
    ) -> None:
        """Eight tabs ask and claim while somebody expires everybody's leases; few artworks, so that they collide."""
        pool = host.fill(workers, 60)

        def live(tab: str) -> list[str]:
            drawn: list[str] = []
            with httpx.Client(base_url=workers.url, headers=headers(workers), timeout=30) as client:
                for _ in range(12):
                    path = f"/v1/users/{user}/next"
                    items = client.get(path, params={"session_id": tab, "limit": 6}).json()["items"]
                    drawn += [
                        item["artwork_id"]
                        for item in items[:4]
                        if client.post("/v1/claims", json=claim_of(user, tab, item)).status_code == 200
                    ]
            return drawn

        def spoil() -> None:
            with connect(workers.database_url, autocommit=True) as connection:
                for _ in range(150):
                    connection.execute(
                        "UPDATE vernissage.sessions SET expires_at = now() WHERE user_id = %s AND random() < 0.3",
                        (user,),
                    )

        with ThreadPoolExecutor(9) as threads:
            spoiling = threads.submit(spoil)
            drawn = Counter(artwork for part in threads.map(live, "abcdefgh") for artwork in part)
            spoiling.result()
        assert set(drawn.values()) == {1}
        assert set(drawn) <= set(pool)
        assert displays_of(host, user) == drawn


class TestWaiting:
    """Requests of one user come one after the other: each is judged by the time when its turn comes."""

    def test_a_claim_whose_lease_ends_while_it_waits_is_refused(self, service: Service, host: Host, user: str) -> None:
        """It arrived in time, but somebody else may have asked before its turn came."""
        host.fill(service, 3)
        item = items_of(service, user, "tab", 1)[0]
        with ThreadPoolExecutor(1) as threads:
            with turn(service, user):
                waiting = threads.submit(send_anew, service, claim_of(user, "tab", item))
                await_one_in_line(host)
                expire(host, user, "tab")
            assert waiting.result() == 409
        assert seen_of(host, user) == set()

    def test_a_list_offers_what_was_given_free_while_it_waited(self, service: Service, host: Host, user: str) -> None:
        """The other tab's leases have ended by then."""
        host.fill(service, 3)
        held = {item["artwork_id"] for item in items_of(service, user, "sleeper", 3)}
        with ThreadPoolExecutor(1) as threads:
            with turn(service, user):
                waiting = threads.submit(items_of, service, user, "awake", 3)
                await_one_in_line(host)
                expire(host, user, "sleeper")
            assert {item["artwork_id"] for item in waiting.result()} == held


@contextlib.contextmanager
def turn(service: Service, user: str) -> Iterator[None]:
    """It is our turn: whatever is asked for this user waits."""
    with connect(service.database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (user,))
        yield


def await_one_in_line(host: Host) -> None:
    """Until somebody waits for a turn."""
    end = time.monotonic() + 30
    while not host.count("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def workers(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A second service on the module's database, with two workers."""
    home = tmp_path_factory.mktemp("workers")
    with Service(service.database_url, home, workers=2, environment=BRISK) as started:
        yield started


def headers(service: Service) -> dict[str, str]:
    """What names the key."""
    return {"Authorization": f"Bearer {service.key}"}


def send_anew(service: Service, body: dict[str, Any]) -> int:
    """The status of a claim sent over a connection of its own, so that any worker may answer."""
    return httpx.post(f"{service.url}/v1/claims", json=body, headers=headers(service), timeout=30).status_code


def test_leases_as_short_as_the_settings_say(start: Any, own_host: Host, user: str) -> None:
    """With real time and no help: two seconds until the first sign of life, two and a bit afterwards."""
    pool = own_host.add_artworks(4)
    service = start(
        environment={
            "VERNISSAGE_LEASE_FIRST_SECONDS": "2",
            "VERNISSAGE_LEASE_GRACE_SECONDS": "2",
            "VERNISSAGE_SECONDS_PER_ARTWORK": "0.2",
        }
    )
    items = items_of(service, user, "one", 4)
    assert len(items) == len(pool)
    time.sleep(1.2)
    assert send(service, claim_of(user, "one", items[0])).status_code == 200
    time.sleep(1.6)
    assert send(service, claim_of(user, "one", items[1])).status_code == 200, "renewed by the claim before"
    time.sleep(3.6)
    assert_lost(send(service, claim_of(user, "one", items[2])))
    assert len(items_of(service, user, "two", 4)) == 2
