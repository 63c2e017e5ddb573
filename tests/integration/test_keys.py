"""Who may call: keys by scope, stored hashed, revocable; and a service that asks for none."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from features.database import connect
from serving.keys import SCOPES, list_keys, revoke_key
from tests.host import Host
from tests.service import Service

SECURED = [
    ("GET", "/v1/users/ada/next"),
    ("GET", "/v1/users/ada/coverage"),
    ("POST", "/v1/impressions"),
    ("GET", "/v1/models/live"),
]
OPEN = ["/v1/health", "/v1/openapi.json", "/metrics", "/livez", "/readyz"]


def ask(
    service: Service, key: str | None, path: str = "/v1/models/live", method: str = "GET"
) -> tuple[int, str | None]:
    """Status and code of a request with this key."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    body = {"user_id": "ada", "artwork_ids": ["a-1"]} if method == "POST" else None
    answer = service.stranger.request(method, path, headers=headers, json=body)
    return answer.status_code, answer.json().get("code")


@pytest.mark.parametrize(("method", "path"), SECURED)
def test_a_route_wants_a_live_key_of_its_scope(service: Service, method: str, path: str) -> None:
    """None, an unknown one, one of another scope, one of the scope, and admin's, which may do everything."""
    assert ask(service, None, path, method) == (401, "missing_key")
    assert ask(service, "vern_12345678_nothing", path, method) == (401, "bad_key")
    assert ask(service, service.make_key("planner", "experiments"), path, method) == (403, "wrong_scope")
    assert ask(service, service.make_key("frontend"), path, method) == (200, None)
    assert ask(service, service.make_key("planner", "frontend"), path, method) == (200, None)
    assert ask(service, service.make_key("admin"), path, method) == (200, None)


@pytest.mark.parametrize("path", OPEN)
def test_the_state_of_the_service_is_open_to_all(service: Service, path: str) -> None:
    """Probes and scrapers have no keys."""
    assert service.stranger.get(path).status_code == 200


@pytest.mark.parametrize("change", ["lower", "cut", "longer", "hash"])
def test_what_is_like_a_key_is_none(service: Service, module_database: str, change: str) -> None:
    """Not even the stored hash opens the door."""
    key = service.make_key("frontend")
    with connect(module_database) as connection:
        (stored,) = connection.execute(
            "SELECT encode(key_hash, 'hex') FROM vernissage.api_keys ORDER BY created_at DESC LIMIT 1"
        ).fetchall()
    changed = {"lower": key.upper(), "cut": key[:-1], "longer": f"{key}x", "hash": stored[0]}[change]
    assert ask(service, changed) == (401, "bad_key")


def test_the_scheme_s_case_and_spaces_do_not_matter(service: Service) -> None:
    """RFC 9110: the name of a scheme has no case."""
    for header in (f"bearer {service.key}", f"BEARER   {service.key}"):
        assert service.stranger.get("/v1/models/live", headers={"Authorization": header}).status_code == 200


def test_a_revoked_key_is_refused_within_the_cache_s_time(start: Any, database_url: str) -> None:
    """The cache is set to a fifth of a second here; an unknown key that is created later works as soon."""
    service = start(environment={"VERNISSAGE_KEY_CACHE_SECONDS": "0.2"})
    key = service.make_key("frontend")
    assert ask(service, key) == (200, None)
    with connect(database_url) as connection:
        assert revoke_key(connection, key.split("_")[1])
        assert not revoke_key(connection, key.split("_")[1]), "it is revoked once"
        assert not revoke_key(connection, "deadbeef"), "there is no such key"
    time.sleep(0.25)
    assert ask(service, key) == (401, "bad_key")


def test_a_key_is_stored_as_a_hash_alone_and_its_life_is_audited(module_database: str, service: Service) -> None:
    """Nothing in any table of ours holds the secret."""
    key = service.make_key("frontend")
    _, key_id, secret = key.split("_", 2)
    with connect(module_database) as connection:
        assert key_id in {row[0] for row in list_keys(connection)}
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'vernissage'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT t::text FROM vernissage."{table}" AS t').fetchall()
            for form in (secret, secret.encode().hex()):  # bytea is written in hexadecimal digits
                assert not [row for row in rows if form in row[0]], table
        revoke_key(connection, key_id)
        actions = connection.execute(
            "SELECT action FROM vernissage.audit_log WHERE subject = %s ORDER BY entry_id", (key_id,)
        ).fetchall()
    assert actions == [("key create",), ("key revoke",)]


def test_a_key_never_gets_into_the_log(service: Service) -> None:
    """Good, bad and in the query string."""
    key = service.make_key("frontend")
    ask(service, key)
    ask(service, f"{key}x")
    service.stranger.get("/v1/models/live", params={"token": key})
    service.stranger.get("/nowhere", params={"token": key}, headers={"Authorization": f"Bearer {key}"})
    assert key.split("_", 2)[2] not in service.read_log()


def test_every_scope_can_be_made_and_opens_no_more_than_its_own(service: Service) -> None:
    """The scopes that exist, against a route of the frontend."""
    for scope in SCOPES:
        expected = (200, None) if scope in {"frontend", "admin"} else (403, "wrong_scope")
        assert ask(service, service.make_key(scope)) == expected, scope


def test_a_service_without_auth_asks_for_no_key(start: Any, own_host: Host) -> None:
    """VERNISSAGE_AUTH=false; a wrong key is not looked at either."""
    own_host.add_artworks(3)
    service = start(environment={"VERNISSAGE_AUTH": "false"})
    for method, path in SECURED:
        assert ask(service, None, path, method) == (200, None)
        assert ask(service, "nonsense", path, method) == (200, None)
    assert len(httpx.get(f"{service.url}/v1/users/bob/next").json()["items"]) == 3


def test_a_key_that_was_asked_for_just_now_is_remembered_and_counted(service: Service) -> None:
    """Of three requests one at least finds its key in the cache, and one does not."""
    key = service.make_key("frontend")
    before = service.metrics()
    assert [ask(service, key) for _ in range(3)] == [(200, None)] * 3
    after = service.metrics()
    name = 'vernissage_cache_lookups_total{{cache="keys",outcome="{}"}}'
    grown = {each: after[name.format(each)] - before.get(name.format(each), 0.0) for each in ("hit", "miss")}
    assert grown["hit"] >= 1
    assert grown["miss"] >= 1
    assert sum(grown.values()) == 3
