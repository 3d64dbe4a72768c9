"""The computed supply against real series of provinces, countries and single wind farms.

The real data are other people's and are not part of skep; where they are absent, these skip.
Bounds stand a little above the measured figures of docs/models/power.md.
"""

from __future__ import annotations

import calendar
import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from skep.model.site import Place
from skep.power.sun import sun_power
from skep.power.wind import wind_power

FACTS = Path(__file__).parents[2].parent / "shared/facts/power"
YEARS = 100
TENTHS = np.arange(0.1, 1.0, 0.1)
INNER_MONGOLIA = 0.299  # published capacity factor of onshore wind
FARMS = ("wind_rt.122_WIND_1", "wind_rt.303_WIND_1", "wind_rt.309_WIND_1", "wind_rt.317_WIND_1")

needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="facts not here")


def real(file: str, column: str) -> np.ndarray:
    with gzip.open(FACTS / file, "rt", encoding="utf-8") as text:
        rows = csv.reader(text)
        place = next(rows).index(column)
        return np.array([float(row[place]) for row in rows])


def correlation(series: np.ndarray, lag: int) -> float:
    around = series - series.mean()
    return float((around[lag:] * around[:-lag]).mean() / series.var())


@pytest.fixture(scope="module")
def wind() -> np.ndarray:
    return wind_power(1.0, INNER_MONGOLIA, seed=0, start=0.0, hours=8760 * YEARS)


def test_the_wind_keeps_its_capacity_factor(wind: np.ndarray) -> None:
    assert wind.mean() == pytest.approx(INNER_MONGOLIA, rel=0.02)


def test_years_of_wind_vary_as_real_ones_do(wind: np.ndarray) -> None:
    years = wind.reshape(YEARS, 8760).mean(axis=1)
    assert 0.03 < years.std() / years.mean() < 0.09


@needs_facts
def test_the_published_factor_is_that_of_the_series() -> None:
    province = real("cn_onwind_cf_2020.csv.gz", "InnerMongolia")
    assert province.mean() == pytest.approx(INNER_MONGOLIA, abs=0.0005)


@needs_facts
@pytest.mark.parametrize("farm", FARMS)
@pytest.mark.parametrize(("lag", "within"), [(1, 0.03), (6, 0.06), (24, 0.15)])
def test_the_wind_lasts_as_at_a_real_farm(
    wind: np.ndarray, farm: str, lag: int, within: float
) -> None:
    there = correlation(real("rts_gmlc_2020.csv.gz", farm), lag)
    assert correlation(wind, lag) == pytest.approx(there, abs=within)


@needs_facts
@pytest.mark.parametrize(("lag", "within"), [(1, 0.05), (6, 0.11)])
def test_the_wind_changes_a_little_faster_than_that_of_a_whole_province(
    wind: np.ndarray, lag: int, within: float
) -> None:
    there = correlation(real("cn_onwind_cf_2020.csv.gz", "InnerMongolia"), lag)
    assert there - within < correlation(wind, lag) < there


@needs_facts
def test_the_wind_is_spread_between_a_province_and_single_farms(wind: np.ndarray) -> None:
    province = real("cn_onwind_cf_2020.csv.gz", "InnerMongolia")
    farms = [real("rts_gmlc_2020.csv.gz", farm) for farm in FARMS]
    ours = np.quantile(wind, TENTHS)
    assert np.abs(ours - np.quantile(province, TENTHS)).max() < 0.23
    assert np.abs(ours - np.mean([np.quantile(f, TENTHS) for f in farms], axis=0)).max() < 0.17
    assert province.std() < wind.std() < min(farm.std() for farm in farms)


SUNNY = [
    ("eu_solar_cf_2016.csv.gz", "DE", 50.5, 10.3, 2016, 0),
    ("eu_solar_cf_2016.csv.gz", "ES", 39.5, -4.0, 2016, 0),
    ("eu_solar_cf_2016.csv.gz", "PT", 38.7, -8.2, 2016, 0),
    ("eu_solar_cf_2016.csv.gz", "PL", 52.0, 19.5, 2016, 0),
    # The rows of this file carry the end of their hour: with it, all provinces fit.
    ("cn_solar_cf_2020.csv.gz", "InnerMongolia", 42.0, 112.0, 2020, 1),
    ("cn_solar_cf_2020.csv.gz", "Shanghai", 31.2, 121.5, 2020, 1),
]


@needs_facts
@pytest.mark.parametrize(("file", "column", "latitude", "longitude", "year", "late"), SUNNY)
def test_clear_days_look_like_real_ones(
    file: str, column: str, latitude: float, longitude: float, year: int, late: int
) -> None:
    there = np.roll(real(file, column), -late)
    start = calendar.timegm((year, 1, 1, 0, 0, 0))
    place = Place(latitude=latitude, longitude=longitude, country="XX")
    ours = sun_power(1.0, place, None, start, len(there))
    local = round(longitude / 15)
    for real_days, our_days in clearest(np.roll(there, local), np.roll(ours, local)):
        assert np.corrcoef(real_days.ravel(), our_days.ravel())[0, 1] > 0.985
        middle = (real_days - our_days) @ (np.arange(24) + 0.5)
        assert abs(middle.mean()) < 0.35  # h between real and computed solar noon


def clearest(there: np.ndarray, ours: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The 9 sunniest days of each quarter, each as shares of its own sum."""
    days, our_days = there.reshape(-1, 24), ours.reshape(-1, 24)
    answer = []
    for quarter in range(4):
        days_of = np.arange(quarter * 91, quarter * 91 + 91)
        best = days_of[np.argsort(days[days_of].sum(axis=1))[-9:]]
        answer.append(tuple(d[best] / d[best].sum(axis=1, keepdims=True) for d in (days, our_days)))
    return answer


@needs_facts
def test_scaled_sun_follows_a_real_year() -> None:
    there = np.roll(real("cn_solar_cf_2020.csv.gz", "InnerMongolia"), -1)
    start = calendar.timegm((2020, 1, 1, 0, 0, 0))
    place = Place(latitude=42.0, longitude=112.0, country="CN")
    ours = sun_power(1.0, place, 0.169, start, len(there))
    assert ours.mean() == pytest.approx(there.mean(), rel=0.02)
    assert np.corrcoef(ours, there)[0, 1] > 0.95
