"""The supply of one site: computed or given, looked up at any time."""

from __future__ import annotations

import numpy as np
import pytest

from skep.errors import InputError
from skep.model.site import NodePool, Place, Power, Site
from skep.model.supply import Grid, Sun, Supply, Wind
from skep.power.series import (
    SupplySeries,
    check_hours,
    computed_supply,
    covered,
    given_supply,
    mix,
    site_supply,
)

START = 1_767_225_600.0  # 2026-01-01
PLACE = Place(latitude=40.8, longitude=111.0, country="CN")
POOLS = (NodePool(chip="cpu-core"),)


def test_a_site_without_power_has_no_supply() -> None:
    series = site_supply(Site(name="a", pools=POOLS), START, 48)
    assert series.own.tolist() == [0.0] * 48
    assert series.carbon is None
    assert series.price is None


def test_sun_needs_a_place() -> None:
    with pytest.raises(InputError, match="place: got None; needed for sun"):
        computed_supply(Supply(sun=Sun(capacity=1.0)), None, START, 24)


def test_wind_needs_no_place() -> None:
    wind = Wind(capacity=1e6, capacity_factor=0.3)
    series = computed_supply(Supply(wind=wind), None, START, 24)
    assert series.wind.max() > 0
    assert series.sun.max() == 0


def test_a_computed_series_starts_at_its_hour_and_has_the_grid() -> None:
    supply = Supply(sun=Sun(capacity=1e6), grid=Grid(carbon=500, price=60, renewable_share=0.25))
    power = Power(cap=1e6, supply=supply)
    series = site_supply(Site(name="a", place=PLACE, pools=POOLS, power=power), START + 1234, 24)
    assert series.start == START
    assert series.carbon is not None
    assert series.carbon.tolist() == [500.0] * 24
    assert series.price is not None
    assert series.price[0] == 60.0
    assert series.renewable_share == 0.25


def test_given_columns_replace_sun_wind_and_the_constants_of_the_grid() -> None:
    columns = {"wind_w": np.array([1.0, 2.0]), "price_usd_mwh": np.array([-5.0, 80.0])}
    series = given_supply(START, columns, Grid(carbon=400, price=60))
    assert series.own.tolist() == [1.0, 2.0]
    assert series.price is not None
    assert series.price.tolist() == [-5.0, 80.0]
    assert series.carbon is not None
    assert series.carbon.tolist() == [400.0, 400.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"wind": np.ones(2)}, r"column: got 'wind'; no such column \(did you mean 'wind_w'\?\)"),
        ({}, "columns: got .*allowed: at least one column"),
        ({"sun_w": np.zeros(0)}, "allowed: at least one column with one hour"),
        ({"sun_w": np.ones(3), "wind_w": np.ones(2)}, "wind_w: got 2; allowed: 3 hours"),
        ({"sun_w": np.array([1.0, -2.0])}, r"sun_w\[1\]: got -2.0; allowed: a number of 0 or more"),
        ({"wind_w": np.array([np.nan])}, r"wind_w\[0\]: got nan"),
        ({"price_usd_mwh": np.array([np.inf])}, r"price_usd_mwh\[0\]: got inf; allowed: a number$"),
    ],
)
def test_bad_columns_are_named(columns: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_supply(START, columns, Grid())


def test_hours_must_follow_each_other() -> None:
    check_hours(START + 3600.0 * np.arange(5))
    with pytest.raises(InputError, match=r"hour\[2\].*one hour after"):
        check_hours(np.array([START, START + 3600, START + 7201]))


def test_a_site_with_a_file_needs_its_columns() -> None:
    power = Power(cap=1.0, supply=Supply(file="own.csv"))
    site = Site(name="a", pools=POOLS, power=power)
    with pytest.raises(ValueError, match=r"own\.csv"):
        site_supply(site, START, 24)
    assert site_supply(site, START, 0, {"sun_w": np.array([3.0])}).sun.tolist() == [3.0]


def series_of(hours: int, start: float = START) -> SupplySeries:
    return SupplySeries(start=start, sun=np.arange(float(hours)), wind=np.zeros(hours))


@pytest.mark.parametrize(
    ("hours", "at", "row"),
    [
        (48, 0, 0),
        (48, 3599.9, 0),
        (48, 3600, 1),
        (48, 48 * 3600, 0),
        (48, -1, 47),
        (30, 29 * 3600, 29),  # inside: every row counts
        (30, 30 * 3600, 6),  # after it: whole days repeat, so hour 30 is 6 o'clock
        (5, 7 * 3600, 2),  # less than a day repeats as it is
    ],
)
def test_a_series_repeats_by_whole_days(hours: int, at: float, row: int) -> None:
    series = series_of(hours)
    assert series.row(START + at) == row
    assert series.rows(np.array([START + at])).tolist() == [row]


def test_hours_may_start_off_the_full_hour() -> None:
    series = series_of(24, START + 1800)
    assert series.row(START + 1800) == 0
    assert series.edges(START + 1800, START + 9001).tolist() == [START + 5400, START + 9000]


def test_own_supply_goes_first_and_the_mix_adds_up() -> None:
    series = SupplySeries(START, np.array([30.0]), np.array([10.0]), np.array([500.0]), None, 0.5)
    part = mix(series, START, 100.0)
    assert (part.sun, part.wind, part.grid) == (30.0, 10.0, 60.0)
    assert part.renewable == pytest.approx(0.7)
    assert part.carbon == 500.0
    whole = mix(series, START, 20.0)
    assert (whole.sun, whole.wind, whole.grid, whole.renewable) == (15.0, 5.0, 0.0, 1.0)
    assert mix(series, START, 0.0).renewable == 0.0


def test_how_much_own_supply_covers() -> None:
    own, draw = np.array([50.0, 50.0, 0.0, 5.0, 0.0]), np.array([100.0, 10.0, 10.0, 0.0, 0.0])
    assert covered(own, draw).tolist() == [0.5, 1.0, 0.0, 1.0, 0.0]
