"""Power, energy, price and carbon of a plan. ``None`` is not known, never zero.

Draw of one chip with its share of the system, W, at work for the share ``busy`` of the time:
``idle + (full - idle) busy``, where full = 0.68 x what the vendor rates the system at. The 0.68 is
measured: H100 and B200 nodes at the wall (docs/models/planning.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from skep.model.chip import Chip

AT_WORK = 0.68
"""Wall power of a training node over its rated power."""
AT_WORK_RANGE = (0.55, 0.80)
"""The same over single measured runs (0.50 to 0.78)."""
JOULES_PER_KWH = 3.6e6
HOURS = 3600.0


@dataclass(frozen=True, slots=True)
class Prices:
    """What a site pays and emits: PUE, USD/kWh, gCO2/kWh. ``None``: nobody said."""

    pue: float = 1.2
    usd_per_kwh: float | None = None
    carbon: float | None = None
    years: float = 4.0  # over which chips are paid for


@dataclass(frozen=True, slots=True)
class Power:
    """W of all chips: the chips alone at their rated power, their systems at work, the building."""

    chip: float | None
    system: float | None
    facility: float | None


@dataclass(frozen=True, slots=True)
class Bill:
    """What a time on some chips takes. ``hardware`` is (low, high) USD to buy the chips.

    ``usd`` is electricity alone; ``owned`` (low, high) is the hardware's share of its life for the
    time of the plan.
    """

    power: Power
    seconds: float
    joules: float | None
    usd: float | None
    carbon_kg: float | None
    hardware: tuple[float, float] | None
    owned: tuple[float, float] | None


def draw(chip: Chip, busy: float) -> float | None:
    """W of one chip with its share of the system, at work for ``busy`` of the time."""
    if not chip.busy_power:
        return None
    full = max(AT_WORK * chip.busy_power, chip.idle_power)
    return chip.idle_power + (full - chip.idle_power) * min(max(busy, 0.0), 1.0)


def power(chip: Chip, count: float, busy: float, prices: Prices) -> Power:
    """Power of ``count`` chips."""
    each = draw(chip, busy)
    return Power(
        chip=None if chip.chip_power is None else chip.chip_power * count,
        system=None if each is None else each * count,
        facility=None if each is None else each * count * prices.pue,
    )


def bill(
    chip: Chip,
    count: float,
    seconds: float,
    busy: float,
    prices: Prices,
    idle_seconds: float = 0.0,
) -> Bill:
    """What ``seconds`` of work take, and ``idle_seconds`` in which the chips wait for others."""
    drawn = power(chip, count, busy, prices)
    joules = None
    if drawn.facility is not None:
        joules = drawn.facility * seconds + chip.idle_power * count * prices.pue * idle_seconds
    kwh = None if joules is None else joules / JOULES_PER_KWH
    low, high = chip.price_low, chip.price_high
    hardware = (low * count, high * count) if low is not None and high is not None else None
    part = (seconds + idle_seconds) / (prices.years * 365 * 24 * HOURS)
    return Bill(
        power=drawn,
        seconds=seconds,
        joules=joules,
        usd=_times(kwh, prices.usd_per_kwh),
        carbon_kg=_times(kwh, None if prices.carbon is None else prices.carbon / 1e3),
        hardware=hardware,
        owned=(hardware[0] * part, hardware[1] * part) if hardware else None,
    )


def _times(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one * other
