"""The providers that this process can bring orders to, by name."""

from __future__ import annotations

from features.errors import BadSettingError, HostTablesMissingError
from features.settings import PREFIX
from serving.generation.dispatch.host_jobs import HostJobsDispatcher
from serving.generation.dispatch.interface import Dispatcher
from serving.generation.dispatch.local import LocalDispatcher
from serving.generation.dispatch.webhook import WebhookDispatcher
from serving.worker import Worker

QUEUE_TABLES = ("generation_jobs", "user_credits")


def dispatchers_of(worker: Worker) -> dict[str, Dispatcher]:
    """Every provider that can be reached.

    Raises HostTablesMissingError or BadSettingError where the one that new orders go to cannot.
    """
    parts, settings = worker.parts, worker.settings
    found: list[Dispatcher] = [LocalDispatcher(worker.pool, parts.host, parts.ledger, settings)]
    missing = [table for table in QUEUE_TABLES if not parts.host.has(table)]
    if not missing:
        found.append(HostJobsDispatcher(worker.pool, parts.host, parts.ledger, settings))
    elif settings.dispatcher == HostJobsDispatcher.name:
        raise HostTablesMissingError(tables=", ".join(missing))
    if settings.webhook_url:
        found.append(WebhookDispatcher(worker.pool, parts.host, parts.ledger, settings))
    elif settings.dispatcher == WebhookDispatcher.name:
        raise BadSettingError(key=f"{PREFIX}WEBHOOK_URL", value="", rule="the dispatcher webhook needs it")
    return {dispatcher.name: dispatcher for dispatcher in found}
