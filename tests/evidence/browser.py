"""The display page in real browsers: many tabs, dead tabs, bad networks; nothing repeated and nothing lost.

python tests/evidence/browser.py [--pictures FOLDER]

Every figure compares what the pages noted before each draw with what the service logged. `repeated` counts draws of an
artwork that the user had been shown, `unclaimed` draws that the service knows nothing of, `lost` artworks that were
drawn and left again without their dwell ever arriving, `wasted` artworks that were claimed and never drawn.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from playwright.sync_api import Browser, BrowserContext, Route
from rich.console import Console

from features.database import connect
from tests.browser.firefox import firefox
from tests.browser.screens import (
    HOW_TO_INSTALL,
    Screen,
    chromium,
    find_browser,
    fresh_context,
    journals,
    judge,
    mint,
    storage_of,
)
from tests.service import Service
from tests.stage import conclude, stage
from training.synth import make_world
from training.synth_recipe import Recipe
from training.synth_store import write_world

FRAMES = 50
SWITCH_SECONDS, SWITCH_EVERY = 30.0, 0.2
OFFLINE_SECONDS = 30.0
SLOW_3G = {"latency_ms": 400, "kbps": 400}
PHONE = {"viewport": {"width": 412, "height": 839}, "device_scale_factor": 2.625, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "no-preference"}
ENVIRONMENT = {"VERNISSAGE_RANK_DEADLINE_MS": "5000"}  # the browsers take the processors; the ranking may take longer
console = Console()

Figures = dict[str, Any]


@dataclass
class Theatre:
    """What the scenes share."""

    service: Service
    browser: Browser
    connection: psycopg.Connection
    pictures: Path
    users: int = 0
    complaints: list[str] = field(default_factory=list)

    def user(self) -> str:
        """A new user of the host."""
        self.users += 1
        user = f"viewer-{self.users}"
        row = (user, f"{user}@example.org")
        self.connection.execute("INSERT INTO public.users (id, email) VALUES (%s, %s)", row)
        return user

    def screens(self, count: int, context: BrowserContext | None = None, **options: Any) -> list[Screen]:
        """Screens of one new user in one context, not opened yet."""
        context, user = context or fresh_context(self.browser), self.user()
        return [Screen(context, self.service, user, **options) for _ in range(count)]

    def verdict(self, screens: list[Screen], cut: Iterable[dict[str, Any]] = ()) -> Figures:
        """Leave the screens, let one more tab send what they left behind, and compare.

        ``cut``: draws whose tabs were killed under them; how long those were looked at nobody can tell.
        """
        for screen in screens:
            if not screen.page.is_closed():
                screen.leave()
        first = screens[0]
        sweeper = Screen(first.context, self.service, first.user, seconds=600).open()
        draws = journals(sweeper.page)
        left = {draw["artwork_id"] for draw in draws} - {draw["artwork_id"] for draw in [*sweeper.draws(), *cut]}
        sweeper.pause(1.5)
        dwelt = self._artworks(first.user, "dwell")
        if left - dwelt:
            sweeper.pause(6)
            dwelt = self._artworks(first.user, "dwell")
        found = judge(self.connection, first.user, draws, live=sweeper.draws()[0]["session_id"])
        foreign = sum(len(screen.foreign) for screen in [*screens, sweeper])
        sweeper.page.close()
        return asdict(found) | {"events": dict(found.events), "lost": len(left - dwelt), "foreign": foreign}

    def _artworks(self, user: str, kind: str) -> set[str]:
        """The artworks that the service has logged an event of a kind for."""
        rows = self.connection.execute(
            "SELECT k.artwork_id FROM vernissage.events AS e JOIN vernissage.artwork_keys AS k USING (artwork_key)"
            " WHERE e.user_id = %s AND e.kind = %s",
            (user, kind),
        ).fetchall()
        return {row[0] for row in rows}


def two_tabs(theatre: Theatre) -> Figures:
    """Two tabs of one user, 50 frames each."""
    pair = theatre.screens(2, seconds=0.2)
    for screen in pair:
        screen.open()
    for screen in pair:
        screen.wait_for_draws(FRAMES)
        screen.press("l")
        screen.press(" ")
    return theatre.verdict(pair)


def reload(theatre: Theatre) -> Figures:
    """A tab reloaded five times: its leases and claims go along."""
    (screen,) = theatre.screens(1, seconds=0.4)
    screen.open()
    held, kept = 0, 0
    for _ in range(5):
        screen.wait_for_draws(4)
        screen.press(" ")
        screen.pause(0.3)
        before = _held(theatre, screen.user)
        screen.page.reload()
        screen.wait_for(screen.draws, "a picture after the reload")
        screen.press(" ")
        screen.pause(0.5)
        held, kept = (
            held + len(before),
            kept + len(before & (_held(theatre, screen.user) | _shown(theatre, screen.user))),
        )
        screen.press(" ")
    return theatre.verdict([screen]) | {"leases_before": held, "leases_passed_on": kept}


def five_at_once(theatre: Theatre) -> Figures:
    """Five tabs opened within a second."""
    screens = theatre.screens(5, seconds=0.5)
    token = mint(theatre.service, screens[0].user)
    started = time.monotonic()
    for screen in screens:
        screen.open(token=token, wait=False)
    took = time.monotonic() - started
    for screen in screens:
        screen.wait_for_draws(8)
    return theatre.verdict(screens) | {"opened_within_seconds": round(took, 2)}


def switching(theatre: Theatre) -> Figures:
    """Three tabs, one of them in front, changed every 200 ms for 30 s."""
    screens = theatre.screens(3, theatre.browser.contexts[0], seconds=10)
    for screen in screens:
        screen.page.bring_to_front()
        screen.open()
    for screen in screens:
        screen.sent.clear()
    end, switches, hidden = time.monotonic() + SWITCH_SECONDS, 0, 0
    while time.monotonic() < end:
        screens[switches % 3].page.bring_to_front()
        switches += 1
        screens[0].pause(SWITCH_EVERY)
        hidden += screens[switches % 3].page.evaluate("document.hidden")
    sent = [path for screen in screens for _, path in screen.sent]
    flushes = sent.count("/v1/impressions")
    screens[0].page.bring_to_front()
    figures = {"switches": switches, "seen_hidden": hidden, "flushes": flushes, "requests": len(sent)}
    return theatre.verdict(screens) | figures


def killed(theatre: Theatre) -> Figures:
    """Ten tabs killed, and restored with a copy of their storage from before: old session ids and all."""
    screens = theatre.screens(10, seconds=1.0)
    for screen in screens:
        screen.open(wait=False)
    for screen in screens:
        screen.wait_for_draws(3)
    copies = [storage_of(screen.page) for screen in screens]
    screens[0].pause(2)
    for screen in screens:
        screen.crash()
    cut = _last_draws(screens[0])
    held = _held(theatre, screens[0].user)
    restored = [Screen(screens[0].context, theatre.service, screens[0].user, seconds=1.0) for _ in screens]
    for screen, copy in zip(restored, copies, strict=True):
        screen.page.add_init_script(copy)
        screen.open(wait=False)
    for screen in restored:
        screen.wait_for_draws(3)
    took_over = "SELECT count(*) FROM vernissage.sessions WHERE user_id = %s AND held = '{}'"
    row = theatre.connection.execute(took_over, (screens[0].user,)).fetchone()
    passed_on = held & (_held(theatre, screens[0].user) | _shown(theatre, screens[0].user))
    for screen in screens:
        screen.page.close()
    figures = {
        "killed": len(screens),
        "taken_over": row[0] if row else 0,
        "leases_before": len(held),
        "leases_passed_on": len(passed_on),
    }
    return theatre.verdict(restored, cut) | figures


def networks(theatre: Theatre) -> Figures:
    """Slow, far, lossy and absent networks, side by side; and slow without prefetching, for comparison."""
    (slow,), (far,), (lossy,), (away,) = (theatre.screens(1, seconds=seconds) for seconds in (2.5, 4.0, 1.0, 3.0))
    (bare,) = theatre.screens(1, seconds=2.5, depth=1, ahead=0)
    slow.slow(**SLOW_3G)
    bare.slow(**SLOW_3G)
    far.slow(latency_ms=2_000)
    lost = _lose_half(lossy)
    away.open()
    for screen in (slow, bare, far, lossy):
        screen.open(wait=False)
    away.wait_for_draws(6)
    told = _go_offline(away)
    for screen in (slow, bare, far, lossy, away):
        screen.wait_for_draws(9, 90)
        screen.press("l")
    ticks = {"with": _waits(slow), "without": _waits(bare)}
    first = {screen: _first_picture(screen) for screen in (slow, far)}
    typical = {screen: _request_ms(screen) for screen in (slow, far)}
    lossy.page.unroute("**/v1/**")
    return {
        "slow_3g": theatre.verdict([slow]) | {"request_ms": typical[slow], "first_picture_ms": first[slow]},
        "slow_3g_tick_to_picture_ms": ticks,
        "latency_2000": theatre.verdict([far]) | {"request_ms": typical[far], "first_picture_ms": first[far]},
        "half_lost": theatre.verdict([lossy]) | dict(lost),
        "offline_30": theatre.verdict([away]) | told,
        "without_prefetch": theatre.verdict([bare]),
    }


def leaving(theatre: Theatre) -> Figures:
    """What is sent on the way out, when a page is left and when its tab is closed: no other tab is there to help."""
    found = {}
    for name, go in (("left", Screen.leave), ("closed", lambda screen: screen.page.close(run_before_unload=True))):
        (screen,) = theatre.screens(1, seconds=60)
        screen.open()
        screen.press("l")
        screen.pause(0.2)
        go(screen)
        other = screen.context.new_page()
        query = "SELECT count(DISTINCT kind) FROM vernissage.events WHERE user_id = %s AND kind IN ('like', 'dwell')"
        arrived, end = 0, time.monotonic() + 5
        while arrived < 2 and time.monotonic() < end:
            other.wait_for_timeout(50)
            row = theatre.connection.execute(query, (screen.user,)).fetchone()
            arrived = row[0] if row else 0
        found[f"{name}_events_of_2"] = arrived
    return found


def phone(theatre: Theatre) -> Figures:
    """A phone: taps, no sideways scrolling, and pictures of it to look at."""
    (screen,) = theatre.screens(1, fresh_context(theatre.browser, **PHONE), seconds=600)
    screen.open()
    screen.pause(0.8)
    for number in range(3):
        screen.page.tap("[data-act=like]")
        _picture(theatre, screen, f"phone-{number}")
        screen.page.tap("[data-act=skip]")
        screen.wait_for_draws(number + 2)
        screen.pause(0.8)
    wide = screen.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return theatre.verdict([screen]) | {"scrolls_sideways": bool(wide)}


def desktop(theatre: Theatre) -> Figures:
    """A desktop with motion: pictures at rest, in the middle of a morph, and of every card."""
    (screen,) = theatre.screens(1, fresh_context(theatre.browser, **DESKTOP), seconds=600, morph=3)
    screen.page.goto(f"{theatre.service.url}/display")
    screen.pause(0.6)
    _picture(theatre, screen, "desktop-form")
    screen.open()
    screen.pause(4.5)
    for number in range(5):
        screen.press("s")
        screen.wait_for_draws(number + 2)
        screen.pause(1.6)
        if number == 0:
            _picture(theatre, screen, "desktop-morph")
        screen.pause(3)
        _picture(theatre, screen, f"desktop-{number}")
    for key, name in (("d", "panel"), ("?", "help"), ("h", "history")):
        screen.press(key)
        screen.pause(1)
        _picture(theatre, screen, f"desktop-{name}")
        screen.press("d" if key == "d" else "Escape")
    return theatre.verdict([screen]) | {"complaints": len(screen.complaints)}


def in_firefox(theatre: Theatre) -> Figures:
    """Two windows in Firefox, where there is one."""
    user = theatre.user()
    with firefox() as fox:
        if fox is None:
            return {"state": "absent"}
        windows = [fox.open(theatre.service, user, seconds=0.4) for _ in range(2)]
        for window in windows:
            fox.wait_for_draws(window, 15)
        windows.append(fox.open(theatre.service, user, seconds=60))
        fox.wait_for_draws(windows[-1], 1)
        time.sleep(2)  # until its words have arrived
        fox.picture(windows[-1], theatre.pictures / "firefox.png")
        found = judge(theatre.connection, user, fox.journals(windows, theatre.service))
        return asdict(found) | {"events": dict(found.events), "version": fox.version}


SCENES: tuple[Callable[[Theatre], Figures], ...] = (
    two_tabs, reload, five_at_once, switching, killed, networks, leaving, phone, desktop, in_firefox,
)  # fmt: skip


def main() -> None:
    """Play every scene and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder for the screenshots; default: a new temporary one")
    parser.add_argument("--only", help="play one scene")
    given = parser.parse_args()
    if find_browser() is None:
        console.print(HOW_TO_INSTALL)
        conclude("browser", {}, met=False)
        return
    pictures = given.pictures or Path(tempfile.mkdtemp(prefix="display-"))
    pictures.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    with stage() as settings, connect(settings.database_url, autocommit=True) as connection:
        write_world(connection, make_world(Recipe(users=50, artworks=2_000, days=20, until=datetime.now(UTC))))
        service = Service(settings.database_url, settings.home_path, workers=2, environment=ENVIRONMENT)
        with service, chromium() as browser:
            theatre = Theatre(service, browser, connection, pictures)
            for scene in SCENES:
                if given.only in (None, scene.__name__):
                    started = time.monotonic()
                    figures[scene.__name__] = scene(theatre)
                    console.print(f"{scene.__name__} ({time.monotonic() - started:.0f} s)", figures[scene.__name__])
    console.print(f"pictures: {pictures}")
    conclude("browser", figures, met=_is_met(figures))


def _is_met(figures: Figures) -> bool:
    """Nothing repeated, drawn unclaimed, lost or asked of strangers anywhere, and what each scene is about."""
    every = [part for scene in figures.values() for part in (scene, *scene.values()) if isinstance(part, dict)]
    clean = all(
        part.get(name, 0) == 0 for part in every for name in ("repeated", "unclaimed", "lost", "foreign", "complaints")
    )
    rules = {
        "two_tabs": lambda found: found["draws"] >= 2 * FRAMES,
        "reload": lambda found: found["leases_passed_on"] == found["leases_before"] > 0,
        "five_at_once": lambda found: found["opened_within_seconds"] <= 1,
        "switching": lambda found: found["flushes"] < found["switches"] / 10 and found["seen_hidden"] > 0,
        "killed": lambda found: found["taken_over"] == found["killed"],
        "networks": lambda found: found["offline_30"]["said_so"],
        "leaving": lambda found: set(found.values()) == {2},
        "phone": lambda found: not found["scrolls_sideways"],
    }
    return clean and all(rule(figures[name]) for name, rule in rules.items() if name in figures)


def _held(theatre: Theatre, user: str) -> set[str]:
    """What all sessions of a user hold."""
    rows = theatre.connection.execute(
        "SELECT DISTINCT k.artwork_id FROM vernissage.sessions AS s, unnest(s.held) AS h (artwork_key)"
        " JOIN vernissage.artwork_keys AS k USING (artwork_key) WHERE s.user_id = %s AND s.expires_at > now()",
        (user,),
    ).fetchall()
    return {row[0] for row in rows}


def _shown(theatre: Theatre, user: str) -> set[str]:
    """What a user was shown."""
    rows = theatre.connection.execute(
        "SELECT k.artwork_id FROM vernissage.seen AS v JOIN vernissage.artwork_keys AS k USING (artwork_key)"
        " WHERE v.user_id = %s",
        (user,),
    ).fetchall()
    return {row[0] for row in rows}


def _last_draws(dead: Screen) -> list[dict[str, Any]]:
    """The last draw of each session that the storage of a dead tab's context tells of."""
    page = dead.context.new_page()
    page.goto(f"{dead.service.url}/display/icon.svg")  # of the same origin, and no display
    last = {draw["session_id"]: draw for draw in journals(page)}
    page.close()
    return list(last.values())


def _lose_half(screen: Screen) -> dict[str, int]:
    """Lose half of the page's requests: some before they arrive, some answers on their way back."""
    rng, lost = random.Random(7), {"requests": 0, "requests_lost": 0, "answers_lost": 0}  # noqa: S311 - a drill's dice

    def fate(route: Route) -> None:
        lost["requests"] += 1
        chance = rng.random()
        if chance < 0.25:
            lost["requests_lost"] += 1
            route.abort("connectionreset")
        elif chance < 0.5:
            lost["answers_lost"] += 1
            route.fetch()
            route.abort("connectionreset")
        else:
            route.continue_()

    screen.page.route("**/v1/**", fate)
    return lost


def _go_offline(screen: Screen) -> Figures:
    """Half a minute without any network; what the page drew meanwhile, and whether it said that it was waiting."""
    before = len(screen.draws())
    screen.context.set_offline(offline=True)
    end, said = time.monotonic() + OFFLINE_SECONDS, False
    while time.monotonic() < end:
        screen.pause(0.5)
        said = said or "Holding this one" in screen.state()
    drawn = len(screen.draws()) - before
    screen.context.set_offline(offline=False)
    back = time.monotonic()
    screen.wait_for_draws(before + drawn + 1)
    return {"drawn_offline": drawn, "said_so": said, "seconds_to_next": round(time.monotonic() - back, 1)}


def _waits(screen: Screen) -> Figures:
    """Milliseconds from the moment a picture was due to its draw; the first one of the page left out."""
    found = [_ms(draw["at"]) - _ms(draw["due_at"]) for draw in screen.draws()[1:]]
    return {"median": round(median(found)), "most": round(max(found)), "frames": len(found)}


def _first_picture(screen: Screen) -> int:
    """Milliseconds from the start of the navigation to the first draw."""
    start = screen.page.evaluate("performance.timeOrigin")
    return round(_ms(screen.draws()[0]["at"]) - start)


def _request_ms(screen: Screen) -> int:
    """What a request takes on this page's network: that the network was as bad as it was meant to be."""
    spans = """performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/v1/"))
        .map((entry) => entry.duration)"""
    return round(median(screen.page.evaluate(spans)))


def _ms(moment: str) -> float:
    """An ISO time as milliseconds since 1970."""
    return datetime.fromisoformat(moment).timestamp() * 1000


def _picture(theatre: Theatre, screen: Screen, name: str) -> None:
    """Keep what the screen shows, to be looked at."""
    screen.page.screenshot(path=theatre.pictures / f"{name}.png")


if __name__ == "__main__":
    main()
