"""Everything that a client, or the host's rows, can get wrong, as one table: what is sent and what must be answered.

`CASES` are refused, each with its status and stable code; they are put together from the routes (`ROUTES`), the kinds
of value (`BAD`), and which field is of which kind (`FIELDS`). `ODD_ARTWORKS` are rows of the host that are served all
the same. No assertions here: tests/integration/test_bad_input.py and tests/evidence/bad_input.py ask.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

UUID = "01890a5d-ac96-774b-bcce-b302099a8057"
LONG = "x" * 256
BODY_CAP = 4 * 1024 * 1024


@dataclass(frozen=True)
class Route:
    """A request that nothing is wrong with."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Case:
    """A request that something is wrong with."""

    route: str
    kind: str  # what is wrong, in words
    method: str
    url: str
    status: int
    code: str
    content: bytes | None = None
    key: str | None = "admin"  # scope of the key that is sent; None: no key; anything that is no scope: that text

    @property
    def name(self) -> str:
        """Route and kind."""
        return f"{self.route}: {self.kind}"


EVENT = {"event_id": "e-1", "user_id": "ada", "artwork_id": "a-1", "kind": "dwell", "session_id": "tab", "value": 3.5}
CLAIM = {"user_id": "ada", "session_id": "tab", "lease_id": UUID, "artwork_id": "a-1", "claim_id": "c-1"}

EXPOSURE = {"experiment": "more-variety", "version": 1, "arm": "varied"}
EXPERIMENT = {
    "name": "more-variety", "version": 1, "hypothesis": "It keeps people longer", "owner": "ada", "unit": "user",
    "layer": "lists", "slots": {"first": 0, "count": 100}, "design": "split", "primary_metric": "likes_per_display",
    "smallest_effect": 0.1, "guardrails": ["fill_rate"], "stop_on_harm": True,
    "arms": [{"name": "control", "weight": 1, "policy": {}}, {"name": "varied", "policy": {"variety": 0.5}}],
}  # fmt: skip

ROUTES = {
    "next": Route("GET", "/v1/users/ada/next", {"limit": 3, "session_id": "tab", "styles": "cubism"}),
    "prefetch": Route("POST", "/v1/users/ada/prefetch", {}, {"session_id": "tab", "depth": 3}),
    "impressions (list)": Route(
        "POST", "/v1/impressions", {}, {"user_id": "ada", "session_id": "tab", "artwork_ids": ["a-1", "a-2"]}
    ),
    "impressions (events)": Route("POST", "/v1/impressions", {}, {"events": [EVENT]}),
    "claims (one)": Route("POST", "/v1/claims", {}, CLAIM),
    "claims (list)": Route("POST", "/v1/claims", {}, {"claims": [CLAIM]}),
    "tokens": Route("POST", "/v1/tokens", {}, {"user_id": "ada", "seconds": 60}),
    "heartbeat": Route("POST", "/v1/sessions/tab/heartbeat", {}, {"user_id": "ada", "pending": 1}),
    "end_session": Route("DELETE", "/v1/sessions/tab", {"user_id": "ada"}),
    "history": Route("GET", "/v1/users/ada/history", {"limit": 3}),
    "replay": Route("POST", "/v1/users/ada/history/a-1/replay"),
    "favourites": Route("GET", "/v1/users/ada/favourites", {"limit": 3}),
    "set_favourite": Route("PUT", "/v1/users/ada/favourites/a-1"),
    "unset_favourite": Route("DELETE", "/v1/users/ada/favourites/a-1"),
    "coverage": Route("GET", "/v1/users/ada/coverage"),
    "live_model": Route("GET", "/v1/models/live"),
    "orders": Route("GET", "/v1/generation/orders", {"limit": 3}),
    "order": Route("GET", f"/v1/generation/orders/{UUID}"),
    "order_events": Route("GET", f"/v1/generation/orders/{UUID}/events"),
    "budget": Route("GET", "/v1/generation/budget"),
    "need": Route("GET", "/v1/users/ada/need"),
    "needs": Route("POST", "/v1/need", {}, {"user_ids": ["ada", "bob"]}),
    "pool": Route("GET", "/v1/pool"),
    "plans": Route("POST", "/v1/generation/plans", {}, {"dry_run": True, "most": 3}),
    "assignments": Route("GET", "/v1/users/ada/assignments"),
    "flags": Route("GET", "/v1/users/ada/flags"),
    "exposures": Route("POST", "/v1/users/ada/exposures", {}, {"session_id": "tab", "exposures": [EXPOSURE]}),
    "experiments": Route("GET", "/v1/experiments"),
    "create_experiment": Route("POST", "/v1/experiments", {}, EXPERIMENT),
    "experiment": Route("GET", "/v1/experiments/unheard-of"),
    "start_experiment": Route("POST", "/v1/experiments/unheard-of/start", {}, {"slots": 5}),
    "ramp_experiment": Route("POST", "/v1/experiments/unheard-of/ramp", {}, {"slots": 5}),
    "stop_experiment": Route("POST", "/v1/experiments/unheard-of/stop", {}, {"reason": "enough"}),
    "archive_experiment": Route("POST", "/v1/experiments/unheard-of/archive"),
    "set_override": Route("PUT", "/v1/experiments/unheard-of/overrides/ada", {}, {"arm": "control"}),
    "unset_override": Route("DELETE", "/v1/experiments/unheard-of/overrides/ada"),
}

#: Routes for whoever watches over generation; the others are for displays.
OF_PLANNERS = {"orders", "order", "order_events", "budget", "need", "needs", "pool", "plans"}

_COUNTS = {
    "zero": "0", "negative": "-1", "a word": "abc", "a fraction": "1.5", "empty": "",
    "an enormous number": "9" * 40, "hexadecimal": "0x10", "not a number": "NaN",
}  # fmt: skip

#: Values that break a kind's rule. In a path or query everything is text, so only the texts are tried there.
BAD: dict[str, dict[str, Any]] = {
    "id": {
        "empty": "", "too long": LONG, "holding NUL": "a\0b",
        "a number": 7, "null": None, "a list": ["ada"], "an object": {"id": "ada"}, "true": True,
    },
    "label": {"too long": LONG, "holding NUL": "a\0b", "a number": 7, "a list": ["tab"], "an object": {}},
    "up to 200": _COUNTS | {"too large": "201"},
    "up to 500": _COUNTS | {"too large": "501"},
    "number": {
        "negative": -1, "too large": 2**53 + 2, "an enormous number": 10**40, "a fraction": 1.5,
        "text": "3", "null": None, "true": True, "a list": [1],
    },
    "depth": {"zero": 0, "negative": -1, "too large": 51, "a fraction": 1.5, "text": "3", "null": None, "true": True},
    "seconds": {"zero": 0, "negative": -1, "too large": 86_401, "a fraction": 1.5, "text": "3", "null": None},
    "bytes": {"negative": -1, "a fraction": 1.5, "text": "3", "true": True},
    "network": {"unknown": "5g", "empty": "", "a number": 4, "null": None},
    "orientation": {"unknown": "diagonal", "in capitals": "PORTRAIT", "empty": ""},
    "switch": {"a word": "maybe", "a number": "2", "empty": ""},
    "flag": {"a word": "true", "a number": 1, "null": None},
    "labels": {"too many": ",".join(["s"] * 101), "too long": LONG, "holding NUL": "a\0b"},
    "label list": {"too many": ["s"] * 101, "a text": "cubism", "of numbers": [1], "null": None},
    "ids": {"too many": ",".join(["a"] * 1_001), "too long": LONG, "holding NUL": "a\0b"},
    "id list": {
        "empty": [], "too many": ["a"] * 5_001, "a text": "a-1", "of numbers": [1], "of null": [None],
        "with an empty id": [""], "with an id too long": [LONG], "with NUL": ["a\0b"], "an object": {"0": "a"},
    },
    "user ids": {
        "empty": [], "too many": ["a"] * 10_001, "a text": "ada", "of numbers": [1], "of null": [None],
        "with an empty id": [""], "with an id too long": [LONG], "with NUL": ["a\0b"], "an object": {"0": "a"},
    },
    "most": {"zero": 0, "negative": -1, "too large": 201, "a fraction": 1.5, "text": "3", "null": None, "true": True},
    "dollars": {"negative": -0.01, "too large": 1e6 + 1, "text": "3", "true": True, "a list": [1]},
    "batch": {
        "empty": [], "too many": [EVENT] * 5_001, "a text": "e", "of numbers": [1], "of null": [None],
        "of lists": [[EVENT]], "an object": EVENT,
    },
    "claims": {
        "empty": [], "too many": [CLAIM | {"artwork_id": f"a-{n}"} for n in range(21)], "of numbers": [1],
        "of two users": [CLAIM, CLAIM | {"user_id": "bob", "artwork_id": "a-2"}],
        "of one artwork twice": [CLAIM, CLAIM | {"claim_id": "c-2"}],
    },
    "kind": {"unknown": "watched", "empty": "", "in capitals": "LIKE", "null": None, "a number": 1},
    "moment": {
        "in 1970": "1970-01-01T00:00:00Z", "in 2300": "2300-01-01T00:00:00Z", "a word": "yesterday",
        "month 13": "2026-13-01T00:00:00Z", "a number": 1_700_000_000, "empty": "", "a date alone": "2026-01-01",
        "in the year 1": "0001-01-01T00:00:00+23:59", "in the year 9999": "9999-12-31T23:59:59-23:59",
        "a list": [2026, 1, 1],
    },
    "before": {"a word": "yesterday", "month 13": "2026-13-01T00:00:00Z", "empty": ""},
    "uuid": {"a word": "lease", "too short": UUID[:-1], "a number": 7, "empty": "", "in braces": f"{{{UUID}}}"},
    "order id": {"a word": "order", "too short": UUID[:-1], "a number": "7", "in braces": f"{{{UUID}}}"},
    "state": {"unknown": "lost", "in capitals": "SENT", "empty": ""},
    "entry": {name: bad for name, bad in _COUNTS.items() if name != "zero"},
    "name": {
        "too long": "x" * 64, "in capitals": "ADA", "with a space": "a b", "holding NUL": "a\0b", "empty": "",
        "a number": 7, "null": None, "a list": ["ada"],
    },
    "text": {"empty": "", "too long": "x" * 2_001, "holding NUL": "a\0b", "a number": 7, "null": None},
    "version": {"zero": 0, "too large": 10_000, "a fraction": 1.5, "text": "1", "null": None, "true": True},
    "slot count": {"zero": 0, "negative": -1, "too large": 10_001, "a fraction": 1.5, "text": "5", "true": True},
    "slots": {"a number": 5, "a list": [0, 5], "null": None},
    "arms": {"one": [{"name": "a"}], "none": [], "nine": [{"name": f"a{n}"} for n in range(9)], "null": None},
    "weight": {"zero": 0, "negative": -1, "too large": 10_001, "a fraction": 0.5, "text": "1", "null": None},
    "policy": {"a text": "varied", "a list": [], "null": None, "of an unknown knob": {"colour": 1}},
    "unit": {"unknown": "planet", "null": None, "a number": 1},
    "effect": {"zero": 0, "negative": -0.1, "too large": 11, "text": "0.1", "null": None, "true": True},
    "exposures": {"empty": [], "too many": [EXPOSURE] * 101, "a text": "varied", "of numbers": [1], "null": None},
    "blocks": {"a number": 60, "a list": [60], "a text": "hourly"},
    "guardrails": {"unknown": ["smiles"], "a text": "fill_rate", "null": None},
    "value": {"negative": -0.5, "too large": 1e6 + 1, "text": "3", "true": True, "a list": [3]},
}  # fmt: skip

OVERRIDE_PATH = (("name", "name"), ("user_id", "id"))

#: Which kind each field is of: route, place ("path", "query", "body" or the list in it), field, kind.
FIELDS = [
    ("next", "path", "user_id", "id"),
    ("next", "query", "limit", "up to 200"),
    ("next", "query", "session_id", "label"),
    ("next", "query", "orientation", "orientation"),
    ("next", "query", "styles", "labels"),
    ("next", "query", "strict_styles", "switch"),
    ("next", "query", "exclude", "ids"),
    ("next", "query", "supersedes", "label"),
    ("prefetch", "path", "user_id", "id"),
    ("prefetch", "body", "session_id", "label"),
    ("prefetch", "body", "depth", "depth"),
    ("prefetch", "body", "network", "network"),
    ("prefetch", "body", "save_data", "flag"),
    ("prefetch", "body", "byte_budget", "bytes"),
    ("prefetch", "body", "orientation", "orientation"),
    ("prefetch", "body", "styles", "label list"),
    ("prefetch", "body", "supersedes", "label"),
    ("impressions (list)", "body", "user_id", "id"),
    ("impressions (list)", "body", "session_id", "label"),
    ("impressions (list)", "body", "artwork_ids", "id list"),
    ("impressions (events)", "body", "events", "batch"),
    ("impressions (events)", "body.events", "event_id", "id"),
    ("impressions (events)", "body.events", "user_id", "id"),
    ("impressions (events)", "body.events", "artwork_id", "id"),
    ("impressions (events)", "body.events", "kind", "kind"),
    ("impressions (events)", "body.events", "session_id", "label"),
    ("impressions (events)", "body.events", "at", "moment"),
    ("impressions (events)", "body.events", "lease_id", "uuid"),
    ("impressions (events)", "body.events", "value", "value"),
    ("claims (one)", "body", "user_id", "id"),
    ("claims (one)", "body", "session_id", "label"),
    ("claims (one)", "body", "lease_id", "uuid"),
    ("claims (one)", "body", "artwork_id", "id"),
    ("claims (one)", "body", "claim_id", "id"),
    ("claims (list)", "body", "claims", "claims"),
    ("claims (list)", "body.claims", "user_id", "id"),
    ("claims (list)", "body.claims", "lease_id", "uuid"),
    ("tokens", "body", "user_id", "id"),
    ("tokens", "body", "seconds", "seconds"),
    ("heartbeat", "path", "session_id", "id"),
    ("heartbeat", "body", "user_id", "id"),
    ("heartbeat", "body", "flush_successes", "number"),
    ("heartbeat", "body", "flush_failures", "number"),
    ("heartbeat", "body", "pending", "number"),
    ("heartbeat", "body", "late_draws", "number"),
    ("end_session", "path", "session_id", "id"),
    ("end_session", "query", "user_id", "id"),
    ("history", "path", "user_id", "id"),
    ("history", "query", "limit", "up to 500"),
    ("history", "query", "before", "before"),
    ("replay", "path", "user_id", "id"),
    ("replay", "path", "artwork_id", "id"),
    ("favourites", "path", "user_id", "id"),
    ("favourites", "query", "limit", "up to 500"),
    ("set_favourite", "path", "user_id", "id"),
    ("set_favourite", "path", "artwork_id", "id"),
    ("unset_favourite", "path", "user_id", "id"),
    ("unset_favourite", "path", "artwork_id", "id"),
    ("coverage", "path", "user_id", "id"),
    ("orders", "query", "state", "state"),
    ("orders", "query", "at", "before"),
    ("orders", "query", "limit", "up to 500"),
    ("order", "path", "order_id", "order id"),
    ("order", "query", "at", "before"),
    ("order_events", "path", "order_id", "order id"),
    ("order_events", "query", "after", "entry"),
    ("need", "path", "user_id", "id"),
    ("needs", "body", "user_ids", "user ids"),
    ("plans", "body", "dry_run", "flag"),
    ("plans", "body", "most", "most"),
    ("plans", "body", "dollars", "dollars"),
    ("assignments", "path", "user_id", "id"),
    ("flags", "path", "user_id", "id"),
    ("exposures", "path", "user_id", "id"),
    ("exposures", "body", "session_id", "label"),
    ("exposures", "body", "exposures", "exposures"),
    ("exposures", "body.exposures", "experiment", "name"),
    ("exposures", "body.exposures", "version", "version"),
    ("exposures", "body.exposures", "arm", "name"),
    ("create_experiment", "body", "name", "name"),
    ("create_experiment", "body", "version", "version"),
    ("create_experiment", "body", "hypothesis", "text"),
    ("create_experiment", "body", "owner", "text"),
    ("create_experiment", "body", "unit", "unit"),
    ("create_experiment", "body", "layer", "name"),
    ("create_experiment", "body", "slots", "slots"),
    ("create_experiment", "body", "design", "unit"),
    ("create_experiment", "body", "arms", "arms"),
    ("create_experiment", "body.arms", "name", "name"),
    ("create_experiment", "body.arms", "weight", "weight"),
    ("create_experiment", "body.arms", "policy", "policy"),
    ("create_experiment", "body", "primary_metric", "unit"),
    ("create_experiment", "body", "smallest_effect", "effect"),
    ("create_experiment", "body", "guardrails", "guardrails"),
    ("create_experiment", "body", "stop_on_harm", "flag"),
    ("create_experiment", "body", "blocks", "blocks"),
    *(
        (name, "path", "name", "name")
        for name in ("experiment", "start_experiment", "ramp_experiment", "stop_experiment", "archive_experiment")
    ),
    *((f"{name}_override", "path", part, kind) for name in ("set", "unset") for part, kind in OVERRIDE_PATH),
    ("set_override", "body", "arm", "name"),
    ("start_experiment", "body", "slots", "slot count"),
    ("ramp_experiment", "body", "slots", "slot count"),
    ("stop_experiment", "body", "reason", "text"),
]
PIECES = {
    "user_id": "ada",
    "artwork_id": "a-1",
    "session_id": "tab",
    "order_id": UUID,
    "name": "unheard-of",
}  # what stands for a field in ROUTES' paths

#: Fields without which a body or query is refused.
REQUIRED = [
    ("impressions (list)", "body", "user_id"),
    ("impressions (list)", "body", "artwork_ids"),
    ("impressions (events)", "body.events", "event_id"),
    ("impressions (events)", "body.events", "user_id"),
    ("impressions (events)", "body.events", "artwork_id"),
    ("impressions (events)", "body.events", "kind"),
    *(("claims (one)", "body", name) for name in CLAIM),
    ("tokens", "body", "user_id"),
    ("needs", "body", "user_ids"),
    ("heartbeat", "body", "user_id"),
    ("end_session", "query", "user_id"),
    *(
        ("create_experiment", "body", name)
        for name in ("name", "hypothesis", "owner", "layer", "slots", "arms", "primary_metric", "smallest_effect")
    ),
    ("create_experiment", "body.arms", "name"),
    ("exposures", "body", "exposures"),
    *(("exposures", "body.exposures", name) for name in EXPOSURE),
    ("ramp_experiment", "body", "slots"),
    ("stop_experiment", "body", "reason"),
    ("set_override", "body", "arm"),
]

#: Bodies that are no JSON object; the code of each.
BODIES: dict[str, tuple[bytes, str]] = {
    "broken JSON": (b'{"user_id": "ada", "artwork_ids": ["a-1"', "bad_json"),
    "an empty body": (b"", "bad_json"),
    "text that is no JSON": (b"hello", "bad_json"),
    "two JSON values": (b"{} {}", "bad_json"),
    "NaN as a number": (b'{"events": [{"value": NaN}]}', "bad_json"),
    "Infinity as a number": (b'{"events": [{"value": Infinity}]}', "bad_json"),
    "a single quoted text": (b"{'user_id': 'ada'}", "bad_json"),
    "invalid UTF-8": (b'{"user_id": "\xff\xfe", "artwork_ids": ["a"]}', "bad_json"),
    "half a UTF-8 character": (b'{"user_id": "\xe2\x82", "artwork_ids": ["a"]}', "bad_json"),
    "UTF-8 of a lone surrogate": (b'{"user_id": "\xed\xa0\x80", "artwork_ids": ["a"]}', "bad_json"),
    "an escaped lone surrogate": (b'{"user_id": "\\ud800", "artwork_ids": ["a"]}', "bad_json"),
    "UTF-16": ('{"user_id": "ada"}'.encode("utf-16"), "bad_json"),
    "gzip without its end": (gzip.compress(b'{"user_id": "ada"}', mtime=0)[:-5], "bad_gzip"),
    "gzip in name only": (b"\x1f\x8b\x08 and no more", "bad_gzip"),
    "gzip of broken JSON": (gzip.compress(b'{"user_id": ', mtime=0), "bad_json"),
    "lists nested 100,000 deep": (b"[" * 100_000 + b"]" * 100_000, "bad_json"),
    "objects nested 100,000 deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "bad_json"),
    "a JSON array": (b'[{"user_id": "ada"}]', "bad_body"),
    "a JSON text": (b'"ada"', "bad_body"),
    "a JSON number": (b"1e3", "bad_body"),
    "JSON null": (b"null", "bad_body"),
}

STRAY_PATHS = [
    "/v1", "/v1/", "/v1/users/ada", "/v1/users//next", "/v1/users/ada/next/", "/v1/users/a/b/next", "/v2/health",
    "/v1/%2e%2e/metrics", "/favicon.ico", "/v1/impressions/1", "/v1/\u00fc",
]  # fmt: skip


def cases() -> Iterator[Case]:
    """Every case."""
    yield from _bad_fields()
    yield from _missing_fields()
    yield from _bad_bodies()
    yield from _bad_keys()
    yield from _bad_routes()


def _bad_fields() -> Iterator[Case]:
    """Each bad value of each field."""
    for name, place, field_name, kind in FIELDS:
        for what, value in BAD[kind].items():
            text_only = not place.startswith("body")
            if text_only and not isinstance(value, str):
                continue
            if place == "path" and value == "":
                continue  # another path then, and no route
            yield _case(name, f"{field_name} {what}", 400, f"bad_{field_name}", _put(place, field_name, value))


def _missing_fields() -> Iterator[Case]:
    """Each required field left out."""
    for name, place, field_name in REQUIRED:
        yield _case(name, f"without {field_name}", 400, f"bad_{field_name}", _put(place, field_name, _LEFT_OUT))


def _bad_bodies() -> Iterator[Case]:
    """Bodies that are no JSON object, that are too large, or of no shape or two."""
    changes = (
        "create_experiment",
        "start_experiment",
        "ramp_experiment",
        "stop_experiment",
        "set_override",
        "exposures",
    )
    for name in ("impressions (list)", "claims (one)", "tokens", "heartbeat", "prefetch", "needs", "plans", *changes):
        route = ROUTES[name]
        for what, (content, code) in BODIES.items():
            yield Case(name, what, route.method, _url(route), 400, code, content)
        too_large = b'{"user_id": "' + b"x" * BODY_CAP + b'"}'
        bomb = gzip.compress(b'{"user_id": "' + b"x" * 20 * BODY_CAP + b'"}', mtime=0)
        yield Case(name, "a body over the cap", route.method, _url(route), 413, "body_too_large", too_large)
        yield Case(name, "gzip that unpacks over the cap", route.method, _url(route), 413, "body_too_large", bomb)
    for what, body, code in (
        ("neither shape", {}, "bad_user_id"),
        ("both shapes", {"user_id": "ada", "artwork_ids": ["a"], "events": [EVENT]}, "bad_body"),
        ("a shape of another case", {"userId": "ada", "artworkIds": ["a"]}, "bad_user_id"),
    ):
        content = json.dumps(body).encode()
        yield Case("impressions", what, "POST", "/v1/impressions", 400, code, content)


def _bad_keys() -> Iterator[Case]:
    """No key, a key that is none, and a key that may do something else."""
    for name, route in ROUTES.items():
        content = None if route.body is None else json.dumps(route.body).encode()
        for what, key, status, code in (
            ("without a key", None, 401, "missing_key"),
            ("with an unknown key", "Bearer vern_00000000_x", 401, "bad_key"),
            ("with a key in another alphabet", "Bearer \u00fc\u00f1", 401, "bad_key"),
            ("with another scheme", "Basic YWRhOmFkYQ==", 401, "missing_key"),
            ("with an empty key", "Bearer", 401, "missing_key"),
            ("with the wrong scope", "frontend" if name in OF_PLANNERS else "planner", 403, "wrong_scope"),
        ):
            yield Case(name, what, route.method, _url(route), status, code, content, key)


def _bad_routes() -> Iterator[Case]:
    """Paths that are none, and methods that a path does not have."""
    for path in STRAY_PATHS:
        yield Case("(none)", f"no such path: {path}", "GET", quote(path, safe="/%"), 404, "not_found")
    wrong = {"GET": "POST", "POST": "GET", "DELETE": "PATCH", "PUT": "PATCH"}
    for name, route in ROUTES.items():
        method = wrong[route.method]
        if any((each.method, each.path) == (method, route.path) for each in ROUTES.values()):
            method = "PATCH"
        yield Case(name, f"{method} instead", method, _url(route), 405, "method_not_allowed")
    yield Case("health", "TRACE instead", "TRACE", "/v1/health", 405, "method_not_allowed")
    yield Case("metrics", "POST instead", "POST", "/metrics", 405, "method_not_allowed")


class _LeftOut:
    """Stands for a field that is not sent."""


_LEFT_OUT = _LeftOut()
_Change = tuple[str, str, Any]


def _put(place: str, field_name: str, value: Any) -> _Change:
    """A change of a route's good request."""
    return place, field_name, value


def _case(name: str, what: str, status: int, code: str, change: _Change) -> Case:
    """The route's good request with one change."""
    route = ROUTES[name]
    place, field_name, value = change
    query, body, path = dict(route.query), copy.deepcopy(route.body), route.path
    if place == "path":
        path = path.replace(f"/{PIECES[field_name]}", f"/{quote(value, safe='')}", 1)
    elif place == "query":
        query[field_name] = value
    else:
        target: Any = body if place == "body" else body[place.removeprefix("body.")][0]  # type: ignore[index]
        target[field_name] = value
    query = {key: given for key, given in query.items() if given is not _LEFT_OUT}
    content = None if body is None else json.dumps(_without(body)).encode()
    return Case(name, what, route.method, _url(route, path, query), status, code, content)


def _without(part: Any) -> Any:
    """A body without what is left out."""
    if isinstance(part, dict):
        return {key: _without(value) for key, value in part.items() if value is not _LEFT_OUT}
    return [_without(value) for value in part] if isinstance(part, list) else part


def _url(route: Route, path: str | None = None, query: Mapping[str, Any] | None = None) -> str:
    """Path and query string."""
    asked = route.query if query is None else query
    return (path or route.path) + (f"?{urlencode(asked)}" if asked else "")


_REAL = [round(0.02 * number, 2) for number in range(50)]

#: Rows of the host that are out of the ordinary: the columns, and whether the DNA is handed on.
ODD_ARTWORKS: dict[str, tuple[dict[str, Any], bool]] = {
    "an ordinary artwork": ({"dna_vector": json.dumps(_REAL)}, True),
    "DNA that is the library's stub": ({"dna_vector": json.dumps([0.5] * 50)}, True),
    "DNA absent": ({"dna_vector": None}, False),
    "DNA of 49 numbers": ({"dna_vector": json.dumps(_REAL[:49])}, False),
    "DNA of 51 numbers": ({"dna_vector": json.dumps([*_REAL, 0.5])}, False),
    "DNA with NaN": ({"dna_vector": json.dumps([float("nan"), *_REAL[1:]])}, False),
    "DNA with Infinity": ({"dna_vector": json.dumps([float("inf"), *_REAL[1:]])}, False),
    "DNA with null": ({"dna_vector": json.dumps([None, *_REAL[1:]])}, False),
    "DNA with 1e400": ({"dna_vector": json.dumps(_REAL[1:])[:-1] + ", 1e400]"}, False),
    "DNA below 0": ({"dna_vector": json.dumps([-0.1, *_REAL[1:]])}, False),
    "DNA above 3": ({"dna_vector": json.dumps([3.1, *_REAL[1:]])}, False),
    "DNA of texts": ({"dna_vector": json.dumps([str(number) for number in _REAL])}, False),
    "DNA of booleans": ({"dna_vector": json.dumps([True] * 50)}, False),
    "DNA that is an object": ({"dna_vector": json.dumps({str(n): n for n in range(50)})}, False),
    "DNA that is no JSON": ({"dna_vector": "0.1, 0.2, 0.3"}, False),
    "DNA that is an empty text": ({"dna_vector": ""}, False),
    "DNA that is JSON null": ({"dna_vector": "null"}, False),
    "DNA nested 20,000 deep": ({"dna_vector": "[" * 20_000}, False),
    "a prompt of emoji": ({"prompt": "\U0001f5bc\ufe0f\U0001f469\u200d\U0001f3a8\U0001f308"}, False),
    "a prompt from right to left": ({"prompt": "\u05e9\u05e7\u05d9 \u202eabc\u202c \u063a\u0631\u0648\u0628"}, False),
    "a prompt with control characters": ({"prompt": 'a\nb\t"c"\\ \x01 \u2028 \ufeff </script>'}, False),
    "a prompt of combining marks": ({"prompt": "Z" + "\u0351\u036b\u0343" * 50}, False),
    "an empty prompt": ({"prompt": ""}, False),
    "a prompt of 200,000 characters": ({"prompt": "quiet " * 33_334}, False),
    "styles with NULL in them": ({"styles": ["cubism", None], "motifs": [None], "artists": [None, "x"]}, False),
    "styles that are empty": ({"styles": ["", ""], "motifs": [""], "artists": []}, False),
    "an unknown orientation": ({"orientation": "diagonal"}, False),
    "quality that is not a number": ({"quality_score": "NaN"}, False),
    "quality below zero": ({"quality_score": -99.9}, False),
    "the year 1": ({"created_at": "0001-01-01"}, False),
    "the year 9999": ({"created_at": "9999-12-31 23:59:59"}, False),
    "the end of time": ({"created_at": "infinity"}, False),
    "the beginning of time": ({"created_at": "-infinity"}, False),
    "before Christ": ({"created_at": "0044-03-15 BC"}, False),
    "no size": ({"width": 0, "height": -1, "aspect_ratio": ""}, False),
    "an id of emoji": ({"id": "\U0001f5bc\ufe0f/?#%00 \u05e9"}, False),
}  # fmt: skip

CASES = list(cases())
