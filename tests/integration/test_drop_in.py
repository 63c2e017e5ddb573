"""The host's routes, asked as its unmodified client asks them, on today's columns of the host and on the older ones."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from features.database import connect
from tests import drop_in_contract as contract
from tests.host import Host, pool_of
from tests.host_client import Clock, HostClient
from tests.service import Service
from tests.tab import displays_of, expire, seen_of

BRISK = {
    "VERNISSAGE_CATALOGUE_POLL_SECONDS": "0.05",
    "VERNISSAGE_RANK_DEADLINE_MS": "5000",
    "VERNISSAGE_LOG_SAMPLE": "1",
}
USER = "X-Vernissage-User"


@dataclass
class Place:
    """A service on a host, and how to ask it in a user's name."""

    service: Service
    host: Host
    columns: str

    def fill(self, artworks: int | Sequence[dict[str, Any]], **columns: Any) -> list[str]:
        """Make exactly these artworks the pool; what the host has no column for is left out."""
        rows = [{}] * artworks if isinstance(artworks, int) else artworks
        return self.host.fill(self.service, [self.known(row) for row in rows], **self.known(columns))

    def known(self, row: dict[str, Any]) -> dict[str, Any]:
        """The columns of a row that the host has."""
        older = self.columns == "older"
        return {name: value for name, value in row.items() if not (older and name in contract.LATER_COLUMNS)}

    def get(self, path: str, user: str | None, **parameters: Any) -> httpx.Response:
        """GET in a user's name."""
        headers = {} if user is None else {USER: user}
        return self.service.client.get(path, params=parameters, headers=headers)

    def post(self, path: str, user: str | None, body: Any) -> httpx.Response:
        """POST JSON in a user's name."""
        headers = {} if user is None else {USER: user}
        return self.service.client.post(path, json=body, headers=headers)

    def next(self, user: str, session: str = "tab", limit: int = 20) -> list[str]:
        """The ids on a plain list."""
        answer = self.get("/api/artworks/next", user, sessionId=session, limit=limit).raise_for_status()
        return ids_of(answer)

    def next_async(self, user: str, session: str = "tab", **parameters: Any) -> httpx.Response:
        """What the display asks for first."""
        return self.get("/api/artworks/next/async", user, sessionId=session, **parameters)

    def load(self, user: str, artwork_ids: Sequence[str], session: str | None = "tab") -> httpx.Response:
        """Report loaded artworks."""
        named = {} if session is None else {"sessionId": session}
        return self.post("/api/artworks/batch-impressions", user, {"artworkIds": list(artwork_ids)} | named)

    def render(self, user: str, artwork_ids: Sequence[str], session: str | None = "tab") -> httpx.Response:
        """Report drawn artworks."""
        named = {} if session is None else {"sessionId": session}
        return self.post("/api/impressions/rendered", user, {"artworkIds": list(artwork_ids)} | named)

    def bridge(self, user: str, session: str = "tab", **wishes: Any) -> httpx.Response:
        """Ask for something to go on with."""
        return self.post("/api/catalogue-bridge", user, {"sessionId": session} | wishes)

    def see_pool_of(self, size: int) -> None:
        """Wait until the service knows of so many artworks that may be served."""
        end = time.monotonic() + 15
        while pool_of(self.service) != size:
            assert time.monotonic() < end, f"the pool does not come to {size}"
            time.sleep(0.02)

    def age_job(self, job_id: str, seconds: float) -> None:
        """Let a job have begun earlier."""
        self.host.connection.execute(
            "UPDATE vernissage.list_jobs SET created_at = created_at - make_interval(secs => %s) WHERE job_id = %s",
            (seconds, job_id),
        )

    def impressions(self, user: str) -> dict[str, datetime]:
        """The host's impressions of a user: when each artwork was seen."""
        rows = self.host.connection.execute(
            "SELECT artwork_id, viewed_at FROM public.user_art_impressions WHERE user_id = %s", (user,)
        )
        return dict(rows.fetchall())

    def late(self, why: str) -> float:
        """How many late draws were counted."""
        return self.service.metrics().get(f'vernissage_late_draws_total{{why="{why}"}}', 0.0)


def ids_of(answer: httpx.Response) -> list[str]:
    """The artwork ids of an answer."""
    return [artwork["id"] for artwork in answer.json()["artworks"]]


@pytest.fixture(scope="module", params=["today", "older"])
def place(
    request: pytest.FixtureRequest, cluster: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A service on a host with one of the two sets of columns."""
    name = f"vernissage_test_{uuid.uuid4().hex[:12]}"
    with connect(cluster, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = urlsplit(cluster)._replace(path=f"/{name}").geturl()
        with connect(url, autocommit=True) as connection:
            host = Host(connection)
            if request.param == "older":
                contract.make_older(host)
            with Service(url, tmp_path_factory.mktemp(request.param), environment=BRISK) as service:
                yield Place(service, host, request.param)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def today(place: Place) -> Place:
    """The place with today's columns, for what the older ones cannot hold."""
    if place.columns == "older":
        pytest.skip("the older columns have no styles and no orientation")
    return place


@pytest.fixture
def user(place: Place) -> str:
    """A user whom the host knows."""
    return place.host.add_user()


class TestShapes:
    """Keys, types and headers, route by route."""

    def test_the_plain_list_has_every_field_and_header(self, place: Place, user: str) -> None:
        """Some artworks with everything, some with nothing."""
        full = {
            "user_id": "system", "dna_vector": json.dumps([0.5] * 50), "audio_features": '{"tempo": 120}',
            "motifs": ["baroque", "jazz", "calm"], "quality_score": 75, "styles": ["baroque"], "artists": ["Ada"],
            "is_library": True, "orientation": "landscape", "aspect_ratio": "16:9", "width": 1920, "height": 1080,
            "last_used_at": "2025-06-01 12:30:15.2505", "created_at": "2025-05-01 00:00:00",
        }  # fmt: skip
        nothing = {"motifs": None, "quality_score": None, "pool_status": None, "styles": None, "artists": None}
        pool = place.fill([full, nothing, {}])
        answer = place.get("/api/artworks/next", user, sessionId="tab")
        assert contract.faults(answer, 200, contract.NEXT, contract.NO_CACHE) == []

        body = answer.json()
        by_id = {artwork["id"]: artwork for artwork in body["artworks"]}
        assert set(by_id) == set(pool)
        assert body["poolSize"] == 3
        assert by_id[pool[0]]["qualityScore"] == "75.0"
        assert by_id[pool[0]]["lastUsedAt"] == "2025-06-01T12:30:15.250Z"
        assert by_id[pool[0]]["createdAt"] == "2025-05-01T00:00:00.000Z"
        assert by_id[pool[0]]["dnaVector"] == full["dna_vector"], "the text as it is stored"
        assert (by_id[pool[1]]["qualityScore"], by_id[pool[1]]["motifs"], by_id[pool[1]]["poolStatus"]) == (None,) * 3
        assert by_id[pool[2]]["qualityScore"] == "50.0"
        assert (by_id[pool[2]]["styles"], by_id[pool[2]]["isLibrary"], by_id[pool[2]]["version"]) == ([], False, 1)
        assert by_id[pool[2]]["sessionId"] == "catalogue-seed"

    def test_counts_and_tier_tell_the_library_from_what_was_made(self, today: Place, user: str) -> None:
        """Fresh ones are generated ones."""
        today.fill([{"is_library": True}] * 3)
        body = today.get("/api/artworks/next", user, sessionId="one").json()
        assert (body["freshCount"], body["storageCount"], body["tier"]) == (0, 3, "storage")
        today.fill([{"is_library": True}] * 3 + [{}])
        body = today.get("/api/artworks/next", user, sessionId="one").json()
        assert (body["freshCount"], body["storageCount"], body["tier"]) == (1, 3, "fresh")

    def test_an_empty_plain_list_says_so(self, place: Place, user: str) -> None:
        """Nothing left: not an error, and nothing divided by nothing."""
        place.fill(0)
        answer = place.get("/api/artworks/next", user, sessionId="tab")
        assert contract.faults(answer, 200, contract.NEXT, contract.NO_CACHE) == []
        body = answer.json()
        assert (body["artworks"], body["poolSize"], body["tier"], body["needsGeneration"]) == ([], 0, "empty", True)
        assert body["telemetry"]["pool_exhausted"]

    def test_onboarding_is_complete_when_styles_were_chosen(self, place: Place, user: str) -> None:
        """By the user, or for the session."""
        place.fill(3)
        assert place.get("/api/artworks/next", user, sessionId="new").json()["onboardingState"] == "incomplete"
        chooser = place.host.add_user(style_preferences=json.dumps({"styles": ["fauvism"], "artists": []}))
        body = place.get("/api/artworks/next", chooser, sessionId="new").json()
        assert (body["onboardingState"], body["selectedStyles"]) == ("complete", ["fauvism"])
        place.host.insert("art_preferences", {"session_id": f"chosen-{user}", "styles": ["cubism"]})
        body = place.get("/api/artworks/next", user, sessionId=f"chosen-{user}").json()
        assert (body["onboardingState"], body["selectedStyles"]) == ("complete", ["cubism"])
        assert body["telemetry"]["filters"] == {"styleTags": ["cubism"], "artistTags": []}

    def test_the_display_s_first_request_has_every_field_and_header(self, place: Place, user: str) -> None:
        """With and without filters."""
        place.fill(5)
        answer = place.next_async(user)
        assert contract.faults(answer, 200, contract.IMMEDIATE, contract.NO_CACHE) == []
        assert len(ids_of(answer)) == 3
        filters = {"styles": '["cubism"]', "artists": '["Ada"]', "orientation": "landscape", "limit": 5}
        answer = place.next_async(user, "other", **filters)
        assert contract.faults(answer, 200, contract.IMMEDIATE, contract.NO_CACHE) == []

    @pytest.mark.parametrize("unseen", range(5))
    def test_immediate_never_comes_with_fewer_than_two(self, place: Place, user: str, unseen: int) -> None:
        """An empty one makes the client throw; with one or none it is to wait."""
        place.fill(unseen)
        answer = place.next_async(user)
        if unseen < 2:
            assert contract.faults(answer, 200, contract.QUEUED, contract.NO_CACHE) == []
            return
        assert contract.faults(answer, 200, contract.IMMEDIATE, contract.NO_CACHE) == []
        assert len(ids_of(answer)) == min(unseen, 3)

    def test_reports_have_every_field(self, place: Place, user: str) -> None:
        """Loaded, viewed, rendered."""
        pool = place.fill(5)
        answer = place.load(user, [*pool[:2], pool[0], "unknown"])
        assert contract.faults(answer, 200, contract.LOADED, contract.NO_STORE) == []
        body = answer.json()
        assert (body["attempted"], body["recorded"], body["filtered"], body["ids"]) == (3, 2, 1, pool[:2])

        answer = place.service.client.post(f"/api/artworks/{pool[0]}/viewed", headers={USER: user})
        assert contract.faults(answer, 200, contract.VIEWED, contract.NO_STORE) == []
        answer = place.post("/api/impressions/rendered", user, {"artworkIds": [pool[1], "unknown"], "source": "bridge"})
        assert contract.faults(answer, 200, contract.RENDERED, contract.NO_STORE) == []
        assert answer.json() == {"recordedCount": 1, "rejectedIds": ["unknown"], "source": "bridge"}
        assert place.render(user, pool[1:2]).json() == {"recordedCount": 1, "rejectedIds": [], "source": "unknown"}
        assert displays_of(place.host, user) == {pool[0]: 1, pool[1]: 1}

    def test_the_bridge_has_every_field(self, place: Place, user: str) -> None:
        """In camelCase, or the client drops every frame."""
        place.fill(3)
        answer = place.bridge(user, styleTags=["cubism"])
        assert contract.faults(answer, 200, contract.BRIDGE, contract.NO_STORE) == []
        place.fill(0)
        answer = place.bridge(user, styleTags=["cubism"])
        assert contract.faults(answer, 200, contract.PROCEDURAL, contract.NO_STORE) == []

    def test_the_pool_s_picture_has_every_field(self, place: Place, user: str) -> None:
        """Of an empty pool, of one in use, and of one that has been seen."""
        place.fill(0)
        answer = place.get("/api/monitoring/pool", None)
        assert contract.faults(answer, 200, contract.POOL, contract.NO_STORE) == []
        assert answer.json()["metrics"]["poolCoveragePercentage"] == 0

        pool = place.fill(4)
        place.next(user)
        place.render(user, pool[:2])
        place.load(user, pool[2:])
        answer = place.get("/api/monitoring/pool", None)
        assert contract.faults(answer, 200, contract.POOL, contract.NO_STORE) == []
        metrics = answer.json()["metrics"]
        assert metrics["totalFramesAvailable"] == 4
        assert metrics["activeSessions"] >= 1
        assert metrics["consumptionRatePerMinute"] > 0
        assert metrics["predictedExhaustionMinutes"] >= 0

    def test_the_picture_counts_the_host_s_own_pregenerations(self, place: Place, user: str) -> None:
        """Also beside a payload that is not JSON."""
        place.fill(1)
        for status, payload in (
            ("pending", '{"isPreGeneration": true}'),
            ("processing", '{"isPreGeneration":true}'),
            ("pending", '{"isPreGeneration": false}'),
            ("pending", "{broken"),
        ):
            place.host.insert("generation_jobs", {"user_id": user, "status": status, "payload": payload})
        metrics = place.get("/api/monitoring/pool", None).json()["metrics"]
        assert (metrics["preGenerationActive"], metrics["preGenerationQueued"]) == (1, 1)
        place.host.connection.execute("DELETE FROM public.generation_jobs")

    @pytest.mark.parametrize(
        ("plan", "tier", "delay"),
        [
            ("free", "free", 5000), ("plus", "plus", 2000), ("premium", "plus", 2000), ("pro", "pro", 1000),
            ("ULTIMATE", "pro", 1000), ("nobody-knows", "free", 5000), (None, "free", 5000),
        ],
    )  # fmt: skip
    def test_a_client_is_told_how_to_send_by_its_tier(
        self, place: Place, plan: str | None, tier: str, delay: int
    ) -> None:
        """Every plan has a tier, also one that nobody knows."""
        answer = place.get("/api/client-config", place.host.add_user(subscription_tier=plan))
        assert contract.faults(answer, 200, contract.CONFIG, contract.NO_STORE) == []
        assert (answer.json()["tier"], answer.json()["flushDelayMs"]) == (tier, delay)

    def test_a_client_of_a_user_whom_the_host_does_not_know_is_answered_too(self, place: Place) -> None:
        """As the lowest tier, and with artworks."""
        place.fill(5)
        stranger = f"stranger-{uuid.uuid4()}"
        assert place.get("/api/client-config", stranger).json()["tier"] == "free"
        offered = place.next(stranger)
        assert place.load(stranger, offered).json()["recorded"] == 5
        assert place.render(stranger, offered[:1]).json()["recordedCount"] == 1
        assert set(place.next(stranger)) == set(offered[1:])


class TestErrors:
    """The host's two shapes."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/api/artworks/next"), ("GET", "/api/artworks/next/async"), ("GET", "/api/artworks/job/1"),
            ("POST", "/api/artworks/batch-impressions"), ("POST", "/api/artworks/a/viewed"),
            ("POST", "/api/impressions/rendered"), ("POST", "/api/catalogue-bridge"), ("GET", "/api/client-config"),
        ],
    )  # fmt: skip
    def test_without_a_user_or_a_key_the_answer_is_401_with_a_message(
        self, place: Place, method: str, path: str
    ) -> None:
        """The one shape that has `message`."""
        for client, headers in (
            (place.service.client, {}),
            (place.service.client, {USER: ""}),
            (place.service.stranger, {USER: "ada"}),
            (place.service.stranger, {"Authorization": "Bearer vern_nobody", USER: "ada"}),
        ):
            answer = client.request(method, path, headers=headers)
            assert contract.faults(answer, 401, contract.MESSAGE, contract.NO_STORE) == []

    def test_two_users_in_one_request_are_none(self, place: Place) -> None:
        """A proxy that adds its header to the client's own must not let the client choose."""
        answer = place.service.client.get("/api/artworks/next", headers=[(USER, "ada"), (USER, "eve")])
        assert contract.faults(answer, 401, contract.MESSAGE, contract.NO_STORE) == []

    def test_a_token_stands_for_its_user_and_for_nobody_else(self, place: Place) -> None:
        """As a header, and in the address, where a beacon has to put it."""
        pool = place.fill(4)
        token = place.service.client.post("/v1/tokens", json={"user_id": "ada"}).json()["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        stranger = place.service.stranger
        answer = stranger.get("/api/artworks/next", params={"sessionId": "tab"}, headers=bearer)
        assert answer.json()["telemetry"]["userId"] == "ada"
        body = json.dumps({"artworkIds": pool[:1]})
        assert stranger.post(f"/api/artworks/batch-impressions?token={token}", content=body).json()["recorded"] == 1
        assert seen_of(place.host, "ada") == {pool[0]}
        answer = stranger.get("/api/artworks/next", headers=bearer | {USER: "eve"})
        assert contract.faults(answer, 403, contract.ERROR, contract.NO_STORE) == []

    def test_an_empty_batch_and_wrong_types_are_told_apart(self, place: Place, user: str) -> None:
        """The first has a text of its own, the second says which field."""
        answer = place.load(user, [])
        assert contract.faults(answer, 400, contract.ERROR, contract.NO_STORE) == []
        assert answer.json() == {"error": "artworkIds[] required"}
        for body in (
            {}, {"artworkIds": "a"}, {"artworkIds": [1]}, {"artworkIds": ["a"], "sessionId": 5}, {"artworkIds": None},
            [], {"artworkIds": ["a"] * 5001},
        ):  # fmt: skip
            answer = place.post("/api/artworks/batch-impressions", user, body)
            assert contract.faults(answer, 400, contract.INVALID, contract.NO_STORE) == [], body
        assert answer.json()["details"][0]["field"] == "artworkIds"

    def test_a_report_of_none_or_of_eleven_is_refused(self, place: Place, user: str) -> None:
        """One to ten."""
        for sent in ([], ["a"] * 11):
            answer = place.render(user, sent)
            assert contract.faults(answer, 400, contract.INVALID, contract.NO_STORE) == []
        answer = place.post("/api/impressions/rendered", user, {"artworkIds": ["a"], "source": "elsewhere"})
        assert contract.faults(answer, 400, contract.INVALID, contract.NO_STORE) == []

    @pytest.mark.parametrize(
        "parameters",
        [{"limit": "many"}, {"limit": 0}, {"styles": "cubism"}, {"artists": "[1]"}, {"orientation": "askew"}],
    )
    def test_a_parameter_that_breaks_its_rule_is_named(
        self, place: Place, user: str, parameters: dict[str, Any]
    ) -> None:
        """In the shape that says which."""
        answer = place.next_async(user, **parameters)
        assert contract.faults(answer, 400, contract.INVALID, contract.NO_STORE) == []
        assert answer.json()["details"][0]["field"] in parameters

    def test_jobs_that_are_not_there_or_not_one_s_own(self, place: Place, user: str) -> None:
        """404 and 403."""
        place.fill(0)
        job_id = place.next_async(user).json()["jobId"]
        answer = place.get(f"/api/artworks/job/{job_id}", "somebody-else")
        assert contract.faults(answer, 403, contract.ERROR, contract.NO_STORE) == []
        for unknown in (str(uuid.uuid4()), "job_1", "%00"):
            answer = place.get(f"/api/artworks/job/{unknown}", user)
            assert contract.faults(answer, 404, contract.ERROR, contract.NO_STORE) == []

    def test_unknown_paths_and_wrong_methods_under_api_keep_the_shape(self, place: Place, user: str) -> None:
        """Also what no route answers."""
        answer = place.get("/api/nothing", user)
        assert contract.faults(answer, 404, contract.ERROR, contract.NO_STORE) == []
        answer = place.get("/api/artworks/batch-impressions", user)
        assert contract.faults(answer, 405, contract.ERROR, contract.NO_STORE) == []
        assert answer.headers["allow"] == "POST"

    def test_bodies_that_are_not_json_are_refused(self, place: Place, user: str) -> None:
        """Plain, truncated and pretended gzip."""
        for content in (b"", b"{", b"\xff\xfe", b"\x1f\x8b nonsense", gzip.compress(b'{"artworkIds": ["a"]}')[:-9]):
            answer = place.service.client.post("/api/artworks/batch-impressions", content=content, headers={USER: user})
            assert contract.faults(answer, 400, contract.ERROR, contract.NO_STORE) == [], content


class TestJobs:
    """What cannot be filled at once."""

    def test_a_job_is_completed_as_soon_as_there_is_enough(self, place: Place, user: str) -> None:
        """The host makes artworks while the client polls; asked again, the answer is the same."""
        place.fill(1)
        job_id = place.next_async(user).json()["jobId"]
        path = f"/api/artworks/job/{job_id}"
        assert contract.faults(place.get(path, user), 200, contract.PENDING, contract.NO_CACHE) == []
        place.host.add_artworks(2)
        place.host.wait(place.service)
        answer = place.get(path, user)
        assert contract.faults(answer, 200, contract.COMPLETED, contract.NO_CACHE) == []
        assert len(ids_of(answer)) == 3
        assert ids_of(place.get(path, user)) == ids_of(answer)

    @pytest.mark.parametrize("unseen", [0, 1])
    def test_a_job_that_cannot_be_filled_fails_with_what_there_is_before_the_client_gives_up(
        self, place: Place, user: str, unseen: int
    ) -> None:
        """The client polls at about 0, 2, 6 and 14 s and gives up at 20 s: at 6 it waits, at 14 it is told."""
        pool = place.fill(unseen)
        job_id = place.next_async(user).json()["jobId"]
        path = f"/api/artworks/job/{job_id}"
        place.age_job(job_id, 6)
        assert contract.faults(place.get(path, user), 200, contract.PENDING, contract.NO_CACHE) == []
        place.age_job(job_id, 7.5)
        answer = place.get(path, user)
        assert contract.faults(answer, 200, contract.FAILED, contract.NO_CACHE) == []
        assert ids_of(answer) == pool

    def test_a_session_waits_for_one_job_at_a_time(self, place: Place, user: str) -> None:
        """Asking twice is not waiting twice; after its end a new one begins; another tab has its own."""
        place.fill(0)
        first = place.next_async(user).json()["jobId"]
        assert place.next_async(user).json()["jobId"] == first
        assert place.next_async(user, "other").json()["jobId"] != first
        place.age_job(first, 11)
        assert place.next_async(user).json()["jobId"] != first

    def test_waiting_leases_nothing(self, place: Place, user: str) -> None:
        """One artwork is too few for an answer, so that another tab can still have it."""
        pool = place.fill(1)
        job_id = place.next_async(user, "one").json()["jobId"]
        place.get(f"/api/artworks/job/{job_id}", user)
        assert place.next(user, "two") == pool

    def test_jobs_of_long_ago_are_forgotten(self, place: Place, user: str) -> None:
        """When the same user waits again."""
        place.fill(0)
        old = place.next_async(user).json()["jobId"]
        place.age_job(old, 7200)
        place.next_async(user)
        assert place.get(f"/api/artworks/job/{old}", user).status_code == 404


class TestLoaded:
    """A loaded artwork is not a shown one, and nobody else's any more."""

    def test_what_a_session_has_loaded_is_offered_to_it_until_it_is_shown_and_to_no_other(
        self, place: Place, user: str
    ) -> None:
        """Also after the lease's end."""
        pool = place.fill(6)
        offered = place.next(user, "one", 3)
        place.load(user, offered, "one")
        assert place.next(user, "one", 3) == offered
        assert set(place.next(user, "two")) == set(pool) - set(offered)
        for session in ("one", "two"):
            expire(place.host, user, session)
        assert not set(place.next(user, "three")) & set(offered)
        expire(place.host, user, "three")
        assert set(offered) <= set(place.next(user, "one"))
        place.render(user, offered[:1], "one")
        again = place.next(user, "one")
        assert offered[0] not in again
        assert set(offered[1:]) <= set(again)

    def test_the_host_sees_an_impression_and_its_first_sighting_stays(self, place: Place, user: str) -> None:
        """Loaded, loaded again, shown: one row, one time; and the host's own rows are no reason to forget it."""
        place.fill(3)
        offered = place.next(user)
        place.load(user, offered)
        first = place.impressions(user)
        assert set(first) == set(offered)
        place.load(user, offered)
        place.render(user, offered)
        assert place.impressions(user) == first
        assert place.next(user) == []

    def test_a_batch_is_a_sign_of_life(self, place: Place, user: str) -> None:
        """The first minute becomes as long as what it holds will last."""
        place.fill(4)
        offered = place.next(user, limit=2)
        before = self.seconds_left(place, user)
        place.load(user, offered[:1])
        assert self.seconds_left(place, user) > before + 100
        expire(place.host, user, "tab")
        place.load(user, offered[1:])
        assert self.seconds_left(place, user) < 0, "what has expired is lost"

    def test_without_a_session_it_is_the_holder_s(self, place: Place, user: str) -> None:
        """And what nobody holds is nobody's: no session is offered it."""
        pool = place.fill(4)
        offered = place.next(user, "one", 2)
        place.load(user, offered, None)
        assert place.next(user, "one", 2) == offered
        place.load(user, [next(artwork for artwork in pool if artwork not in offered)], None)
        for session in ("one", "two"):
            assert len({*place.next(user, session)} - {*offered}) <= 1
        assert self.seconds_left(place, user, "one") > 100

    def test_a_batch_sent_twice_is_recorded_once(self, place: Place, user: str) -> None:
        """By the recorder and by the beacon, at the same time."""
        pool = place.fill(30)
        barrier = threading.Barrier(4)

        def send(_: int) -> Any:
            barrier.wait()
            return place.load(user, pool).raise_for_status().json()["recorded"]

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(send, range(4))) == [30] * 4
        assert len(place.impressions(user)) == 30
        assert seen_of(place.host, user) == set(pool)

    def test_a_beacon_of_1700_ids_is_recorded_whole(self, place: Place, user: str) -> None:
        """As text/plain, with most of them unknown to the host: 200, so that nothing is sent for ever."""
        pool = place.fill(20)
        sent = [*pool, *(str(uuid.uuid4()) for _ in range(1_680))]
        answer = place.service.client.post(
            "/api/artworks/batch-impressions",
            content=json.dumps({"artworkIds": sent}),
            headers={USER: user, "Content-Type": "text/plain;charset=UTF-8"},
        )
        assert contract.faults(answer, 200, contract.LOADED, contract.NO_STORE) == []
        assert (answer.json()["attempted"], answer.json()["recorded"]) == (1_700, 20)
        assert seen_of(place.host, user) == set(pool)

    def test_a_body_of_5000_ids_and_one_of_a_mebibyte_are_accepted(self, place: Place, user: str) -> None:
        """Both at once."""
        pool = place.fill(1)
        sent = [*pool, *(f"{number:0>210}" for number in range(4_999))]
        body = json.dumps({"artworkIds": sent}).encode()
        assert len(body) > 1024 * 1024
        answer = place.service.client.post("/api/artworks/batch-impressions", content=body, headers={USER: user})
        assert (answer.json()["attempted"], answer.json()["recorded"]) == (5_000, 1)

    def test_ids_that_can_be_no_artwork_s_are_left_out_and_not_refused(self, place: Place, user: str) -> None:
        """A batch that can never succeed would be sent for ever."""
        pool = place.fill(1)
        answer = place.load(user, ["", "\0", "x" * 10_000, "🎨", *pool])
        assert contract.faults(answer, 200, contract.LOADED, contract.NO_STORE) == []
        assert answer.json()["ids"] == pool
        assert place.render(user, ["\0", *pool]).json()["rejectedIds"] == ["\0"]

    def test_a_gzip_body_is_known_by_its_first_bytes(self, place: Place, user: str) -> None:
        """No header says so; and what is small only while it is packed is refused."""
        pool = place.fill(2)
        client, path = place.service.client, "/api/artworks/batch-impressions"
        body = gzip.compress(json.dumps({"artworkIds": pool}).encode())
        answer = client.post(path, content=body, headers={USER: user})
        assert answer.json()["recorded"] == 2
        bomb = gzip.compress(b'{"artworkIds": ["' + b"a" * 200_000_000 + b'"]}', 1)
        assert len(bomb) < 1024 * 1024
        answer = client.post(path, content=bomb, headers={USER: user})
        assert contract.faults(answer, 413, contract.ERROR, contract.NO_STORE) == []

    def test_an_artwork_that_the_host_deleted_stays_marked(self, place: Place, user: str) -> None:
        """It is filtered in the answer, and never offered again should it come back."""
        pool = place.fill(3)
        place.host.delete(pool[0])
        answer = place.load(user, pool[:1])
        assert (answer.json()["recorded"], answer.json()["filtered"]) == (0, 1)
        place.host.wait(place.service)
        place.host.add_artwork(pool[0])
        place.host.wait(place.service)
        assert pool[0] not in place.next(user, "later")

    @staticmethod
    def seconds_left(place: Place, user: str, session: str = "tab") -> float:
        """How long the session's leases still hold."""
        row = place.host.connection.execute(
            "SELECT extract(epoch FROM expires_at - now()) FROM vernissage.sessions"
            " WHERE user_id = %s AND session_id = %s",
            (user, session),
        ).fetchone()
        assert row is not None
        return float(row[0])


class TestShown:
    """What is on the screen has happened."""

    def test_one_display_reported_by_both_routes_is_one_display(self, place: Place, user: str) -> None:
        """In either order; only one of the two names the session."""
        place.fill(4)
        first, second, third, fourth = place.next(user)
        viewed = "/api/artworks/{}/viewed"
        for _ in range(2):
            place.post(viewed.format(first), user, {})
            place.render(user, [first])
        for _ in range(2):
            place.render(user, [second])
            place.post(viewed.format(second), user, {})
        place.render(user, [third], None)
        place.render(user, [third])
        place.load(user, [fourth])
        expire(place.host, user, "tab")
        place.post(viewed.format(fourth), user, {})
        place.render(user, [fourth])
        assert displays_of(place.host, user) == {first: 1, second: 1, third: 1, fourth: 1}

    def test_late_draws_are_recorded_and_counted(self, place: Place, user: str) -> None:
        """A tab that slept past its leases draws all the same; nobody can stop it."""
        place.fill(3)
        first, second, third = place.next(user, "sleepy")
        counts = {why: place.late(why) for why in ("expired", "foreign", "repeated")}
        expire(place.host, user, "sleepy")
        place.render(user, [first], "sleepy")
        place.render(user, [first], "sleepy")
        assert place.late("expired") == counts["expired"] + 1
        assert set(place.next(user, "awake")) == {second, third}
        place.render(user, [second], "sleepy")
        assert place.late("foreign") == counts["foreign"] + 1
        place.render(user, [third], "awake")
        place.render(user, [third], "sleepy")
        assert place.late("repeated") == counts["repeated"] + 1
        assert displays_of(place.host, user) == {first: 1, second: 1, third: 2}

    def test_an_orderly_display_is_not_late(self, place: Place, user: str) -> None:
        """Whether or not it names its session."""
        place.fill(3)
        first, second, third = place.next(user)
        before = place.service.metrics()
        place.load(user, [first, second])
        place.render(user, [first])
        place.render(user, [second], None)
        place.post(f"/api/artworks/{third}/viewed", user, {})
        after = place.service.metrics()
        late = [name for name in after if "late_draws" in name and after[name] != before.get(name, 0.0)]
        assert late == []


class TestBridge:
    """Something to go on with at once."""

    def test_the_style_filter_is_kept_and_the_tier_says_how_well_it_fits(self, today: Place, user: str) -> None:
        """Exact ones first, however new the others are; then the related; then any; then none."""
        pool = today.fill(
            [{"styles": ["Cubism"], "artists": ["Ada"]}] * 2
            + [{"styles": ["cubism"]}] * 2
            + [{"styles": ["fauvism"], "quality_score": 99}] * 20
        )
        wishes = {"styleTags": ["cubism"], "artistTags": ["ada"]}
        found = []
        for tier in ("exact", "related"):
            answer = today.bridge(
                user, **(wishes if tier == "exact" else {"styleTags": ["cubism"], "artistTags": ["x"]})
            )
            found.append((answer.json()["tier"], set(ids_of(answer))))
        assert found[0][0] in {"exact", "related"}
        assert found[0][1] | found[1][1] == set(pool[:4]), "the four that fit, before any other"
        answer = today.bridge(user, **wishes)
        assert answer.json()["tier"] == "global"
        assert set(ids_of(answer)) <= set(pool[4:])

    def test_the_style_asked_for_comes_before_what_the_user_likes(self, today: Place, user: str) -> None:
        """Whoever asks for a style wants that one now."""
        pool = today.fill([{"styles": ["cubism"]}] * 2 + [{"styles": ["fauvism"], "prompt": "roses"}] * 30)
        for artwork in pool[-8:]:
            today.service.record({"event_id": artwork, "user_id": user, "artwork_id": artwork, "kind": "like"})
        answer = today.bridge(user, styleTags=["cubism"])
        assert (answer.json()["tier"], set(ids_of(answer))) == ("exact", set(pool[:2]))

    def test_exact_means_in_every_kind_of_tag(self, today: Place, user: str) -> None:
        """A style alone is an exact answer to a style alone."""
        pool = today.fill([{"styles": ["cubism"]}] * 2 + [{"styles": ["fauvism"]}] * 8)
        answer = today.bridge(user, styleTags=["cubism"])
        assert (answer.json()["tier"], set(ids_of(answer))) == ("exact", set(pool[:2]))
        answer = today.bridge(user, orientation="any")
        assert answer.json()["tier"] == "exact", "nothing was asked for"

    def test_orientation_is_hard(self, today: Place, user: str) -> None:
        """Better nothing than the wrong one; an artwork without one fits all."""
        pool = today.fill([{"orientation": "portrait"}] * 3 + [{"orientation": "landscape"}, {}])
        answer = today.bridge(user, orientation="landscape", limit=5)
        assert set(ids_of(answer)) == set(pool[3:])

    def test_what_was_seen_is_never_a_bridge(self, place: Place, user: str) -> None:
        """Library or not; with nothing left there is something to draw, the same each time."""
        pool = place.fill(4, is_library=True)
        place.host.see(user, pool[:3])
        assert ids_of(place.bridge(user)) == pool[3:]
        place.render(user, pool[3:])
        first, second = (place.bridge(user, styleTags=["cubism"]).json() for _ in range(2))
        assert (first["artworks"], first["tier"]) == ([], "procedural")
        assert first["proceduralData"] == second["proceduralData"]
        assert first["proceduralData"]["styleHint"] == "cubism"
        other = place.bridge(user, "other", styleTags=["cubism"]).json()
        assert other["proceduralData"]["palette"] != first["proceduralData"]["palette"]

    def test_a_bridge_is_nothing_that_the_session_has_met(self, place: Place, user: str) -> None:
        """What it holds already would not help; and what the bridge gave is offered again until it is shown."""
        place.fill(6)
        held = place.next(user, limit=2)
        bridge = ids_of(place.bridge(user))
        assert not set(bridge) & set(held)
        assert set(place.next(user, limit=4)) == {*held, *bridge}


class TestStyleChange:
    """The validator refuses a batch with anything that it has met."""

    def test_after_a_change_nothing_comes_that_the_session_was_ever_offered(self, today: Place, user: str) -> None:
        """Back and forth, also where the styles are scarce; the plain list follows."""
        today.fill([{"styles": ["cubism" if number % 2 else "fauvism"]} for number in range(60)])
        met: set[str] = set()
        for styles in ('["cubism"]', '["fauvism"]', '["cubism"]', '["cubism","fauvism"]'):
            first = ids_of(today.next_async(user, styles=styles))
            assert len(first) == 3
            assert not met & set(first)
            assert ids_of(today.next_async(user, styles=styles)) == first, "unchanged: the same again"
            plain = today.next(user, limit=10)
            assert plain[:3] == first
            assert not met & set(plain)
            met |= set(plain)

    def test_the_order_in_which_styles_were_chosen_is_no_change(self, today: Place, user: str) -> None:
        """Nor is the plain list, which names none."""
        today.fill([{"styles": ["cubism"]}] * 10)
        first = ids_of(today.next_async(user, styles='["a","b"]'))
        today.next(user, limit=3)
        assert ids_of(today.next_async(user, styles='["b","a"]')) == first

    def test_orientation_and_artists_count_as_a_change(self, place: Place, user: str) -> None:
        """Whatever empties the client's engine."""
        place.fill(30)
        met = set(ids_of(place.next_async(user)))
        for change in ({"orientation": "landscape"}, {"artists": '["Ada"]'}, {}):
            found = set(ids_of(place.next_async(user, **change)))
            assert len(found) == 3
            assert not met & found
            met |= found

    def test_what_was_offered_before_the_change_stays_the_session_s_own(self, place: Place, user: str) -> None:
        """It may still be on its screen: no other tab is offered it while the lease lives."""
        place.fill(12)
        before = place.next(user, "one", 6)
        place.next_async(user, "one")
        after = ids_of(place.next_async(user, "one", styles='["cubism"]'))
        assert not set(place.next(user, "two")) & {*before, *after}

    def test_with_scarce_styles_asking_again_brings_nothing_new(self, today: Place, user: str) -> None:
        """Two of the style and many others: the same twenty, also after displays and likes."""
        today.fill([{"styles": ["cubism"]}] * 2 + [{"styles": ["fauvism"], "motifs": ["rose"]}] * 60)
        today.next_async(user, styles='["cubism"]')
        offered = today.next(user)
        for shown in range(3):
            today.load(user, offered)
            today.service.record(
                {"event_id": f"{user}-{shown}", "user_id": user, "artwork_id": offered[shown], "kind": "like"}
            )
            again = today.next(user, limit=20 - shown - 1)
            assert set(again) == set(offered[shown + 1 :])


class TestWrongs:
    """What the host gets wrong, answered rightly."""

    def test_no_answer_repeats_an_artwork_or_an_image(self, place: Place, user: str) -> None:
        """The client knows frames by id and by image; the same image under two ids is the same artwork."""
        place.fill(10)
        twins = place.host.add_artworks(6, image_url="/twin.webp")
        place.see_pool_of(11)
        for name, path in (("one", "/api/artworks/next"), ("two", "/api/artworks/next/async")):
            answer = place.get(path, user, sessionId=name, limit=20).json()["artworks"]
            urls = {artwork["imageUrl"] for artwork in answer}
            assert len({artwork["id"] for artwork in answer}) == len(urls) == len(answer) == 11
            place.service.client.delete(f"/v1/sessions/{name}", params={"user_id": user})
        place.host.see(user, twins[3:4])
        shown = place.get("/api/artworks/next", user, sessionId="later").json()["artworks"]
        assert "/twin.webp" not in {artwork["imageUrl"] for artwork in shown}, "seen under another id"

    def test_artworks_that_the_client_would_drop_are_not_offered(self, place: Place, user: str) -> None:
        """It takes paths and http(s), and nothing that spells placeholder."""
        pool = place.fill(2)
        for url in ("data:image/png;base64,AAAA", "ftp://a/b.png", "/images/Placeholder-7.png", "images/a.png", ""):
            place.host.add_artwork(image_url=url)
        fine = place.host.add_artworks([{"image_url": "https://a/b.png"}, {"image_url": "http://a/b.png"}])
        place.see_pool_of(4)
        assert set(place.next(user)) == {*pool, *fine}

    def test_broken_audio_features_are_left_out(self, place: Place, user: str) -> None:
        """The client parses them without a guard."""
        place.fill([{"audio_features": text} for text in ('{"tempo": 1}', "{broken", "", "NaN", None, "null")])
        answer = place.get("/api/artworks/next", user, sessionId="tab").json()["artworks"]
        assert sorted(str(artwork["audioFeatures"]) for artwork in answer) == [
            "None", "None", "None", "None", "null", '{"tempo": 1}',
        ]  # fmt: skip

    def test_archived_and_pending_artworks_are_not_served(self, place: Place, user: str) -> None:
        """On no route."""
        pool = place.fill([{"pool_status": status} for status in ("active", None, "archived", "pending")])
        assert set(place.next(user, "one")) == set(pool[:2])
        assert set(ids_of(place.next_async(place.host.add_user()))) == set(pool[:2])
        assert set(ids_of(place.bridge(place.host.add_user(), limit=9))) == set(pool[:2])

    def test_who_has_seen_everything_gets_nothing_again(self, place: Place, user: str) -> None:
        """By the host's own records."""
        pool = place.fill(5)
        place.host.see(user, pool)
        assert place.next(user) == []
        assert place.next_async(user).json()["type"] == "queued"
        assert place.bridge(user).json()["tier"] == "procedural"

    def test_tabs_that_ask_at_once_get_different_artworks(self, place: Place, user: str) -> None:
        """Five at the same moment, by both routes."""
        place.fill(60)
        barrier = threading.Barrier(5)

        def ask(tab: int) -> list[str]:
            barrier.wait()
            first = ids_of(place.next_async(user, f"tab-{tab}"))
            return [*first, *set(place.next(user, f"tab-{tab}", 10)) - set(first)]

        with ThreadPoolExecutor(5) as threads:
            lists = list(threads.map(ask, range(5)))
        assert sum(map(len, lists)) == len(set().union(*lists)) == 50

    def test_coverage_stays_between_nothing_and_everything(self, place: Place, user: str) -> None:
        """Seen marks of artworks that have left the pool are no part of it."""
        pool = place.fill(6)
        place.next(user)
        place.render(user, pool)
        for artwork in pool[:4]:
            place.host.set_status(artwork, "archived")
        place.host.wait(place.service)
        metrics = place.get("/api/monitoring/pool", None).json()["metrics"]
        assert 0 < metrics["poolCoveragePercentage"] <= 100

    def test_it_can_run_twice(self, start: Any, own_host: Host) -> None:
        """With two processes: a job that one began is known to the other, and so are leases, marks and filters."""
        service = start(workers=2)
        place = Place(service, own_host, "today")
        place.fill(1)
        user = own_host.add_user()
        job_id = place.next_async(user).json()["jobId"]
        own_host.add_artworks(29)
        own_host.wait(service)
        for _ in range(6):
            assert fresh_get(place, f"/api/artworks/job/{job_id}", user)["status"] == "completed"
        lists = [
            {
                artwork["id"]
                for artwork in fresh_get(place, f"/api/artworks/next?sessionId=tab-{tab}&limit=3", user)["artworks"]
            }
            for tab in range(8)
        ]
        assert len(set().union(*lists)) == 24


TABS = st.sampled_from(["one", "two", "three"])
PLACE = st.integers(0, 59)  # modulo what there is: which artworks were offered differs from run to run
WISHES = st.sampled_from([{}, {"styles": '["cubism"]'}, {"styles": '["cubism","fauvism"]'}, {"artists": '["Ada"]'}])


class Pages(RuleBasedStateMachine):
    """Several pages of one user in any order of asking, loading, showing, changing style and sleeping.

    The model knows sets and nothing else: what was shown, who has loaded what, what each page was ever offered.
    """

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.user = self.place.host.add_user()
        self.shown: set[str] = set()
        self.loaded: dict[str, str] = {}
        self.live: dict[str, set[str]] = {}  # offered under a lease that lives
        self.offered: dict[str, set[str]] = {}  # ever
        self.forbidden: dict[str, set[str]] = {}  # what a page had met when it last changed its filters
        self.wishes: dict[str, dict[str, str]] = {}

    @rule(tab=TABS, limit=st.integers(1, 8))
    def ask(self, tab: str, limit: int) -> None:
        """The plain list."""
        self.take(tab, self.place.next(self.user, tab, limit))

    @rule(tab=TABS, wishes=WISHES)
    def ask_first(self, tab: str, wishes: dict[str, str]) -> None:
        """The display's own request; with other wishes than before nothing comes that the page has met."""
        if tab in self.wishes and self.wishes[tab] != wishes:
            self.forbidden[tab] = set(self.offered.get(tab, set()))
        self.wishes[tab] = wishes
        answer = self.place.next_async(self.user, tab, **wishes).json()
        if answer["type"] == "immediate":
            assert len(answer["artworks"]) >= 2
            self.take(tab, [artwork["id"] for artwork in answer["artworks"]])

    @rule(tab=TABS)
    def bridge(self, tab: str) -> None:
        """Something to go on with is something that the page has not met."""
        found = ids_of(self.place.bridge(self.user, tab))
        assert not set(found) & self.offered.get(tab, set())
        self.take(tab, found)

    @rule(tab=TABS, places=st.sets(PLACE), named=st.booleans())
    def load(self, tab: str, places: set[int], named: bool) -> None:
        """Images arrive; what is on a live lease need not name its page."""
        some = at(self.live.get(tab, set()), places)
        if some:
            self.place.load(self.user, sorted(some), tab if named else None).raise_for_status()
        for artwork in some - {"unknown"}:
            self.loaded.setdefault(artwork, tab)

    @rule(tab=TABS, places=st.sets(PLACE, max_size=3), named=st.booleans())
    def show(self, tab: str, places: set[int], named: bool) -> None:
        """Some of what was ever offered is drawn, late or not."""
        some = at(self.offered.get(tab, set()), places)
        if some:
            self.place.render(self.user, sorted(some), tab if named else None).raise_for_status()
        self.shown |= some - {"unknown"}

    @rule(tab=TABS)
    def sleep(self, tab: str) -> None:
        """The page sleeps past its leases."""
        expire(self.place.host, self.user, tab)
        self.live[tab] = set()

    def take(self, tab: str, artworks: list[str]) -> None:
        """Check a list against the model, and remember it."""
        found = set(artworks)
        assert len(artworks) == len(found)
        assert not found & self.shown, "shown before"
        assert not {artwork for artwork in found if self.loaded.get(artwork, tab) != tab}, "in another page's memory"
        elsewhere = set().union(*(live for other, live in self.live.items() if other != tab))
        assert not found & elsewhere, "on lease to another page"
        assert not found & self.forbidden.get(tab, set()), "met before the change of style"
        self.live.setdefault(tab, set()).update(found)
        self.offered.setdefault(tab, set()).update(found)


def at(artworks: set[str], places: set[int]) -> set[str]:
    """The artworks at these places, modulo their number; an unknown one where there are none."""
    listed = sorted(artworks) or ["unknown"]
    return {listed[place % len(listed)] for place in places}


def test_pages_in_any_order_never_get_what_they_must_not(place: Place) -> None:
    """Nothing shown, nothing that another page has loaded or holds, nothing met before a change of style."""
    place.fill([{"styles": ["cubism" if number % 3 else "fauvism"], "artists": ["Ada"]} for number in range(40)])
    Pages.place = place
    run_state_machine_as_test(
        Pages,
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


class TestClient:
    """The unmodified client, imitated, minute by minute."""

    def test_a_session_burns_no_pool_repeats_nothing_and_pays_for_nothing(self, place: Place, user: str) -> None:
        """Six of its minutes: what is marked seen is what it holds ahead and what it has shown."""
        place.fill(120)
        clock, client = self.page(place, user)
        client.open()
        clock.run(until=345)
        self.assert_content(client)
        assert len(client.drawn) == 6
        assert 20 <= len(place.impressions(user)) <= 20 + len(client.drawn)

    def test_reports_without_a_session_are_as_good(self, place: Place, user: str) -> None:
        """The session is optional in the host's bodies."""
        place.fill(120)
        clock, client = self.page(place, user, named_sessions=False)
        client.open()
        clock.run(until=225)
        self.assert_content(client)
        assert len(place.impressions(user)) <= 20 + len(client.drawn)
        assert len(set(client.drawn)) == len(displays_of(place.host, user))

    def test_tabs_and_reloads_never_show_the_same(self, place: Place, user: str) -> None:
        """Two tabs; one is closed, one dies, and a third page begins."""
        place.fill(150)
        clock, first = self.page(place, user)
        second = HostClient(place.service.client, user, clock)
        first.open()
        second.open()
        clock.run(until=130)
        first.close()
        second.close(cleanly=False)
        third = HostClient(place.service.client, user, clock)
        third.open()
        clock.run(until=260)
        drawn = first.drawn + second.drawn + third.drawn
        assert len(drawn) == len(set(drawn)) >= 8
        for client in (first, second, third):
            self.assert_content(client)

    def test_a_change_of_style_is_followed_at_once(self, today: Place, user: str) -> None:
        """The validator refuses nothing and nothing is paid for."""
        today.fill([{"styles": ["cubism" if number % 2 else "fauvism"]} for number in range(200)])
        clock, client = self.page(today, user)
        client.styles = ["fauvism"]
        client.open()
        for minute, styles in enumerate((["cubism"], ["fauvism"], ["cubism", "fauvism"]), start=1):
            clock.run(until=60 * minute + 30)
            client.choose(*styles)
        clock.run(until=280)
        self.assert_content(client)

    def test_a_pool_that_ends_is_waited_for(self, start: Any, own_host: Host) -> None:
        """Six artworks, then none: jobs fail in time with nothing; new artworks are shown, each once."""
        place = Place(start(environment={"VERNISSAGE_LIST_JOB_SECONDS": str(10 / 30)}), own_host, "today")
        user = own_host.add_user()
        place.fill(6)
        clock, client = self.page(place, user, seconds_per_artwork=6.0)
        client.open()
        clock.run(until=75)
        assert len(client.drawn) == 6
        assert client.jobs["failed"] >= 1
        place.host.add_artworks(4)
        place.host.wait(place.service)
        end = clock.now + 300
        while len(client.drawn) < 10 and clock.now < end:
            clock.run(until=clock.now + 6)
        assert len(client.drawn) == len(set(client.drawn)) == 10
        assert (client.rejected_batches, client.empty_immediates, client.failed_requests) == (0, 0, 0)

    def test_what_is_queued_when_the_page_goes_arrives_by_beacon(self, place: Place, user: str) -> None:
        """Closed before the pause is over: the beacon has all of it."""
        place.fill(40)
        clock, client = self.page(place, user)
        client.open()
        clock.run(until=1.5)
        waiting = list(client.recorder.queue)
        assert waiting
        client.close()
        assert set(place.impressions(user)) >= {*waiting, *client.drawn}

    @staticmethod
    def page(place: Place, user: str, **options: Any) -> tuple[Clock, HostClient]:
        """A page that is about to load, and its clock: a minute is two seconds."""
        clock = Clock(speed=30)
        return clock, HostClient(place.service.client, user, clock, **options)

    @staticmethod
    def assert_content(client: HostClient) -> None:
        """Nothing shown twice, nothing refused, nothing paid for, nothing failed."""
        assert len(client.drawn) == len(set(client.drawn)) == len(set(client.drawn_urls))
        assert (client.rejected_batches, client.paid_generations, client.empty_immediates) == (0, 0, 0)
        assert (client.failed_requests, client.recorder.failures, client.refused) == (0, 0, [])


def fresh_get(place: Place, path: str, user: str) -> Any:
    """An answer over a connection of its own, so that any worker may give it."""
    headers = {"Authorization": f"Bearer {place.service.key}", USER: user}
    return httpx.get(f"{place.service.url}{path}", headers=headers, timeout=30).raise_for_status().json()
