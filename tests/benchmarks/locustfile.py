"""The host's display for those who have Locust: `locust -f tests/benchmarks/locustfile.py --host http://127.0.0.1:3000`.

A closed loop: a display sends its next request when it has had the answer to the last, so a slow service is asked
less, and what would have waited in a queue is never measured. It is good for looking, and for a host's own plans; the
judge is `vernissage load`, whose arrivals do not wait. Locust is no dependency of the project.

LOAD_KEY is an API key with the scope frontend, LOAD_PEOPLE a file of user ids that the host knows, one a line; a
display takes the next of them. SECONDS_PER_ARTWORK is how long it shows each (60).
"""

from __future__ import annotations

import itertools
import os
import uuid
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant_pacing, task

DEBOUNCE = 2.0  # seconds that the client gathers loaded ids, after the first
CHUNK = 200
FIRST, LISTED = 3, 20
MOST_FRAMES = 20
LEAST_FRAMES = 3  # with fewer ahead it asks again

_people = itertools.cycle(Path(os.environ["LOAD_PEOPLE"]).read_text("utf-8").split())


class Display(FastHttpUser):  # type: ignore[misc] # untyped for us
    """One page of the host's client: list, frames loaded and told of, one frame drawn after the other."""

    wait_time = constant_pacing(float(os.environ.get("SECONDS_PER_ARTWORK", "60")))

    def on_start(self) -> None:
        """A page is opened: a quick list first, then a whole one."""
        self.session = str(uuid.uuid4())
        self.headers = {"X-Vernissage-User": next(_people), "Authorization": f"Bearer {os.environ['LOAD_KEY']}"}
        self.known: set[str] = set()
        self.frames: list[str] = []
        self.queue: list[str] = []  # loaded, and not told of yet
        self._load(self._get("/api/artworks/next/async", FIRST))
        self._load(self._get("/api/artworks/next", LISTED))
        self._flush(self.queue[:1])
        gevent.sleep(DEBOUNCE)
        self._record()

    @task
    def draw(self) -> None:
        """Draw the next frame, and say so; ask for more when few are left."""
        if self.frames:
            artwork = self.frames.pop(0)
            body = {"artworkIds": [artwork], "source": "fresh", "sessionId": self.session}
            self.client.post("/api/impressions/rendered", json=body, headers=self.headers)
        if len(self.frames) < LEAST_FRAMES:
            self._load(self._get("/api/artworks/next", LISTED))
        self._record()

    def on_stop(self) -> None:
        """The page goes: one beacon with all that is queued."""
        if self.queue:
            self._flush(self.queue[:])

    def _get(self, path: str, limit: int) -> list[dict[str, Any]]:
        """Ask for a list; nothing where it was refused, which Locust counts."""
        asked = f"{path}?sessionId={self.session}&limit={limit}"
        with self.client.get(asked, name=path, headers=self.headers, catch_response=True) as answer:
            if not answer.ok:
                return []
            artworks: list[dict[str, Any]] = answer.json().get("artworks", [])
            return artworks

    def _load(self, artworks: list[dict[str, Any]]) -> None:
        """Take frames that are new to this page; being loaded is told of, not only being drawn."""
        for artwork in artworks:
            if artwork["id"] not in self.known and len(self.frames) < MOST_FRAMES:
                self.known.add(artwork["id"])
                self.frames.append(artwork["id"])
                self.queue.append(artwork["id"])

    def _record(self) -> None:
        """Tell of what is queued; after each success the client asks for the list again, until nothing is new."""
        while self.queue and self._flush(self.queue[:CHUNK]):
            self._load(self._get("/api/artworks/next", LISTED))

    def _flush(self, ids: list[str]) -> bool:
        """Tell of these; what fails stays in the queue."""
        body = {"artworkIds": ids, "sessionId": self.session}
        with self.client.post(
            "/api/artworks/batch-impressions", json=body, headers=self.headers, catch_response=True
        ) as answer:
            if answer.ok:
                self.queue = [each for each in self.queue if each not in set(ids)]
            return bool(answer.ok)
