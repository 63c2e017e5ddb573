"""How the page's files are served; needs no browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.service import Service

FOLDER = Path(__file__).parents[2] / "serving" / "display"
FILES = sorted(path.name for path in FOLDER.iterdir())


def test_the_page_is_open_to_all_and_allows_nothing_foreign(displayed: Service) -> None:
    """No key is needed; the policy keeps everything on this host."""
    page = displayed.stranger.get("/display")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_every_file_comes_with_its_type_and_an_etag_that_holds(displayed: Service, name: str) -> None:
    """A second request with the etag is answered 304 without a body."""
    types = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    first = displayed.stranger.get(f"/display/{name}")
    assert first.content == (FOLDER / name).read_bytes()
    assert first.headers["content-type"].startswith(types[Path(name).suffix])
    again = displayed.stranger.get(f"/display/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert displayed.stranger.get(f"/display/{name}", headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_other_methods_and_files_are_refused_in_our_shape(displayed: Service) -> None:
    """405 names the methods, 404 the mistake; nothing outside the folder can be had."""
    refused = displayed.stranger.post("/display")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert displayed.stranger.head("/display/app.js").status_code == 200
    for path in ("/display/none.js", "/display/..%2Fservice.py", "/display/%2e%2e%2fapi%2fapp.py"):
        assert displayed.stranger.get(path).status_code == 404


def test_a_slash_at_the_end_leads_to_the_page(displayed: Service) -> None:
    """Relatively, so that it holds behind a proxy's prefix too."""
    answer = displayed.stranger.get("/display/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../display")


def test_the_root_leads_to_the_page(displayed: Service) -> None:
    """For now, and relatively: whoever types the bare address sees the wall."""
    answer = displayed.stranger.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "display")
    assert displayed.stranger.get("/", follow_redirects=True).url.path == "/display"


def test_nothing_in_the_files_names_another_host() -> None:
    """Scripts, styles, pictures and fonts are all of this folder."""
    for name in FILES:
        found = re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]{2,}[^\s\"')]*", (FOLDER / name).read_text("utf-8"))
        assert [url for url in found if not url.startswith("http://www.w3.org/")] == [], name
