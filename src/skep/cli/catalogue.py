"""``skep chips`` and ``skep systems``: the catalogue, each value with its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson
from skep.units import si

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from skep.model.chip import Chip
    from skep.model.fact import Fact, System

UNKNOWN = "–"
Chips = Annotated[
    Path | None,
    typer.Option("--chips", help="A file with chips of your own.", show_default=False),
]


def chips(
    kind: Annotated[
        str | None, typer.Argument(help="One kind, with the source of each value.")
    ] = None,
    vendor: Annotated[
        str | None, typer.Option("--vendor", help="Only of this vendor.", show_default=False)
    ] = None,
    since: Annotated[
        int | None, typer.Option("--since", help="Only of this year or later.", show_default=False)
    ] = None,
    own: Chips = None,
    as_json: AsJson = False,
) -> None:
    """List the accelerators that skep knows; "–" is not published."""
    from skep.cli.output import show, show_json
    from skep.data import catalogue
    from skep.files.chipfile import find_chip, load_chips

    known = load_chips(own)
    if kind is not None:
        chip = find_chip(kind, known, "KIND")
        facts = catalogue.chip_facts().get(kind, {})
        if chip != catalogue.chips().get(kind):
            facts = {}  # the user's own entry: its values are not the catalogue's
        if as_json:
            show_json({**chip.model_dump(), "facts": _plain(facts)})
        else:
            show(*(_facts(facts) if facts else (_own(chip),)))
        return
    listed = [c for c in known.values() if _wanted(c, vendor, since)]
    if as_json:
        show_json(listed)
    else:
        show(
            _chips(listed),
            "",
            _CHIP_WORDS,
            f"{len(listed)} kinds; `skep chips KIND` tells all values and where they are from",
        )


def systems(
    name: Annotated[
        str | None, typer.Argument(help="One system, with the source of each value.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--chip", help="Only with this kind of chip.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the systems that skep knows: nodes, racks, pods, sites.

    "–" is not published.
    """
    from skep.cli.output import show, show_json
    from skep.data import catalogue
    from skep.files.chipfile import find_chip, find_system

    known = catalogue.systems()
    if name is not None:
        system = find_system(name, known, "NAME")
        facts = catalogue.system_facts()[name]
        if as_json:
            show_json({**system.model_dump(), "facts": _plain(facts)})
        else:
            show(*_facts(facts))
        return
    if kind is not None:
        find_chip(kind, catalogue.chips(), "--chip")
    listed = [s for s in known.values() if kind is None or s.kind == kind]
    if as_json:
        show_json(listed)
    else:
        told = f"{len(listed)} systems; `skep systems NAME` tells all values and their sources"
        show(_systems(listed), "", _SYSTEM_WORDS, told)


def _wanted(chip: Chip, vendor: str | None, since: int | None) -> bool:
    if vendor is not None and chip.vendor.casefold() != vendor.casefold():
        return False
    return since is None or (chip.year is not None and chip.year >= since)


def _plain(facts: Mapping[str, Fact]) -> dict[str, object]:
    return {name: fact.model_dump(exclude={"name"}) for name, fact in facts.items()}


def figure(value: float | None, scale: float = 1.0, digits: int = 4) -> str:
    """``value`` in units of ``scale`` with so many digits; "–" where it is not known."""
    return UNKNOWN if value is None else f"{float(f'{value / scale:.{digits}g}'):,.10g}"


def prices(low: float | None, high: float | None) -> str:
    """A price, or the range of prices, in thousands of USD."""
    if low is None or high is None:
        return UNKNOWN
    text = figure(low, 1e3, 2)
    return text if low == high else f"{text}–{figure(high, 1e3, 2)}"


def _chips(listed: list[Chip]) -> Table:
    from skep.cli.tables import table

    columns = ("KIND", "YEAR", "BF16", "FP8", "FP4", "GB", "TB/s", "BLOCK", "W", "1000 $", "C")
    made = table(*columns, right=columns[1:-1], whole=True)
    for chip in listed:
        made.add_row(
            chip.kind,
            str(chip.year or UNKNOWN),
            *(figure(v, 1e12) for v in (chip.peak_flops, chip.fp8_flops, chip.fp4_flops)),
            figure(chip.memory, 1e9),
            figure(chip.memory_bandwidth, 1e12, 3),
            figure(chip.scale_up_size, digits=6),
            figure(chip.busy_power or None),
            prices(chip.price_low, chip.price_high),
            chip.confidence or UNKNOWN,
        )
    return made


_CHIP_WORDS = (
    "dense TFLOP/s by format; memory; chips on one fast fabric; W of a chip with its share of the "
    "system; C: A the vendor, B press or estimate, C weak; – not published"
)


def _systems(listed: list[System]) -> Table:
    from skep.cli.tables import table

    columns = ("SYSTEM", "CHIPS", "KIND", "POWER", "RACKS", "m2", "M $")
    made = table(*columns, right=("CHIPS", *columns[3:]), whole=True)
    for one in listed:
        made.add_row(
            one.system,
            _count(one.chips),
            one.kind,
            UNKNOWN if one.power is None else si(one.power, "W"),
            figure(one.cabinets, digits=5),
            figure(one.floor),
            figure(one.price, 1e6, 3),
        )
    return made


def _count(chips: int | None) -> str:
    return figure(chips, digits=7) if chips is None or chips < 100_000 else f"{chips // 1000} k"


_SYSTEM_WORDS = "power, cabinets, floor and price of the whole system; – not published"


def _facts(facts: Mapping[str, Fact]) -> tuple[RenderableType, ...]:
    """Each value with the numbers of its sources, and the sources below."""
    from skep.cli.tables import table

    sources = list(dict.fromkeys(fact.source for fact in facts.values()))
    made = table("VALUE", "IS", "UNIT", "C", "DATE", "FROM", right=("FROM",))
    for fact in facts.values():
        number = f"[{sources.index(fact.source) + 1}]"
        made.add_row(fact.name, fact.value, fact.unit, fact.confidence, fact.date, number)
    told = (f"[{place}] {source}" for place, source in enumerate(sources, 1))
    return (made, "", *told)


def _own(chip: Chip) -> Table:
    from skep.cli.tables import table

    made = table("VALUE", "IS")
    for name, value in chip.model_dump().items():
        made.add_row(name, UNKNOWN if value in (None, "") else str(value))
    return made
