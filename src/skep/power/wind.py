"""Wind: a seeded, autocorrelated hourly series that keeps a capacity factor in the long run.

The two components of the wind vector are independent first-order autoregressive Gaussian series;
the length of that vector is the wind speed, so speeds are Rayleigh distributed. A farm's power
curve maps speed to output, and the one free scale of speed is chosen so that the expected output
is the capacity factor. Formulas, sources and measured error: docs/models/power.md.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from skep.errors import InputError
from skep.model.snapshot import Floats, Ints
from skep.power.hours import hours_from

HOUR_CORRELATION = 0.95
"""Correlation of the wind speed with that of the hour before; of the vector: its root."""

CUT_IN, RATED = 3.0, 12.0  # m/s, a pitch-controlled turbine
_SPREAD_AT_REST, _SPREAD_PER_SPEED = 0.6, 0.2  # m/s and 1: speeds over a farm within an hour

_BLOCK = 1024  # hours; each block is computed from the noise of itself and of the one before
_ORIGIN = 1 << 40  # blocks before the epoch that have noise of their own
_DRAWS = 2  # random numbers per hour


def wind_power(
    capacity: float, capacity_factor: float, seed: int, start: float, hours: int
) -> Floats:
    """W in each of ``hours`` hours from the hour of ``start`` (epoch s), at most ``capacity``.

    The value of an hour depends on ``seed`` and that hour alone, not on where the window starts.
    The mean tends to ``capacity * capacity_factor``; single years vary around it, as real ones
    do. Raises ``InputError`` where no wind could give the capacity factor.
    """
    speed = _scale(capacity_factor) * _unit_speed(seed, hours_from(start, hours))
    return capacity * farm_output(speed)


def farm_output(speed: Floats) -> Floats:
    """Share of its capacity (0..1) that a farm gives at a mean wind speed in m/s."""
    speeds, output = _farm_curve()
    share: Floats = np.interp(speed, speeds, output)
    return share


def _unit_speed(seed: int, hours: Ints) -> Floats:
    """Rayleigh distributed, autocorrelated: the length of a vector of unit variances."""
    if not len(hours):
        return np.zeros(0)
    first, last = int(hours[0]) // _BLOCK, int(hours[-1]) // _BLOCK
    vector = _autoregressive(_noise(seed, first - 1, last + 1))
    speed: Floats = np.hypot(vector[0], vector[1]).reshape(-1)
    return speed[hours - first * _BLOCK]


def _noise(seed: int, first: int, end: int) -> Floats:
    """2 x blocks x hours of standard normals (Box and Muller) for blocks ``first`` to ``end``."""
    blocks = end - first
    counter = (first + _ORIGIN) * (_BLOCK * _DRAWS // 4)  # Philox gives 4 numbers per count
    raw = np.random.Philox(key=seed % (1 << 128), counter=counter).random_raw(
        blocks * _BLOCK * _DRAWS
    )
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    pair = np.stack([radius * np.cos(angle), radius * np.sin(angle)])
    return pair.reshape(2, blocks, _BLOCK)


def _autoregressive(noise: Floats) -> Floats:
    """x[h] = a x[h-1] + sqrt(1 - a²) noise[h] for all blocks but the first.

    Each block starts from nothing one block earlier: what it then misses has decayed to
    a^1024 < 1e-11. Sums run in the order of hours, so that a value has the same last bit in
    every window.
    """
    keep = np.sqrt(HOUR_CORRELATION)
    pairs = np.concatenate([noise[:, :-1], noise[:, 1:]], axis=2)
    decay = keep ** np.arange(2 * _BLOCK)
    sums = np.cumsum(pairs / decay, axis=2) * decay
    return np.asarray(np.sqrt(1.0 - keep**2) * sums[:, :, _BLOCK:])


def _turbine(speed: Floats) -> Floats:
    """Output of one turbine, 0..1: cubic from cut-in to rated speed. Cut-out is left out."""
    cubic = (speed**3 - CUT_IN**3) / (RATED**3 - CUT_IN**3)
    return np.clip(np.where(speed > CUT_IN, cubic, 0.0), 0.0, 1.0)


@cache
def _farm_curve() -> tuple[Floats, Floats]:
    """Speeds and the turbine's output averaged over the spread of speeds within a farm."""
    speeds = np.arange(0.0, 60.0, 0.05)
    offsets = np.linspace(-4.0, 4.0, 161)
    weights = np.exp(-(offsets**2) / 2.0)
    spread = (_SPREAD_AT_REST + _SPREAD_PER_SPEED * speeds)[:, None] * offsets
    output = _turbine(speeds[:, None] + spread) @ (weights / weights.sum())
    return speeds, np.maximum.accumulate(output)


def _scale(capacity_factor: float) -> float:
    """m/s by which a unit speed is multiplied so that the expected output is the factor."""
    scales, expected = _expected()
    if not expected[0] <= capacity_factor <= expected[-1]:
        raise InputError("wind.capacity_factor", capacity_factor, "allowed: 0.001 to 0.98")
    return float(np.interp(capacity_factor, expected, scales))


@cache
def _expected() -> tuple[Floats, Floats]:
    """Scales in m/s and the mean output over the Rayleigh distribution, by its quantiles."""
    scales, steps = np.geomspace(1.0, 60.0, 500), 2000
    unit = np.sqrt(-2.0 * np.log1p(-(np.arange(steps) + 0.5) / steps))
    return scales, farm_output(np.outer(scales, unit)).mean(axis=1)
