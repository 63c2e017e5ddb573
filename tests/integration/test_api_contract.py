"""The OpenAPI document is true: its routes exist, its schemas hold for real answers, its refusals are possible."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from serving.api.openapi import document as make_document
from serving.api.v1 import OPERATIONS
from tests.bad_input_table import CASES, ROUTES, UUID
from tests.host import Host
from tests.service import Service

DOCUMENT: dict[str, Any] = json.loads(json.dumps(make_document(OPERATIONS)))
ENTRIES = {
    entry["operationId"]: (method.upper(), path, entry)
    for path, methods in DOCUMENT["paths"].items()
    for method, entry in methods.items()
}
#: Errors of ours, and a client too slow or one too many: the tests of faults and of limits see to them.
NOT_ASKED_FOR = {"500", "503", "408", "429"}
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator of one schema of the document."""
    return Draft202012Validator(schema | {"components": DOCUMENT["components"]}, format_checker=FormatChecker())


def check(operation: str, answer: httpx.Response) -> None:
    """An answer must be one that the document announces, of the type and shape announced."""
    _, _, entry = ENTRIES[operation]
    announced = entry["responses"].get(str(answer.status_code))
    assert announced, f"{operation} answered {answer.status_code}: {answer.text[:300]}"
    (media_type, content) = next(iter(announced["content"].items()))
    assert answer.headers["content-type"] == media_type
    validator(content["schema"]).validate(answer.json())


@pytest.fixture(scope="module")
def live(service: Service, host: Host) -> Service:
    """The service with a pool of twelve, and a user who has shown, liked and holds some of it."""
    styles = ["cubism", "fauvism", None]
    host.fill(service, [{"id": f"a-{n}", "styles": [styles[n % 3]] if styles[n % 3] else None} for n in range(12)])
    host.add_user("ada", preferred_orientation="any")
    service.display("ada", ["a-1", "a-2"], "tab")
    service.record({"event_id": "e-0", "user_id": "ada", "artwork_id": "a-1", "kind": "like", "session_id": "tab"})
    service.next("ada", "tab", limit=3)
    return service


def test_the_document_served_is_the_one_that_the_code_makes(service: Service) -> None:
    """And it is open to all."""
    assert service.stranger.get("/v1/openapi.json").json() == DOCUMENT
    assert DOCUMENT["openapi"] == "3.1.0"


def test_the_document_is_sound() -> None:
    """Every schema is one, every reference leads somewhere, every parameter of a path is declared."""
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)):
        assert reference.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]
    for method, path, entry in ENTRIES.values():
        declared = {parameter["name"] for parameter in entry["parameters"] if parameter["in"] == "path"}
        assert set(re.findall(r"\{(\w+)\}", path)) == declared, (method, path)
        assert entry["summary"]
        assert {"200", "500"} <= set(entry["responses"])


def test_patterns_mean_the_same_in_javascript(service: Service) -> None:
    """JSON Schema's patterns are ECMA-262's, which lacks Python's marks of the very start and end."""
    assert not re.findall(r'"pattern": "[^"]*\\\\[AZz]', json.dumps(DOCUMENT))
    assert service.stranger.get("/v1/openapi.json").headers["content-type"] == "application/json"


@pytest.mark.parametrize("operation", ENTRIES)
def test_every_route_exists_for_its_method_and_no_other(live: Service, operation: str) -> None:
    """The good request of the table is answered as announced; methods that the document lacks are refused."""
    method, path, _ = ENTRIES[operation]
    concrete = path.format(user_id="bob", artwork_id="a-3", session_id="tab", order_id=UUID, name="unheard-of")
    for other in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {name.upper() for name in DOCUMENT["paths"][path]}:
        answer = live.client.request(other, concrete)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert method in answer.headers["allow"].split(", ")


@pytest.mark.parametrize("name", [*ROUTES, "health"])
def test_real_answers_are_of_the_announced_shape(live: Service, name: str) -> None:
    """Every field of every answer, with artworks in it where the route hands them out."""
    if name == "health":
        check("health", live.stranger.get("/v1/health"))
        return
    route = ROUTES[name]
    answer = live.client.request(route.method, route.path, params=dict(route.query) or None, json=route.body)
    check(name.split(" ", maxsplit=1)[0], answer)
    if name == "next":
        assert answer.json()["items"]


def test_an_answer_to_a_user_who_has_seen_all_is_of_the_same_shape(live: Service, user: str) -> None:
    """Empty lists and reasons are in the schema too."""
    live.display(user, [f"a-{n}" for n in range(12)], "tab")
    answer = live.client.get(f"/v1/users/{user}/next")
    assert answer.json()["reason"] == "exhausted"
    check("next", answer)
    check("coverage", live.client.get(f"/v1/users/{user}/coverage"))


@pytest.mark.parametrize("operation", ENTRIES)
def test_every_refusal_that_is_announced_is_possible(live: Service, operation: str) -> None:
    """One request for each status, taken from the table of bad input; and no case is refused unannounced."""
    keys = {scope: live.make_key(scope) for scope in ("planner", "frontend")}
    _, _, entry = ENTRIES[operation]
    wanted = {status for status in entry["responses"] if status not in NOT_ASKED_FOR | {"200"}}
    found = set()
    for case in CASES:
        if case.route.split(" ")[0] != operation or case.status == 405:
            continue
        found.add(str(case.status))
        assert str(case.status) in entry["responses"], case.name
        if str(case.status) not in wanted:
            continue
        wanted.discard(str(case.status))
        known = {scope: f"Bearer {key}" for scope, key in ({"admin": live.key} | keys).items()}
        header = (known | {None: ""}).get(case.key, case.key)
        headers = {"Authorization": header.encode("latin-1")} if header else {}
        check(operation, live.stranger.request(case.method, case.url, content=case.content, headers=headers))
    good = [route for name, route in ROUTES.items() if name.split(" ")[0] == operation]
    for route in good:
        answer = live.client.request(route.method, route.path, params=dict(route.query) or None, json=route.body)
        wanted.discard(str(answer.status_code))
    gone = {"claims": "409", "replay": "404", "set_favourite": "404"}.get(operation)
    if operation.endswith("_experiment") or operation in {"experiment", "set_override"}:
        gone = "409"
    assert not wanted - {gone}, f"announced and never seen: {wanted}"


def test_what_names_something_that_is_not_there_is_refused_as_announced(live: Service, user: str) -> None:
    """The refusals that no bad input leads to."""
    body = dict(ROUTES["claims (one)"].body or {}) | {"user_id": user}
    lost = live.client.post("/v1/claims", json=body)
    assert (lost.status_code, lost.json()["code"]) == (409, "lease_lost")
    check("claims", lost)
    gone = live.client.post(f"/v1/users/{user}/history/a-1/replay")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_in_history")
    check("replay", gone)
    unknown = live.client.put(f"/v1/users/{user}/favourites/a-1")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_held")
    check("set_favourite", unknown)


def test_a_change_of_an_experiment_that_cannot_be_is_refused_as_announced(live: Service) -> None:
    """A draft cannot grow or end, nothing can be seen without traffic, and what was defined stays."""
    whole = dict(ROUTES["create_experiment"].body or {}) | {"name": "a-draft"}
    created = live.client.post("/v1/experiments", json=whole)
    assert created.status_code == 200
    check("set_override", live.client.put("/v1/experiments/a-draft/overrides/ada", json={"arm": "varied"}))
    refused = live.client.put("/v1/experiments/a-draft/overrides/ada", json={"arm": "gone"})
    assert (refused.status_code, refused.json()["code"]) == (409, "experiment_conflict")
    check("set_override", refused)
    check("unset_override", live.client.delete("/v1/experiments/a-draft/overrides/ada"))
    changes = {"create": ("", whole | {"smallest_effect": 0.2}), "start": ("/a-draft/start", {})}
    changes |= {"ramp": ("/a-draft/ramp", {"slots": 9}), "stop": ("/a-draft/stop", {"reason": "none"})}
    assert live.client.post("/v1/experiments/a-draft/archive").status_code == 200
    for name, (path, body) in (changes | {"archive": ("/a-draft/archive", {})}).items():
        refused = live.client.post(f"/v1/experiments{path}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "experiment_conflict"), name
        check(f"{name}_experiment", refused)


@pytest.mark.parametrize("operation", ENTRIES)
def test_without_the_database_every_route_answers_503_as_announced(cut: Service, operation: str) -> None:
    """Every route needs it; health says so in its own shape."""
    route = next((route for name, route in ROUTES.items() if name.split(" ")[0] == operation), None)
    if route is None:
        answer = cut.stranger.get("/v1/health")
    else:
        answer = cut.stranger.request(route.method, route.path, params=dict(route.query) or None, json=route.body)
        assert answer.json()["code"] == "database_unavailable"
        assert int(answer.headers["retry-after"]) > 0
    assert answer.status_code == 503
    check(operation, answer)


@pytest.fixture(scope="module")
def cut(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose database is not there, and which asks for no keys."""
    environment = {"VERNISSAGE_DATABASE_URL": "postgresql://127.0.0.1:1/x", "VERNISSAGE_AUTH": "false"}
    service = Service(module_database, tmp_path_factory.mktemp("cut"), environment=environment)
    try:
        service.start(wait=False).wait_until_listening()
        yield service
    finally:
        service.stop()


class TestSampled:
    """What the schema of a parameter or body allows is accepted, and what it does not is refused."""

    @pytest.mark.parametrize(
        ("operation", "parameter"),
        [
            (operation, parameter["name"])
            for operation, (_, _, entry) in ENTRIES.items()
            for parameter in entry["parameters"]
        ],
    )
    def test_a_parameter_is_judged_as_its_schema_judges(self, live: Service, operation: str, parameter: str) -> None:
        """Values good and bad, by type; other parameters as in the good request."""
        method, path, entry = ENTRIES[operation]
        declared = next(given for given in entry["parameters"] if given["name"] == parameter)
        route = next(route for name, route in ROUTES.items() if name.split(" ")[0] == operation)

        @given(values_of(declared["schema"]))
        @QUICK
        def judged(value: Any) -> None:
            text = (
                ",".join(value)
                if isinstance(value, list)
                else str(value).lower()
                if isinstance(value, bool)
                else str(value)
            )
            names = {"user_id": "ada", "artwork_id": "a-1", "session_id": "tab", "order_id": UUID, "name": "unheard-of"}
            query = dict(route.query)
            if declared["in"] == "path":
                names[parameter] = text
            else:
                query[parameter] = text
            url = path.format(**{name: quote(given, safe="") for name, given in names.items()})
            answer = live.client.request(method, f"{url}?{urlencode(query)}", json=route.body)
            good = validator(declared["schema"]).is_valid(value)
            refused = answer.status_code == 400
            assert refused != good, (value, answer.status_code, answer.text[:300])
            assert not refused or answer.json()["code"] == f"bad_{parameter}"
            check(operation, answer)

        judged()

    @pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.body is not None])
    def test_a_body_is_judged_as_its_schema_judges(self, live: Service, name: str) -> None:
        """The good body with one field changed, left out, or added."""
        route = ROUTES[name]
        operation = name.split(" ", maxsplit=1)[0]
        schema = ENTRIES[operation][2]["requestBody"]["content"]["application/json"]["schema"]

        @given(changed_bodies(dict(route.body or {})))
        @QUICK
        def judged(body: dict[str, Any]) -> None:
            answer = live.client.request(route.method, route.path, json=body)
            assert (answer.status_code != 400) == validator(schema).is_valid(body), (body, answer.text[:300])
            check(operation, answer)

        judged()


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
FRACTIONS = st.floats(-2, 2e6, allow_nan=False).filter(lambda number: not number.is_integer())  # 1.0: no one agrees on
ODD = st.one_of(st.none(), st.booleans(), st.integers(-3, 600), FRACTIONS, TEXTS)


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values about the schema's type, some within and some without; as text they must read as what they are."""
    if "anyOf" in schema:
        return st.one_of([values_of(part) for part in schema["anyOf"] if part.get("type") != "null"])
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], "diagonal", "Portrait", "xportrait"])
    makers = {"integer": _integers, "boolean": _switches, "array": _lists, "string": _texts}
    return makers[schema["type"]](schema)


def _integers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Within the bounds, about them, and far out."""
    least, most = schema.get("minimum", -3), schema.get("maximum", 10**6)
    return st.one_of(st.integers(least, most), st.integers(least - 10, most + 10), st.integers())


def _switches(_: dict[str, Any]) -> st.SearchStrategy[Any]:
    """True, false, and what is neither."""
    return st.one_of(st.booleans(), st.sampled_from(["maybe", "yes", "2"]))


def _lists(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A few texts, some too long, and too many short ones."""
    parts = st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1, max_size=300)
    short = st.text(st.sampled_from("abc"), min_size=1, max_size=3)
    return st.one_of(st.lists(parts, max_size=3), st.lists(short, max_size=schema["maxItems"] + 30))


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any text, some too long; a text without a pattern is a moment, whose rule the schema does not tell."""
    if schema.get("format") == "uuid":
        return st.one_of(st.uuids().map(str), st.sampled_from(["order", "7", UUID[:-1]]))
    if "pattern" not in schema:
        return st.sampled_from(["2026-01-01T00:00:00Z", "2026-06-01T12:00:00+02:00"])
    text = st.text(st.characters(codec="utf-8", exclude_characters="/."), min_size=1, max_size=300)
    return st.one_of(text, st.text("ab", min_size=250, max_size=260), st.just("a\0"))


@st.composite
def changed_bodies(draw: st.DrawFn, body: dict[str, Any]) -> dict[str, Any]:
    """The body with one field changed, in itself or in the first object of its list."""
    changed: dict[str, Any] = json.loads(json.dumps(body))
    rows = [part for value in changed.values() if isinstance(value, list) for part in value if isinstance(part, dict)]
    target = draw(st.sampled_from([changed, *rows]))
    name = draw(st.sampled_from([*sorted(target), "unheard_of"]))
    if name == "at" or draw(st.booleans()):
        target.pop(name, None)
    else:
        target[name] = draw(st.one_of(ODD, st.lists(ODD, max_size=3), st.dictionaries(TEXTS, ODD, max_size=2)))
    return changed
