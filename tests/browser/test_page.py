"""The display page in a real Chromium: what it loads, shows, claims, sends and survives."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.screens import Screen, journals, judge, mint, storage_of
from tests.host import Host
from tests.service import Service

OpenScreen = Callable[..., Screen]


def test_the_page_shows_an_artwork_and_asks_nothing_of_strangers(screen: OpenScreen, host: Host) -> None:
    """A first picture comes, without an error on the console or a request to another host."""
    shown = screen().open()
    shown.pause(0.5)
    assert shown.complaints == []
    assert shown.foreign == []
    assert shown.page.inner_text("#title").startswith("A quiet study")
    assert "1 shown" in shown.page.inner_text("#stats")
    assert judge(host.connection, shown.user, shown.draws()).is_clean


def test_the_token_leaves_the_address_at_once(screen: OpenScreen) -> None:
    """What the address bar shows, and the history keeps, holds no token."""
    shown = screen().open()
    assert "token" not in shown.page.url
    assert "#" not in shown.page.url


def test_a_draw_is_noted_before_it_and_claimed_before_that(screen: OpenScreen, host: Host) -> None:
    """The journal in the storage tells of every draw, and the service logged each of them."""
    shown = screen(seconds=0.2).open()
    shown.wait_for_draws(8)
    shown.press(" ")
    verdict = judge(host.connection, shown.user, [*shown.draws(), *journals(shown.page)])
    assert verdict.is_clean
    assert verdict.draws >= 8
    assert verdict.wasted <= 3


def test_two_tabs_of_a_user_never_show_the_same_artwork(screen: OpenScreen, host: Host) -> None:
    """Tabs side by side are disjoint."""
    both = [screen(seconds=0.25), screen(seconds=0.25)]
    for shown in both:
        shown.open()
    for shown in both:
        shown.wait_for_draws(15)
    verdict = judge(host.connection, both[0].user, journals(both[0].page))
    assert verdict.is_clean
    assert verdict.draws >= 30


def test_a_reload_takes_the_leases_and_the_claims_along(screen: OpenScreen, host: Host) -> None:
    """The page after a reload draws what the one before had claimed, and holds what it had on lease."""
    shown = screen(seconds=60).open()
    for count in (2, 3, 4):
        shown.press("s")
        shown.wait_for_draws(count)
    shown.pause(0.5)
    before = _sessions(host, shown.user)
    shown.page.reload()
    shown.wait_for(shown.draws, "a picture after the reload")
    shown.pause(0.5)
    verdict = judge(host.connection, shown.user, journals(shown.page))
    after = _sessions(host, shown.user)
    assert verdict.is_clean
    assert len(before) == 1
    assert len(after) == 2
    (old,) = before
    (new,) = set(after) - {old}
    assert after[old] == []
    assert set(before[old]) <= set(after[new])
    assert verdict.wasted <= 3


def test_a_duplicated_tab_gets_a_session_of_its_own(screen: OpenScreen, host: Host) -> None:
    """A copy of a tab's storage does not make it the same tab: the original keeps its leases."""
    original = screen(seconds=60).open()
    before = _sessions(host, original.user)
    copy = screen(seconds=60)
    copy.page.add_init_script(storage_of(original.page))
    copy.open()
    after = _sessions(host, original.user)
    assert len(after) == 2
    assert {session: after[session] for session in before} == before
    original.press("s")
    original.wait_for_draws(2)
    assert judge(host.connection, original.user, journals(copy.page)).is_clean


def test_keys_like_skip_favourite_pause_and_open_cards(screen: OpenScreen, host: Host) -> None:
    """Each key does what the help says, and what it sends arrives."""
    shown = screen(seconds=60).open()
    first = shown.draws()[0]["artwork_id"]
    shown.press("l")
    shown.press("f")
    assert shown.page.get_attribute("[data-act=like]", "aria-pressed") == "true"
    shown.press("ArrowRight")
    shown.wait_for_draws(2)
    shown.press("?")
    assert shown.page.locator("#help").is_visible()
    shown.press("Escape")
    shown.press("d")
    assert shown.page.locator("#panel").is_visible()
    shown.press("d")
    shown.press(" ")
    assert shown.state() == "Paused"
    shown.wait_for(lambda: _kinds(host, shown.user, first) >= {"dwell", "like", "skip"}, "events", 10)
    marked = "SELECT count(*) FROM public.art_favorites WHERE user_id = %s AND artwork_id = %s"
    assert host.count(marked, shown.user, first) == 1
    shown.press("h")
    shown.wait_for(lambda: shown.page.locator("#days li").count() == 2, "the history without what is claimed ahead")


def test_a_replay_is_counted_and_no_draw(screen: OpenScreen, host: Host) -> None:
    """An artwork of the past hangs for a moment; the journal, the log and the leases know nothing of it."""
    shown = screen(seconds=60).open()
    shown.press("s")
    shown.wait_for_draws(2)
    shown.press("h")
    shown.page.locator("#days button").last.click()
    shown.wait_for(lambda: shown.page.inner_text("#title").startswith("Again:"), "the replay")
    shown.press("Escape")
    shown.wait_for(lambda: not shown.page.inner_text("#title").startswith("Again:"), "the current artwork again")
    replays = "SELECT coalesce(sum(replays), 0) FROM vernissage.replays WHERE user_id = %s"
    assert host.count(replays, shown.user) == 1
    assert len(shown.draws()) == 2


def test_with_nothing_unseen_it_says_so_and_shows_what_comes(screen: OpenScreen, host: Host) -> None:
    """The page tells why and when it asks again, holds its wall, and goes on when there is something new."""
    shown = screen(seconds=0.3)
    known = host.connection.execute("SELECT id FROM public.art_sessions").fetchall()
    host.see(shown.user, [row[0] for row in known][:-2])
    shown.open()
    shown.wait_for_draws(2)
    shown.wait_for(lambda: "seen everything" in shown.state(), "the reason")
    assert shown.page.inner_text("#until").startswith(("in 0:0", "now"))
    host.add_artwork(prompt="A late arrival")
    shown.wait_for_draws(3)
    shown.wait_for(lambda: shown.page.inner_text("#title") == "A late arrival", "the new artwork")
    assert judge(host.connection, shown.user, shown.draws()).is_clean


def test_offline_it_draws_what_is_claimed_and_then_holds_and_says_so(screen: OpenScreen, host: Host) -> None:
    """Without a network the claimed ones are drawn, then the last one stays; back again it goes on, all clean."""
    shown = screen(seconds=0.5).open()
    shown.wait_for_draws(4)
    shown.context.set_offline(offline=True)

    def holds() -> bool:
        """Whether nothing more is drawn; while an image is still decoded, the page holds for a moment too."""
        before = len(shown.draws())
        shown.pause(1.5)
        return len(shown.draws()) == before and "Holding this one" in shown.state()

    shown.wait_for(holds, "the last frame held")
    held = len(shown.draws())
    shown.context.set_offline(offline=False)
    shown.wait_for_draws(held + 3)
    shown.press(" ")
    assert judge(host.connection, shown.user, shown.draws()).is_clean


def test_a_lost_lease_is_skipped(screen: OpenScreen, host: Host) -> None:
    """What the host takes out of the pool after it was leased is refused at the claim and never drawn."""
    shown = screen(seconds=60, ahead=0).open()
    (held,) = _sessions(host, shown.user).values()
    gone = held[0]
    host.set_status(gone, "archived")
    try:
        shown.press("s")
        shown.wait_for_draws(2)
        assert gone not in [draw["artwork_id"] for draw in shown.draws()]
        assert judge(host.connection, shown.user, shown.draws()).is_clean
    finally:
        host.set_status(gone, "active")


def test_what_a_closed_tab_had_to_tell_arrives(screen: OpenScreen, host: Host) -> None:
    """Dwell and likes go out by beacon when the page is left."""
    shown = screen(seconds=60).open()
    drawn = shown.draws()[0]["artwork_id"]
    shown.press("l")
    other = screen(seconds=60)
    shown.page.goto("about:blank")
    other.wait_for(lambda: _kinds(host, shown.user, drawn) >= {"dwell", "like"}, "the beacon", 5)


def test_what_a_dead_tab_left_unsent_is_sent_by_the_next(screen: OpenScreen, host: Host) -> None:
    """The outbox outlives the page: another tab of the browser takes it over."""
    shown = screen(seconds=60).open()
    drawn = shown.draws()[0]["artwork_id"]
    shown.page.route("**/v1/impressions*", lambda route: route.abort())
    shown.press("l")
    shown.pause(0.3)
    shown.crash()
    other = screen(seconds=60).open()
    other.wait_for(lambda: "like" in _kinds(host, shown.user, drawn), "the dead tab's like", 5)


def test_without_a_token_it_asks_for_one_and_refuses_a_service_key(screen: OpenScreen) -> None:
    """The form names what is wrong, and a good token opens the wall."""
    closed = screen()
    closed.page.goto(f"{closed.service.url}/display")
    closed.page.locator("#pass").wait_for()
    closed.page.fill("[name=token]", closed.service.key)
    closed.press("Enter")
    assert "service key" in closed.page.inner_text("#pass-error")
    closed.page.fill("[name=token]", mint(closed.service, closed.user))
    closed.press("Enter")
    closed.wait_for(closed.draws, "a first picture")


def test_a_token_that_ends_is_said_and_a_new_one_goes_on(screen: OpenScreen, displayed: Service) -> None:
    """After the pass has ended the wall draws what it has claimed, then asks for a new one."""
    shown = screen(seconds=0.4)
    shown.open(token=mint(displayed, shown.user, seconds=3))
    shown.wait_for(lambda: shown.page.locator("#pass").is_visible(), "the form")
    assert "The pass has ended." in shown.page.inner_text("#pass-why")
    shown.page.fill("[name=token]", mint(displayed, shown.user))
    before = len(journals(shown.page))
    shown.press("Enter")
    shown.wait_for(lambda: len(journals(shown.page)) > before, "pictures again")


def test_a_forged_token_is_not_called_one_that_has_ended(screen: OpenScreen, displayed: Service) -> None:
    """Who mistyped it must not look for a longer one."""
    shown = screen()
    shown.open(token=f"{mint(displayed, shown.user)}x", wait=False)
    shown.wait_for(lambda: shown.page.locator("#pass").is_visible(), "the form")
    assert "The pass is not valid here." in shown.page.inner_text("#pass-why")


def test_it_respects_a_wish_for_less_motion_and_names_the_picture(screen: OpenScreen) -> None:
    """Reduced motion means no morph; the canvas has words for those who cannot see it; the state is a live region."""
    shown = screen(seconds=60, morph=20).open()
    shown.press("s")
    shown.wait_for_draws(2)
    shown.pause(0.2)
    assert "at-rest" in (shown.page.get_attribute("#still", "class") or "")
    assert (shown.page.get_attribute("#still", "aria-label") or "").startswith("Artwork: A quiet study")
    assert shown.page.get_attribute("#state", "aria-live") == "polite"


def test_paintings_of_artworks_without_dna_differ(screen: OpenScreen) -> None:
    """A hash of the id stands in, so that no two look the same."""
    shown = screen(seconds=60).open()
    module = f"{shown.service.url}/display/genome.js"
    different = """async (module) => {
        const { genomeOf } = await import(module);
        const seen = ["a", "b"].map((id) => genomeOf({ artwork_id: id, styles: ["cubism"], dna_vector: null }));
        const stub = genomeOf({ artwork_id: "a", styles: ["cubism"], dna_vector: Array(50).fill(0.5) });
        const same = (one, other) => JSON.stringify([...one.dna]) === JSON.stringify([...other.dna]);
        return [same(seen[0], seen[1]), same(seen[0], stub)];
    }"""
    assert shown.page.evaluate(different, module) == [False, True]


def _sessions(host: Host, user: str) -> dict[str, list[str]]:
    """What each session of a user holds, in order of offering, by session id."""
    rows = host.connection.execute(
        "SELECT s.session_id, ARRAY(SELECT k.artwork_id FROM unnest(s.held) WITH ORDINALITY AS h (artwork_key, place)"
        " JOIN vernissage.artwork_keys AS k USING (artwork_key) ORDER BY h.place)"
        " FROM vernissage.sessions AS s WHERE user_id = %s",
        (user,),
    )
    return dict(rows.fetchall())


def _kinds(host: Host, user: str, artwork_id: str) -> set[str]:
    """The kinds of events logged of a user and an artwork."""
    rows = host.connection.execute(
        "SELECT e.kind FROM vernissage.events AS e JOIN vernissage.artwork_keys AS k USING (artwork_key)"
        " WHERE e.user_id = %s AND k.artwork_id = %s",
        (user, artwork_id),
    )
    return {row[0] for row in rows.fetchall()}
