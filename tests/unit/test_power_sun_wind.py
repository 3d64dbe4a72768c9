"""Sun and wind: shapes, limits, and the same values in every window."""

from __future__ import annotations

import calendar

import numpy as np
import pytest

from skep.errors import InputError
from skep.model.site import Place
from skep.power.sun import sun_power
from skep.power.wind import farm_output, wind_power

YEAR = calendar.timegm((2026, 1, 1, 0, 0, 0))
JUNE = calendar.timegm((2026, 6, 21, 0, 0, 0))
DECEMBER = calendar.timegm((2026, 12, 21, 0, 0, 0))


def place(latitude: float, longitude: float = 0.0) -> Place:
    return Place(latitude=latitude, longitude=longitude, country="XX")


def test_the_sun_is_highest_at_noon_and_away_at_night() -> None:
    day = sun_power(1000.0, place(40.0), None, JUNE, 24)
    assert np.argmax(day) in (11, 12)
    assert 700 < day.max() <= 1000
    assert day[:4].max() == day[21:].max() == 0.0


@pytest.mark.parametrize(("longitude", "noon"), [(90.0, 6), (-90.0, 18), (180.0, 0)])
def test_noon_moves_with_the_longitude(longitude: float, noon: int) -> None:
    day = sun_power(1.0, place(0.0, longitude), None, JUNE, 24)
    assert np.argmax(day) in (noon % 24, (noon - 1) % 24)


def test_seasons_turn_around_at_the_equator() -> None:
    def day(latitude: float, start: float) -> float:
        return float(sun_power(1.0, place(latitude), None, start, 24).sum())

    assert day(50.0, JUNE) > day(50.0, DECEMBER)
    assert day(-50.0, JUNE) < day(-50.0, DECEMBER)


@pytest.mark.parametrize("latitude", [90.0, -90.0, 70.0, 0.0])
def test_the_poles_have_a_long_day_and_a_long_night(latitude: float) -> None:
    year = sun_power(1.0, place(latitude), None, YEAR, 8760)
    assert np.isfinite(year).all()
    dark = (year == 0).mean()
    assert 0.4 < dark < 0.6


def test_a_capacity_factor_is_the_mean_of_a_year() -> None:
    year = sun_power(5e6, place(40.8, 111.0), 0.169, YEAR, 8760)
    assert year.mean() == pytest.approx(0.169 * 5e6, rel=0.001)


def test_a_high_capacity_factor_is_clipped_at_the_capacity() -> None:
    year = sun_power(1.0, place(20.0), 0.35, YEAR, 8760)
    assert year.max() == 1.0
    assert year.mean() == pytest.approx(0.35, rel=0.001)


def test_more_sun_than_daylight_is_refused() -> None:
    with pytest.raises(InputError, match=r"sun\.capacity_factor: got 0\.6; allowed: up to 0\."):
        sun_power(1.0, place(40.0), 0.6, YEAR, 24)


def test_no_hours_are_no_values() -> None:
    assert sun_power(1.0, place(40.0), None, YEAR, 0).shape == (0,)
    assert wind_power(1.0, 0.3, 0, YEAR, 0).shape == (0,)


def test_wind_stays_within_its_capacity() -> None:
    wind = wind_power(2e6, 0.4, 1, YEAR, 8760)
    assert wind.min() >= 0.0
    assert wind.max() <= 2e6


@pytest.mark.parametrize("factor", [0.05, 0.133, 0.299, 0.45, 0.6])
def test_wind_keeps_any_usual_capacity_factor(factor: float) -> None:
    wind = wind_power(1.0, factor, 0, 0.0, 8760 * 100)
    assert wind.mean() == pytest.approx(factor, rel=0.03)


def test_seeds_are_different_winds() -> None:
    one, two = wind_power(1.0, 0.3, 1, YEAR, 8760), wind_power(1.0, 0.3, 2, YEAR, 8760)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.15


def test_the_wind_is_the_same_on_every_machine() -> None:
    """Fixed values: a change of them would change every pool that names a seed."""
    values = wind_power(1.0, 0.299, 7, 1_700_000_000, 3)
    assert values == pytest.approx([0.035716, 0.073292, 0.123936], abs=2e-6)


def test_an_impossible_wind_is_refused() -> None:
    with pytest.raises(InputError, match=r"wind\.capacity_factor: got 0\.999"):
        wind_power(1.0, 0.999, 0, YEAR, 24)


def test_a_farm_gives_nothing_at_rest_and_all_in_a_gale() -> None:
    output = farm_output(np.array([0.0, 8.0, 12.0, 30.0]))
    assert output[0] == 0.0
    assert 0.2 < output[1] < 0.4
    assert 0.7 < output[2] < 1.0
    assert output[3] > 0.98
