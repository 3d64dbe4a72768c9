"""Supply: the electricity a site may draw over time."""

from __future__ import annotations

from pydantic import Field

from skep.model.base import Spec, Watts


class Sun(Spec):
    """Solar panels at the site; clear-sky yield computed for its place."""

    capacity: Watts
    capacity_factor: float | None = Field(
        default=None, gt=0, lt=1, description="yearly mean to scale to"
    )


class Wind(Spec):
    """Wind turbines at the site; a seeded, autocorrelated series fitted to a capacity factor."""

    capacity: Watts
    capacity_factor: float = Field(gt=0, lt=1, description="published yearly mean of its region")
    seed: int = Field(default=0, ge=0)
    source: str = ""


class Grid(Spec):
    """The connection to the public grid."""

    carbon: float | None = Field(default=None, ge=0, description="gCO2eq per kWh")
    price: float | None = Field(default=None, ge=0, description="USD per MWh")
    renewable_share: float = Field(default=0.0, ge=0, le=1)
    source: str = ""


class Supply(Spec):
    """What feeds a site besides the grid, in hourly steps; ``file`` replaces sun and wind.

    ``file`` is a CSV: first column the start of the hour (UTC), then any of the columns
    ``sun_w``, ``wind_w``, ``carbon_g_kwh``, ``price_usd_mwh``.
    """

    sun: Sun | None = None
    wind: Wind | None = None
    grid: Grid = Grid()
    file: str | None = None
