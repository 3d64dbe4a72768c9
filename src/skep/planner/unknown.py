"""What is not published: filled from what other chips have, as a middle and a range.

One rule for every field: its ratio to the 16-bit peak over all chips of the catalogue that have
both; the median fills the gap, the 10th and 90th percentiles are the range. Formats follow from
each other where a wider one is known (fp8 = 2 x bf16). Memory is never guessed: without it nothing
can be said of what fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from skep.errors import InputError
from skep.model.chip import Chip

Field = Literal[
    "memory_bandwidth", "scale_up_bandwidth", "nic", "chip_power", "busy_power", "price_low"
]
FIELDS: tuple[Field, ...] = (
    "memory_bandwidth",
    "scale_up_bandwidth",
    "nic",
    "chip_power",
    "busy_power",
    "price_low",
)
SPEED: frozenset[Field] = frozenset(("memory_bandwidth", "scale_up_bandwidth", "nic"))
NAMES: Mapping[str, str] = {
    "memory_bandwidth": "memory bandwidth",
    "scale_up_bandwidth": "bandwidth into its block",
    "nic": "network bandwidth",
    "chip_power": "power of the chip",
    "busy_power": "power of the system",
    "price_low": "price",
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A chip without gaps: ``chip`` in the middle, ``low`` and ``high`` at the ends of the ranges.

    ``gaps`` says of each field that was not published what was taken, in words.
    """

    chip: Chip
    low: Chip
    high: Chip
    gaps: tuple[str, ...]
    fields: frozenset[str]


def fill(chip: Chip, others: Iterable[Chip]) -> Filled:
    """``chip`` with its gaps filled from ``others``. ``InputError`` without memory or any peak.

    A chip that skep holds to a speed has none: its speed is all that counts.
    """
    known = list(others)
    if chip.held_to:
        return Filled(chip, chip, chip, (), frozenset())
    peak, said = _peak(chip)
    if chip.memory is None or not chip.memory:
        allowed = (
            "memory of this chip is not published; allowed: give it in your own file (--chips)"
        )
        raise InputError("chip", chip.kind, allowed)
    values: dict[str, list[float]] = {}
    gaps = [said] if said else []
    for name in FIELDS:
        if getattr(chip, name):
            continue
        values[name] = [peak * r for r in _ratios(name, known)]
        gaps.append(_told(name, values[name]))
    size = {} if chip.scale_up_size else {"scale_up_size": 8}
    if size:
        gaps.append("chips of a block: 8 taken")
    middle, low, high = (
        chip.model_copy(
            update={"peak_flops": peak, **size, **{n: v[i] for n, v in values.items()}}
            | _ends(values, i)
        )
        for i in (1, 0, 2)
    )
    return Filled(middle, low, high, tuple(gaps), frozenset(values) | size.keys())


def _peak(chip: Chip) -> tuple[float, str]:
    if chip.peak_flops:
        return chip.peak_flops, ""
    for name, factor in (("fp8_flops", 2.0), ("int8_ops", 2.0), ("fp4_flops", 4.0)):
        value = getattr(chip, name)
        if value:
            word = name.split("_")[0]
            return value / factor, f"16-bit peak: {word} / {factor:g} taken"
    allowed = "no peak rate of this chip is published; allowed: give it in your own file (--chips)"
    raise InputError("chip", chip.kind, allowed)


def _ratios(name: str, known: list[Chip]) -> list[float]:
    found = [getattr(c, name) / c.peak_flops for c in known if getattr(c, name) and c.peak_flops]
    return [float(v) for v in np.percentile(found, (10, 50, 90))]


def _ends(values: Mapping[str, list[float]], end: int) -> dict[str, float]:
    """What hangs on what was filled: idle power; the price as a range, on the middle too."""
    made: dict[str, float] = {}
    if "busy_power" in values:
        made["idle_power"] = 0.2 * values["busy_power"][end]
    if "price_low" in values:
        low, _, high = values["price_low"]
        made |= {"price_low": low, "price_high": high}
    return made


def _told(name: str, found: list[float]) -> str:
    low, middle, high = found
    match name:
        case "chip_power" | "busy_power":
            text = f"{middle:,.0f} W taken ({low:,.0f} to {high:,.0f})"
        case "price_low":
            text = f"{middle / 1e3:,.0f} thousand USD taken ({low / 1e3:,.0f} to {high / 1e3:,.0f})"
        case "nic":
            text = f"{middle / 1e9:,.0f} Gbit/s taken ({low / 1e9:,.0f} to {high / 1e9:,.0f})"
        case _:
            text = f"{middle / 1e9:,.0f} GB/s taken ({low / 1e9:,.0f} to {high / 1e9:,.0f})"
    return f"{NAMES[name]}: {text}, as other chips have for their peak"
