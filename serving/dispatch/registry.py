"""The providers that this process can bring orders to, by name."""

from __future__ import annotations

from serving.dispatch.interface import Dispatcher
from serving.dispatch.local import LocalDispatcher
from serving.worker import Worker


def dispatchers_of(worker: Worker) -> dict[str, Dispatcher]:
    """Every provider that is set up; the one that new orders go to is among them."""
    parts = worker.parts
    found: list[Dispatcher] = [LocalDispatcher(worker.pool, parts.host, parts.ledger, worker.settings)]
    return {dispatcher.name: dispatcher for dispatcher in found}
