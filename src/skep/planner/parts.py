"""Parts of a training: chips of one kind at one site, how many may work, what batches suit them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from skep.errors import InputError
from skep.model.chip import Chip
from skep.planner.bill import Prices
from skep.planner.match import smooth

FINE = 32.0
EVEN = 64
"""Chips below a power cap are a multiple of this, so that many layouts divide them."""


@dataclass(frozen=True, slots=True)
class Part:
    """Chips of one kind at one site. ``count`` may be more than a power cap lets work (``cap``, W
    at the meter of the site's part, ``None`` for no limit)."""

    site: str
    chip: Chip
    count: int
    prices: Prices
    cap: float | None = None

    @property
    def usable(self) -> int:
        """Chips that may work at once below the cap, at their rated draw."""
        each = self.chip.busy_power * self.prices.pue
        if self.cap is None or not each:
            return self.count
        return min(self.count, int(self.cap / each))


def count(part: Part) -> int:
    """Chips that work: all, or a number below the cap that layouts divide."""
    most = part.usable
    if most < 1:
        cap = f"its power cap of {part.cap:,.0f} W lets no chip work"
        raise InputError(part.site, part.count, cap)
    if most == part.count:
        return most
    unit = min(EVEN, 1 << (most.bit_length() - 1))
    return unit * max(smooth(most // unit))


def batch_near(wanted: float, parts: float, chips: int) -> int:
    """Sequences near ``wanted``, in units of its ``parts``-th at most that divide ``chips``."""
    unit = chips
    for prime in (2, 3, 5, 7):
        while unit > wanted / parts and unit % prime == 0:
            unit //= prime
    unit = unit if unit <= max(wanted, 1.0) else 1
    return max(1, round(wanted / unit)) * unit


def batches_around(wanted: float, around: float, chips: int, most: int) -> list[int]:
    """Up to ``most`` numbers of sequences within ``around`` (relative) of ``wanted``, or the one
    nearest to it: first multiples of large divisors of ``chips``, which many layouts divide."""
    found: dict[int, None] = {batch_near(wanted, FINE, chips): None}
    low, high = wanted * (1.0 - around), wanted * (1.0 + around)
    unit = chips
    while len(found) < most:
        for number in range(max(1, ceil(low / unit)), int(high / unit) + 1):
            found.setdefault(number * unit)
        if unit == 1:
            break
        unit //= next((prime for prime in (2, 3, 5, 7) if unit % prime == 0), unit)
    return list(found)[:most]
