"""Fits the demand forecast: four numbers of return and drop-out, two of a session's length, and a calibration map.

Maximum likelihood with scipy from the sessions so far. It returns plain arrays; serving applies them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln
from sklearn.isotonic import IsotonicRegression

from features.errors import TooFewSessionsError
from features.visits import session_counts
from serving.generation.demand import Counts, Forecast, Hazard, Numbers, Returns

LEAST_USERS = 20
LEAST_SESSIONS = 20
KNOTS = 50  # of the calibration map
TRUSTED = np.linspace(0.025, 0.975, 20)  # probabilities at which the forecast is believed before it is judged,
TRUST = 25.0  # as if so many cases had come out as said: fewer are off by 0.1 by chance alone
BOUNDS = (-7.0, 7.0)  # of the logarithm of every parameter


def fit_hazard(lengths: Counts, running: NDArray[np.bool_] | None = None) -> Hazard:
    """Beta-geometric by maximum likelihood from session lengths (m,), at least 1 each.

    ``running``: sessions not over yet, which say only that they are at least so long. Raises TooFewSessionsError.
    """
    if len(lengths) < LEAST_SESSIONS:
        raise TooFewSessionsError(what="session lengths", found=len(lengths), least=LEAST_SESSIONS)
    open_ended = np.zeros(len(lengths), dtype=bool) if running is None else running
    values, where = np.unique(np.stack([lengths, open_ended]), axis=1, return_inverse=True)
    n, censored, weights = values[0].astype(float), values[1].astype(bool), np.bincount(where.ravel())

    def loss(logs: Numbers) -> float:
        alpha, beta = np.exp(logs)
        reached = gammaln(beta + n - 1) - gammaln(beta) + gammaln(alpha + beta) - gammaln(alpha + beta + n - 1)
        stopped = np.where(censored, 0.0, np.log(alpha) - np.log(alpha + beta + n - 1))
        return -float(weights @ (reached + stopped))

    return Hazard(*_fitted(loss, np.log([1.5, 10.0])))


def fit_returns(repeats: Numbers, recency: Numbers, age: Numbers) -> Returns:
    """BG/NBD by maximum likelihood from sessions after the first, days to the last and days to now, each (n,).

    The likelihood in the form that does not underflow (Fader & Hardie, note 027, 2013). Raises TooFewSessionsError.
    """
    if len(repeats) < LEAST_USERS:
        raise TooFewSessionsError(what="users with sessions", found=len(repeats), least=LEAST_USERS)
    unit = max(float(np.mean(age)), 1e-6)  # days; keeps alpha near 1 for the optimiser
    x, last, now = repeats, recency / unit, age / unit
    again = x > 0

    def loss(logs: Numbers) -> float:
        r, alpha, a, b = np.exp(logs)
        visits = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + last)
        stays = gammaln(a + b) - gammaln(b) + gammaln(b + x) - gammaln(a + b + x)
        silent = (r + x) * (np.log(alpha + last) - np.log(alpha + now))
        left = np.where(again, np.log(a) - np.log(b + np.maximum(x, 1) - 1), -np.inf)
        return -float(np.sum(visits + stays + np.logaddexp(silent, left)))

    r, alpha, a, b = _fitted(loss, np.log([0.5, 0.1, 0.5, 2.0]))
    return Returns(r, alpha * unit, a, b)


def fit_forecast(user_rows: Counts, started: Numbers, lengths: Counts, now: float) -> Forecast:
    """The forecast from all sessions until ``now``: their users, starts (seconds) and lengths, each (m,)."""
    _, rows = np.unique(user_rows, return_inverse=True)
    users = int(rows.max()) + 1 if len(rows) else 0
    return Forecast(fit_hazard(lengths), fit_returns(*session_counts(rows, started, now, users)))


def calibrate(forecast: Forecast, said: Numbers, came: NDArray[np.bool_]) -> Forecast:
    """The forecast with the isotonic map from what it said (m,) to what came of it (m,); 0 stays 0 and 1 stays 1.

    Some trust in what it said keeps few cases from bending the map.
    """
    weights = np.concatenate([np.ones(len(said)), np.full(len(TRUSTED), TRUST)])
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        np.concatenate([said, TRUSTED]), np.concatenate([came.astype(float), TRUSTED]), weights
    )
    xs, ys = np.asarray(fitted.X_thresholds_, dtype=float), np.asarray(fitted.y_thresholds_, dtype=float)
    inside = (xs > 0) & (xs < 1)
    xs, ys = xs[inside], ys[inside]
    if len(xs) > KNOTS:
        kept = np.linspace(0, len(xs) - 1, KNOTS).round().astype(int)
        xs, ys = xs[kept], ys[kept]
    return Forecast(forecast.hazard, forecast.returns, np.array([0, *xs, 1.0]), np.array([0, *ys, 1.0]))


def _fitted(loss: Callable[[Numbers], float], start: Numbers) -> list[float]:
    """The parameters (positive) at which ``loss`` of their logarithms is least."""
    found = minimize(loss, start, method="L-BFGS-B", bounds=[BOUNDS] * len(start))
    return [float(value) for value in np.exp(found.x)]
