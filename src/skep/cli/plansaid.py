"""What the options of ``skep plan`` mean, checked; loaded only when a plan is made."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources

from skep import units
from skep.errors import InputError, nearest
from skep.planner.bill import Prices
from skep.planner.goodput import RATES, Failing
from skep.planner.layout import RECOMPUTE
from skep.planner.sites import Exchange
from skep.planner.space import USUAL, Constraints
from skep.planner.training import Conditions, Link

DEGREES = ("tp", "pp", "dp", "cp", "ep", "virtual", "micro_batch", "zero")


@dataclass(frozen=True, slots=True)
class Said:
    """Options as they were typed, that make up the conditions."""

    sites: int = 1
    link: str | None = None
    rtt: str = "30ms"
    interval: int = 100
    bits: float = 8.0
    overlap: bool = False
    pue: float = 1.2
    price: float | None = None
    carbon: float | None = None
    place: str | None = None
    failures: float = RATES[1] * 1e3
    restart: str = "10m"


def conditions(said: Said) -> Conditions:
    """What they mean. ``InputError`` names the option that cannot be."""
    if said.sites > 1 and said.link is None:
        raise InputError("--link", None, "allowed: a rate such as '10 Gbit/s' (needed for --sites)")
    rate = None if said.link is None else quantity("--link", said.link, units.parse_rate)
    if rate == 0:
        raise InputError("--link", said.link, "allowed: more than 0")
    between("--bits", said.bits, 0.1, 64)
    between("--pue", said.pue, 1.0, 5.0)
    between("--price", said.price, 0.0, 100.0)
    between("--carbon", said.carbon, 0.0, 5000.0)
    between("--failures", said.failures, 0.0, 1e5)
    link = None
    if rate is not None:
        link = Link(rate, quantity("--rtt", said.rtt, units.parse_duration))
    return Conditions(
        sites=said.sites,
        link=link,
        exchange=Exchange(said.interval, said.bits, 1.0 if said.overlap else 0.0),
        failing=Failing(
            per_node_day=max(said.failures / 1e3, 1e-12),
            restart=quantity("--restart", said.restart, units.parse_duration),
        ),
        prices=Prices(said.pue, said.price, said.carbon or carbon_of(said.place)),
    )


def quantity(option: str, text: str, parse: Callable[[object], float]) -> float:
    """``text`` with its unit, in base units. ``InputError`` names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise InputError(option, text, str(error)) from None


def limit(option: str, text: str | None) -> float | None:
    """A duration, or ``None`` where none was given; 0 is refused."""
    if text is None:
        return None
    found = quantity(option, text, units.parse_duration)
    if found <= 0:
        raise InputError(option, text, "allowed: more than 0")
    return found


def count(option: str, text: str | None) -> float | None:
    """A number of tokens such as ``15T`` or ``300e9``."""
    if text is None:
        return None
    scales = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
    scale = scales.get(text[-1:].casefold(), 1.0)
    try:
        found = float(text[:-1] if scale != 1.0 else text) * scale
    except ValueError:
        found = 0.0
    if not 1 <= found < 1e18:
        raise InputError(option, text, "allowed: a number of tokens such as 15T or 300G")
    return found


def fixed(words: list[str] | None) -> Constraints:
    """The space of layouts with these parts fixed. ``InputError`` for a part that is none."""
    found: dict[str, tuple[int, ...] | tuple[str, ...] | tuple[bool, ...]] = {}
    for text in (part for word in words or () for part in word.split(",")):
        name, _, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        if name == "recompute" and value in RECOMPUTE:
            found[name] = (value,)
        elif name == "uneven" and value in ("0", "1"):
            found[name] = (value == "1",)
        elif name in DEGREES and value.isdigit() and int(value) >= (0 if name == "zero" else 1):
            found[name] = (int(value),)
        else:
            allowed = (
                f"allowed: {', '.join(DEGREES)} = a whole number, uneven = 0 or 1, recompute = "
                + (", ".join(RECOMPUTE))
            )
            raise InputError("--layout", text.strip(), allowed + nearest(name, DEGREES))
    return replace(USUAL, **found)  # type: ignore[arg-type]


def between(option: str, value: float | None, least: float, most: float) -> None:
    """``InputError`` where ``value`` is outside."""
    if value is not None and not least <= value <= most:
        raise InputError(option, value, f"allowed: {least:g} to {most:g}")


def carbon_of(place: str | None) -> float | None:
    """gCO2/kWh of the grid at a place of ``places.csv``; ``None`` where none was asked."""
    if place is None:
        return None
    table = resources.files("skep.data").joinpath("places.csv").read_text(encoding="utf-8")
    known = {row["place"]: row for row in csv.DictReader(table.splitlines())}
    if place not in known:
        near = nearest(place, known)
        raise InputError("--place", place, f"allowed: {', '.join(known)}{near}")
    return float(known[place]["carbon_g_kwh"])
