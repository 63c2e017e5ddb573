"""Clients of the service under fault: each keeps its own record of what it met, what it drew and what was acknowledged.

What they judge is only their own record, never the service's word for it: a draw is written down before it happens,
a display counts as acknowledged once its answer has arrived.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from features.database import connect
from tests.service import Service

LIMIT = 3
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 30.0
NO_ANSWER = 0


@dataclass(frozen=True)
class Met:
    """One request as its client met it."""

    route: str
    began: float
    ended: float
    status: int  # NO_ANSWER: the connection broke
    code: str | None  # of a problem
    sound: bool  # an answer, or a problem with a code and, where it passes by itself, a time to try again

    @property
    def seconds(self) -> float:
        """How long the client waited."""
        return self.ended - self.began

    @property
    def label(self) -> str:
        """Route, status and code in a few words."""
        status = str(self.status) if self.status else "broken connection"
        return " ".join(filter(None, (self.route, status, self.code)))


class Caller:
    """One client's connection; notes every request in ``met``."""

    def __init__(self, service: Service) -> None:
        headers = {"Authorization": f"Bearer {service.key}"}
        self._http = httpx.Client(base_url=service.url, headers=headers, timeout=PATIENCE_SECONDS)
        self.met: list[Met] = []

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def next(self, user_id: str, session_id: str, limit: int = LIMIT, **asked: Any) -> dict[str, Any] | None:
        """A list; None when there was none to be had."""
        parameters = {"session_id": session_id, "limit": limit} | asked
        return self._ask("next", "GET", f"/v1/users/{user_id}/next", params=parameters)

    def display(self, user_id: str, session_id: str, artwork_ids: list[str]) -> bool:
        """Report displays as a plain list; whether that was acknowledged."""
        body = {"user_id": user_id, "session_id": session_id, "artwork_ids": artwork_ids}
        return self._ask("impressions", "POST", "/v1/impressions", json=body) is not None

    def record(self, user_id: str, session_id: str, artwork_ids: list[str], kind: str = "displayed") -> bool:
        """Report events; whether that was acknowledged."""
        common = {"user_id": user_id, "session_id": session_id, "kind": kind}
        events = [{"event_id": f"{kind}-{each}", "artwork_id": each} | common for each in artwork_ids]
        return self._ask("impressions", "POST", "/v1/impressions", json={"events": events}) is not None

    def get(self, path: str) -> dict[str, Any] | None:
        """Any other route."""
        return self._ask(path, "GET", path)

    def _ask(self, route: str, method: str, path: str, **parts: Any) -> dict[str, Any] | None:
        """Send a request, note how it went, and return the body of a success."""
        began = time.monotonic()
        try:
            response = self._http.request(method, path, **parts)
        except httpx.TimeoutException:
            raise
        except httpx.TransportError:
            self.met.append(Met(route, began, time.monotonic(), NO_ANSWER, None, sound=True))
            return None
        self.met.append(_met(route, began, response))
        return response.json() if response.status_code == httpx.codes.OK else None


@dataclass
class Person:
    """One user's own record, shared by the user's tabs."""

    user_id: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawn: dict[str, str] = field(default_factory=dict)  # artwork id -> the tab that drew it
    drawn_twice: int = 0
    displayed: dict[str, float] = field(default_factory=dict)  # artwork id -> when the display was acknowledged
    lists: list[str] = field(default_factory=list)  # recommendation ids that arrived
    seen_offered: int = 0
    repeated_in_list: int = 0

    def receive(self, answer: dict[str, Any], asked_at: float) -> list[str]:
        """Check a list against the record; its artwork ids."""
        offered = [item["artwork_id"] for item in answer["items"]]
        with self.lock:
            self.lists.append(answer["recommendation_id"])
            self.seen_offered += sum(self.displayed.get(each, asked_at) < asked_at for each in offered)
            self.repeated_in_list += len(offered) - len(set(offered))
        return offered

    def draw(self, artwork_ids: list[str], tab: str) -> list[str]:
        """Draw what this tab has not drawn yet, noted before it happens; what another tab drew is a repeat."""
        with self.lock:
            fresh = [each for each in artwork_ids if self.drawn.get(each) != tab]
            self.drawn_twice += sum(each in self.drawn for each in fresh)
            self.drawn |= dict.fromkeys(fresh, tab)
        return fresh

    def acknowledge(self, artwork_ids: list[str]) -> None:
        """The service has answered that it has recorded these displays."""
        with self.lock:
            self.displayed |= dict.fromkeys(artwork_ids, time.monotonic())


class Tab(threading.Thread):
    """One tab of a user: asks, draws and reports again and again; what was not acknowledged is reported again."""

    def __init__(self, service: Service, person: Person, number: int, stopped: threading.Event) -> None:
        super().__init__(name=f"{person.user_id}-{number}", daemon=True)
        self.caller = Caller(service)
        self.error: Exception | None = None
        self._person = person
        self._number = number
        self._stopped = stopped
        self._pending: list[str] = []

    def run(self) -> None:
        """Until it is stopped; an error of the client itself is kept for the one who joins."""
        try:
            while not self._stopped.is_set():
                self._visit()
                self._stopped.wait(PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            self.error = error
        finally:
            self.caller.close()

    def _visit(self) -> None:
        """One list, its draws, and the report of everything drawn and not acknowledged yet."""
        asked_at = time.monotonic()
        answer = self.caller.next(self._person.user_id, self.name)
        if answer is not None:
            self._pending += self._person.draw(self._person.receive(answer, asked_at), self.name)
        report = self.caller.record if self._number % 2 else self.caller.display
        if self._pending and report(self._person.user_id, self.name, self._pending):
            self._person.acknowledge(self._pending)
            self._pending = []


class Audience:
    """Several users with several tabs each, all at it from entering to leaving."""

    def __init__(self, service: Service, name: str, *, users: int = 3, tabs: int = 2) -> None:
        self.people = [Person(f"{name}-{number}") for number in range(users)]
        self._stopped = threading.Event()
        self.tabs = [Tab(service, person, number, self._stopped) for person in self.people for number in range(tabs)]

    def __enter__(self) -> Self:
        for tab in self.tabs:
            tab.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        for tab in self.tabs:
            tab.join(2 * PATIENCE_SECONDS)
        broken = [tab.error for tab in self.tabs if tab.error]
        if broken and error is None:
            raise broken[0]

    @property
    def met(self) -> list[Met]:
        """Every request of every tab so far, by its end."""
        return sorted((met for tab in self.tabs for met in list(tab.caller.met)), key=lambda met: met.ended)

    def everybody_served(self, since: float) -> bool:
        """Whether each tab has had a list and an acknowledgement that it asked for after ``since``."""
        return all(_was_served(tab.caller.met, since) for tab in self.tabs)


@dataclass
class Report:
    """What the clients met in one case, and what the database says about what they were told."""

    answers: Counter[str]
    slowest: float  # seconds, of any request
    uncoded: int  # answers of status 500 and failures without a code (or, of status 503, without Retry-After)
    broken_connections: int
    seen_offered: int
    repeated_in_list: int
    drawn_twice: int
    acknowledged: int  # displays
    lost: int  # acknowledged displays without a seen mark or an event, acknowledged lists without a row
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """How many requests did not succeed."""
        return sum(count for label, count in self.answers.items() if " 200" not in label)


def report(met: Iterable[Met], people: Iterable[Person] = (), database_url: str = "", **facts: Any) -> Report:
    """Sum up what was met; with ``people``, look up in the database what they were told."""
    met, people = list(met), list(people)
    return Report(
        answers=Counter(each.label for each in met),
        slowest=max((each.seconds for each in met), default=0.0),
        uncoded=sum(not each.sound for each in met),
        broken_connections=sum(each.status == NO_ANSWER for each in met),
        seen_offered=sum(person.seen_offered for person in people),
        repeated_in_list=sum(person.repeated_in_list for person in people),
        drawn_twice=sum(person.drawn_twice for person in people),
        acknowledged=sum(len(person.displayed) for person in people),
        lost=sum(_lost(person, database_url) for person in people),
        facts=facts,
    )


def _met(route: str, began: float, response: httpx.Response) -> Met:
    """An answer as it was met."""
    ended, status = time.monotonic(), response.status_code
    if status == httpx.codes.OK:
        return Met(route, began, ended, status, None, sound=True)
    is_problem = response.headers.get("content-type") == "application/problem+json"
    code = response.json().get("code") if is_problem else None
    can_retry = status != httpx.codes.SERVICE_UNAVAILABLE or response.headers.get("retry-after", "").isdigit()
    sound = bool(code) and can_retry and status != httpx.codes.INTERNAL_SERVER_ERROR
    return Met(route, began, ended, status, code, sound)


def _was_served(met: Iterable[Met], since: float) -> bool:
    """Whether both routes have succeeded since then."""
    return {each.route for each in list(met) if each.began > since and each.status == httpx.codes.OK} >= {
        "next",
        "impressions",
    }


def _lost(person: Person, database_url: str) -> int:
    """Acknowledged displays and lists that the database does not hold."""
    with connect(database_url, autocommit=True) as connection:
        seen = {row[0] for row in connection.execute(SEEN, (person.user_id,))}
        logged = {row[0] for row in connection.execute(DISPLAYED, (person.user_id,))}
        lists = {str(row[0]) for row in connection.execute(LISTS, (person.user_id,))}
    return len(person.displayed.keys() - (seen & logged)) + len(set(person.lists) - lists)


SEEN = """
SELECT k.artwork_id FROM vernissage.seen JOIN vernissage.artwork_keys AS k USING (artwork_key) WHERE user_id = %s
"""
DISPLAYED = """
SELECT k.artwork_id FROM vernissage.events JOIN vernissage.artwork_keys AS k USING (artwork_key)
WHERE user_id = %s AND kind = 'displayed'
"""
LISTS = "SELECT recommendation_id FROM vernissage.served_lists WHERE user_id = %s"
