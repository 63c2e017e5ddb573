"""What is wrong is refused with a stable code that names it, and never breaks the service: see bad_input_table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.bad_input_table import CASES, EVENT, FIELDS, ODD_ARTWORKS, REQUIRED, ROUTES, Case
from tests.host import Host
from tests.service import Service

Send = Callable[[Case], httpx.Response]
KINDS = "dislike, displayed, dwell, favourite, like, skip"


@pytest.fixture(scope="module")
def send(service: Service) -> Send:
    """Sends a case as it stands, with the key that it names."""
    keys = {scope: service.make_key(scope) for scope in ("planner", "frontend")}

    def sent(case: Case) -> httpx.Response:
        known = {scope: f"Bearer {key}" for scope, key in ({"admin": service.key} | keys).items()}
        header = (known | {None: ""}).get(case.key, case.key)
        headers = {"Authorization": header.encode("latin-1")} if header else {}
        return service.stranger.request(case.method, case.url, content=case.content, headers=headers)

    return sent


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_refused_with_its_code(send: Send, case: Case) -> None:
    """Status, code and the shape of RFC 9457, on every route and for every field."""
    answer = send(case)
    assert (answer.status_code, answer.json().get("code")) == (case.status, case.code), answer.text
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"] == problem["request_id"]
    assert problem["status"] == case.status
    assert problem["type"] == f"urn:vernissage:problem:{case.code}"
    assert problem["title"]
    assert problem["detail"]
    if case.status == 400 and case.code not in {"bad_json", "bad_gzip"}:
        assert problem["field"].split(".")[-1].split("[")[0] == case.code.removeprefix("bad_")
    if case.status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    if case.status == 405:
        assert case.method not in answer.headers["allow"].split(", ")


@pytest.mark.parametrize(
    ("method", "url", "body", "detail"),
    [
        (
            "GET", "/v1/users/ada/next?orientation=round", None,
            "orientation: Invalid enum value 'round': expected one of any, landscape, portrait, square",
        ),
        ("GET", "/v1/users/ada/next?limit=0", None, "limit: Expected `int` >= 1 and <= 200"),
        ("GET", "/v1/users/ada/next?limit=201", None, "limit: Expected `int` >= 1 and <= 200"),
        ("GET", "/v1/users/ada/next?limit=x", None, "limit: Expected `int`, got `str`"),
        (
            "POST", "/v1/impressions", {"events": [EVENT | {"kind": "nod"}]},
            "events[0].kind: Invalid enum value 'nod': expected one of " + KINDS,
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_the_whole_rule(
    service: Service, method: str, url: str, body: dict[str, Any] | None, detail: str
) -> None:
    """Every choice and both bounds, wherever the field is; so that the next request is right."""
    assert service.client.request(method, url, json=body).json()["detail"] == detail


@pytest.mark.parametrize("name", ROUTES)
def test_the_same_request_without_the_fault_is_not_refused(service: Service, name: str) -> None:
    """So that a case fails for its own fault; only what it names is not there: no lease, no display, no artwork."""
    route = ROUTES[name]
    answer = service.client.request(route.method, route.path, params=dict(route.query) or None, json=route.body)
    absent = {"claims (one)": "lease_lost", "replay": "not_in_history", "set_favourite": "not_held"}
    absent |= dict.fromkeys(("order", "order_events"), "no_such_order")
    absent |= dict.fromkeys((name for name in ROUTES if "/unheard-of" in ROUTES[name].path), "unknown_experiment")
    assert answer.json().get("code") == absent.get(name), answer.text
    assert (answer.status_code == 200) == (name not in absent)


def test_every_field_of_every_route_is_in_the_table(service: Service) -> None:
    """A new parameter or field of a body needs its bad values."""
    document = service.client.get("/v1/openapi.json").json()
    operations = {entry["operationId"]: entry for methods in document["paths"].values() for entry in methods.values()}
    known = {(name.split(" ")[0], place.split(".")[0], field) for name, place, field, _ in FIELDS}
    expected = set()
    for operation, entry in operations.items():
        expected |= {(operation, parameter["in"], parameter["name"]) for parameter in entry["parameters"]}
        expected |= {(operation, "body", field) for field in _body_fields(document, entry)}
    assert expected <= known
    assert {name.split(" ")[0] for name in ROUTES} | {"health"} >= set(operations)
    required = {(name.split(" ")[0], field) for name, _, field in REQUIRED}
    assert required >= {
        (operation, parameter["name"])
        for operation, entry in operations.items()
        for parameter in entry["parameters"]
        if parameter["in"] == "query" and parameter["required"]
    }


def test_nothing_of_this_was_an_error_of_ours(service: Service, send: Send) -> None:
    """The metrics agree: after the whole table no answer of 500 or above."""
    for case in CASES[::50]:
        send(case)
    broken = [name for name in service.metrics() if "requests_total" in name and 'status="5' in name]
    assert broken == []
    assert not [line for line in service.log_lines() if line["level"] == "error"]


def test_odd_rows_of_the_host_are_served_with_unusable_dna_as_null(service: Service, host: Host, user: str) -> None:
    """One bad row must not take its neighbours with it; every text comes out as it went in."""
    rows = [columns for columns, _ in ODD_ARTWORKS.values()]
    artwork_ids = host.fill(service, rows)
    answer = service.client.get(f"/v1/users/{user}/next", params={"limit": 200})
    assert answer.status_code == 200
    items = {item["artwork_id"]: item for item in answer.json()["items"]}
    assert set(items) == set(artwork_ids)
    for artwork_id, (kind, (columns, has_dna)) in zip(artwork_ids, ODD_ARTWORKS.items(), strict=True):
        item = items[artwork_id]
        assert item["dna_vector"] == (json.loads(columns["dna_vector"]) if has_dna else None), kind
        assert item["prompt"] == columns.get("prompt", item["prompt"]), kind
    document = service.client.get("/v1/openapi.json").json()
    Draft202012Validator(_schema(document, "NextAnswer")).validate(answer.json())


def test_odd_rows_can_be_shown_and_liked_too(service: Service, host: Host, user: str) -> None:
    """The write path and the ranking by likes hold as well."""
    artwork_ids = host.fill(service, [columns for columns, _ in ODD_ARTWORKS.values()])
    likes = [
        {"event_id": artwork_id, "user_id": user, "artwork_id": artwork_id, "kind": "like"}
        for artwork_id in artwork_ids[:-3]
    ]
    assert len(service.record(*likes)["new"]) == len(likes)
    answer = service.next(user, limit=10, exclude="x")
    assert {item["artwork_id"] for item in answer["items"]} == set(artwork_ids[-3:])


@pytest.mark.parametrize(
    "user_id",
    ["\U0001f469\u200d\U0001f3a8", "\u05e2\u05d3\u05d4", "a b", "a'b;--", "%", "null", "0", "x" * 255, "a\nb"],
)
def test_an_odd_user_id_is_a_user_like_any_other(service: Service, host: Host, user_id: str) -> None:
    """Ids are text, whatever the script."""
    pool = host.fill(service, 3)
    quoted = f"/v1/users/{quote(user_id, safe='')}/next"
    answer = service.client.get(quoted, params={"limit": 2, "session_id": user_id})
    assert answer.status_code == 200
    assert (answer.json()["user_id"], answer.json()["session_id"]) == (user_id, user_id)
    service.display(user_id, pool[:2], user_id)
    left = service.client.get(quoted, params={"limit": 3, "session_id": user_id}).json()
    assert [item["artwork_id"] for item in left["items"]] == pool[2:]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "20000-01-01", "0001-01-01"])
def test_a_user_whose_impressions_are_of_an_impossible_moment_is_served(
    service: Service, host: Host, user: str, moment: str
) -> None:
    """The host's stamps may lie beyond what Python can say; the impression counts all the same."""
    pool = host.fill(service, 3)
    host.add_user(user)
    host.see(user, pool[:1], viewed_at=moment)
    assert {item["artwork_id"] for item in service.next(user)["items"]} == set(pool[1:])
    service.display(user, pool[:2])
    assert [item["artwork_id"] for item in service.next(user)["items"]] == pool[2:]
    assert service.client.get(f"/v1/users/{user}/history").status_code == 200


def test_duplicates_in_a_request_are_harmless(service: Service, host: Host, user: str) -> None:
    """The same parameter twice, the same id twice, unknown parameters and fields."""
    pool = host.fill(service, 3)
    url = f"/v1/users/{user}/next?limit=1&limit=2&exclude={pool[0]}&exclude={pool[0]},{pool[1]}&unheard_of=1"
    answer = service.client.get(url).json()
    assert (answer["requested"], [item["artwork_id"] for item in answer["items"]]) == (2, [pool[2]])
    body = {"user_id": user, "artwork_ids": [pool[0], pool[0]], "unheard_of": {}}
    assert service.client.post("/v1/impressions", json=body).json()["new"] == [pool[0]]


def _body_fields(document: dict[str, Any], entry: dict[str, Any]) -> set[str]:
    """Every field of an operation's bodies, those of the objects in their lists too."""
    content = entry.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    fields: set[str] = set()
    for part in content.get("oneOf", []):
        schema = document["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
        for name, kind in schema["properties"].items():
            fields.add(name)
            if "$ref" in kind.get("items", {}):
                inner = document["components"]["schemas"][kind["items"]["$ref"].rsplit("/", 1)[1]]
                fields |= set(inner["properties"])
    return fields


def _schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    """One named schema with the others at hand."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
