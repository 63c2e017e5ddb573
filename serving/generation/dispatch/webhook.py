"""Orders artworks of a service over HTTP: one POST an order, answered when the image is there.

The order's id is the idempotency key, so that a POST that is sent again is not made or paid for again. What comes back
is checked before it is taken in: the display would drop a URL of another form, and show an image twice under two ids.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Annotated, Any

import httpx
import msgspec

from features.database import Pool, query, transaction
from features.errors import GenerationFailedError
from features.host import Host
from features.settings import Settings
from serving.generation.dispatch.intake import SIZES, Intake, Made, Near
from serving.generation.orders import Ledger, Order, State

CONNECT_SECONDS = 10.0
RETRIES = 2
PAUSE_SECONDS = 0.5  # before the first retry; twice as long before the next
MINUTE = 60.0
LONGEST_ANSWER = 64 * 1024
RETRIED = (429, 500, 502, 503, 504)

Side = Annotated[int, msgspec.Meta(ge=1, le=20_000)]


class WebhookAnswer(msgspec.Struct, kw_only=True):
    """What the service answers."""

    image_url: Annotated[str, msgspec.Meta(pattern=r"^(/|https?://)", max_length=4_096)]
    width: Side | None = None
    height: Side | None = None


class WebhookDispatcher:
    """A service elsewhere as a provider."""

    name = "webhook"

    def __init__(self, pool: Pool, host: Host, ledger: Ledger, settings: Settings) -> None:
        self._pool = pool
        self._ledger = ledger
        self._intake = Intake(pool, host)
        self._url = settings.webhook_url
        self._token = settings.webhook_token
        self._seconds = settings.webhook_seconds
        self._timeout = httpx.Timeout(settings.webhook_seconds, connect=CONNECT_SECONDS)
        self._per_minute = settings.webhook_per_minute
        self._sent: deque[float] = deque()  # monotonic seconds of the last minute's orders

    async def room(self) -> int:
        """What is left of the minute's limit."""
        while self._sent and time.monotonic() - self._sent[0] >= MINUTE:
            self._sent.popleft()
        return self._per_minute - len(self._sent)

    async def deliver(self, order: Order) -> str:
        """Ask, check, take in."""
        self._sent.append(time.monotonic())
        if order.state == State.SENT:
            await self._ledger.advance(order.order_id, State.RUNNING)
        near = await self._intake.near(order.wish.near)
        answer = _read(order, await self._ask(order, near))
        width, height = SIZES[near.orientation]
        made = Made(answer.image_url, answer.width or width, answer.height or height, order.wish.dna)
        artwork_id = str(order.order_id)
        async with transaction(self._pool) as connection:
            await connection.execute(query("lock_painted"))
            known = {"image_url": made.image_url, "artwork_id": artwork_id}
            if (await connection.execute(query("image_known"), known)).rowcount > 0:
                raise _failed(order, "the image is another artwork's already", charged=True)
            await self._intake.insert(connection, order, made, near)
        return artwork_id

    async def _ask(self, order: Order, near: Near) -> bytes:
        """The body of a good answer, after up to two retries. Raises GenerationFailedError."""
        headers = {"Idempotency-Key": str(order.order_id)}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        error = _failed(order, "", charged=False)
        async with httpx.AsyncClient(timeout=self._timeout, headers=headers) as client:
            for number in range(RETRIES + 1):
                await asyncio.sleep(PAUSE_SECONDS * 2 ** (number - 1) if number else 0)
                try:
                    status, content = await self._post(client, _body(order, near))
                except (httpx.TransportError, TimeoutError) as found:
                    unasked = isinstance(found, httpx.ConnectError | httpx.ConnectTimeout)
                    charged = error.charged or not unasked
                    error = _failed(order, f"no answer: {type(found).__name__}", charged=charged)
                    continue
                if httpx.codes.is_success(status):
                    return content
                error = _failed(order, f"the service answers {status}", charged=error.charged)
                if status not in RETRIED:
                    break
        raise error

    async def _post(self, client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and content, no more of it than is looked at; a service that drips takes no longer than another."""
        content = b""
        async with (
            asyncio.timeout(CONNECT_SECONDS + self._seconds),
            client.stream("POST", self._url, json=body) as answer,
        ):
            async for part in answer.aiter_bytes(LONGEST_ANSWER):
                content += part
                if len(content) > LONGEST_ANSWER:
                    break
        return answer.status_code, content


def _body(order: Order, near: Near) -> dict[str, Any]:
    """What the service is told; nothing of the users."""
    width, height = SIZES[near.orientation]
    return {
        "order_id": str(order.order_id),
        "prompt": order.wish.prompt,
        "styles": list(order.wish.styles),
        "motifs": near.motifs,
        "dna_vector": [round(float(number), 6) for number in order.wish.dna],
        "orientation": near.orientation,
        "width": width,
        "height": height,
    }


def _read(order: Order, body: bytes) -> WebhookAnswer:
    """The answer. Raises GenerationFailedError naming the rule that it breaks."""
    if len(body) > LONGEST_ANSWER:
        raise _failed(order, f"the answer is over {LONGEST_ANSWER} bytes", charged=True)
    try:
        answer = msgspec.json.decode(body, type=WebhookAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _failed(order, f"the answer is of another form: {error}", charged=True) from error
    if "placeholder" in answer.image_url.lower():
        raise _failed(order, "the display drops a URL with 'placeholder' in it", charged=True)
    return answer


def _failed(order: Order, reason: str, *, charged: bool) -> GenerationFailedError:
    """The error of an order without an artwork."""
    return GenerationFailedError(order_id=order.order_id, reason=reason, charged=charged)
