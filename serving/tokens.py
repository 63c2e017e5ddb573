"""Short-lived tokens for one user, which the host mints for a browser: a service key never reaches one.

A token is `vtok_<payload>.<signature>`: base64url of {"u": user id, "e": expiry in seconds since 1970}, signed by
HMAC-SHA256 under the installation's own secret, so that every worker can check it without asking the database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import msgspec

PREFIX = "vtok_"


class _Payload(msgspec.Struct):
    """Who, and until when."""

    u: str
    e: int


def mint(secret: str, user_id: str, seconds: int) -> str:
    """A token for ``user_id`` that ends in ``seconds``."""
    payload = _encode(msgspec.json.encode(_Payload(user_id, int(time.time()) + seconds)))
    return f"{PREFIX}{payload}.{_sign(secret, payload)}"


def user_of(secret: str, token: str) -> str | None:
    """The user whom a token stands for, or None when it is forged, broken or over."""
    payload, _, signature = token.removeprefix(PREFIX).partition(".")
    if not secret or not hmac.compare_digest(signature.encode(), _sign(secret, payload).encode()):
        return None
    found = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Payload)
    return found.u if found.e > time.time() else None


def _sign(secret: str, payload: str) -> str:
    """The signature of a payload."""
    return _encode(hmac.new(f"token:{secret}".encode(), payload.encode(), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
