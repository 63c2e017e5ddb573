"""The host deletes: a user's rows of ours go with it, an artwork's seen mark stays."""

from __future__ import annotations

import time
from typing import Any

import pytest

from features.database import query
from tests.host import Host
from tests.integration.conftest import Start
from tests.service import Service
from tests.tab import assert_lost, claim_of, items_of, seen_of, send

TABLES = (
    "seen", "seen_bits", "events", "served_lists", "sessions", "absorbed", "hosted_users", "replays",
    "experiment_overrides", "client_exposures",
)  # fmt: skip
POLL_SECONDS = 0.5


@pytest.fixture
def watchful(start: Start, own_host: Host) -> Service:
    """A service that looks for deleted users twice a second, on a pool of twelve."""
    own_host.add_artworks(12)
    return start(environment={"VERNISSAGE_ERASURE_POLL_SECONDS": str(POLL_SECONDS)})


def rows_of(host: Host, user: str) -> dict[str, int]:
    """How many rows of ours a user has, by table; tables without any left out."""
    counts = {name: host.count(f"SELECT count(*) FROM vernissage.{name} WHERE user_id = %s", user) for name in TABLES}
    return {name: count for name, count in counts.items() if count}


def live_a_little(service: Service, host: Host, user: str) -> None:
    """Fill every table of ours with rows of a user whom the host holds."""
    host.add_user(user)
    items = items_of(service, user, "tab", 4)
    send(service, claim_of(user, "tab", items[0])).raise_for_status()
    service.display(user, [items[1]["artwork_id"]], "tab")
    like = {"event_id": "1", "user_id": user, "artwork_id": items[0]["artwork_id"], "kind": "like"}
    service.record(like)
    service.client.post(f"/v1/users/{user}/history/{items[0]['artwork_id']}/replay").raise_for_status()
    service.client.put(f"/v1/users/{user}/favourites/{items[0]['artwork_id']}").raise_for_status()
    override = "INSERT INTO vernissage.experiment_overrides (name, user_id, arm) VALUES ('more-variety', %s, 'varied')"
    host.connection.execute(override, (user,))
    exposed = {"name": "more-variety", "version": 1, "arm": "varied", "overridden": False, "session_id": "tab"}
    host.connection.execute(query("note_exposure"), exposed | {"user_id": user})


def delete_user(host: Host, user: str) -> None:
    """What the host does."""
    host.connection.execute("DELETE FROM public.users WHERE id = %s", (user,))


def await_erasure(host: Host, user: str) -> float:
    """Seconds until nothing of ours is left of a user."""
    started = time.monotonic()
    while rows := rows_of(host, user):
        assert time.monotonic() - started < 30, rows
        time.sleep(0.02)
    return time.monotonic() - started


class TestUsers:
    """A user whom the host deletes."""

    def test_every_row_goes_within_the_poll_interval(self, watchful: Service, own_host: Host, user: str) -> None:
        """Whatever table of ours names users: none is forgotten."""
        live_a_little(watchful, own_host, user)
        assert set(rows_of(own_host, user)) == set(TABLES)
        assert _tables_that_name_users(own_host) <= {*TABLES, "list_jobs"}
        delete_user(own_host, user)
        assert await_erasure(own_host, user) < POLL_SECONDS + 1.0
        assert watchful.metrics()["vernissage_erased_users_total"] == 1

    def test_others_keep_theirs(self, watchful: Service, own_host: Host, user: str) -> None:
        """Also users whom the host never held: they are not gone, they were never there."""
        kept, stranger = f"{user}-kept", f"{user}-stranger"
        for one in (user, kept):
            live_a_little(watchful, own_host, one)
        watchful.display(stranger, [items_of(watchful, stranger, "tab", 1)[0]["artwork_id"]], "tab")
        before = rows_of(own_host, kept), rows_of(own_host, stranger)
        delete_user(own_host, user)
        await_erasure(own_host, user)
        assert (rows_of(own_host, kept), rows_of(own_host, stranger)) == before
        assert before[1]

    def test_one_who_was_never_served_a_list_goes_too(self, watchful: Service, own_host: Host, user: str) -> None:
        """Impressions alone make rows as well: a host may record by us and serve by itself."""
        own_host.add_user(user)
        artwork = own_host.add_artwork()
        watchful.display(user, [artwork])
        assert rows_of(own_host, user)
        delete_user(own_host, user)
        await_erasure(own_host, user)

    def test_leases_are_void_before_the_rows_are_gone(self, start: Start, own_host: Host, user: str) -> None:
        """The rows may take an hour here: the claim is refused at once."""
        own_host.add_artworks(4)
        service = start(environment={"VERNISSAGE_ERASURE_POLL_SECONDS": "3600"})
        own_host.add_user(user)
        items = items_of(service, user, "tab", 2)
        send(service, claim_of(user, "tab", items[0])).raise_for_status()
        delete_user(own_host, user)
        assert_lost(send(service, claim_of(user, "tab", items[1])))
        assert rows_of(own_host, user), "not erased yet"

    def test_a_user_who_comes_back_under_the_same_id_starts_anew(
        self, watchful: Service, own_host: Host, user: str
    ) -> None:
        """Erased is erased: nothing is known of what was seen."""
        live_a_little(watchful, own_host, user)
        delete_user(own_host, user)
        await_erasure(own_host, user)
        own_host.add_user(user)
        assert len(items_of(watchful, user, "tab", 12)) == 12

    @pytest.mark.usefixtures("watchful")
    def test_many_at_once_go_by_the_thousand(self, own_host: Host, user: str) -> None:
        """More than one round takes."""
        own_host.connection.execute(
            "INSERT INTO vernissage.hosted_users SELECT %(user)s || n FROM generate_series(1, 2500) AS n",
            {"user": user},
        )
        own_host.connection.execute(
            "INSERT INTO vernissage.seen (user_id, artwork_key)"
            " SELECT %(user)s || n, k.artwork_key FROM generate_series(1, 2500) AS n, vernissage.artwork_keys AS k",
            {"user": user},
        )
        end = time.monotonic() + 15
        left = "SELECT count(*) FROM vernissage.seen WHERE user_id LIKE %s"
        while own_host.count(left, f"{user}%"):
            assert time.monotonic() < end
            time.sleep(0.1)


class TestArtworks:
    """An artwork that the host deletes."""

    def test_its_seen_mark_stays_and_it_is_offered_no_more(self, watchful: Service, own_host: Host, user: str) -> None:
        """Under the same id it is the same artwork: who saw it has seen it."""
        own_host.add_user(user)
        items = items_of(watchful, user, "tab", 12)
        shown = items[0]["artwork_id"]
        send(watchful, claim_of(user, "tab", items[0])).raise_for_status()
        own_host.delete(shown)
        assert_lost(send(watchful, claim_of(user, "tab", items[0] | {"lease_id": items[1]["lease_id"]})))
        assert own_host.count("SELECT count(*) FROM public.user_art_impressions WHERE user_id = %s", user) == 0
        assert seen_of(own_host, user) == {shown}
        own_host.add_artwork(shown)
        own_host.wait(watchful)
        assert shown not in {item["artwork_id"] for item in items_of(watchful, user, "tab", 12)}
        assert shown in {item["artwork_id"] for item in items_of(watchful, f"{user}-2", "tab", 12)}

    def test_a_live_lease_on_it_is_refused_at_the_claim(self, watchful: Service, own_host: Host, user: str) -> None:
        """And the rest of the list is as good as before."""
        items = items_of(watchful, user, "tab", 3)
        own_host.delete(items[0]["artwork_id"])
        assert_lost(send(watchful, claim_of(user, "tab", items[0])))
        assert send(watchful, claim_of(user, "tab", items[1])).status_code == 200
        assert seen_of(own_host, user) == {items[1]["artwork_id"]}


def _tables_that_name_users(host: Host) -> set[str]:
    """Every table of ours with a column user_id."""
    rows: list[tuple[Any, ...]] = host.connection.execute(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'vernissage' AND column_name = 'user_id'"
    ).fetchall()
    return {row[0] for row in rows}
