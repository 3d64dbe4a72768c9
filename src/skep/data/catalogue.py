"""The catalogue of skep: chips and systems, each value with its source, date and confidence.

Read from ``chips.csv``, ``systems.csv`` and ``sources.csv`` beside this file. The tables are long,
one value a line; what is not published has no line.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from skep.model.chip import Chip
from skep.model.fact import Fact, System

_TERA, _GIGA, _MEGA, _KILO = 1e12, 1e9, 1e6, 1e3
_BOTH_WAYS = 2.0

Facts = dict[str, Fact]


def chips() -> dict[str, Chip]:
    """Every chip kind of the table by its name. What is not published is ``None``, power 0."""
    return dict(_chips())


def chip_facts() -> dict[str, Facts]:
    """Chip kind -> name of a value -> the fact behind it."""
    return {kind: dict(facts) for kind, facts in _facts("chips.csv")}


def systems() -> dict[str, System]:
    """Every system of the table by its name."""
    return dict(_systems())


def system_facts() -> dict[str, Facts]:
    """System -> name of a value -> the fact behind it."""
    return {system: dict(facts) for system, facts in _facts("systems.csv")}


@cache
def _chips() -> tuple[tuple[str, Chip], ...]:
    return tuple((kind, _chip(kind, facts)) for kind, facts in _facts("chips.csv"))


@cache
def _systems() -> tuple[tuple[str, System], ...]:
    return tuple((name, _system(name, facts)) for name, facts in _facts("systems.csv"))


@cache
def _facts(table: str) -> tuple[tuple[str, Facts], ...]:
    texts = {row["source"]: row["text"] for row in _rows("sources.csv")}
    found: dict[str, Facts] = {}
    for row in _rows(table):
        of = row["kind" if table == "chips.csv" else "system"]
        source = "; ".join(texts[one] for one in row["source"].split(";"))
        found.setdefault(of, {})[row["name"]] = Fact(
            name=row["name"],
            value=row["value"],
            unit=row["unit"],
            source=source,
            date=row["date"],
            confidence=row["confidence"],
        )
    return tuple(found.items())


def _rows(name: str) -> list[dict[str, str]]:
    table = resources.files("skep.data").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(table.splitlines()))


def _chip(kind: str, facts: Facts) -> Chip:
    bf16 = _number(facts, "bf16", _TERA)
    main = facts.get("bf16") or facts.get("memory") or next(iter(facts.values()))
    return Chip(
        kind=kind,
        vendor=_text(facts, "vendor"),
        peak_flops=bf16 if bf16 is not None else _number(facts, "fp16", _TERA),
        fp8_flops=_number(facts, "fp8", _TERA),
        fp4_flops=_number(facts, "fp4", _TERA),
        int8_ops=_number(facts, "int8", _TERA),
        memory=_number(facts, "memory", _GIGA),
        memory_bandwidth=_number(facts, "memory_bandwidth", _TERA),
        scale_up_bandwidth=_number(facts, "scale_up_bandwidth", _GIGA / _BOTH_WAYS),
        scale_up_size=_whole(facts, "scale_up_size"),
        nic=_number(facts, "nic", _GIGA),
        chip_power=_number(facts, "tdp"),
        idle_power=_number(facts, "idle_power") or 0.0,
        busy_power=_number(facts, "busy_power") or 0.0,
        price_low=_number(facts, "price_low"),
        price_high=_number(facts, "price_high"),
        name=_text(facts, "name"),
        year=_whole(facts, "year"),
        status=_text(facts, "status"),
        source=main.source,
        confidence=main.confidence,
    )


def _system(system: str, facts: Facts) -> System:
    return System(
        system=system,
        name=_text(facts, "name"),
        kind=_text(facts, "kind"),
        owner=_text(facts, "owner"),
        year=_whole(facts, "year"),
        status=_text(facts, "status"),
        chips=_whole(facts, "chips"),
        bf16_flops=_number(facts, "bf16", _TERA * _KILO),
        memory=_number(facts, "memory", _TERA),
        power=_number(facts, "power", _KILO),
        power_basis=_text(facts, "power_basis"),
        cabinets=_number(facts, "cabinets"),
        floor=_number(facts, "floor"),
        price=_number(facts, "price", _MEGA),
        confidence=next(iter(facts.values())).confidence,
    )


def _number(facts: Facts, name: str, scale: float = 1.0) -> float | None:
    value = facts[name].number if name in facts else None
    return None if value is None else value * scale


def _whole(facts: Facts, name: str) -> int | None:
    value = _number(facts, name)
    return None if value is None else int(value)


def _text(facts: Facts, name: str) -> str:
    return facts[name].value if name in facts else ""
