"""The demand forecast: probabilities that behave, agree with simulated people and are fitted from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import TooFewSessionsError
from features.settings import Settings
from features.visits import session_counts
from serving.generation.demand import (
    DAY,
    NEGLIGIBLE,
    Forecast,
    Hazard,
    Returns,
    Users,
    make_forecast,
    negative_binomial,
    new_users,
    prior_forecast,
)
from serving.prefetch import shown_probabilities
from training.forecast import calibrate, fit_hazard, fit_returns

FORECAST = prior_forecast(Settings())
TRUE = Forecast(Hazard(1.2, 12.0), Returns(0.6, 2.0, 0.5, 3.0))


@st.composite
def users_of(draw: st.DrawFn) -> Users:
    """One user, whatever the history."""
    repeats = draw(st.integers(0, 200))
    age = draw(st.floats(0.1, 400))
    recency = age * draw(st.floats(0, 1)) * (repeats > 0)
    tabs = draw(st.integers(0, 3))
    shown = draw(st.integers(1, 300)) * (tabs > 0)
    return Users(*(np.array([float(value)]) for value in (repeats, recency, age, shown, tabs, draw(st.floats(1, 600)))))


@given(users=users_of(), seconds=st.floats(0, 60 * DAY), wanted=st.integers(0, 2_040))
@settings(deadline=None)
def test_chances_are_chances_and_fall_with_what_is_wanted(users: Users, seconds: float, wanted: int) -> None:
    """Within 0 and 1; certain for nothing; never higher for one more."""
    here, more = FORECAST.at_least(users, seconds, wanted), FORECAST.at_least(users, seconds, wanted + 1)
    assert 0 <= more[0] <= here[0] + NEGLIGIBLE  # what further sessions could add is left out of both
    assert here[0] <= 1
    assert FORECAST.at_least(users, seconds, 0)[0] == 1


@given(users=users_of(), seconds=st.floats(0, 30 * DAY), longer=st.floats(0, 30 * DAY), wanted=st.integers(1, 2_040))
@settings(deadline=None)
def test_chances_rise_with_time(users: Users, seconds: float, longer: float, wanted: int) -> None:
    """In a longer window at least as much is asked for."""
    first, later = FORECAST.at_least(users, seconds, wanted), FORECAST.at_least(users, seconds + longer, wanted)
    assert later[0] >= first[0] - 1e-6


def test_nobody_draws_faster_than_the_display() -> None:
    """Two minutes at a minute each: three artworks in one tab, six in two, never more."""
    one, two = (Users(*np.array([[5.0], [9.0], [9.0], [30.0], [tabs], [60.0]])) for tabs in (1.0, 2.0))
    assert FORECAST.at_least(one, 120.0, 3)[0] > 0.5
    assert FORECAST.at_least(one, 120.0, 4)[0] == 0
    assert FORECAST.at_least(two, 120.0, 6)[0] > 0.5
    assert FORECAST.at_least(two, 120.0, 7)[0] == 0


def test_who_comes_later_must_come_in_time_to_draw_them_all() -> None:
    """Ten in ten minutes means to come within the first minute: less probable by far than two."""
    away = Users(*np.array([[5.0], [9.0], [9.0], [0.0], [0.0], [60.0]]))
    two, ten = (float(FORECAST.at_least(away, 600.0, wanted)[0]) for wanted in (2, 10))
    stay = float(FORECAST.hazard.more(1, 9) / FORECAST.hazard.more(1, 1))
    assert 0 < ten / two == pytest.approx(stay * 60 / 540, rel=0.01)


@given(shown=st.integers(1, 300), count=st.integers(1, 50))
def test_the_hazard_is_the_one_of_the_prefetch_plans(shown: int, count: int) -> None:
    """The plan counts the artworks before the one on display."""
    settings_ = Settings()
    expected = shown_probabilities(shown - 1, count, settings_.session_alpha, settings_.session_beta)
    found = FORECAST.hazard.more(shown, np.arange(1, count + 1))
    assert found == pytest.approx(expected, rel=1e-6)
    assert FORECAST.hazard.expected(shown, count) == pytest.approx(expected.sum(), rel=1e-6)


@pytest.fixture(scope="module")
def people() -> tuple[Users, np.ndarray, np.ndarray]:
    """Simulated BG/NBD people: their state, and the artworks and sessions of the 30 days after."""
    rng, count = np.random.default_rng(3), 6_000
    rate, leaving, age = rng.gamma(0.6, 0.5, count), rng.beta(0.5, 3, count), rng.uniform(5, 60, count)
    repeats, recency, asked, sessions = (np.zeros(count) for _ in range(4))
    for row in range(count):
        at = 0.0
        while (at := at + rng.exponential(1 / rate[row])) <= age[row] + 30:
            if at <= age[row]:
                repeats[row] += 1
                recency[row] = at
            else:
                sessions[row] += 1
                asked[row] += rng.geometric(max(rng.beta(1.2, 12), 1e-6))
            if rng.random() < leaving[row]:
                break
    nothing = np.zeros(count)
    return Users(repeats, recency, age, nothing, nothing, np.ones(count)), asked, sessions


@pytest.mark.parametrize("wanted", [1, 5, 20, 100, 500])
def test_the_forecast_is_what_simulated_people_do(people: tuple[Users, np.ndarray, np.ndarray], wanted: int) -> None:
    """The mean chance is the share who ask for so many; every fifth by chance, too."""
    users, asked, _ = people
    chances = TRUE.at_least(users, 30 * DAY, wanted)
    assert chances.mean() == pytest.approx((asked >= wanted).mean(), abs=0.012)
    for part in np.array_split(np.argsort(chances), 5):
        assert chances[part].mean() == pytest.approx((asked[part] >= wanted).mean(), abs=0.04)


def test_the_moments_are_those_of_simulated_people(people: tuple[Users, np.ndarray, np.ndarray]) -> None:
    """Of how many sessions follow; the mean chance to leave stands for its law, which costs a tenth."""
    users, _, sessions = people
    mean, square = TRUE.returns.mean_and_square(users, 30.0)
    assert mean.mean() == pytest.approx(sessions.mean(), rel=0.1)
    assert square.mean() == pytest.approx((sessions**2).mean(), rel=0.2)


def test_fitting_finds_the_parameters(people: tuple[Users, np.ndarray, np.ndarray]) -> None:
    """Of people and of sessions that were drawn from known ones."""
    users, _, _ = people
    found = fit_returns(users.repeats, users.recency, users.age)
    assert [found.r, found.alpha, found.a, found.b] == pytest.approx([0.6, 2.0, 0.5, 3.0], rel=0.2)
    rng = np.random.default_rng(5)
    lengths = rng.geometric(rng.beta(1.2, 12.0, 8_000))
    hazard = fit_hazard(np.minimum(lengths, 100), lengths >= 100)
    assert [hazard.alpha, hazard.beta] == pytest.approx([1.2, 12.0], rel=0.1)


def test_too_little_cannot_be_fitted() -> None:
    """The error says what is missing."""
    with pytest.raises(TooFewSessionsError, match="session lengths"):
        fit_hazard(np.array([1, 2]))
    with pytest.raises(TooFewSessionsError, match="users"):
        fit_returns(np.zeros(2), np.zeros(2), np.ones(2))


def test_sessions_are_counted_until_now() -> None:
    """Repeats, the days to the last and the days to now; who has none is all zeros."""
    rows, starts = np.array([0, 0, 0, 1]), np.array([0.0, 2 * DAY, 9 * DAY, DAY])
    repeats, recency, age = session_counts(rows, starts, 5 * DAY, 3)
    assert (repeats.tolist(), recency.tolist(), age.tolist()) == ([1, 0, 0], [2, 0, 0], [5, 4, 0])


def test_a_new_user_is_the_prior_and_alive() -> None:
    """Nothing is known, so nobody has left."""
    users = new_users(2, 60.0)
    assert FORECAST.returns.alive(users).tolist() == [1, 1]
    assert 0 < FORECAST.at_least(users, DAY, 1)[0] < 1


def test_silence_makes_leaving_probable() -> None:
    """Of two users with ten sessions, the one silent for a year is the less alive."""
    users = Users(
        *(np.array(pair) for pair in ([10.0, 10.0], [30.0, 30.0], [31.0, 400.0], [0.0] * 2, [0.0] * 2, [60.0] * 2))
    )
    fresh, silent = TRUE.returns.alive(users)
    assert fresh > 0.85
    assert silent < 0.2


def test_calibration_mends_what_was_overstated_and_survives_storing() -> None:
    """Said twice as often as it came: halved; 0 and 1 stay; the arrays make the same forecast."""
    rng = np.random.default_rng(1)
    said = rng.random(20_000)
    mended = calibrate(TRUE, said, rng.random(20_000) < said / 2)
    assert mended.calibrated(np.array([0.2, 0.6])) == pytest.approx([0.1, 0.3], abs=0.04)
    assert mended.calibrated(np.array([0.0, 1.0])).tolist() == [0, 1]
    assert (np.diff(mended.calibrated(np.linspace(0, 1, 200))) >= 0).all()
    again = make_forecast(mended.arrays())
    assert (again.hazard, again.returns, again.said.tolist()) == (mended.hazard, mended.returns, mended.said.tolist())


def test_a_handful_of_cases_hardly_bends_the_map() -> None:
    """Ten cases that came although hardly likely move it by less than a quarter; ten thousand move it there."""
    for count, least, most in ((10, 0.2, 0.45), (10_000, 0.95, 1.0)):
        said = np.full(count, 0.2)
        found = calibrate(TRUE, said, np.ones(count, dtype=bool)).calibrated(np.array([0.2]))[0]
        assert least < found <= most


def test_the_negative_binomial_has_its_moments() -> None:
    """Sums of the upper tail give back mean and variance; Poisson where the variance is the mean."""
    n = np.arange(1.0, 4_000)
    for variance in (90.0, 30.0):
        tail = negative_binomial(np.full(len(n), 30.0), np.full(len(n), variance), n)
        assert tail.sum() == pytest.approx(30, rel=1e-6)
        assert ((2 * n - 1) * tail).sum() - 900 == pytest.approx(variance, rel=1e-4)


def test_beyond_the_table_the_moments_take_over() -> None:
    """Thousands in a month by somebody who comes ten times a day: smaller than within the table, still possible."""
    busy = Users(*np.array([[600.0], [60.0], [60.0], [0.0], [0.0], [10.0]]))
    within, beyond, far = (float(FORECAST.at_least(busy, 30 * DAY, wanted)[0]) for wanted in (2_048, 20_000, 200_000))
    assert 1 > within > beyond > far
