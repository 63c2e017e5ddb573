"""What the people who run the service see: metrics, logs, health, two workers, and an end that loses nothing."""

from __future__ import annotations

import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.host import Host
from tests.service import Service

SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(\{(?P<labels>.*)\})? ")
SECRET_IDS = ["eve-is-secret", "ünïcode-is-secret", "artwork-is-secret", "session-is-secret", "event-is-secret"]


def misbehave(service: Service) -> None:
    """Requests good and bad that all carry ids which must not get out."""
    user, other, artwork, session, event = SECRET_IDS
    client = service.client
    for name in (user, other):
        client.get(f"/v1/users/{name}/next", params={"session_id": session, "exclude": artwork})
        client.get(f"/v1/users/{name}/next", params={"session_id": session, "limit": "0"})
        client.get(f"/v1/users/{name}/coverage")
        client.get(f"/v1/users/{name}/nowhere/{artwork}")
        client.post("/v1/impressions", json={"user_id": name, "session_id": session, "artwork_ids": [artwork]})
        row = {"event_id": event, "user_id": name, "artwork_id": artwork, "kind": "like"}
        client.post("/v1/impressions", json={"events": [row]})
        client.post("/v1/impressions", json={"events": [row | {"kind": name}]})
        client.patch(f"/v1/users/{name}/next")


class TestMetrics:
    """/metrics: templates as labels, so that it stays small, and the workers added up."""

    def test_labels_are_route_templates_and_never_ids(self, service: Service) -> None:
        """Whatever paths are asked for."""
        misbehave(service)
        text = service.stranger.get("/metrics").text
        routes = set(re.findall(r'route="([^"]*)"', text))
        document = service.client.get("/v1/openapi.json").json()
        assert "/v1/users/{user_id}/next" in routes
        assert {route for route in routes if route.startswith("/v1")} <= {*document["paths"], "/v1/openapi.json"}
        for secret in SECRET_IDS:
            assert secret not in text

    def test_a_scan_of_a_thousand_paths_adds_no_series(self, service: Service) -> None:
        """Paths, methods and user ids are unbounded; the series are not."""
        misbehave(service)
        service.stranger.request("BREW", "/pot")
        before = {name.split("{")[0] + str(sorted(name)) for name in service.metrics()}
        for number in range(300):
            service.stranger.get(f"/wp-admin/{number}")
            service.stranger.request(f"M{number}", "/v1/health")
            service.client.get(f"/v1/users/user-{number}/coverage")
        after = {name.split("{")[0] + str(sorted(name)) for name in service.metrics()}
        assert len(after) - len(before) <= 2

    def test_the_format_is_prometheus_own(self, service: Service) -> None:
        """Text, every sample a number, every family with a help and a type."""
        service.next("ada")
        answer = service.stranger.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        lines = answer.text.splitlines()
        families = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        assert families == {line.split()[2] for line in lines if line.startswith("# HELP")}
        for line in lines:
            if line.startswith("#"):
                continue
            match = SAMPLE.match(line)
            assert match, line
            assert re.sub(r"_(bucket|sum|count|total|created)$", "", match["name"]) in {
                re.sub(r"_total$", "", family) for family in families
            }
            float(line.rsplit(" ", 1)[1])

    def test_requests_lists_slots_and_rungs_are_counted(self, service: Service, host: Host, user: str) -> None:
        """One short list of five out of eight."""
        host.fill(service, 5)
        before = service.metrics()
        service.next(user, limit=8)
        service.client.get(f"/v1/users/{user}/next", params={"limit": 0})
        after = service.metrics()

        def grown(name: str) -> float:
            return after.get(name, 0.0) - before.get(name, 0.0)

        route = "/v1/users/{user_id}/next"
        assert grown(f'vernissage_requests_total{{method="GET",route="{route}",status="200"}}') == 1
        assert grown(f'vernissage_requests_total{{method="GET",route="{route}",status="400"}}') == 1
        assert grown(f'vernissage_problems_total{{code="bad_limit",route="{route}"}}') == 1
        assert grown(f'vernissage_request_seconds_count{{route="{route}"}}') == 2
        assert grown('vernissage_lists_total{reason="exhausted"}') == 1
        assert grown('vernissage_slots_total{what="asked"}') == 8
        assert grown('vernissage_slots_total{what="returned"}') == 5
        assert grown('vernissage_rung_slots_total{rung="4"}') == 5
        assert grown('vernissage_rung_skipped_total{reason="missing",source="model"}') == 1
        assert after["vernissage_pool_artworks"] == 5

    def test_two_workers_are_one_service(self, start: Any, own_host: Host) -> None:
        """Their metrics add up, their users' leases are one, and all their processes end when asked."""
        own_host.add_artworks(40)
        service = start(workers=2)
        own_host.wait(service)
        assert len(service.worker_processes()) == 2
        user = f"user-{uuid.uuid4()}"
        name = 'vernissage_requests_total{method="GET",route="/v1/users/{user_id}/next",status="200"}'
        before = service.metrics().get(name, 0.0)

        def ask(number: int) -> list[str]:
            """A fresh connection, so that both workers get some."""
            headers = {"Authorization": f"Bearer {service.key}"}
            parameters = {"limit": 2, "session_id": f"tab-{number}"}
            answer = httpx.get(f"{service.url}/v1/users/{user}/next", params=parameters, headers=headers, timeout=30)
            return [item["artwork_id"] for item in answer.raise_for_status().json()["items"]]

        with ThreadPoolExecutor(8) as threads:
            lists = list(threads.map(ask, range(20)))
        assert len({artwork for artworks in lists for artwork in artworks}) == 40
        assert service.metrics()[name] - before == 20
        assert service.metrics()["vernissage_pool_artworks"] == 40
        service.stop()
        assert service.processes() == []


class TestLogs:
    """One JSON object a line; failures all, successes by a share, users by a pseudonym."""

    @pytest.mark.parametrize("share", ["0", "1"])
    def test_failures_are_all_logged_and_successes_by_their_share(self, start: Any, own_host: Host, share: str) -> None:
        """None at 0, all at 1."""
        own_host.add_artworks(2)
        service = start(environment={"VERNISSAGE_LOG_SAMPLE": share})
        for number in range(20):
            service.client.get("/v1/users/ada/coverage", headers={"X-Request-Id": f"good-{number}"})
            service.client.get("/v1/users/ada/next?limit=0", headers={"X-Request-Id": f"bad-{number}"})
        service.stranger.get("/v1/users/ada/next", headers={"X-Request-Id": "bad-key"})
        for path, method in (("/nowhere", "GET"), ("/v1/health", "POST")):
            service.stranger.request(method, path)
        service.stop()
        lines = [line for line in service.log_lines() if line["event"] == "request"]
        good = {line["request_id"] for line in lines if line["status"] == 200 and line["request_id"][:4] == "good"}
        bad = {line["request_id"] for line in lines if line["status"] in {400, 401}}
        assert len(good) == 20 * int(share)
        assert bad == {"bad-key", *(f"bad-{number}" for number in range(20))}
        assert sorted(line["status"] for line in lines if line["route"] == "(none)") == [404, 405]

    def test_a_line_names_route_status_time_and_request(self, service: Service) -> None:
        """What one needs to find a request again."""
        answer = service.client.get("/v1/users/ada/coverage", headers={"X-Request-Id": "find-me"})
        assert answer.headers["x-request-id"] == "find-me"
        (line,) = [line for line in service.log_lines() if line.get("request_id") == "find-me"]
        assert (line["route"], line["status"], line["level"]) == ("/v1/users/{user_id}/coverage", 200, "info")
        assert line["ms"] > 0
        assert re.fullmatch(r"[0-9a-f]{16}", line["user"])

    @pytest.mark.parametrize("given", ["", "x" * 65, "a\tb", "caf\u00e9"])
    def test_a_request_id_that_could_hurt_the_log_is_replaced(self, service: Service, given: str) -> None:
        """Too long, or of characters that a log should not hold."""
        headers = {"X-Request-Id": given.encode("latin-1")}
        answer = service.client.get("/v1/users/ada/coverage", headers=headers)
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])

    def test_user_ids_are_never_in_the_log_in_clear(self, service: Service) -> None:
        """Neither for successes nor for failures; the same user has the same pseudonym."""
        misbehave(service)
        text = service.read_log()
        for secret in SECRET_IDS:
            assert secret not in text
            assert json.dumps(secret).strip('"') not in text
        lines = [line for line in service.log_lines() if line.get("route") == "/v1/users/{user_id}/next"]
        assert len({line["user"] for line in lines[-4:]}) == 2


class TestHealth:
    """/v1/health names what the service stands on, and in which state it is."""

    def test_every_dependency_has_a_state(self, service: Service, host: Host) -> None:
        """No bundle is published here: the service does its work, degraded."""
        host.fill(service, 7)
        answer = service.stranger.get("/v1/health")
        found = answer.json()
        assert (answer.status_code, found["status"]) == (200, "degraded")
        assert (found["database"]["state"], found["bundle"]["state"]) == ("ok", "absent")
        assert (found["pool"]["state"], found["pool"]["detail"]) == ("ok", "7 active artworks")
        assert 0 <= found["pool"]["age_seconds"] < 60
        assert found["generator"]["state"] == "absent"
        assert answer.headers["cache-control"] == "no-store"

    def test_without_its_database_the_service_starts_waits_and_says_so(self, start: Any, database_url: str) -> None:
        """Not ready, 503 with a code, and ready by itself once the database answers: a port that nobody serves."""
        service = start(environment={"VERNISSAGE_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, wait=False)
        service.wait_until_listening()
        assert not service.is_ready()
        assert service.stranger.get("/livez").status_code == 200
        health = service.stranger.get("/v1/health")
        assert (health.status_code, health.json()["status"], health.json()["database"]["state"]) == (
            503,
            "down",
            "down",
        )
        answer = service.client.get("/v1/users/ada/next")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"
        assert service.stranger.get("/metrics").status_code == 200
        assert "waiting for the database" in service.read_log()
        assert database_url not in service.read_log()


def test_the_service_ends_within_seconds_and_answers_what_it_has_begun(start: Any, own_host: Host) -> None:
    """SIGTERM while requests come: nothing is left running, and no answer is torn."""
    own_host.add_artworks(5)
    service = start()
    headers = {"Authorization": f"Bearer {service.key}"}
    begun = threading.Event()

    def ask(number: int) -> bool:
        try:
            answer = httpx.get(f"{service.url}/v1/users/user-{number}/next", headers=headers, timeout=10)
        except httpx.TransportError:
            return False  # refused or reset: it is known not to be answered
        begun.set()
        return answer.json()["returned"] == 5

    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(ask, range(200))
        assert begun.wait(30)
        assert service.stop() < 30
        assert any(answers)
    assert service.processes() == []
