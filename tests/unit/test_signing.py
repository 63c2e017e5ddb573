"""Image URLs that end: what a signature tells, and an item that never outlives it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadSettingError
from serving.signing import hold, load_hook, url_expiry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())
PLAIN = "https://cdn.example/a.webp"
SIGNED = {
    "S3, version 4": f"{PLAIN}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20260301T110000Z&X-Amz-Expires=3600"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=0f",
    "S3, lower case": f"{PLAIN}?x-amz-date=20260301T110000Z&x-amz-expires=3600&x-amz-signature=0f",
    "GCS, version 4": f"{PLAIN}?X-Goog-Date=20260301T115000Z&X-Goog-Expires=600&X-Goog-Signature=0f",
    "CloudFront": f"{PLAIN}?Expires={SECONDS}&Signature=x&Key-Pair-Id=k",
    "S3, version 2": f"{PLAIN}?AWSAccessKeyId=k&Signature=x&Expires={SECONDS}",
    "Azure": f"{PLAIN}?sv=2024-05-04&se=2026-03-01T12%3A00%3A00Z&sp=r&sig=x",
    "Azure, no zone": f"{PLAIN}?se=2026-03-01T12%3A00%3A00&sig=x",
}
PARAMETERS = ["x-amz-date", "x-amz-expires", "expires", "sig", "se"]
ENDLESS = [
    PLAIN,
    "/images/a.webp",
    f"{PLAIN}?v=3",
    f"{PLAIN}?expires=never",
    f"{PLAIN}?expires=42",
    f"{PLAIN}?se=2026-03-01T12:00:00Z",
    f"{PLAIN}?X-Amz-Expires=3600",
    f"{PLAIN}?X-Amz-Date=yesterday&X-Amz-Expires=3600",
    f"{PLAIN}?X-Amz-Date=20260301T110000Z&X-Amz-Expires=soon",
    f"{PLAIN}?X-Amz-Date=20260301T110000Z&X-Amz-Expires=99999999999999",
    f"{PLAIN}?se=tomorrow&sig=x",
    "https://[broken/a.webp?Expires=1772366400",
    "",
]


class TestExpiry:
    """When a URL ends."""

    @pytest.mark.parametrize("url", SIGNED.values(), ids=SIGNED)
    def test_a_signed_url_ends_when_its_signature_says(self, url: str) -> None:
        """All of these at noon."""
        assert url_expiry(url) == NOON

    @pytest.mark.parametrize("url", ENDLESS)
    def test_any_other_has_no_end(self, url: str) -> None:
        """A parameter that only looks like a signature's says nothing."""
        assert url_expiry(url) is None

    @given(st.text(max_size=80))
    def test_no_url_is_an_error(self, text: str) -> None:
        """The host's column holds any text."""
        url_expiry(text)
        found = url_expiry(f"{PLAIN}?{text}")
        assert found is None or found.tzinfo is not None

    @given(
        st.dictionaries(st.sampled_from(["x-amz-date", "x-amz-expires", "expires", "sig", "se"]), st.text(max_size=20))
    )
    def test_no_value_of_a_signature_s_parameter_is_an_error(self, parameters: dict[str, str]) -> None:
        """Whatever was cut off, doubled or replaced."""
        url_expiry(f"{PLAIN}?" + "&".join(f"{name}={value}" for name, value in parameters.items()))


class TestHold:
    """What is sent, and until when it holds."""

    @given(seconds=st.integers(-100_000, 100_000))
    def test_an_item_never_outlives_its_url(self, seconds: int) -> None:
        """It ends with the lease or with the URL, whichever is sooner."""
        until = NOON + timedelta(seconds=seconds)
        assert hold("1", SIGNED["CloudFront"], until, None) == (SIGNED["CloudFront"], min(until, NOON))

    def test_a_plain_url_holds_as_long_as_the_lease(self) -> None:
        """It has no end of its own."""
        assert hold("1", PLAIN, NOON, None) == (PLAIN, NOON)

    @given(seconds=st.integers(-100_000, 100_000))
    def test_the_hook_is_asked_only_where_the_url_ends_before_the_lease(self, seconds: int) -> None:
        """Signing costs; what holds long enough is left alone."""
        until, asked = NOON + timedelta(seconds=seconds), []

        def resign(artwork_id: str, url: str) -> str:
            asked.append((artwork_id, url))
            return f"{PLAIN}?Expires={SECONDS + 200_000}"

        url, ends = hold("1", SIGNED["CloudFront"], until, resign)
        assert ends == until
        assert asked == ([("1", SIGNED["CloudFront"])] if until > NOON else [])
        assert (url == SIGNED["CloudFront"]) == (until <= NOON)

    def test_what_the_hook_signs_too_short_ends_then(self) -> None:
        """Its word is not taken for more than it says."""
        later = NOON + timedelta(seconds=30)
        new = f"{PLAIN}?Expires={SECONDS + 30}"
        assert hold("1", SIGNED["Azure"], NOON + timedelta(hours=1), lambda *_: new) == (new, later)

    def test_a_hook_may_give_a_url_without_an_end(self) -> None:
        """Then the lease alone counts."""
        until = NOON + timedelta(hours=1)
        assert hold("1", SIGNED["Azure"], until, lambda *_: PLAIN) == (PLAIN, until)


class TestHook:
    """The setting resign_hook."""

    def test_none_is_set_by_default(self) -> None:
        """An empty name is none."""
        assert load_hook("") is None

    def test_it_names_a_function_in_a_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As in package.module:function."""
        module = ModuleType("signer")
        module.resign = str.join  # type: ignore[attr-defined] # any function will do
        monkeypatch.setitem(sys.modules, "signer", module)
        assert load_hook("signer:resign") is str.join

    @pytest.mark.parametrize(
        "name", ["no_such_module:resign", "json:no_such_function", "json", "json:", ":loads", " : "]
    )
    def test_what_cannot_be_found_is_refused_at_the_start(self, name: str) -> None:
        """Naming the setting and the rule."""
        with pytest.raises(BadSettingError, match=r"VERNISSAGE_RESIGN_HOOK.*package\.module:function"):
            load_hook(name)
