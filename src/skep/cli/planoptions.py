"""The options of ``skep plan``, and what they mean together."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from skep import units
from skep.errors import InputError, nearest
from skep.planner.bill import Prices
from skep.planner.goodput import RATES, Failing
from skep.planner.layout import RECOMPUTE
from skep.planner.sites import Exchange
from skep.planner.space import USUAL, Constraints
from skep.planner.training import Conditions, Link

Text = str | None
DEGREES = ("tp", "pp", "dp", "cp", "ep", "virtual", "micro_batch", "zero")


def _option(name: str, text: str, panel: str = "Options") -> object:
    return typer.Option(name, help=text, show_default=False, rich_help_panel=panel)


On = Annotated[Text, _option("--on", "Chips: 16384xh100-sxm, or a system of `skep systems`.")]
Match = Annotated[Text, _option("--match", "The chips or the system to match.")]
With = Annotated[
    list[str] | None,
    _option("--with", "Chip kinds to match it with; A+B for both together. May be repeated."),
]
Serve = Annotated[bool, _option("--serve", "Serving instead of training.")]
Prompt = Annotated[int, typer.Option("--prompt", min=1, help="Serving: tokens of a prompt.")]
Answer = Annotated[int, typer.Option("--answer", min=1, help="Serving: tokens of an answer.")]
Ttft = Annotated[Text, _option("--ttft", "Serving: 99 % have their first token within this.")]
Tpot = Annotated[Text, _option("--tpot", "Serving: time per token that 99 % are within.")]
Precision = Annotated[Text, _option("--precision", "Serving: fp4, fp8, int8 or bf16 weights.")]
SeqLen = Annotated[int | None, _option("--seq-len", "Training: tokens of a sequence.")]
Batch = Annotated[int | None, _option("--batch", "Training: sequences of a step.")]
Dtype = Annotated[Text, _option("--dtype", "Training: bf16, fp16, fp8, mxfp8 or nvfp4.")]
Tokens = Annotated[Text, _option("--tokens", "Training: tokens in all, such as 15T.")]
Sites = Annotated[
    int, typer.Option("--sites", min=1, help="Split alike over so many sites (of each kind).")
]
LinkRate = Annotated[Text, _option("--link", "Between sites: 10 Gbit/s.")]
Rtt = Annotated[str, typer.Option("--rtt", help="Round trip between sites.")]
Interval = Annotated[int, typer.Option("--interval", min=1, help="Steps between exchanges.")]
Bits = Annotated[float, typer.Option("--bits", help="Bits per parameter of an exchange.")]
Overlap = Annotated[bool, _option("--overlap", "The exchange goes on beside the next round.")]
Pue = Annotated[float, typer.Option("--pue", help="Facility power over that of the systems.")]
Price = Annotated[float | None, _option("--price", "Electricity, USD/kWh.")]
Carbon = Annotated[float | None, _option("--carbon", "Electricity, gCO2/kWh.")]
Place = Annotated[Text, _option("--place", "Take the grid's carbon of a place skep knows.")]
Failures = Annotated[
    float, typer.Option("--failures", help="Failures of a node in 1,000 days (8 chips).")
]
Restart = Annotated[str, typer.Option("--restart", help="To go on after a failure.")]
Top = Annotated[int, typer.Option("--top", min=0, help="Runners-up to show.")]
Plot = Annotated[Path | None, _option("--plot", "Write a picture: .svg, .png or .pdf.")]
Fixed = Annotated[
    list[str] | None,
    _option("--layout", "Fix a part of the layout: tp=8, pp=16, zero=1 … May be repeated."),
]
Stack = Annotated[Text, _option("--stack", "Software: megatron-core, fsdp, mindspeed …")]
Calibration = Annotated[
    Path | None, _option("--calibration", "What `skep plan calibrate RUNS --json` printed.")
]
Learned = Annotated[
    bool, _option("--learned", "Correct by what jobs of this pool measured (--server, --home).")
]


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
    found: dict[str, tuple[int, ...] | tuple[str, ...]] = {}
    for text in (part for word in words or () for part in word.split(",")):
        name, _, value = (part.strip() for part in text.partition("="))
        name = name.replace("-", "_")
        if name == "recompute" and value in RECOMPUTE:
            found[name] = (value,)
        elif name in DEGREES and value.isdigit() and int(value) >= (0 if name == "zero" else 1):
            found[name] = (int(value),)
        else:
            allowed = f"allowed: {', '.join(DEGREES)} = a whole number, or recompute = " + (
                ", ".join(RECOMPUTE)
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
