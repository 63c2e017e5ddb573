"""The circuit breaker of a provider, as pure arithmetic: closed, open, half-open. `breakers` keeps it.

It opens after so many failures in a row, or when so large a share of the last calls failed; stays open for a time; then
lets a share of the calls through as probes, the first one at once, and closes after so many of them went well. One
probe that fails opens it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from features.settings import Settings


class Phase(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True)
class Rules:
    """When it opens and closes."""

    failures: int  # in a row
    window: int  # calls
    least: int  # calls before a share counts
    share: float  # of failures
    open_seconds: float
    every: int  # one call in so many is a probe
    successes: int  # of probes


@dataclass(frozen=True)
class Breaker:
    """How a provider has been doing."""

    phase: Phase = Phase.CLOSED
    since: float = 0.0  # seconds since 1970, when the phase began
    outcomes: tuple[bool, ...] = ()  # of the last calls while closed, the latest last; True went well
    asked: int = 0  # calls that wanted to go through while half-open
    successes: int = 0  # of probes

    def allow(self, rules: Rules, now: float) -> tuple[Breaker, bool]:
        """Whether a call may go through, and the breaker that has heard of it."""
        if self.phase == Phase.CLOSED:
            return self, True
        waited = self.phase == Phase.OPEN and now - self.since >= rules.open_seconds
        if self.phase == Phase.OPEN and not waited:
            return self, False
        half_open = Breaker(Phase.HALF_OPEN, now) if waited else self
        return replace(half_open, asked=half_open.asked + 1), half_open.asked % rules.every == 0

    def record(self, rules: Rules, now: float, *, ok: bool) -> Breaker:
        """The breaker after a call has ended. What ends while it is open began earlier, and says nothing new."""
        if self.phase == Phase.OPEN:
            return self
        if self.phase == Phase.HALF_OPEN:
            return self._after_probe(rules, now, ok=ok)
        outcomes = (*self.outcomes, ok)[-rules.window :]
        if _must_open(outcomes, rules):
            return Breaker(Phase.OPEN, now)
        return replace(self, outcomes=outcomes)

    def _after_probe(self, rules: Rules, now: float, *, ok: bool) -> Breaker:
        """Open again, closed, or one step nearer to it."""
        if not ok:
            return Breaker(Phase.OPEN, now)
        if self.successes + 1 >= rules.successes:
            return Breaker(Phase.CLOSED, now)
        return replace(self, successes=self.successes + 1)


def rules_of(settings: Settings) -> Rules:
    """The rules that the settings tell."""
    return Rules(
        failures=settings.breaker_failures,
        window=settings.breaker_window,
        least=settings.breaker_least,
        share=settings.breaker_share,
        open_seconds=settings.breaker_open_seconds,
        every=max(round(1 / settings.breaker_probe_share), 1),
        successes=settings.breaker_successes,
    )


def _must_open(outcomes: tuple[bool, ...], rules: Rules) -> bool:
    """Whether the last calls are too bad."""
    in_a_row = len(outcomes) >= rules.failures and not any(outcomes[-rules.failures :])
    share = len(outcomes) >= rules.least and outcomes.count(False) >= rules.share * len(outcomes)
    return in_a_row or share
