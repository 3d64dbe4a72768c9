"""``skep chips`` and ``skep systems``: the catalogue, each value with its source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli.options import AsJson

if TYPE_CHECKING:
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
            show(_facts(facts) if facts else _own(chip))
        return
    listed = [c for c in known.values() if _wanted(c, vendor, since)]
    if as_json:
        show_json(listed)
    else:
        show(
            _chips(listed),
            "",
            f"{len(listed)} kinds; `skep chips KIND` tells where values are from",
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
    """List the systems that skep knows: nodes, racks, pods, sites; "–" is not published."""
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
            show(_facts(facts))
        return
    if kind is not None:
        find_chip(kind, catalogue.chips(), "--chip")
    listed = [s for s in known.values() if kind is None or s.kind == kind]
    if as_json:
        show_json(listed)
    else:
        show(_systems(listed), "", f"{len(listed)} systems; `skep systems NAME` tells the sources")


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
    text = figure(low, 1e3, 3)
    return text if low == high else f"{text}–{figure(high, 1e3, 3)}"


def _chips(listed: list[Chip]) -> Table:
    from skep.cli.tables import table

    columns = (
        "KIND", "VENDOR", "YEAR", "BF16 TFLOP/s", "FP8", "FP4", "MEMORY GB", "TB/s", "BLOCK",
        "GB/s EACH WAY", "NIC Gbit/s", "TDP W", "SYSTEM W", "1000 USD", "CONF.",
    )  # fmt: skip
    made = table(*columns, right=columns[2:-1])
    for chip in listed:
        made.add_row(
            chip.kind,
            chip.vendor or UNKNOWN,
            str(chip.year or UNKNOWN),
            figure(chip.peak_flops, 1e12),
            figure(chip.fp8_flops, 1e12),
            figure(chip.fp4_flops, 1e12),
            figure(chip.memory, 1e9),
            figure(chip.memory_bandwidth, 1e12),
            figure(chip.scale_up_size, digits=6),
            figure(chip.scale_up_bandwidth, 1e9),
            figure(chip.nic, 1e9),
            figure(chip.chip_power),
            figure(chip.busy_power or None),
            prices(chip.price_low, chip.price_high),
            chip.confidence or UNKNOWN,
        )
    return made


def _systems(listed: list[System]) -> Table:
    from skep.cli.tables import table

    columns = (
        "SYSTEM", "OWNER", "YEAR", "CHIPS", "KIND", "BF16 PFLOP/s", "MEMORY TB", "POWER kW",
        "CABINETS", "FLOOR m2", "MILLION USD", "CONF.",
    )  # fmt: skip
    right = ("YEAR", "CHIPS", *columns[5:-1])
    made = table(*columns, right=right)
    for one in listed:
        made.add_row(
            one.system,
            one.owner or UNKNOWN,
            str(one.year or UNKNOWN),
            figure(one.chips, digits=7),
            one.kind,
            figure(one.bf16_flops, 1e15),
            figure(one.memory, 1e12),
            figure(one.power, 1e3),
            figure(one.cabinets),
            figure(one.floor),
            figure(one.price, 1e6),
            one.confidence or UNKNOWN,
        )
    return made


def _facts(facts: Mapping[str, Fact]) -> Table:
    from skep.cli.tables import table

    made = table("VALUE", "IS", "UNIT", "CONF.", "DATE", "SOURCE", right=("IS",))
    for fact in facts.values():
        made.add_row(fact.name, fact.value, fact.unit, fact.confidence, fact.date, fact.source)
    return made


def _own(chip: Chip) -> Table:
    from skep.cli.tables import table

    made = table("VALUE", "IS")
    for name, value in chip.model_dump().items():
        made.add_row(name, UNKNOWN if value in (None, "") else str(value))
    return made
