"""Which forecast need rests on: the live bundle's, while it is fresh and well calibrated, else none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from features.settings import Settings
from serving import telemetry
from serving.bundle import Bundle
from serving.generation.demand import Forecast
from serving.live import View

#: In a manifest's metrics: how far the forecast's probabilities were from what came, on a slice it had not seen.
ERROR = "forecast_ece"
Why = Literal["used", "no_model", "absent", "stale", "uncalibrated"]


def foresee(view: View, settings: Settings) -> tuple[Forecast | None, Why]:
    """The forecast to use now, or None, and why; counted."""
    forecast, why = _judge(view.model.bundle if view.model else None, settings)
    telemetry.FORECASTS.labels("forecast" if forecast else "heuristic", why).inc()
    return forecast, why


def _judge(bundle: Bundle | None, settings: Settings) -> tuple[Forecast | None, Why]:
    if bundle is None:
        return None, "no_model"
    if bundle.forecast is None:
        return None, "absent"
    age = datetime.now(UTC) - datetime.fromisoformat(bundle.manifest.created_at)
    if age.total_seconds() > settings.forecast_max_hours * 3_600:
        return None, "stale"
    if bundle.manifest.metrics.get(ERROR, 1.0) > settings.forecast_max_error:
        return None, "uncalibrated"
    return bundle.forecast, "used"
