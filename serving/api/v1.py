"""Every route under /v1, put together; what each takes, does and answers stands in the modules named here."""

from __future__ import annotations

from serving.api import displays, experiments, lists, past, status

OPERATIONS = (*lists.OPERATIONS, *displays.OPERATIONS, *past.OPERATIONS, *experiments.OPERATIONS, *status.OPERATIONS)
METRICS = status.METRICS
