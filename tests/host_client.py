"""The host's unmodified browser client, imitated: its impression recorder, frame loader, frame validator and display.

    clock = Clock(speed=30)
    client = HostClient(http, "ada", clock)
    client.open()
    clock.run(until=180)       # three of its minutes, in six of our seconds
    client.drawn               # what it put on its screen, noted before each draw

It knows nothing of leases and claims. Times are the client's own seconds; requests are made at once, and what depends
on their answers happens after the latency that the client would have seen.
"""

from __future__ import annotations

import heapq
import itertools
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx

USER_HEADER = "X-Vernissage-User"
LATENCY = 0.1
IMAGE_SECONDS = 0.1  # to load an image; many load at once
IMAGE_STEP = 0.01  # by which each is behind the one before

# The recorder
DEBOUNCE = 2.0
CHUNK = 200
RETRY = 5.0
HIDDEN_DELAY = 0.1
MOST_BEACON_BYTES = 64 * 1024

# Loader, validator and display
WANTED = 3
POLLS = (0.0, 2.0, 6.0, 14.0)
PATIENCE = 20.0
REFETCHED = 20
MOST_FRAMES = 20
REJECTIONS = 2


class Clock:
    """The client's time, which goes ``speed`` times as fast as ours."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._started = time.monotonic()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def now(self) -> float:
        """Seconds since it was started."""
        return (time.monotonic() - self._started) * self.speed

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._due, (self.now + seconds, next(self._order), action))

    def run(self, until: float) -> None:
        """Let time pass until this moment."""
        while self._due and self._due[0][0] <= until:
            when, _, action = heapq.heappop(self._due)
            time.sleep(max(when - self.now, 0.0) / self.speed)
            action()
        time.sleep(max(until - self.now, 0.0) / self.speed)


class Recorder:
    """Sends the ids of loaded artworks: the first of an empty queue at once, the others later, failures for ever."""

    def __init__(
        self, clock: Clock, send: Callable[[Sequence[str]], bool], beacon: Callable[[Sequence[str]], None]
    ) -> None:
        self._clock = clock
        self._send = send
        self._beacon = beacon
        self._in_flight = False
        self._timer = 0  # a later timer replaces an earlier one
        self.queue: list[str] = []
        self.recorded: set[str] = set()
        self.failures = 0
        self.on_flushed: Callable[[], None] = lambda: None

    def add(self, artwork_id: str) -> None:
        """An artwork was loaded."""
        if artwork_id in self.recorded or artwork_id in self.queue:
            return
        self.queue.append(artwork_id)
        if len(self.queue) == 1:
            self.flush()
        else:
            self._flush_after(DEBOUNCE)

    def flush(self) -> None:
        """Send the next chunk."""
        if self._in_flight or not self.queue:
            return
        chunk = self.queue[:CHUNK]
        self._in_flight = True
        sent = self._send(chunk)
        self._clock.after(LATENCY, lambda: self._answered(chunk, sent=sent))

    def hide(self) -> None:
        """The tab goes to the background."""
        self._flush_after(HIDDEN_DELAY)

    def unload(self) -> None:
        """The page goes: one beacon with all that is queued, and on pagehide the same once more."""
        if self.queue:
            self._beacon(list(self.queue))
        self.flush()

    def _answered(self, chunk: list[str], *, sent: bool) -> None:
        """Success records the whole chunk; any failure is tried again."""
        self._in_flight = False
        if not sent:
            self.failures += 1
            self._flush_after(RETRY)
            return
        self.recorded.update(chunk)
        self.queue = [artwork_id for artwork_id in self.queue if artwork_id not in self.recorded]
        self.on_flushed()
        if self.queue:
            self._flush_after(DEBOUNCE)

    def _flush_after(self, seconds: float) -> None:
        """Flush later, unless a later timer replaces this one."""
        self._timer += 1
        mine = self._timer

        def due() -> None:
            if mine == self._timer:
                self.flush()

        self._clock.after(seconds, due)


class HostClient:
    """One page of the display, from its load to its end."""

    def __init__(
        self,
        http: httpx.Client,
        user: str,
        clock: Clock,
        *,
        seconds_per_artwork: float = 60.0,
        named_sessions: bool = True,
        forgetful: bool = False,
    ) -> None:
        self._http = http
        self._headers = {USER_HEADER: user}
        self._clock = clock
        self._seconds_per_artwork = seconds_per_artwork
        self._named_sessions = named_sessions  # whether its reports say in which session
        self._forgetful = forgetful  # asks each time as another session: what a service without leases amounts to
        self.session = f"session-{uuid.uuid4()}"
        self.recorder = Recorder(clock, self._post_loaded, self._send_beacon)
        self.recorder.on_flushed = self.refetch
        self.styles: list[str] = []
        self.frames: list[dict[str, Any]] = []  # loaded and not shown yet
        self.drawn: list[str] = []  # artwork ids, noted before each draw
        self.drawn_urls: list[str] = []
        self.loaded: list[tuple[float, str]] = []  # when, which
        self.refused: list[str] = []  # artworks that it cannot use
        self.rejected_batches = 0
        self.paid_generations = 0
        self.empty_immediates = 0
        self.jobs: Counter[str] = Counter()  # how the jobs ended that it waited for
        self.failed_requests = 0
        self._known: set[str] = set()  # ids and image URLs
        self._validated: set[str] = set()
        self._asking = False
        self._loading = 0  # images
        self._closed = False

    def open(self) -> None:
        """Load the page: ask, and begin to show."""
        self.fetch()
        self._clock.after(LATENCY + IMAGE_SECONDS, self._tick)

    def close(self, *, cleanly: bool = True) -> None:
        """Leave the page; not ``cleanly``: the browser dies."""
        if cleanly:
            self.recorder.unload()
        self._closed = True

    def hide(self) -> None:
        """Switch to another tab."""
        self.recorder.hide()

    def choose(self, *styles: str) -> None:
        """Change the style: the engine is emptied and asks anew."""
        self.styles = list(styles)
        self.frames = []
        self.fetch()

    def fetch(self, rejections: int = 0) -> None:
        """Ask for what to show, as the frame loader does."""
        if self._closed:
            return
        self._asking = True
        parameters = {"sessionId": self._session(), "limit": WANTED}
        if self.styles:
            parameters["styles"] = json.dumps(self.styles)
        answer = self._get("/api/artworks/next/async", parameters)
        self._asking = answer is not None and answer["type"] == "queued"
        if answer is None:
            return
        if answer["type"] == "queued":
            self._poll(answer["jobId"], rejections, POLLS)
            return
        if not answer["artworks"]:
            self.empty_immediates += 1  # it throws here
            return
        self.paid_generations += len(answer["artworks"]) < WANTED
        self._validate(answer["artworks"], rejections)

    def refetch(self) -> None:
        """Ask for the next list, as it does after every flush."""
        if self._closed:
            return
        answer = self._get("/api/artworks/next", {"sessionId": self._session(), "limit": REFETCHED})
        if answer is not None:
            self._take(answer["artworks"])

    def _poll(self, job_id: str, rejections: int, times: Sequence[float]) -> None:
        """Wait for a job, and give up when it takes too long."""
        if not times:
            self._asking = False
            self.paid_generations += 1
            return

        def ask() -> None:
            answer = self._get(f"/api/artworks/job/{job_id}", {})
            if answer is None:
                return
            if answer["status"] in {"completed", "failed"}:
                self._asking = False
                self.jobs[answer["status"]] += 1
                self._validate(answer["artworks"], rejections)
                return
            self._poll(job_id, rejections, times[1:])

        earlier = POLLS[len(POLLS) - len(times) - 1] if len(times) < len(POLLS) else 0.0
        self._clock.after(times[0] - earlier, ask)

    def _validate(self, artworks: list[dict[str, Any]], rejections: int) -> None:
        """With an empty engine a batch with anything met before is refused, twice; then one is paid for."""
        if self.frames:
            self._take(artworks)
            return
        ids = {artwork["id"] for artwork in artworks}
        if ids & self._validated:
            self.rejected_batches += 1
            if rejections < REJECTIONS:
                self._clock.after(LATENCY, lambda: self.fetch(rejections + 1))
            else:
                self.paid_generations += 1
            return
        self._validated |= ids
        self._take(artworks)

    def _take(self, artworks: list[dict[str, Any]]) -> None:
        """Load the images that it does not know yet, one after the other."""
        new = 0
        for artwork in artworks:
            if not self._known.isdisjoint((artwork["id"], artwork["imageUrl"])):
                continue
            self._known |= {artwork["id"], artwork["imageUrl"]}
            if not _usable(artwork):
                self.refused.append(artwork["id"])
                continue
            new += 1
            self._loading += 1
            self._clock.after(IMAGE_SECONDS + new * IMAGE_STEP, lambda frame=artwork: self._image_loaded(frame))

    def _image_loaded(self, artwork: dict[str, Any]) -> None:
        """Recorded when it is loaded, not when it is shown."""
        self._loading -= 1
        if self._closed:
            return
        self.loaded.append((self._clock.now, artwork["id"]))
        if len(self.frames) < MOST_FRAMES:
            self.frames.append(artwork)
        self.recorder.add(artwork["id"])

    def _tick(self) -> None:
        """Show the next frame; with few left ask for more, with none look again soon."""
        if self._closed:
            return
        if not self.frames:
            self._clock.after(0.5, self._tick)
            self._ask_for_more()
            return
        artwork = self.frames.pop(0)
        self.drawn.append(artwork["id"])
        self.drawn_urls.append(artwork["imageUrl"])
        body = {"artworkIds": [artwork["id"]], "source": "fresh"} | self._session_field()
        self._post("/api/impressions/rendered", body)
        if len(self.frames) < WANTED:
            self._ask_for_more()
        self._clock.after(self._seconds_per_artwork, self._tick)

    def _ask_for_more(self) -> None:
        """Ask, unless it is waiting for an answer or for images."""
        if not self._asking and not self._loading:
            self.fetch()

    def _post_loaded(self, artwork_ids: Sequence[str]) -> bool:
        """Post a chunk; whether it was accepted."""
        body = {"artworkIds": list(artwork_ids)} | self._session_field()
        return self._post("/api/artworks/batch-impressions", body)

    def _send_beacon(self, artwork_ids: Sequence[str]) -> None:
        """All ids in one request, whose answer nobody reads."""
        text = json.dumps({"artworkIds": list(artwork_ids)} | self._session_field())
        small = len(text) <= MOST_BEACON_BYTES  # else it falls back on fetch with keepalive
        kind = "text/plain;charset=UTF-8" if small else "application/json"  # as some browsers send any beacon
        headers = self._headers | {"Content-Type": kind}
        self._http.post("/api/artworks/batch-impressions", content=text, headers=headers)

    def _session_field(self) -> dict[str, str]:
        """The session as its reports name it."""
        return {"sessionId": self.session} if self._named_sessions else {}

    def _session(self) -> str:
        """The session as it asks."""
        return f"session-{uuid.uuid4()}" if self._forgetful else self.session

    def _get(self, path: str, parameters: dict[str, Any]) -> Any:
        """The parsed answer; None, counted, for a refusal."""
        answer = self._http.get(path, params=parameters, headers=self._headers)
        if not answer.is_success:
            self.failed_requests += 1
            return None
        return answer.json()

    def _post(self, path: str, body: dict[str, Any]) -> bool:
        """Whether a report was accepted."""
        accepted = self._http.post(path, json=body, headers=self._headers).is_success
        self.failed_requests += not accepted
        return accepted


def _usable(artwork: dict[str, Any]) -> bool:
    """What the client makes of an artwork; its audio features are parsed without a guard."""
    if artwork["audioFeatures"] is not None:
        json.loads(artwork["audioFeatures"])
    url = artwork["imageUrl"]
    return url.startswith(("/", "http://", "https://")) and "placeholder" not in url
