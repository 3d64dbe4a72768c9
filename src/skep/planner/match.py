"""How many of some chips do what a top system does: numbers, power, space, price, and ratios."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import count, takewhile
from math import ceil

from skep.model.chip import Chip
from skep.model.fact import System
from skep.planner.bill import Power, Prices, power
from skep.planner.training import together
from skep.planner.unknown import Filled

NODE = 8
MOST = 4_194_304
CABINET_FLOOR = (2.5, 6.25)
"""m2 of a cabinet with its aisles: 0.6 m wide in rows 2.4 m apart, and a share of what cools and
feeds it (an assumption); and what Huawei tells of Atlas 950 (1,000 m2 for 160)."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a match: ``chips`` of a kind that do ``rate`` tokens/s, low and high around it.

    ``layout`` in words. ``cabinets``, ``floor`` and ``price`` (low, high, USD) are ``None`` if
    nobody knows.
    """

    chip: Chip
    chips: int
    rate: float
    low: float
    high: float
    status: str
    layout: str
    power: Power
    cabinets: float | None
    price: tuple[float, float] | None
    floor: tuple[float, float] | None = None  # m2, low and high; alike where it is published
    gaps: tuple[str, ...] = ()
    guessed: frozenset[str] = frozenset()  # fields of the chip that are not published
    busy: float = 1.0


@dataclass(frozen=True, slots=True)
class Alternative:
    """Sides that together do what the target does, and how many of them that may be (80 %)."""

    sides: tuple[Side, ...]
    fewest: float
    most: float
    reached: bool = True

    @property
    def chips(self) -> int:
        """Chips of all kinds."""
        return sum(side.chips for side in self.sides)

    @property
    def rate(self) -> float:
        """Tokens/s of all sides."""
        return sum(side.rate for side in self.sides)


@dataclass(frozen=True, slots=True)
class Match:
    """The target and what matches it."""

    target: Side
    alternatives: tuple[Alternative, ...]


def least(
    rate: Callable[[int], float], wanted: float, unit: int, most: int = MOST, near: float = 1.0
) -> int | None:
    """The fewest chips whose rate is ``wanted``: so many times ``unit``, as layouts divide them.

    Looked at are 1, 2, 3, … units without prime factors above 7, a few % apart: 337 nodes would
    be slow for want of a divisor. ``None`` above ``most``. ``rate`` may refuse a number with 0; it
    grows with the chips but for small steps. ``near``: a first guess, which saves questions.
    """
    counts = [unit * number for number in smooth(most // unit)]
    high = min(bisect_left(counts, near), len(counts) - 1)
    low, stride = -1, 8
    while rate(counts[high]) < wanted:
        if high == len(counts) - 1:
            return None
        low, high = high, min(high + stride, len(counts) - 1)
        stride *= 2
    stride = 8
    while low < 0 and high > 0:  # the guess was enough: are fewer?
        fewer = max(high - stride, 0)
        stride *= 2
        if rate(counts[fewer]) < wanted:
            low = fewer
        else:
            high = fewer
    while high - low > 1:
        middle = (low + high) // 2
        if rate(counts[middle]) >= wanted:
            high = middle
        else:
            low = middle
    return counts[high]


@cache
def smooth(most: int) -> tuple[int, ...]:
    """Numbers up to ``most`` whose prime factors are 2, 3, 5 and 7, ascending."""
    found = {1}
    for prime in (2, 3, 5, 7):
        powers = takewhile(lambda p: p <= most, (prime**n for n in count()))
        found = {number * power for power in powers for number in found if number * power <= most}
    return tuple(sorted(found))


def ratio(one: float | None, other: float | None) -> float | None:
    """``one`` over ``other``; ``None`` where either is not known."""
    return one / other if one is not None and other else None


def band(target: Side, sides: Iterable[Side]) -> tuple[float, float]:
    """Factors below and above of the number of chips, by what both sides' rates may be."""
    mine = tuple(sides)
    whole = sum(side.rate for side in mine)
    low = sum(side.low for side in mine) / whole
    high = sum(side.high for side in mine) / whole
    fewer = together(target.low / target.rate, 1.0 / high)
    more = together(target.high / target.rate, 1.0 / low)
    return fewer, more


def side(
    filled: Filled,
    chips: int,
    rates: tuple[float, float, float],
    status: str,
    layout: str,
    prices: Prices,
    systems: Mapping[str, System],
    busy: float = 1.0,
) -> Side:
    """A side with its power, space and price. ``rates`` are the rate, and low and high."""
    rate, low, high = rates
    chip, guessed, gaps = filled.chip, filled.fields, filled.gaps
    sold = _sold(chip.kind, systems)
    if sold is not None:  # whole systems have a price: the chip's own is not needed
        guessed -= {"price_low"}
        gaps = tuple(gap for gap in gaps if not gap.startswith("price"))
    return Side(
        chip=chip,
        chips=chips,
        rate=rate,
        low=low,
        high=high,
        status=status,
        layout=layout,
        power=power(chip, chips, busy, prices),
        cabinets=_cabinets(chip.kind, chips, systems),
        price=(sold * chips, sold * chips) if sold is not None else _price(chip, chips),
        floor=_floor(chip.kind, chips, systems),
        gaps=gaps,
        guessed=guessed,
        busy=busy,
    )


def _system_of(kind: str, systems: Mapping[str, System]) -> Iterable[System]:
    """Systems that are sold (not whole sites) with that kind, the smallest first."""
    found = [s for s in systems.values() if s.kind == kind and s.chips and s.cabinets]
    return sorted(found, key=lambda s: s.chips or 0)


def _cabinets(kind: str, chips: int, systems: Mapping[str, System]) -> float | None:
    for system in _system_of(kind, systems):
        assert system.chips
        assert system.cabinets
        return float(ceil(chips / system.chips * system.cabinets))
    return None


def _floor(kind: str, chips: int, systems: Mapping[str, System]) -> tuple[float, float] | None:
    """m2: as a system of the kind is told to take, else so much per cabinet (``CABINET_FLOOR``)."""
    for system in _system_of(kind, systems):
        each = system.per_chip(system.floor)
        if each is not None:
            return each * chips, each * chips
    cabinets = _cabinets(kind, chips, systems)
    if cabinets is None:
        return None
    return cabinets * CABINET_FLOOR[0], cabinets * CABINET_FLOOR[1]


def _sold(kind: str, systems: Mapping[str, System]) -> float | None:
    """USD of one chip in a system whose price is known."""
    each = (system.per_chip(system.price) for system in _system_of(kind, systems))
    return next((price for price in each if price is not None), None)


def _price(chip: Chip, chips: int) -> tuple[float, float] | None:
    if chip.price_low is None or chip.price_high is None:
        return None
    return chip.price_low * chips, chip.price_high * chips
