"""Browser tokens against the real service: one user's, for a while, and nobody else's."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import tokens
from tests.host import Host
from tests.service import Service
from tests.tab import claim_of, items_of

LATIN = "".join(chr(code) for code in range(33, 256) if chr(code).isprintable() and code not in range(127, 161))
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def mint(service: Service, user: str, **asked: Any) -> str:
    """A token for a user."""
    answer = service.client.post("/v1/tokens", json={"user_id": user} | asked).raise_for_status().json()
    assert answer["user_id"] == user
    return str(answer["token"])


def ask(service: Service, token: str, user: str) -> httpx.Response:
    """What a browser asks with a token."""
    headers = {b"Authorization": b"Bearer " + token.encode("latin-1")}
    return service.stranger.get(f"/v1/users/{user}/coverage", headers=headers)


def assert_no_key(answer: httpx.Response) -> None:
    """It is refused as no key, and as a problem."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] in {"bad_key", "missing_key"}


class TestUse:
    """What a token is good for."""

    def test_a_display_can_do_all_its_work_with_one(self, service: Service, host: Host, user: str) -> None:
        """Ask, prefetch, claim, record, beat, look back, mark, end: as its user."""
        host.fill(service, 8)
        host.add_user(user)
        headers = {"Authorization": f"Bearer {mint(service, user)}"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=30) as browser:
            asked: dict[str, str | int] = {"session_id": "tab", "limit": 3}
            items = browser.get(f"/v1/users/{user}/next", params=asked).raise_for_status().json()["items"]
            browser.post(f"/v1/users/{user}/prefetch", json={"session_id": "tab"}).raise_for_status()
            browser.post("/v1/claims", json=claim_of(user, "tab", items[0])).raise_for_status()
            claims = {"claims": [claim_of(user, "tab", item) for item in items[1:]]}
            browser.post("/v1/claims", json=claims).raise_for_status()
            shown = items[0]["artwork_id"]
            browser.post("/v1/impressions", json={"user_id": user, "artwork_ids": [shown]}).raise_for_status()
            event = {"event_id": "1", "user_id": user, "artwork_id": shown, "kind": "like"}
            browser.post("/v1/impressions", json={"events": [event]}).raise_for_status()
            browser.post("/v1/sessions/tab/heartbeat", json={"user_id": user}).raise_for_status()
            browser.get(f"/v1/users/{user}/history").raise_for_status()
            browser.post(f"/v1/users/{user}/history/{shown}/replay").raise_for_status()
            browser.put(f"/v1/users/{user}/favourites/{shown}").raise_for_status()
            browser.get(f"/v1/users/{user}/favourites").raise_for_status()
            browser.delete(f"/v1/users/{user}/favourites/{shown}").raise_for_status()
            browser.get(f"/v1/users/{user}/coverage").raise_for_status()
            browser.delete("/v1/sessions/tab", params={"user_id": user}).raise_for_status()

    def test_it_may_stand_in_the_query_where_headers_cannot_be_sent(
        self, service: Service, host: Host, user: str
    ) -> None:
        """A beacon has a body and an address, nothing else."""
        pool = host.fill(service, 3)
        token = mint(service, user)
        body = json.dumps({"user_id": user, "artwork_ids": pool[:1]})
        answer = service.stranger.post(
            "/v1/impressions", params={"token": token}, content=body, headers={"Content-Type": "text/plain"}
        )
        assert answer.raise_for_status().json()["new"] == pool[:1]

    def test_it_acts_for_its_own_user_alone_wherever_a_user_is_named(
        self, service: Service, host: Host, user: str
    ) -> None:
        """Path, query, body, and each row of a list."""
        pool = host.fill(service, 4)
        other = f"{user}-2"
        item = items_of(service, other, "tab", 1)[0]
        event = {"event_id": "1", "user_id": user, "artwork_id": pool[0], "kind": "like"}
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", f"/v1/users/{other}/next", {}),
            ("POST", f"/v1/users/{other}/prefetch", {"json": {}}),
            ("GET", f"/v1/users/{other}/coverage", {}),
            ("GET", f"/v1/users/{other}/history", {}),
            ("POST", f"/v1/users/{other}/history/{pool[0]}/replay", {}),
            ("GET", f"/v1/users/{other}/favourites", {}),
            ("PUT", f"/v1/users/{other}/favourites/{pool[0]}", {}),
            ("DELETE", f"/v1/users/{other}/favourites/{pool[0]}", {}),
            ("POST", "/v1/claims", {"json": claim_of(other, "tab", item)}),
            ("POST", "/v1/claims", {"json": {"claims": [claim_of(other, "tab", item)]}}),
            ("POST", "/v1/claims", {"json": {"claims": [claim_of(user, "tab", item), claim_of(other, "tab", item)]}}),
            ("POST", "/v1/impressions", {"json": {"user_id": other, "artwork_ids": pool}}),
            ("POST", "/v1/impressions", {"json": {"events": [event, event | {"user_id": other}]}}),
            ("POST", "/v1/sessions/tab/heartbeat", {"json": {"user_id": other}}),
            ("DELETE", "/v1/sessions/tab", {"params": {"user_id": other}}),
        ]
        headers = {"Authorization": f"Bearer {mint(service, user)}"}
        for method, path, content in requests:
            answer = service.stranger.request(method, path, headers=headers, **content)
            assert (answer.status_code, answer.json()["code"]) == (403, "wrong_user"), (method, path)
        assert host.count("SELECT count(*) FROM vernissage.events WHERE user_id LIKE %s", f"{user}%") == 0

    def test_a_user_id_of_any_letters_fits(self, service: Service) -> None:
        """Host ids are text."""
        for user in ("49396329", "Zoë 🎨", 'a"b\\c', "x" * 255):
            token = mint(service, user)
            assert ask(service, token, httpx.URL("/").copy_with(path=f"/{user}").raw_path.decode()[1:]).is_success


class TestEnd:
    """A token ends by itself."""

    def test_it_ends_when_its_time_is_over(self, service: Service, user: str) -> None:
        """A second is enough to see it work and end."""
        token = mint(service, user, seconds=2)
        assert ask(service, token, user).status_code == 200
        time.sleep(2.1)
        assert_no_key(ask(service, token, user))

    @pytest.mark.parametrize("seconds", [0, -1, 86_401, "60", 1.5, None])
    def test_it_lives_for_a_second_to_a_day(self, service: Service, user: str, seconds: Any) -> None:
        """The answer names the field."""
        answer = service.client.post("/v1/tokens", json={"user_id": user, "seconds": seconds})
        assert (answer.status_code, answer.json()["field"]) == (400, "seconds")

    def test_another_installation_s_token_is_none(
        self, start: Any, own_host: Host, service: Service, user: str
    ) -> None:
        """Each signs with a secret of its own."""
        own_host.connection.execute("UPDATE vernissage.secrets SET value = gen_random_uuid()::text")
        assert_no_key(ask(service, mint(start(), user), user))


class TestMint:
    """Who may make one."""

    def test_the_scope_tokens_is_needed(self, service: Service, user: str) -> None:
        """A display's key is not enough, and a token cannot make another."""
        body = {"user_id": user}
        for key, status in (
            (service.make_key("tokens"), 200),
            (service.make_key("admin"), 200),
            (service.make_key("frontend"), 403),
            (service.make_key("planner", "experiments"), 403),
            (mint(service, user), 403),
        ):
            answer = service.stranger.post("/v1/tokens", json=body, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status, key
        assert_no_key(service.stranger.post("/v1/tokens", json=body))

    def test_a_key_for_tokens_alone_opens_nothing_else(self, service: Service, user: str) -> None:
        """The host's minting key can be kept apart from the one it calls with."""
        answer = ask(service, service.make_key("tokens"), user)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_scope")


class TestForged:
    """401, whatever it looks like; never 500."""

    def test_a_payload_cannot_be_exchanged(self, service: Service, user: str) -> None:
        """The signature is of one payload."""
        mine, theirs = mint(service, user), mint(service, f"{user}-2")
        mixed = f"{theirs.partition('.')[0]}.{mine.partition('.')[2]}"
        assert_no_key(ask(service, mixed, f"{user}-2"))

    @pytest.mark.parametrize("secret", ["", "guess", "None"])
    def test_a_token_signed_with_another_secret(self, service: Service, user: str, secret: str) -> None:
        """Also with an empty one."""
        assert_no_key(ask(service, tokens.mint(secret, user, 600), user))

    @FUZZ
    @given(data=st.data())
    def test_a_token_with_any_letter_changed(self, service: Service, data: st.DataObject) -> None:
        """Replaced, left out or added anywhere; the last letter of a signature carries spare bits, which count too."""
        token = mint(service, "ada")
        place = data.draw(st.integers(len(tokens.PREFIX), len(token) - 1), label="place")
        letter = data.draw(st.sampled_from(LATIN), label="letter")
        how = data.draw(st.sampled_from(["replace", "drop", "add"]), label="how")
        changed = token[:place] + ("" if how == "drop" else letter) + token[place + (how != "add") :]
        if changed != token:
            assert_no_key(ask(service, changed, "ada"))

    @FUZZ
    @given(payload=st.binary(max_size=60), signature=st.text(LATIN, max_size=60))
    def test_any_payload_with_any_signature(self, service: Service, payload: bytes, signature: str) -> None:
        """Base64 of anything, JSON or not."""
        text = base64.urlsafe_b64encode(payload).decode().rstrip("=")
        assert_no_key(ask(service, f"{tokens.PREFIX}{text}.{signature}", "ada"))

    @FUZZ
    @given(text=st.text(LATIN, min_size=1, max_size=80), prefix=st.sampled_from([tokens.PREFIX, "vtok", "vern_", ""]))
    def test_any_text_in_the_header(self, service: Service, text: str, prefix: str) -> None:
        """With the prefix of a token or a key, or none."""
        assert_no_key(ask(service, prefix + text, "ada"))

    @FUZZ
    @given(text=st.text(max_size=60))
    def test_any_text_in_the_query(self, service: Service, text: str) -> None:
        """All of Unicode fits there."""
        params = {"token": tokens.PREFIX + text.encode("utf-8", "ignore").decode()}
        assert_no_key(service.stranger.get("/v1/users/ada/coverage", params=params))
