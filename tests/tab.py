"""What a tab of a display sends to the service, and what the database then says of it; for tests."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import httpx

from tests.host import Host
from tests.service import Service


def claim_of(user: str, session: str, item: dict[str, Any], claim_id: str | None = None) -> dict[str, Any]:
    """The body of a claim."""
    return {
        "user_id": user,
        "session_id": session,
        "lease_id": item["lease_id"],
        "artwork_id": item["artwork_id"],
        "claim_id": claim_id or uuid.uuid4().hex,
    }


def send(service: Service, *claims: dict[str, Any]) -> httpx.Response:
    """Send one claim alone, several as a list."""
    return service.client.post("/v1/claims", json=claims[0] if len(claims) == 1 else {"claims": list(claims)})


def items_of(service: Service, user: str, session: str, limit: int) -> list[dict[str, Any]]:
    """The items of a new list."""
    items: list[dict[str, Any]] = service.next(user, session, limit=limit)["items"]
    return items


def statuses(answer: httpx.Response) -> list[str]:
    """How the claims of a list ended."""
    return [claim["status"] for claim in answer.raise_for_status().json()["claims"]]


def expire(host: Host, user: str, session: str) -> None:
    """Let a session's leases end now."""
    host.connection.execute(
        "UPDATE vernissage.sessions SET expires_at = now() - interval '1 ms' WHERE user_id = %s AND session_id = %s",
        (user, session),
    )


def displays_of(host: Host, user: str) -> Counter[str]:
    """The server's display log of a user, by artwork id."""
    rows = host.connection.execute(
        "SELECT k.artwork_id FROM vernissage.events AS e JOIN vernissage.artwork_keys AS k USING (artwork_key)"
        " WHERE e.user_id = %s AND e.kind = 'displayed'",
        (user,),
    ).fetchall()
    return Counter(row[0] for row in rows)


def seen_of(host: Host, user: str) -> set[str]:
    """The artwork ids that a user is marked to have seen."""
    rows = host.connection.execute(
        "SELECT k.artwork_id FROM vernissage.seen AS v JOIN vernissage.artwork_keys AS k USING (artwork_key)"
        " WHERE v.user_id = %s",
        (user,),
    ).fetchall()
    return {row[0] for row in rows}


def assert_lost(answer: httpx.Response) -> None:
    """It is the refusal that tells a client to go on to its next artwork."""
    assert answer.status_code == 409, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "lease_lost"
