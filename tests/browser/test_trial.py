"""What is tried on a person, on the display page in a real Chromium: it goes by the arm's values, and says when."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from serving.experiments.assignment import arm_of, held_out
from serving.experiments.definitions import Definition, make_definition
from tests.browser.screens import Screen
from tests.experiments import definition, give_past
from tests.host import Host
from tests.service import Service

OpenScreen = Callable[..., Screen]
ARMS = [{"name": "slow", "policy": {"flush_delay_s": 5}}, {"name": "quick", "policy": {"flush_delay_s": 1}}]
#: Notes how long the page's timers wait.
WAITS = """
const real = window.setTimeout;
window.waits = [];
window.setTimeout = (work, ms, ...rest) => { window.waits.push(ms); return real(work, ms, ...rest); };
"""
SENT = """async ([module, batch]) => {
    const { Outbox } = await import(module);
    const sent = [];
    const wire = { send: async (method, path, body) => sent.push(body.events.length) };
    const tried = { use: (name, usual) => (name === "batch" ? batch ?? usual : usual), value: (name, usual) => usual };
    const shelf = { read: () => null, write: () => {} };
    const outbox = new Outbox({ wire, user: "ada", session: "tab", before: null, shelf, tried, changed: () => {} });
    outbox.events = Array.from({ length: 250 }, (_, i) => ({ event_id: `e-${i}` }));
    await outbox.flush();
    return sent;
}"""
LONGEST = """async ([module, isFlat]) => {
    const { Pump } = await import(module);
    const pump = new Pump(async () => {}, { base: 1000, isFlat: () => isFlat });
    const longest = (failures) => {
        pump.failures = failures;
        return Math.max(...Array.from({ length: 2000 }, () => pump.delay()));
    };
    return [1, 2, 8].map(longest);
}"""


@pytest.fixture
def trial(displayed: Service, host: Host) -> Iterator[Definition]:
    """Two delays of flushing, tried on everybody."""
    give_past(host.connection)
    post = displayed.client.post
    whole = definition("flushing", arms=ARMS, smallest_effect=0.5)
    post("/v1/experiments", json=whole).raise_for_status()
    post("/v1/experiments/flushing/start", json={}).raise_for_status()
    yield make_definition(whole)
    post("/v1/experiments/flushing/stop", json={"reason": "the test is over"}).raise_for_status()


def test_each_arm_flushes_after_its_own_delay_and_is_exposed_by_its_first_event(
    screen: OpenScreen, trial: Definition, host: Host
) -> None:
    """The timer that the page sets when something is to be told; opening the page exposes nobody."""
    for arm, seconds in (("slow", 5), ("quick", 1)):
        shown = screen(seconds=3_600)
        shown.user = next(user for n in range(99) if _is_in(trial, user := f"{arm}-{n}", arm))
        host.add_user(shown.user, email=f"{shown.user}@example.org")
        shown.page.add_init_script(WAITS)
        shown.open()
        shown.press("d")
        tried = f"flush_delay_s {seconds}"
        shown.wait_for(lambda shown=shown, tried=tried: tried in shown.page.inner_text("#panel"), tried)
        assert _exposures(host, shown.user) == []
        shown.page.evaluate("waits.length = 0")
        shown.press("l")
        waits = shown.page.evaluate("waits")
        assert [wait for wait in waits if wait in {1_000, 5_000}] == [seconds * 1_000]
        shown.wait_for(lambda shown=shown: ("POST", "/v1/impressions") in shown.sent, "the flush")
        shown.wait_for(lambda shown=shown: _exposures(host, shown.user), "the exposure")
        assert _exposures(host, shown.user) == [("flushing", 1, arm, False)]
        shown.page.close()


def test_a_flush_sends_as_many_events_at_once_as_is_tried(screen: OpenScreen) -> None:
    """And as ever where nothing is."""
    shown = screen(seconds=3_600).open()
    module = f"{shown.service.url}/display/outbox.js"
    assert shown.page.evaluate(SENT, [module, 100]) == [100, 100, 50]
    assert shown.page.evaluate(SENT, [module, None]) == [200, 50]


def test_waits_between_retries_double_or_stay_as_is_tried(screen: OpenScreen) -> None:
    """The longest of two thousand waits after one, two and eight failures, in milliseconds."""
    shown = screen(seconds=3_600).open()
    module = f"{shown.service.url}/display/wire.js"
    assert shown.page.evaluate(LONGEST, [module, False]) == pytest.approx([2_000, 4_000, 30_000], rel=0.05)
    assert shown.page.evaluate(LONGEST, [module, True]) == pytest.approx([4_000] * 3, rel=0.05)


def _is_in(trial: Definition, user: str, arm: str) -> bool:
    """Whether the hash has a user in an arm."""
    return not held_out(user, 0.05) and arm_of(trial, user).name == arm


def _exposures(host: Host, user: str) -> list[tuple[str, int, str, bool]]:
    """What the service knows of a user's exposures."""
    statement = "SELECT name, version, arm, overridden FROM vernissage.client_exposures WHERE user_id = %s"
    return host.connection.execute(statement, (user,)).fetchall()
