"""Every route under /v1, put together; what each takes, does and answers stands in the modules named here."""

from __future__ import annotations

from serving.api import displays, experiments, generation, lists, needs, past, plans, status

OPERATIONS = (
    *lists.OPERATIONS,
    *displays.OPERATIONS,
    *past.OPERATIONS,
    *needs.OPERATIONS,
    *plans.OPERATIONS,
    *generation.OPERATIONS,
    *experiments.OPERATIONS,
    *status.OPERATIONS,
)
METRICS = status.METRICS
