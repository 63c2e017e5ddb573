"""Lists of unseen artworks from the real service: what may be on one, what is said of a short one, who holds what."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.database import query
from serving import bundle as bundles
from tests.benchmarks.world import factor_arrays, manifest
from tests.host import Host
from tests.integration.conftest import BRISK
from tests.service import Service

REAL_DNA = json.dumps([round(0.02 * number, 2) for number in range(50)])
SOON = 10.0  # seconds: well under those after which the whole pool is read again


def ids_of(answer: dict[str, Any]) -> list[str]:
    """The artwork ids of a list, in order."""
    return [item["artwork_id"] for item in answer["items"]]


class TestExhaustion:
    """The promise: unseen, or a short list that says so."""

    def test_a_pool_of_265_of_which_259_are_seen_gives_the_6_unseen_and_then_none(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The host wrote the 259 impressions; limit 10 returns the rest and says what is lacking."""
        pool = host.fill(service, 265)
        host.add_user(user)
        host.see(user, pool[:259])

        answer = service.next(user, limit=10)
        assert sorted(ids_of(answer)) == sorted(pool[259:])
        assert (answer["requested"], answer["returned"], answer["shortfall"]) == (10, 6, 4)
        assert (answer["reason"], answer["unseen_total"]) == ("exhausted", 6)
        assert answer["retry_after_seconds"] > 0

        service.display(user, ids_of(answer))
        answer = service.next(user, limit=10)
        assert answer["items"] == []
        assert (answer["returned"], answer["shortfall"], answer["reason"]) == (0, 10, "exhausted")
        assert (answer["unseen_total"], answer["rung"]) == (0, 5)

    def test_an_empty_pool_is_answered_and_not_an_error(self, service: Service, host: Host, user: str) -> None:
        """Nothing to show, and nothing to divide by either."""
        host.fill(service, 0)
        answer = service.next(user, limit=5)
        assert (answer["items"], answer["reason"], answer["shortfall"]) == ([], "exhausted", 5)
        coverage = service.client.get(f"/v1/users/{user}/coverage").json()
        assert (coverage["coverage"], coverage["coverage_band"], coverage["eligible"]) == (None, None, 0)

    def test_a_user_walks_the_whole_pool_without_a_repeat(self, service: Service, host: Host, user: str) -> None:
        """Lists of 7 until nothing is left: each artwork exactly once."""
        pool = host.fill(service, 60)
        shown: list[str] = []
        while artworks := ids_of(service.next(user, "tab", limit=7)):
            service.display(user, artworks, "tab")
            shown += artworks
        assert sorted(shown) == sorted(pool)

    def test_a_full_list_has_no_reason_and_nothing_to_wait_for(self, service: Service, host: Host, user: str) -> None:
        """A reason belongs to a shortfall."""
        host.fill(service, 30)
        answer = service.next(user)
        assert (answer["requested"], answer["returned"], answer["shortfall"]) == (20, 20, 0)
        assert (answer["reason"], answer["retry_after_seconds"]) == (None, None)
        assert [item["position"] for item in answer["items"]] == list(range(1, 21))
        assert len(set(ids_of(answer))) == 20


class TestPool:
    """What belongs to the pool, and how fast."""

    def test_archived_and_pending_artworks_are_never_served_and_null_is_active(
        self, service: Service, host: Host, user: str
    ) -> None:
        """NULL is how old rows say active."""
        statuses = ["active", None, "archived", "pending", "ACTIVE", ""]
        pool = host.fill(service, [{"pool_status": status} for status in statuses])
        answer = service.next(user, limit=10)
        assert sorted(ids_of(answer)) == sorted(pool[:2])

    def test_a_new_artwork_is_offered_and_an_archived_one_gone_within_seconds(
        self, start: Any, own_host: Host, user: str
    ) -> None:
        """With the polling as it is by default; the whole pool is read again only every half minute."""
        service = start(environment={"VERNISSAGE_CATALOGUE_POLL_SECONDS": ""})
        first = own_host.add_artwork()
        assert _seconds_until(lambda: service.next(user)["unseen_total"] == 1) < SOON
        second = own_host.add_artwork()
        assert _seconds_until(lambda: set(ids_of(service.next(user))) == {first, second}) < SOON
        own_host.set_status(first, "archived")
        assert ids_of(service.next(user)) == [second]
        assert _seconds_until(lambda: service.next(user)["unseen_total"] == 1) < SOON
        with own_host.connection.transaction():  # the pool is as large as before
            own_host.delete(second)
            third = own_host.add_artwork()
        assert _seconds_until(lambda: ids_of(service.next(user)) == [third]) < SOON

    def test_what_left_the_pool_is_not_served_even_where_the_snapshot_is_late(
        self, late_service: Service, own_host: Host, user: str
    ) -> None:
        """The snapshot of this service is an hour late: the list is checked when it is written."""
        pool = [row[0] for row in own_host.connection.execute("SELECT id FROM public.art_sessions").fetchall()]
        own_host.set_status(pool[0], "archived")
        own_host.set_status(pool[1], "pending")
        own_host.delete(pool[2])
        answer = late_service.next(user, limit=len(pool))
        assert sorted(ids_of(answer)) == sorted(pool[3:])
        assert (answer["shortfall"], answer["reason"]) == (3, "degraded")
        spare = late_service.next(f"{user}-2", limit=len(pool) - 3)
        assert sorted(ids_of(spare)) == sorted(pool[3:]), "candidates in reserve take the place of the lost ones"

    def test_an_artwork_that_the_host_deletes_keeps_its_seen_mark(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The same id comes back as a new row: the user has seen it all the same."""
        pool = host.fill(service, 3)
        service.display(user, pool[:1])
        host.delete(pool[0])
        host.wait(service)
        host.add_artwork(pool[0])
        host.wait(service)
        answer = service.next(user)
        assert sorted(ids_of(answer)) == sorted(pool[1:])
        assert answer["unseen_total"] == 2

    def test_an_item_carries_the_host_s_row_as_it_is(self, service: Service, host: Host, user: str) -> None:
        """Texts in any script come out as they went in; numbers are numbers and moments are in UTC."""
        columns = {
            "prompt": "🌅🎨 שקיעה מעל הים \u202eRTL\u202c غروب، 日没 e\u0301",
            "image_url": "https://cdn.example/a.webp?x=1&y=ü",
            "dna_vector": REAL_DNA,
            "styles": ["impressionism", "עברית"],
            "motifs": [],
            "artists": None,
            "orientation": "landscape",
            "quality_score": 75,
            "is_library": True,
            "aspect_ratio": "16:9",
            "width": 1920,
            "height": 1080,
            "focal_points": '{"broken',
            "audio_features": "",
        }
        (artwork,) = host.fill(service, [columns])
        (item,) = service.next(user)["items"]
        assert item["artwork_id"] == artwork
        assert item["prompt"] == columns["prompt"]
        assert item["dna_vector"] == json.loads(REAL_DNA)
        assert (item["styles"], item["motifs"], item["artists"]) == (["impressionism", "עברית"], [], [])
        assert item["created_at"] == "2025-01-01T00:00:00Z"
        for name in ("image_url", "orientation", "quality_score", "is_library", "aspect_ratio", "width", "height"):
            assert item[name] == columns[name], name
        assert (item["focal_points"], item["audio_features"], item["music_track"]) == ('{"broken', "", None)


class TestFilters:
    """Orientation and exclude are hard, styles are soft unless said otherwise."""

    @pytest.mark.parametrize(
        ("asked", "hidden"),
        [
            ({"orientation": "portrait"}, 2),
            ({"exclude": "first,second"}, 2),
            ({"styles": "cubism", "strict_styles": "true"}, 3),
        ],
        ids=["orientation", "exclude", "strict_styles"],
    )
    def test_a_list_that_the_request_s_own_filters_shorten_says_filtered(
        self, service: Service, host: Host, user: str, asked: dict[str, str], hidden: int
    ) -> None:
        """There is more that is unseen: the user is not exhausted."""
        host.fill(
            service,
            [
                {"id": "first", "orientation": "landscape", "styles": ["cubism"]},
                {"id": "second", "orientation": "square", "styles": ["fauvism"]},
                {"id": "third", "orientation": "portrait", "styles": ["fauvism"]},
                {"id": "fourth", "orientation": None, "styles": None},
            ],
        )
        answer = service.next(user, limit=4, **asked)
        assert (answer["returned"], answer["shortfall"], answer["reason"]) == (4 - hidden, hidden, "filtered")

    def test_the_user_s_own_orientation_binds_unless_the_request_names_one(
        self, service: Service, host: Host, user: str
    ) -> None:
        """An artwork without an orientation fits all, and `any` lets everything in."""
        portrait, landscape, neither = host.fill(
            service, [{"orientation": "portrait"}, {"orientation": "landscape"}, {"orientation": None}]
        )
        host.add_user(user, preferred_orientation="portrait")
        assert set(ids_of(service.next(user))) == {portrait, neither}
        assert set(ids_of(service.next(user, orientation="landscape"))) == {landscape, neither}
        assert set(ids_of(service.next(user, orientation="any"))) == {portrait, landscape, neither}
        assert service.client.get(f"/v1/users/{user}/coverage").json()["eligible"] == 2

    def test_asked_styles_come_first_and_the_others_after_them(self, service: Service, host: Host, user: str) -> None:
        """Also for a user who has seen half of the pool, and although the others are newer."""
        pool = host.fill(service, [{"styles": ["Cubism" if place < 6 else "fauvism"]} for place in range(24)])
        host.add_user(user)
        host.see(user, pool[8:20])
        answer = service.next(user, limit=10, styles="cubism,vorticism")
        assert set(ids_of(answer)[:6]) == set(pool[:6])
        assert set(ids_of(answer)[6:]) < {*pool[6:8], *pool[20:]}
        assert answer["returned"] == 10

    def test_the_styles_of_a_user_s_preferences_come_first(self, service: Service, host: Host, user: str) -> None:
        """Malformed preferences count as none."""
        pool = host.fill(service, [{"styles": ["cubism" if place < 5 else "fauvism"]} for place in range(20)])
        host.add_user(user, style_preferences='{"styles": ["CUBISM"], "artists": 3}')
        assert set(ids_of(service.next(user, limit=5))) == set(pool[:5])
        for number, broken in enumerate(['{"styles":', "[]", '{"styles": "cubism"}', '{"styles": [null, 7]}', "null"]):
            stranger = host.add_user(f"{user}-{number}", style_preferences=broken)
            assert service.next(stranger, limit=5)["returned"] == 5


class TestSessions:
    """Two tabs of one user never get the same artwork; one tab is offered again what it has not shown."""

    def test_two_sessions_of_a_user_get_disjoint_lists(self, service: Service, host: Host, user: str) -> None:
        """What the first holds, the second cannot be offered."""
        host.fill(service, 12)
        first, second = service.next(user, "one", limit=6), service.next(user, "two", limit=6)
        assert not set(ids_of(first)) & set(ids_of(second))
        assert (second["returned"], second["reason"]) == (6, None)

    def test_a_session_that_asks_again_is_offered_what_it_holds(self, service: Service, host: Host, user: str) -> None:
        """A new list that names the one it repeats; a longer one goes on with fresh artworks."""
        host.fill(service, 12)
        first = service.next(user, "tab", limit=4)
        again = service.next(user, "tab", limit=4)
        longer = service.next(user, "tab", limit=6)
        assert ids_of(again) == ids_of(first)
        assert first["repeats"] is None
        assert again["repeats"] == first["recommendation_id"]
        assert again["recommendation_id"] != first["recommendation_id"]
        assert ids_of(longer)[:4] == ids_of(first)

    def test_all_leased_is_said_when_the_other_session_holds_the_rest(
        self, service: Service, host: Host, user: str
    ) -> None:
        """With the time after which its leases end."""
        host.fill(service, 5)
        service.next(user, "one", limit=5)
        answer = service.next(user, "two", limit=5)
        assert (answer["items"], answer["reason"], answer["unseen_total"]) == ([], "all_leased", 5)
        assert 1 <= answer["retry_after_seconds"] <= 60

    def test_other_users_do_not_notice(self, service: Service, host: Host, user: str) -> None:
        """A lease is between the sessions of one user."""
        pool = host.fill(service, 5)
        service.next(user, "one", limit=5)
        assert set(ids_of(service.next(f"{user}-2", "one", limit=5))) == set(pool)

    def test_leases_return_when_they_expire(self, late_service: Service, own_host: Host, user: str) -> None:
        """A session of which nothing is heard within its first second loses what it holds."""
        held = ids_of(late_service.next(user, "one", limit=8))
        answer = late_service.next(user, "two", limit=8)
        assert (answer["returned"], answer["reason"]) == (0, "all_leased")
        time.sleep(1.1)
        assert set(ids_of(late_service.next(user, "two", limit=8))) == set(held)
        assert late_service.next(user, "one", limit=8)["reason"] == "all_leased"
        assert own_host.count("SELECT count(*) FROM vernissage.served_lists WHERE user_id = %s", user) == 4

    def test_a_sign_of_life_keeps_the_leases(self, late_service: Service, user: str) -> None:
        """A display by the session prolongs the rest beyond the first second."""
        held = ids_of(late_service.next(user, "one", limit=8))
        late_service.display(user, held[:1], "one")
        time.sleep(1.1)
        assert late_service.next(user, "two", limit=8)["reason"] == "all_leased"
        assert set(ids_of(late_service.next(user, "one", limit=8))) == set(held[1:])

    def test_a_signal_of_something_else_leaves_what_the_session_holds(
        self, service: Service, host: Host, user: str
    ) -> None:
        """A dwell comes after its display, a batch may come twice: the rest stays on lease."""
        pool = host.fill(service, 8)
        held = ids_of(service.next(user, "one", limit=4))
        dwell = {"event_id": "1", "user_id": user, "session_id": "one", "artwork_id": held[0], "kind": "dwell"}
        service.display(user, held[:1], "one")
        service.display(user, held[:1], "one")
        service.record(dwell | {"value": 30.0})
        rest = ids_of(service.next(user, "two", limit=8))
        assert sorted(rest) == sorted(set(pool) - set(held))
        assert set(ids_of(service.next(user, "one", limit=3))) == set(held[1:])

    def test_a_display_elsewhere_ends_the_lease(self, service: Service, host: Host, user: str) -> None:
        """What one session shows, the other that holds it is not offered again."""
        host.fill(service, 6)
        held = ids_of(service.next(user, "one", limit=3))
        service.display(user, held[:1], "two")
        assert set(ids_of(service.next(user, "one", limit=2))) == set(held[1:])

    def test_five_tabs_that_ask_at_once_get_disjoint_lists(self, service: Service, host: Host, user: str) -> None:
        """The user's lock orders them; eight threads and five sessions, twice each."""
        host.fill(service, 50)
        tabs = [f"tab-{number}" for number in range(5)] * 2
        with ThreadPoolExecutor(8) as threads:
            lists = list(threads.map(lambda tab: (tab, ids_of(service.next(user, tab, limit=10))), tabs))
        by_tab: dict[str, set[str]] = {}
        for tab, artworks in lists:
            assert by_tab.setdefault(tab, set(artworks)) == set(artworks), "the same tab is offered the same again"
        assert sum(map(len, by_tab.values())) == len(set().union(*by_tab.values())) == 50

    def test_leases_count_in_the_coverage(self, service: Service, host: Host, user: str) -> None:
        """Only those that are unseen and still in the pool."""
        pool = host.fill(service, 10)
        held = ids_of(service.next(user, limit=4))
        service.next(user, "other", limit=3)
        service.display(user, held[:1])
        host.set_status(held[1], "archived")
        host.wait(service)
        found = service.client.get(f"/v1/users/{user}/coverage").json()
        assert (found["eligible"], found["seen"], found["unseen"], found["leased"]) == (9, 1, 8, 5)
        assert found["coverage"] == pytest.approx(1 / 9)
        assert (found["coverage_band"], found["minutes_of_stock"]) == ("ok", 8.0)
        assert len(pool) == 10


class TestTogether:
    """Lists that are asked for at once are answered in one transaction, and each is its user's own."""

    def test_each_of_many_gets_what_is_unseen_by_that_user(self, service: Service, host: Host, user: str) -> None:
        """The n-th has seen n of thirty, the first none; some come again with another session that takes over."""
        pool, count = host.fill(service, 30), 24
        people = [f"{user}-{number}" for number in range(count)]
        for number, person in enumerate(people):
            host.add_user(person)
            host.see(person, pool[:number])

        def ask(number: int, session: str, **more: Any) -> dict[str, Any]:
            return service.next(people[number], session, limit=30, **more)

        def grouped() -> float:
            """Lists that were not alone."""
            found = service.metrics()
            return found["vernissage_list_group_requests_sum"] - found["vernissage_list_group_requests_count"]

        with ThreadPoolExecutor(count) as threads:
            for visit in range(20):
                answers = list(threads.map(lambda number: ask(number, f"tab-{visit}"), range(count)))  # noqa: B023 - used in its round
                for number, answer in enumerate(answers):
                    assert sorted(ids_of(answer)) == sorted(pool[number:])
                    assert answer["user_id"] == people[number]
                    assert answer["shortfall"] == number
                moved = list(
                    threads.map(lambda n: ask(n, f"tab-{visit}-again", supersedes=f"tab-{visit}"), range(0, count, 3))  # noqa: B023
                )
                assert [sorted(ids_of(answer)) for answer in moved] == [sorted(pool[n:]) for n in range(0, count, 3)]
                for number in range(count):
                    last = f"tab-{visit}-again" if number % 3 == 0 else f"tab-{visit}"
                    service.client.delete(f"/v1/sessions/{last}", params={"user_id": people[number]}).raise_for_status()
                if grouped():
                    break
        assert grouped(), "in twenty visits by twenty-four no two were answered together"


class TestTruth:
    """The database is the one truth."""

    def test_an_unknown_user_is_served(self, service: Service, host: Host, user: str) -> None:
        """Nobody has to be in the host's table of users."""
        host.fill(service, 3)
        assert service.next(user)["returned"] == 3

    def test_every_list_is_written_down_as_it_was_answered(self, service: Service, host: Host, user: str) -> None:
        """Artworks in order, with what was asked and why it is short."""
        host.fill(service, 4)
        answer = service.next(user, "tab", limit=6)
        row = host.connection.execute(
            "SELECT l.recommendation_id::text, l.session_id, l.requested, l.reason, l.policy, l.candidate_size,"
            " ARRAY(SELECT k.artwork_id FROM unnest(l.artwork_keys) WITH ORDINALITY AS n (artwork_key, place)"
            "       JOIN vernissage.artwork_keys AS k USING (artwork_key) ORDER BY place)"
            " FROM vernissage.served_lists AS l WHERE l.user_id = %s",
            (user,),
        ).fetchone()
        expected = (answer["recommendation_id"], "tab", 6, "exhausted", answer["policy"], 4, ids_of(answer))
        assert row == expected
        assert {item["lease_id"] for item in answer["items"]} == {answer["recommendation_id"]}

    def test_the_host_s_own_later_impressions_count_at_the_next_request(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Its routes write past us, also for what a session of ours holds, and also with an old time stamp."""
        pool = host.fill(service, 6)
        host.add_user(user)
        held = ids_of(service.next(user, "tab", limit=3))
        host.see(user, held[:1])
        assert held[0] not in ids_of(service.next(user, "tab", limit=6))
        rest = [artwork for artwork in pool if artwork not in held]
        host.see(user, rest[:1], viewed_at="2020-01-01")
        answer = service.next(user, "tab", limit=6)
        assert set(ids_of(answer)) == {*held[1:], *rest[1:]}
        assert service.next(user, "tab", limit=6)["unseen_total"] == 4  # counted once a list has missed it

    def test_what_somebody_likes_is_offered_more(self, service: Service, host: Host, user: str) -> None:
        """Without any model: artworks near to a liked one come first, near to a disliked one last."""
        styles = ["cubism", "fauvism", "baroque"]
        pool = host.fill(service, [{"styles": [styles[place % 3]]} for place in range(60)])
        of_style = {
            style: {artwork for place, artwork in enumerate(pool) if styles[place % 3] == style} for style in styles
        }
        loved, loathed = pool[0], pool[1]
        service.record(
            {"event_id": "1", "user_id": user, "artwork_id": loved, "kind": "like"},
            {"event_id": "2", "user_id": user, "artwork_id": loathed, "kind": "dislike"},
        )
        answer = service.next(user, limit=10)
        assert set(ids_of(answer)) <= of_style["cubism"]
        assert {(item["rung"], item["reason"]) for item in answer["items"]} == {(2, "near_liked")}
        everything = ids_of(service.next(f"{user}", "other", limit=60))
        assert loved not in everything
        assert loathed not in everything

    @pytest.mark.parametrize("signal", [("favourite", None), ("dwell", 400.0)])
    def test_other_signals_of_taste_count_too(
        self, service: Service, host: Host, user: str, signal: tuple[str, float | None]
    ) -> None:
        """A favourite, or a dwell much longer than the user's usual one."""
        pool = host.fill(service, [{"styles": ["cubism" if place % 2 else "fauvism"]} for place in range(40)])
        usual = [
            {"event_id": f"usual-{artwork}", "user_id": user, "artwork_id": artwork, "kind": "dwell", "value": 20.0}
            for artwork in pool[0:10:2]
        ]
        kind, value = signal
        strong = {"event_id": "strong", "user_id": user, "artwork_id": pool[1], "kind": kind, "value": value}
        service.record(*usual, strong)
        assert set(ids_of(service.next(user, limit=10))) <= set(pool[1::2])


class TestOlderHost:
    """The host's columns drift: an older set works too."""

    def test_all_routes_work_without_the_newer_columns_and_one_line_says_what_is_lacking(
        self, start: Any, own_host: Host, user: str
    ) -> None:
        """The columns that were added last are dropped before the service starts."""
        own_host.connection.execute(
            "ALTER TABLE public.art_sessions DROP styles, DROP artists, DROP is_library, DROP orientation,"
            " DROP aspect_ratio, DROP catalogue_tier, DROP width, DROP height, DROP version,"
            " ALTER quality_score TYPE integer"
        )
        own_host.connection.execute("ALTER TABLE public.user_art_impressions DROP bridge_at, DROP version")
        own_host.connection.execute("ALTER TABLE public.users DROP preferred_orientation, DROP style_preferences")
        own_host.connection.execute("DROP TABLE public.art_favorites, public.user_credits")
        pool = own_host.add_artworks(6, motifs=["rose"], quality_score=70)
        own_host.add_user(user)
        own_host.see(user, pool[:2])

        service = start()
        answer = service.next(user, limit=10, orientation="portrait", styles="cubism")
        assert sorted(ids_of(answer)) == sorted(pool[2:])
        assert {(item["orientation"], item["quality_score"], *item["styles"]) for item in answer["items"]} == {
            (None, 70.0)
        }
        assert service.display(user, pool[2:4])["new"] == pool[2:4]
        service.record({"event_id": "1", "user_id": user, "artwork_id": pool[4], "kind": "like"})
        assert ids_of(service.next(user, limit=10)) == [pool[5]]
        assert service.client.get(f"/v1/users/{user}/coverage").json()["seen"] == 5
        for path in ("/v1/health", "/v1/models/live", "/v1/openapi.json", "/metrics"):
            assert service.client.get(path).status_code == 200

        (line,) = [line["event"] for line in service.log_lines() if "lack" in line["event"]]
        for name in ("art_favorites", "art_sessions.styles", "art_sessions.orientation", "users.style_preferences"):
            assert name in line
        assert "art_sessions.prompt" not in line


@pytest.fixture
def late_service(start: Any, own_host: Host) -> Iterator[Service]:
    """A service on a pool of 8 that looks at it once an hour, and whose leases first live for a second."""
    own_host.add_artworks(8)
    return start(
        environment={
            "VERNISSAGE_CATALOGUE_POLL_SECONDS": "3600",
            "VERNISSAGE_LEASE_FIRST_SECONDS": "1",
        }
    )


def _seconds_until(holds: Any) -> float:
    """Seconds until ``holds`` returns true; gives up after thirty."""
    started = time.monotonic()
    while not holds() and time.monotonic() - started < 30:
        time.sleep(0.02)
    return time.monotonic() - started


class TestEvidence:
    """Every artwork on a list says what its place rests on."""

    def test_without_signals_and_model_nothing_speaks_for_an_artwork(
        self, service: Service, host: Host, user: str
    ) -> None:
        """The fallback order."""
        host.fill(service, 3, styles=["cubism"])
        assert {item["evidence"] for item in service.next(user)["items"]} == {"none"}

    def test_a_like_makes_the_content_of_others_speak(self, service: Service, host: Host, user: str) -> None:
        """No model, but styles; an artwork of which nothing is known stays without evidence."""
        liked, *others = host.fill(service, 3, styles=["cubism"])
        (bare,) = host.add_artworks([{"prompt": "", "styles": []}])
        host.wait(service)
        service.record({"event_id": "like", "user_id": user, "artwork_id": liked, "kind": "like"})
        found = {item["artwork_id"]: item["evidence"] for item in service.next(user)["items"]}
        assert found == dict.fromkeys(others, "content") | {bare: "none"}

    def test_what_the_model_was_trained_on_rests_on_behaviour(
        self, start: Callable[..., Service], own_host: Host, tmp_path: Path
    ) -> None:
        """An artwork that came later rests on its content."""
        service = start(environment=BRISK)
        known = own_host.fill(service, 4, styles=["cubism"])
        bundle = bundles.save(tmp_path / "bundle", manifest("1"), factor_arrays(np.array(known), 1))
        live = {"alias": "champion", "version": "1", "bundle_path": str(tmp_path / "bundle"), "digest": bundle.digest}
        own_host.connection.execute(query("set_live_model"), live)
        (new,) = own_host.add_artworks([{"prompt": "later", "styles": ["cubism"]}])
        own_host.wait(service)
        service.record({"event_id": "like", "user_id": "ada", "artwork_id": known[0], "kind": "like"})
        end = time.monotonic() + 30
        while (answer := service.next("ada"))["model"] is None and time.monotonic() < end:
            time.sleep(0.05)
        found = {item["artwork_id"]: item["evidence"] for item in answer["items"]}
        assert found == dict.fromkeys(known[1:], "behaviour") | {new: "content"}
