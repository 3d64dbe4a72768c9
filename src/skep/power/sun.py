"""Sun: clear-sky yield of panels at a place, hour by hour.

Ineichen's clear-sky model with a fixed Linke turbidity, on a plane tilted by the latitude toward
the equator; all solar functions are pvlib's. Formulas, sources and error: docs/models/power.md.
"""

from __future__ import annotations

import calendar
from functools import lru_cache

import numpy as np

from skep.errors import InputError
from skep.model.site import Place
from skep.model.snapshot import Floats, Ints
from skep.power.hours import HOUR, hours_from

LINKE_TURBIDITY = 3.0  # a clear, rural mid-latitude sky
SYSTEM_LOSSES = 0.14  # PVWatts' default
STANDARD_IRRADIANCE = 1000.0  # W/m2 at which a panel gives its capacity
_REFERENCE_YEAR = calendar.timegm((2025, 1, 1, 0, 0, 0))
_REFERENCE_DAYS = range(0, 365, 5)  # their mean is that of the year within 0.1 %
_NEAREST_POLE = 89.9  # degrees; at a pole itself the sun has no azimuth


def sun_power(
    capacity: float, place: Place, capacity_factor: float | None, start: float, hours: int
) -> Floats:
    """W in each of ``hours`` hours from the hour of ``start`` (epoch s), at most ``capacity``.

    Without a capacity factor: clear sky all year, less system losses. With one: the same shape
    scaled so that its yearly mean is the factor, clipped at ``capacity`` (so every day is equally
    cloudy). Raises ``InputError`` where the place has too little daylight for the factor.
    """
    shape = _clear_sky(place.latitude, place.longitude, hours_from(start, hours))
    if capacity_factor is None:
        return capacity * np.minimum(shape * (1.0 - SYSTEM_LOSSES), 1.0)
    scale = _scale(place.latitude, place.longitude, capacity_factor)
    return capacity * np.minimum(scale * shape, 1.0)


def _clear_sky(latitude: float, longitude: float, hours: Ints) -> Floats:
    """Irradiance on the panels in the middle of each hour, as a share of 1000 W/m2."""
    from pvlib import irradiance, solarposition  # late: the import takes a second

    middles = (hours * HOUR + HOUR // 2).astype("datetime64[s]")
    day = (middles.astype("datetime64[D]") - middles.astype("datetime64[Y]")).astype(float) + 1.0
    declination = solarposition.declination_spencer71(day)
    minutes = solarposition.equation_of_time_spencer71(day)
    angle = np.radians(15.0 * (hours % 24 + 0.5 - 12.0) + longitude + minutes / 4.0)
    angle = (angle + np.pi) % (2.0 * np.pi) - np.pi
    where = np.radians(np.clip(latitude, -_NEAREST_POLE, _NEAREST_POLE))
    zenith = solarposition.solar_zenith_analytical(where, angle, declination)
    azimuth = solarposition.solar_azimuth_analytical(where, angle, declination, zenith)
    zenith, azimuth = np.degrees(zenith), np.degrees(azimuth)
    extra = irradiance.get_extra_radiation(day)
    direct, horizontal, diffuse = _sky(zenith, extra)
    toward_equator = 180.0 if latitude >= 0 else 0.0
    total = irradiance.get_total_irradiance(
        abs(latitude), toward_equator, zenith, azimuth, direct, horizontal, diffuse
    )
    plane = np.nan_to_num(np.asarray(total["poa_global"], dtype=np.float64))
    return np.where(zenith < 90.0, np.maximum(plane, 0.0), 0.0) / STANDARD_IRRADIANCE


def _sky(zenith: Floats, extra: Floats) -> tuple[Floats, Floats, Floats]:
    """W/m2: direct normal, global horizontal, diffuse horizontal; zero while the sun is down."""
    from pvlib import atmosphere, clearsky

    airmass = np.nan_to_num(atmosphere.get_relative_airmass(zenith), nan=40.0)
    with np.errstate(divide="ignore"):  # pvlib divides by an intermediate that is zero at night
        sky = clearsky.ineichen(zenith, airmass, LINKE_TURBIDITY, dni_extra=extra)
    direct, horizontal, diffuse = (np.nan_to_num(sky[name]) for name in ("dni", "ghi", "dhi"))
    return direct, horizontal, diffuse


@lru_cache(maxsize=4096)
def _scale(latitude: float, longitude: float, capacity_factor: float) -> float:
    """What the clear-sky shape is multiplied by to have the capacity factor as yearly mean."""
    days = [hours_from(_REFERENCE_YEAR + 24 * HOUR * day, 24) for day in _REFERENCE_DAYS]
    shape = _clear_sky(latitude, longitude, np.concatenate(days))
    low, high = 0.0, 1e3
    most = float(np.minimum(high * shape, 1.0).mean())
    if capacity_factor > most:
        raise InputError("sun.capacity_factor", capacity_factor, f"allowed: up to {most:.2f} here")
    for _ in range(60):
        middle = (low + high) / 2.0
        mean = float(np.minimum(middle * shape, 1.0).mean())
        low, high = (middle, high) if mean < capacity_factor else (low, middle)
    return (low + high) / 2.0
