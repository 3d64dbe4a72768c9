"""The supply of one site as hourly columns: computed for its place, or given by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from skep.errors import InputError, nearest
from skep.model.site import Place, Power, Site
from skep.model.snapshot import Floats, Ints
from skep.model.supply import Grid, Supply
from skep.power.hours import HOUR, hour_of
from skep.power.sun import sun_power
from skep.power.wind import wind_power

COLUMNS = ("sun_w", "wind_w", "carbon_g_kwh", "price_usd_mwh")
_DAY = 24
_SIGNED = "price_usd_mwh"  # real prices fall below zero


@dataclass(frozen=True, slots=True)
class SupplySeries:
    """Columns over hours, the first starting at ``start`` (epoch s); all of one length.

    Outside its hours the series repeats, by its whole days: a year by the year, a day by the
    day, so that the hour of the day always fits.
    """

    start: float
    sun: Floats  # W that the panels can give
    wind: Floats  # W that the turbines can give
    carbon: Floats | None = None  # gCO2eq per kWh of the grid; None where unknown
    price: Floats | None = None  # USD per MWh of the grid; None where unknown
    renewable_share: float = 0.0  # of what the grid delivers

    @property
    def own(self) -> Floats:
        """W of the site's own supply: sun and wind."""
        return self.sun + self.wind

    def row(self, time: float) -> int:
        """Row of the hour that holds ``time`` (epoch s)."""
        row = hour_of(time - self.start)
        hours = len(self.sun)
        return row if 0 <= row < hours else row % _period(hours)

    def rows(self, times: Floats) -> Ints:
        """Rows of the hours that hold ``times`` (epoch s)."""
        row = np.floor((times - self.start) / HOUR).astype(np.int64)
        hours = len(self.sun)
        return np.where((row >= 0) & (row < hours), row, row % _period(hours))

    def edges(self, start: float, end: float) -> Floats:
        """Starts of hours that lie strictly between ``start`` and ``end`` (epoch s)."""
        first, last = hour_of(start - self.start) + 1, hour_of(end - self.start) + 1
        edges = self.start + HOUR * np.arange(first, last, dtype=np.float64)
        return edges[(edges > start) & (edges < end)]


@dataclass(frozen=True, slots=True)
class Mix:
    """Where a site's draw comes from at one moment: W used, not W available."""

    sun: float
    wind: float
    grid: float
    renewable: float  # share of the draw, 0..1: own supply and the grid's renewable part
    carbon: float | None  # gCO2eq per kWh of the grid


def site_supply(
    site: Site, start: float, hours: int, columns: Mapping[str, Floats] | None = None
) -> SupplySeries:
    """Supply of ``site`` over ``hours`` hours from the hour of ``start`` (epoch s).

    Where the site's supply is a file, ``columns`` are its columns and ``start`` is its first
    hour (``hours`` is then not used). Raises ``InputError``.
    """
    power = site.power or Power(cap=0.0)
    if columns is not None:
        return given_supply(start, columns, power.supply.grid)
    if power.supply.file is not None:
        raise ValueError(f"the columns of {power.supply.file} are needed")
    return computed_supply(power.supply, site.place, start, hours)


def computed_supply(supply: Supply, place: Place | None, start: float, hours: int) -> SupplySeries:
    """Clear-sky sun and seeded wind, with the grid's constants. Raises ``InputError``."""
    grid = supply.grid
    return SupplySeries(
        start=float(hour_of(start) * HOUR),
        sun=_sun(supply, place, start, hours),
        wind=_wind(supply, start, hours),
        carbon=_constant(grid.carbon, hours),
        price=_constant(grid.price, hours),
        renewable_share=grid.renewable_share,
    )


def given_supply(start: float, columns: Mapping[str, Floats], grid: Grid) -> SupplySeries:
    """The user's own columns (any of ``COLUMNS``), the first hour starting at ``start``.

    A column that is not given is zero for sun and wind, and the grid's constant for carbon and
    price. Raises ``InputError`` naming the column.
    """
    hours = _checked_hours(columns)
    return SupplySeries(
        start=float(start),
        sun=_column(columns, "sun_w", np.zeros(hours)),
        wind=_column(columns, "wind_w", np.zeros(hours)),
        carbon=_given_or(columns, "carbon_g_kwh", _constant(grid.carbon, hours)),
        price=_given_or(columns, "price_usd_mwh", _constant(grid.price, hours)),
        renewable_share=grid.renewable_share,
    )


def check_hours(starts: Floats) -> None:
    """Raises ``InputError`` unless each start (epoch s) is one hour after the one before."""
    steps = np.diff(np.asarray(starts, dtype=np.float64))
    wrong = np.flatnonzero(steps != HOUR)
    if wrong.size:
        row = int(wrong[0]) + 1
        raise InputError(
            f"hour[{row}]", float(starts[row]), "allowed: one hour after the row before"
        )


def mix(series: SupplySeries, time: float, draw: float) -> Mix:
    """What feeds a draw of ``draw`` W at the meter at ``time`` (epoch s); own supply goes first."""
    row = series.row(time)
    sun, wind = float(series.sun[row]), float(series.wind[row])
    own = min(draw, sun + wind)
    part = own / (sun + wind) if own > 0 else 0.0
    grid = max(0.0, draw - own)
    green = own + grid * series.renewable_share
    return Mix(
        sun=sun * part,
        wind=wind * part,
        grid=grid,
        renewable=min(1.0, green / draw) if draw > 0 else 0.0,
        carbon=None if series.carbon is None else float(series.carbon[row]),
    )


def covered(own: Floats, draw: Floats) -> Floats:
    """Share (0..1) of each draw that own supply covers; 1 for a draw of zero with any supply."""
    share = (own > 0).astype(np.float64)
    np.divide(own, draw, out=share, where=own < draw)
    return share


def _period(hours: int) -> int:
    return hours // _DAY * _DAY or hours


def _sun(supply: Supply, place: Place | None, start: float, hours: int) -> Floats:
    if supply.sun is None:
        return np.zeros(hours)
    if place is None:
        raise InputError("place", None, "needed for sun: latitude, longitude, country")
    return sun_power(supply.sun.capacity, place, supply.sun.capacity_factor, start, hours)


def _wind(supply: Supply, start: float, hours: int) -> Floats:
    wind = supply.wind
    if wind is None:
        return np.zeros(hours)
    return wind_power(wind.capacity, wind.capacity_factor, wind.seed, start, hours)


def _constant(value: float | None, hours: int) -> Floats | None:
    return None if value is None else np.full(hours, value)


def _checked_hours(columns: Mapping[str, Floats]) -> int:
    for name in columns:
        if name not in COLUMNS:
            allowed = f"no such column{nearest(name, COLUMNS)}; allowed: {', '.join(COLUMNS)}"
            raise InputError("column", name, allowed)
    lengths = {name: len(values) for name, values in columns.items()}
    hours = max(lengths.values(), default=0)
    if hours == 0:
        raise InputError("columns", sorted(lengths), "allowed: at least one column with one hour")
    for name, length in lengths.items():
        if length != hours:
            raise InputError(name, length, f"allowed: {hours} hours, as the longest column has")
    return hours


def _column(columns: Mapping[str, Floats], name: str, absent: Floats) -> Floats:
    if name not in columns:
        return absent
    values = np.array(columns[name], dtype=np.float64)
    least = -np.inf if name == _SIGNED else 0.0
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= least)))
    if wrong.size:
        row = int(wrong[0])
        allowed = "allowed: a number" + ("" if name == _SIGNED else " of 0 or more")
        raise InputError(f"{name}[{row}]", float(values[row]), allowed)
    return values


def _given_or(columns: Mapping[str, Floats], name: str, absent: Floats | None) -> Floats | None:
    return _column(columns, name, np.zeros(0)) if name in columns else absent
