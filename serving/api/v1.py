"""Every route under /v1, put together; what each takes, does and answers stands in the modules named here."""

from __future__ import annotations

from serving.api import displays, generation, lists, needs, past, status

OPERATIONS = (
    *lists.OPERATIONS,
    *displays.OPERATIONS,
    *past.OPERATIONS,
    *needs.OPERATIONS,
    *generation.OPERATIONS,
    *status.OPERATIONS,
)
METRICS = status.METRICS
