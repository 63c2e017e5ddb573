"""Several tabs of one user against a simple model: nothing seen and nothing held elsewhere is ever offered.

The model knows sets and nothing else: what is active, what the user has seen, what each tab holds. What hypothesis
draws does not depend on any of it, for the order of offering differs from run to run: places count modulo.
"""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from serving.impressions import MOST_PASSES
from tests.host import Host
from tests.service import Service

TABS = st.sampled_from(["", "one", "two"])
PLACE = st.integers(0, 59)
FIRST_POOL = 9


class Tabs(RuleBasedStateMachine):
    """The tabs of one user, and the host that changes the pool meanwhile."""

    service: Service
    host: Host

    def __init__(self) -> None:
        super().__init__()
        self.user = f"user-{uuid.uuid4()}"
        self.active: set[str] = set()
        self.archived: set[str] = set()
        self.seen: set[str] = set()
        self.past_us: set[str] = set()  # of those, what the host recorded since anybody asked for artworks
        self.held: dict[str, dict[str, int]] = {}  # by tab: artworks in order of offering, how often passed over
        self.retired: dict[str, set[str]] = {}

    @initialize()
    def begin(self) -> None:
        """A new user and a new pool."""
        self.active = set(self.host.fill(self.service, FIRST_POOL))
        self.host.add_user(self.user)

    @rule(tab=TABS, limit=st.integers(1, FIRST_POOL + 3))
    def ask(self, tab: str, limit: int) -> None:
        """A tab asks for artworks."""
        answer = self.service.next(self.user, tab, limit=limit)
        self.past_us.clear()
        offered = [item["artwork_id"] for item in answer["items"]]
        unseen = self.active - self.seen
        elsewhere = set().union(*(held for other, held in self.held.items() if other != tab))
        free = unseen - elsewhere - self.retired.get(tab, set())

        assert set(offered) <= free
        assert len(offered) == len(set(offered)) == min(limit, len(free))
        held = [artwork for artwork in self.held.get(tab, {}) if artwork in free]
        assert set(held) >= set(offered[: len(held)]), "what the tab holds comes first"
        assert answer["unseen_total"] == len(unseen)
        assert (answer["requested"], answer["returned"]) == (limit, len(offered))
        assert answer["returned"] + answer["shortfall"] == answer["requested"]
        assert answer["reason"] == self.reason(answer["shortfall"], elsewhere, self.retired.get(tab, set()))
        self.held[tab] = {
            artwork: passes for artwork, passes in self.held.get(tab, {}).items() if artwork not in self.seen
        }
        self.held[tab] |= {artwork: self.held[tab].get(artwork, 0) for artwork in offered}

    @rule(
        tab=TABS,
        own=st.lists(PLACE, max_size=4),
        stray=st.lists(PLACE, max_size=1),
        signal=st.sampled_from(["list", "displayed", "like", "dwell"]),
    )
    def show(self, tab: str, own: list[int], stray: list[int], signal: str) -> None:
        """A tab shows some of what it holds (or of what it does not), or sends another signal of it."""
        known = sorted(self.active | self.archived | self.seen)
        held = list(self.held.get(tab, {})) or known
        shown = [held[place % len(held)] for place in own] + [known[place % len(known)] for place in stray]
        if not shown or not any(self.held.values()):
            return
        new = set(shown) - self.seen
        if signal == "list":
            answer = self.service.display(self.user, shown, tab)
            assert new <= set(answer["new"]) <= new | self.past_us
            assert set(answer["known"]) == set(shown) - set(answer["new"])
        else:
            self.service.record(*(self.event(tab, artwork, signal) for artwork in shown))
        self.seen |= new
        self.past_us -= set(shown)
        self.let_go(set(shown))

    @rule(place=PLACE)
    def host_shows(self, place: int) -> None:
        """The host's own route records an impression past us."""
        if not self.active:
            return
        artwork = sorted(self.active)[place % len(self.active)]
        self.host.connection.execute(
            "INSERT INTO public.user_art_impressions (user_id, artwork_id) VALUES (%s, %s)"
            " ON CONFLICT (user_id, artwork_id) DO UPDATE SET viewed_at = now(), version = excluded.version + 1",
            (self.user, artwork),
        )
        self.past_us |= {artwork} - self.seen
        self.seen.add(artwork)

    @rule(place=PLACE)
    def archive(self, place: int) -> None:
        """The host takes an artwork out of the pool."""
        if not self.active:
            return
        artwork = sorted(self.active)[place % len(self.active)]
        self.host.set_status(artwork, "archived")
        self.active.remove(artwork)
        self.archived.add(artwork)
        self.host.wait(self.service)

    @rule(place=PLACE)
    def bring_back(self, place: int) -> None:
        """The host puts an artwork back into the pool."""
        if not self.archived:
            return
        artwork = sorted(self.archived)[place % len(self.archived)]
        self.host.set_status(artwork, "active")
        self.archived.remove(artwork)
        self.active.add(artwork)
        self.host.wait(self.service)

    @rule()
    def add(self) -> None:
        """A new artwork."""
        self.active.add(self.host.add_artwork())
        self.host.wait(self.service)

    @invariant()
    def leases_are_as_they_should_be(self) -> None:
        """What each tab holds and the user has not seen; no artwork is held by two tabs."""
        rows = self.host.connection.execute(
            "SELECT s.session_id, ARRAY(SELECT k.artwork_id FROM unnest(s.held) AS h (artwork_key)"
            "   JOIN vernissage.artwork_keys AS k USING (artwork_key))"
            " FROM vernissage.sessions AS s WHERE s.user_id = %s",
            (self.user,),
        )
        found = {tab: set(artworks) - self.seen for tab, artworks in rows}
        assert found == {tab: set(artworks) - self.seen for tab, artworks in self.held.items()}
        assert sum(map(len, found.values())) == len(set().union(*found.values()))

    def reason(self, shortfall: int, elsewhere: set[str], retired: set[str]) -> str | None:
        """What must be said of a shortfall."""
        unseen = self.active - self.seen
        if not shortfall:
            return None
        if (unseen - retired) & elsewhere:
            return "all_leased"
        return "filtered" if unseen & retired else "exhausted"

    def event(self, tab: str, artwork: str, kind: str) -> dict[str, Any]:
        """One event, whose id says what it is, so that some are sent twice."""
        row = {"event_id": f"{kind}-{artwork}", "user_id": self.user, "artwork_id": artwork, "kind": kind}
        return row | {"session_id": tab} | ({"value": 30.0} if kind == "dwell" else {})

    def let_go(self, shown: set[str]) -> None:
        """What is shown is held no more; what was to come before it has been passed over."""
        for holder, held in self.held.items():
            places = [place for place, artwork in enumerate(held) if artwork in shown]
            last = max(places, default=-1)
            passed = {
                artwork: passes + (place < last)
                for place, (artwork, passes) in enumerate(held.items())
                if artwork not in shown
            }
            self.held[holder] = {artwork: passes for artwork, passes in passed.items() if passes < MOST_PASSES}
            self.retired.setdefault(holder, set()).update(set(passed) - set(self.held[holder]))


def test_tabs_never_get_what_was_seen_or_is_held_elsewhere(service: Service, host: Host) -> None:
    """Requests, displays, signals, impressions of the host's and changes of the pool, in any order."""
    Tabs.service, Tabs.host = service, host
    run_state_machine_as_test(
        Tabs,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
