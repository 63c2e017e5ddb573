"""Image URLs that end: until when one holds, and the installation's own hook that signs it anew."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from features.errors import BadSettingError

Resign = Callable[[str, str], str]  # artwork id, image URL -> a URL that holds again


def load_hook(name: str) -> Resign | None:
    """The function named by the setting resign_hook, None for an empty name. Raises BadSettingError."""
    if not name:
        return None
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        rule = f"it must be package.module:function ({error})"
        raise BadSettingError(key="VERNISSAGE_RESIGN_HOOK", value=name, rule=rule) from error
    return found  # type: ignore[no-any-return] # whatever it is, it is the operator's


def hold(artwork_id: str, url: str, until: datetime, resign: Resign | None) -> tuple[str, datetime]:
    """The URL to send and until when the item holds: never longer than its URL does."""
    ends = url_expiry(url)
    if ends is not None and ends < until and resign is not None:
        url = resign(artwork_id, url)
        ends = url_expiry(url)
    return url, until if ends is None else min(ends, until)


def url_expiry(url: str) -> datetime | None:
    """When a signed image URL ends (S3 and GCS version 4, CloudFront and S3 version 2, Azure); None for a plain one."""
    if "?" not in url:
        return None
    with contextlib.suppress(ValueError, OverflowError):  # what only looks like a URL, or like a signature
        query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        return _signature_end(query)
    return None


def _signature_end(query: dict[str, str]) -> datetime | None:
    """The end that the parameters of a signature tell."""
    for prefix in ("x-amz-", "x-goog-"):
        if prefix + "date" in query and prefix + "expires" in query:
            start = datetime.strptime(query[prefix + "date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return start + timedelta(seconds=int(query[prefix + "expires"]))
    if re.fullmatch(r"\d{9,11}", query.get("expires", "")):
        return datetime.fromtimestamp(int(query["expires"]), UTC)
    if "sig" in query and "se" in query:
        ends = datetime.fromisoformat(query["se"])
        return ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    return None
