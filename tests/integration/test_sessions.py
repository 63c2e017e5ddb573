"""The life of a session against the real service: heartbeats, the end, a reload, and how long an item holds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.host import Host
from tests.service import Service
from tests.tab import assert_lost, claim_of, expire, items_of, seen_of, send

HOOK = '''
"""Signs an image URL anew."""


def resign(artwork_id, url):
    return url.split("?")[0] + "?Expires=4102444800&Signature=new&for=" + artwork_id
'''


def beat(service: Service, user: str, session: str, **counters: Any) -> httpx.Response:
    """Send a heartbeat."""
    return service.client.post(f"/v1/sessions/{session}/heartbeat", json={"user_id": user} | counters)


def end(service: Service, user: str, session: str) -> int:
    """End a session and return how many artworks it gave back."""
    answer = service.client.delete(f"/v1/sessions/{session}", params={"user_id": user})
    return int(answer.raise_for_status().json()["returned"])


def ids(items: list[dict[str, Any]]) -> list[str]:
    """The artwork ids of items."""
    return [item["artwork_id"] for item in items]


def seconds_left(host: Host, user: str, session: str) -> float:
    """How long a session's leases live."""
    row = host.connection.execute(
        "SELECT extract(epoch FROM expires_at - now())::float8 FROM vernissage.sessions"
        " WHERE user_id = %s AND session_id = %s",
        (user, session),
    ).fetchone()
    assert row is not None
    return float(row[0])


class TestHeartbeat:
    """A sign of life renews what is still live, and brings what only the client can count."""

    def test_it_renews_the_leases_and_names_what_is_held(self, service: Service, host: Host, user: str) -> None:
        """Depth x seconds per artwork x 1.5 + a minute, and never less than before."""
        host.fill(service, 8)
        held = ids(items_of(service, user, "tab", 4))
        assert 50 < seconds_left(host, user, "tab") <= 60
        found = beat(service, user, "tab").raise_for_status().json()
        assert found["live"] is True
        assert found["held"] == held
        assert found["seconds_left"] == pytest.approx(4 * 60 * 1.5 + 60, abs=5)
        assert seconds_left(host, user, "tab") == pytest.approx(found["seconds_left"], abs=5)
        items_of(service, user, "tab", 1)
        assert seconds_left(host, user, "tab") == pytest.approx(found["seconds_left"], abs=5), "not shortened by a list"

    def test_what_was_shown_is_held_no_more(self, service: Service, host: Host, user: str) -> None:
        """The rest stays, in the order of offering."""
        host.fill(service, 8)
        items = items_of(service, user, "tab", 4)
        send(service, claim_of(user, "tab", items[0])).raise_for_status()
        assert beat(service, user, "tab").json()["held"] == ids(items[1:])

    def test_it_does_not_bring_expired_leases_back(self, service: Service, host: Host, user: str) -> None:
        """Somebody else may have been offered the artworks; the next list is a new start."""
        host.fill(service, 8)
        item = items_of(service, user, "tab", 4)[0]
        expire(host, user, "tab")
        expected = {"live": False, "seconds_left": 0, "held": []}
        assert beat(service, user, "tab").raise_for_status().json() == expected
        assert_lost(send(service, claim_of(user, "tab", item)))
        assert len(items_of(service, user, "other", 8)) == 8

    def test_a_session_that_never_asked_has_nothing(self, service: Service, user: str) -> None:
        """It is not live, and it is no error either: a page may beat before it asks."""
        assert beat(service, user, "nobody").raise_for_status().json()["live"] is False

    def test_another_user_s_session_of_that_name_is_another_session(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Sessions belong to their user."""
        host.fill(service, 4)
        items_of(service, user, "tab", 2)
        assert beat(service, f"{user}-2", "tab").json()["live"] is False
        assert end(service, f"{user}-2", "tab") == 0
        assert beat(service, user, "tab").json()["live"] is True

    def test_the_client_s_counters_are_added_up_and_kept(self, service: Service, host: Host, user: str) -> None:
        """Each by its growth since the last heartbeat; a reloaded page that starts from zero takes nothing away."""
        host.fill(service, 4)
        items_of(service, user, "tab", 2)
        names = ("flush_successes", "flush_failures", "late_draws")
        before = _client_counters(service)
        for value in (3, 5, 5, 0, 1):
            beat(service, user, "tab", **dict.fromkeys(names, value), pending=7).raise_for_status()
        after = _client_counters(service)
        assert {name: after[name] - before[name] for name in names} == dict.fromkeys(names, 5 + 1)
        row = host.connection.execute(
            "SELECT client FROM vernissage.sessions WHERE user_id = %s AND session_id = 'tab'", (user,)
        ).fetchone()
        assert row == (dict.fromkeys(names, 1) | {"pending": 7},)

    @pytest.mark.parametrize("counter", ["flush_successes", "flush_failures", "pending", "late_draws"])
    @pytest.mark.parametrize("value", [-1, 1.5, "1", None, 2**53 + 1])
    def test_a_counter_is_a_whole_number_from_0(self, service: Service, user: str, counter: str, value: Any) -> None:
        """The answer names the counter."""
        answer = beat(service, user, "tab", **{counter: value})
        assert (answer.status_code, answer.json()["field"]) == (400, counter)

    def test_leases_live_on_through_heartbeats_and_end_without(self, start: Any, own_host: Host, user: str) -> None:
        """With real time: leases of about a second, beaten for two, then left alone."""
        own_host.add_artworks(4)
        service = start(
            environment={
                "VERNISSAGE_LEASE_FIRST_SECONDS": "0.8",
                "VERNISSAGE_LEASE_GRACE_SECONDS": "0.8",
                "VERNISSAGE_SECONDS_PER_ARTWORK": "0.01",
            }
        )
        item = items_of(service, user, "one", 4)[0]
        for _ in range(5):
            time.sleep(0.4)
            assert beat(service, user, "one").json()["live"] is True
            assert items_of(service, user, "two", 4) == []
        assert send(service, claim_of(user, "one", item)).status_code == 200
        time.sleep(1.2)
        assert beat(service, user, "one").json()["live"] is False
        assert len(items_of(service, user, "two", 4)) == 3


class TestEnd:
    """DELETE gives back."""

    def test_what_it_held_goes_to_the_next_who_asks(self, service: Service, host: Host, user: str) -> None:
        """At once; a claim that comes after is refused."""
        host.fill(service, 4)
        items = items_of(service, user, "one", 4)
        send(service, claim_of(user, "one", items[0])).raise_for_status()
        assert items_of(service, user, "two", 4) == []
        assert end(service, user, "one") == 3
        assert_lost(send(service, claim_of(user, "one", items[1])))
        assert set(ids(items_of(service, user, "two", 4))) == set(ids(items[1:]))

    def test_ending_again_or_what_never_was_gives_nothing_back(self, service: Service, host: Host, user: str) -> None:
        """A beacon may come twice."""
        host.fill(service, 4)
        items_of(service, user, "tab", 2)
        assert [end(service, user, "tab"), end(service, user, "tab"), end(service, user, "never")] == [2, 0, 0]
        items_of(service, user, "late", 2)
        expire(host, user, "late")
        assert end(service, user, "late") == 0, "what has expired is nobody's to give"

    def test_a_session_may_ask_again_after_its_end(self, service: Service, host: Host, user: str) -> None:
        """A page brought back from the browser's cache."""
        host.fill(service, 4)
        items_of(service, user, "tab", 4)
        end(service, user, "tab")
        again = items_of(service, user, "tab", 4)
        assert len(again) == 4
        assert send(service, claim_of(user, "tab", again[0])).status_code == 200

    def test_the_user_must_be_named(self, service: Service) -> None:
        """A session id alone says nothing."""
        answer = service.client.delete("/v1/sessions/tab")
        assert (answer.status_code, answer.json()["field"]) == (400, "user_id")


class TestReload:
    """`supersedes` names the session that a reloaded page had before."""

    def test_the_leases_pass_over_and_the_old_session_has_none(self, service: Service, host: Host, user: str) -> None:
        """Also by prefetch; the new session may claim by the old lease's id, the old one may not."""
        host.fill(service, 9)
        old = items_of(service, user, "old", 3)
        items_of(service, user, "tab", 3)
        new = service.next(user, "new", limit=3, supersedes="old")
        assert ids(new["items"]) == ids(old)
        assert_lost(send(service, claim_of(user, "old", old[0])))
        assert send(service, claim_of(user, "new", old[0])).status_code == 200
        assert send(service, claim_of(user, "new", new["items"][1])).status_code == 200
        body = {"session_id": "newest", "depth": 1, "supersedes": "new"}
        plan = service.client.post(f"/v1/users/{user}/prefetch", json=body).raise_for_status().json()
        assert [item["artwork"]["artwork_id"] for item in plan["items"]] == ids(old[2:])
        assert beat(service, user, "new").json()["live"] is False

    def test_what_the_new_session_holds_already_comes_first(self, service: Service, host: Host, user: str) -> None:
        """Both together, without doubles."""
        host.fill(service, 9)
        old, new = items_of(service, user, "old", 3), items_of(service, user, "new", 3)
        offered = ids(service.next(user, "new", limit=6, supersedes="old")["items"])
        assert offered == [*ids(new), *ids(old)]

    def test_what_the_old_session_had_loaded_may_be_shown_by_the_new_one_alone(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The load is the page's, and the page goes on."""
        host.fill(service, 4)
        item = items_of(service, user, "old", 4)[0]
        host.connection.execute(
            "INSERT INTO vernissage.seen (user_id, artwork_key, loaded_by)"
            " SELECT %s, artwork_key, 'old' FROM vernissage.artwork_keys WHERE artwork_id = %s",
            (user, item["artwork_id"]),
        )
        new = service.next(user, "new", limit=4, supersedes="old")["items"]
        assert item["artwork_id"] in ids(new)
        assert send(service, claim_of(user, "new", new[0] | {"artwork_id": item["artwork_id"]})).status_code == 200

    def test_expired_leases_do_not_pass_over(self, service: Service, host: Host, user: str) -> None:
        """Another tab may have been offered them since."""
        host.fill(service, 4)
        held = items_of(service, user, "old", 4)
        expire(host, user, "old")
        assert set(ids(items_of(service, user, "other", 4))) == set(ids(held))
        assert service.next(user, "new", limit=4, supersedes="old")["reason"] == "all_leased"

    def test_expired_leases_do_not_pass_over_to_a_session_that_is_live_already(
        self, service: Service, host: Host, user: str
    ) -> None:
        """What another tab was offered since stays that tab's."""
        host.fill(service, 4)
        old = items_of(service, user, "old", 4)
        expire(host, user, "old")
        others = items_of(service, user, "other", 2)
        items_of(service, user, "new", 1)
        assert len(service.next(user, "new", limit=4, supersedes="old")["items"]) == 2
        for item in old:
            if item["artwork_id"] in ids(others):
                assert_lost(send(service, claim_of(user, "new", item)))

    @pytest.mark.parametrize("named", ["tab", "never-was", ""])
    def test_naming_oneself_or_nobody_changes_nothing(
        self, service: Service, host: Host, user: str, named: str
    ) -> None:
        """It is asked again like any other list."""
        host.fill(service, 6)
        first = items_of(service, user, "tab", 3)
        again = service.next(user, "tab", limit=3, supersedes=named)["items"]
        assert ids(again) == ids(first)

    def test_another_user_s_session_cannot_be_replaced(self, service: Service, host: Host, user: str) -> None:
        """It keeps what it holds."""
        host.fill(service, 4)
        items_of(service, user, "old", 4)
        service.next(f"{user}-2", "new", limit=4, supersedes="old")
        assert len(beat(service, user, "old").json()["held"]) == 4

    def test_what_the_old_session_could_not_load_stays_out_for_the_new_one(
        self, service: Service, host: Host, user: str
    ) -> None:
        """A broken image does not mend by a reload."""
        pool = host.fill(service, 6)
        items = items_of(service, user, "old", 4)
        for item in items[1:]:
            send(service, claim_of(user, "old", item)).raise_for_status()
        assert set(ids(service.next(user, "new", limit=6, supersedes="old")["items"])) == set(pool) - set(ids(items))
        assert items[0]["artwork_id"] not in seen_of(host, user)


class TestExpiry:
    """An item holds as long as its lease, or as its image URL where that is shorter."""

    def test_an_item_holds_as_long_as_its_lease(self, service: Service, host: Host, user: str) -> None:
        """A minute at first."""
        host.fill(service, 4)
        for item in items_of(service, user, "tab", 4):
            left = datetime.fromisoformat(item["expires_at"]) - datetime.now(UTC)
            assert timedelta(seconds=50) < left <= timedelta(seconds=60)

    def test_an_item_never_outlives_its_signed_url(self, service: Service, host: Host, user: str) -> None:
        """By whatever route it comes; one whose URL holds longer, or has no end, ends with its lease."""
        soon, later = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (20, 86_400))
        urls = {
            "soon": f"https://cdn.example/a.webp?Expires={int(soon.timestamp())}&Signature=x&Key-Pair-Id=k",
            "later": f"https://cdn.example/b.webp?Expires={int(later.timestamp())}&Signature=x&Key-Pair-Id=k",
            "plain": "/images/c.webp",
        }
        host.fill(service, [{"id": f"{name}-{user}", "image_url": url} for name, url in urls.items()])
        listed = {item["artwork_id"].split("-")[0]: item for item in items_of(service, user, "tab", 3)}
        plan = service.client.post(f"/v1/users/{user}/prefetch", json={"session_id": "tab", "depth": 3}).json()
        planned = {item["artwork"]["artwork_id"].split("-")[0]: item["artwork"] for item in plan["items"]}
        for found in (listed, planned):
            assert datetime.fromisoformat(found["soon"]["expires_at"]) == soon.replace(microsecond=0)
            assert found["later"]["expires_at"] == found["plain"]["expires_at"]
            assert datetime.fromisoformat(found["later"]["expires_at"]) < later - timedelta(hours=1)
            assert {name: item["image_url"] for name, item in found.items()} == urls

    def test_the_installation_s_hook_signs_anew_what_would_end_too_soon(
        self, start: Any, own_host: Host, user: str, tmp_path: Path
    ) -> None:
        """And nothing else."""
        (tmp_path / "signer.py").write_text(HOOK, "utf-8")
        soon = int(time.time()) + 20
        own_host.add_artwork("short", image_url=f"https://cdn.example/a.webp?Expires={soon}&Signature=old")
        own_host.add_artwork("long", image_url="https://cdn.example/b.webp?Expires=4102444800&Signature=old")
        own_host.add_artwork("plain", image_url="/images/c.webp")
        environment = {"VERNISSAGE_RESIGN_HOOK": "signer:resign", "PYTHONPATH": str(tmp_path)}
        service = start(environment=environment)
        found = {item["artwork_id"]: item for item in items_of(service, user, "tab", 3)}
        assert found["short"]["image_url"] == "https://cdn.example/a.webp?Expires=4102444800&Signature=new&for=short"
        assert "Signature=old" in found["long"]["image_url"]
        assert found["plain"]["image_url"] == "/images/c.webp"
        assert len({item["expires_at"] for item in found.values()}) == 1, "the lease's end"


def _client_counters(service: Service) -> dict[str, float]:
    """What clients counted themselves."""
    samples = service.metrics()
    names = ("flush_successes", "flush_failures", "late_draws")
    return {name: samples.get(f'vernissage_client_total{{what="{name}"}}', 0.0) for name in names}
