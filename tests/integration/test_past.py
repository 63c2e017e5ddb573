"""A user's own past from the real service: history, replays, favourites. None of it is offered or recorded anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.host import Host
from tests.service import Service
from tests.tab import claim_of, displays_of, items_of, send

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


def history_of(service: Service, user: str, **asked: Any) -> dict[str, Any]:
    """A part of the history."""
    answer = service.client.get(f"/v1/users/{user}/history", params=asked)
    history: dict[str, Any] = answer.raise_for_status().json()
    return history


def shown_in(history: dict[str, Any]) -> list[str]:
    """The artwork ids of a part, in order."""
    return [
        artwork["artwork_id"]
        for day in history["days"]
        for session in day["sessions"]
        for artwork in session["artworks"]
    ]


def parts_of(service: Service, user: str, limit: int) -> Iterator[dict[str, Any]]:
    """The whole history, part by part."""
    before: str | None = None
    for _ in range(100):
        part = history_of(service, user, limit=limit, **({"before": before} if before else {}))
        yield part
        before = part["before"]
        if before is None:
            return
    raise AssertionError("the history does not end")


def show(service: Service, user: str, *shown: tuple[str, str, datetime]) -> None:
    """Record displays: artwork, session and time of each."""
    service.record(
        *[
            {
                "event_id": f"{artwork}-{session}-{at}",
                "user_id": user,
                "artwork_id": artwork,
                "kind": "displayed",
                "session_id": session,
                "at": at.isoformat(),
            }
            for artwork, session, at in shown
        ]
    )


class TestHistory:
    """What a user was shown, on a route of its own."""

    def test_it_is_grouped_by_day_and_session_newest_first(self, service: Service, host: Host, user: str) -> None:
        """Also where two tabs took turns: each is one group of its day."""
        pool = host.fill(service, 7)
        minutes = [DAY + timedelta(minutes=number) for number in range(4)]
        show(
            service,
            user,
            (pool[0], "one", DAY - timedelta(days=1)),
            (pool[1], "one", minutes[0]),
            (pool[2], "two", minutes[1]),
            (pool[3], "one", minutes[2]),
            (pool[4], "two", minutes[3]),
        )
        history = history_of(service, user)
        assert (history["user_id"], history["before"]) == (user, None)
        groups = [
            (day["day"], session["session_id"], [artwork["artwork_id"] for artwork in session["artworks"]])
            for day in history["days"]
            for session in day["sessions"]
        ]
        assert groups == [
            ("2026-03-01", "two", [pool[4], pool[2]]),
            ("2026-03-01", "one", [pool[3], pool[1]]),
            ("2026-02-28", "one", [pool[0]]),
        ]
        newest = history["days"][0]["sessions"][0]["artworks"][0]
        assert datetime.fromisoformat(newest.pop("at")) == minutes[3]
        assert newest == {
            "artwork_id": pool[4],
            "image_url": f"/images/{pool[4]}.webp",
            "prompt": "A quiet study, number 4",
            "favourite": False,
            "replays": 0,
            "last_replayed_at": None,
        }

    def test_days_are_days_of_utc(self, service: Service, host: Host, user: str) -> None:
        """Whatever zone the client stamped in."""
        pool = host.fill(service, 2)
        zone = datetime.fromisoformat("2026-03-02T00:30:00+02:00")
        show(service, user, (pool[0], "tab", zone))
        assert history_of(service, user)["days"][0]["day"] == "2026-03-01"

    def test_claims_stand_in_it_and_leases_do_not(self, service: Service, host: Host, user: str) -> None:
        """Only what was displayed."""
        host.fill(service, 4)
        items = items_of(service, user, "tab", 3)
        send(service, claim_of(user, "tab", items[0])).raise_for_status()
        assert shown_in(history_of(service, user)) == [items[0]["artwork_id"]]

    def test_signals_and_loads_do_not_stand_in_it(self, service: Service, host: Host, user: str) -> None:
        """They are no displays."""
        pool = host.fill(service, 2)
        service.record({"event_id": "1", "user_id": user, "artwork_id": pool[0], "kind": "like"})
        assert history_of(service, user)["days"] == []

    @pytest.mark.parametrize("limit", [1, 3, 5, 50])
    def test_its_parts_put_together_are_the_whole(self, service: Service, host: Host, user: str, limit: int) -> None:
        """Also where many displays carry the same time, as those claimed together do, and some artworks are gone."""
        pool = host.fill(service, 24)
        show(service, user, *[(artwork, "tab", DAY + timedelta(seconds=n // 8)) for n, artwork in enumerate(pool)])
        host.delete(*pool[9:14])
        found = [artwork for part in parts_of(service, user, limit) for artwork in shown_in(part)]
        assert sorted(found) == sorted([*pool[:9], *pool[14:]])

    def test_a_part_starts_before_a_moment(self, service: Service, host: Host, user: str) -> None:
        """A moment without a zone means UTC."""
        pool = host.fill(service, 3)
        show(service, user, *[(artwork, "tab", DAY + timedelta(hours=n)) for n, artwork in enumerate(pool)])
        moment = DAY + timedelta(hours=2)
        for text in (moment.isoformat(), moment.replace(tzinfo=None).isoformat(), "2026-03-01T15:00:00+01:00"):
            assert shown_in(history_of(service, user, before=text)) == [pool[1], pool[0]]

    def test_users_see_their_own_only(self, service: Service, host: Host, user: str) -> None:
        """Another user's is empty."""
        pool = host.fill(service, 2)
        show(service, user, (pool[0], "tab", DAY))
        assert history_of(service, f"{user}-2")["days"] == []

    @pytest.mark.parametrize(
        ("asked", "field"), [({"limit": 0}, "limit"), ({"limit": 501}, "limit"), ({"before": "yesterday"}, "before")]
    )
    def test_bad_input_names_the_field(self, service: Service, user: str, asked: dict[str, Any], field: str) -> None:
        """And its rule."""
        answer = service.client.get(f"/v1/users/{user}/history", params=asked)
        assert (answer.status_code, answer.json()["field"]) == (400, field)


class TestReplay:
    """Shown again on purpose: counted, and nothing else."""

    def test_it_counts_and_notes_the_last_one(self, service: Service, host: Host, user: str) -> None:
        """In the answer and in the history."""
        pool = host.fill(service, 3)
        show(service, user, (pool[0], "tab", DAY))
        for number in (1, 2, 3):
            answer = service.client.post(f"/v1/users/{user}/history/{pool[0]}/replay").raise_for_status().json()
            assert (answer["artwork_id"], answer["replays"]) == (pool[0], number)
        (shown,) = history_of(service, user)["days"][0]["sessions"][0]["artworks"]
        assert (shown["replays"], shown["last_replayed_at"]) == (3, answer["last_replayed_at"])
        assert abs(datetime.now(UTC) - datetime.fromisoformat(answer["last_replayed_at"])) < timedelta(minutes=1)

    def test_it_writes_no_impression_no_event_and_no_lease_and_is_never_in_rotation(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Every other table is as it was; the next list offers what is unseen."""
        pool = host.fill(service, 4)
        host.add_user(user)
        show(service, user, (pool[0], "tab", DAY))
        before = _rows(host, user)
        service.client.post(f"/v1/users/{user}/history/{pool[0]}/replay").raise_for_status()
        assert _rows(host, user) == before
        assert displays_of(host, user) == {pool[0]: 1}
        assert {item["artwork_id"] for item in items_of(service, user, "tab", 10)} == set(pool[1:])
        assert service.client.get(f"/v1/users/{user}/coverage").json()["seen"] == 1

    @pytest.mark.parametrize("kind", ["unseen", "on lease", "loaded", "deleted", "unknown"])
    def test_only_what_was_shown_can_be_shown_again(self, service: Service, host: Host, user: str, kind: str) -> None:
        """The answer is 404 not_in_history."""
        pool = host.fill(service, 3)
        if kind == "on lease":
            items_of(service, user, "tab", 3)
        if kind == "loaded":
            host.connection.execute(
                "INSERT INTO vernissage.seen (user_id, artwork_key, loaded_by)"
                " SELECT %s, artwork_key, 'tab' FROM vernissage.artwork_keys WHERE artwork_id = %s",
                (user, pool[0]),
            )
        if kind == "deleted":
            show(service, user, (pool[0], "tab", DAY))
            host.delete(pool[0])
        artwork = "no-such-artwork" if kind == "unknown" else pool[0]
        answer = service.client.post(f"/v1/users/{user}/history/{artwork}/replay")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_in_history")
        assert host.count("SELECT count(*) FROM vernissage.replays WHERE user_id = %s", user) == 0

    def test_an_archived_artwork_may_be_replayed(self, service: Service, host: Host, user: str) -> None:
        """It left the pool, not the past."""
        pool = host.fill(service, 2)
        show(service, user, (pool[0], "tab", DAY))
        host.set_status(pool[0], "archived")
        assert service.client.post(f"/v1/users/{user}/history/{pool[0]}/replay").status_code == 200
        assert shown_in(history_of(service, user)) == [pool[0]]


class TestFavourites:
    """Set, listed, unset; in the host's own table."""

    def test_one_is_set_listed_and_unset(self, service: Service, host: Host, user: str) -> None:
        """Twice each, to the same effect; the history tells it too."""
        pool = host.fill(service, 3)
        host.add_user(user)
        show(service, user, (pool[0], "tab", DAY))
        for _ in range(2):
            answer = service.client.put(f"/v1/users/{user}/favourites/{pool[0]}").raise_for_status().json()
            assert answer == {"artwork_id": pool[0], "favourite": True}
        listed = service.client.get(f"/v1/users/{user}/favourites").raise_for_status().json()
        assert [favourite["artwork_id"] for favourite in listed["favourites"]] == [pool[0]]
        assert listed["favourites"][0]["image_url"] == f"/images/{pool[0]}.webp"
        at = datetime.fromisoformat(listed["favourites"][0]["at"])
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
        assert history_of(service, user)["days"][0]["sessions"][0]["artworks"][0]["favourite"] is True
        assert host.count("SELECT count(*) FROM public.art_favorites WHERE user_id = %s", user) == 1
        for _ in range(2):
            answer = service.client.delete(f"/v1/users/{user}/favourites/{pool[0]}").raise_for_status().json()
            assert answer == {"artwork_id": pool[0], "favourite": False}
        assert service.client.get(f"/v1/users/{user}/favourites").json()["favourites"] == []

    def test_the_newest_come_first_and_the_list_can_be_short(self, service: Service, host: Host, user: str) -> None:
        """1 to 500."""
        pool = host.fill(service, 4)
        host.add_user(user)
        for artwork in pool:
            service.client.put(f"/v1/users/{user}/favourites/{artwork}").raise_for_status()
        listed = service.client.get(f"/v1/users/{user}/favourites", params={"limit": 3}).json()["favourites"]
        assert [favourite["artwork_id"] for favourite in listed] == pool[:0:-1]
        assert service.client.get(f"/v1/users/{user}/favourites", params={"limit": 0}).status_code == 400

    @pytest.mark.parametrize(("known_user", "known_artwork"), [(False, True), (True, False)])
    def test_what_the_host_does_not_hold_cannot_be_marked(
        self, service: Service, host: Host, user: str, known_user: bool, known_artwork: bool
    ) -> None:
        """It would not be kept, so it is not said to be: 404."""
        pool = host.fill(service, 2)
        if known_user:
            host.add_user(user)
        artwork = pool[0] if known_artwork else "no-such-artwork"
        answer = service.client.put(f"/v1/users/{user}/favourites/{artwork}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_held")

    def test_a_favourite_does_not_make_an_unseen_artwork_seen(self, service: Service, host: Host, user: str) -> None:
        """It may be marked in a gallery; the display still has it to show."""
        pool = host.fill(service, 2)
        host.add_user(user)
        service.client.put(f"/v1/users/{user}/favourites/{pool[0]}").raise_for_status()
        assert {item["artwork_id"] for item in items_of(service, user, "tab", 2)} == set(pool)

    def test_unsetting_takes_back_what_a_display_has_sent(self, service: Service, host: Host, user: str) -> None:
        """A favourite may have been an event too."""
        pool = host.fill(service, 2)
        host.add_user(user)
        service.record({"event_id": "1", "user_id": user, "artwork_id": pool[0], "kind": "favourite"})
        service.client.delete(f"/v1/users/{user}/favourites/{pool[0]}").raise_for_status()
        kinds = "SELECT count(*) FROM vernissage.events WHERE user_id = %s AND kind = 'favourite'"
        assert host.count(kinds, user) == 0


def test_a_host_without_favourites_has_none(start: Any, own_host: Host, user: str) -> None:
    """An older host lacks the table: lists are empty, marking says that it is not to be had."""
    own_host.connection.execute("DROP TABLE public.art_favorites")
    artwork = own_host.add_artwork()
    own_host.add_user(user)
    service = start()
    show(service, user, (artwork, "tab", DAY))
    assert history_of(service, user)["days"][0]["sessions"][0]["artworks"][0]["favourite"] is False
    assert service.client.get(f"/v1/users/{user}/favourites").json()["favourites"] == []
    assert service.client.put(f"/v1/users/{user}/favourites/{artwork}").status_code == 404
    assert service.client.delete(f"/v1/users/{user}/favourites/{artwork}").status_code == 200


def _rows(host: Host, user: str) -> dict[str, int]:
    """How many rows each table has of a user, replays left out."""
    tables = [
        "vernissage.seen", "vernissage.events", "vernissage.served_lists", "vernissage.sessions",
        "public.user_art_impressions", "public.art_favorites",
    ]  # fmt: skip
    return {table: host.count(f"SELECT count(*) FROM {table} WHERE user_id = %s", user) for table in tables}
