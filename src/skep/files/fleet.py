"""Fleets: what a user writes for some chips, such as ``16384xh100-sxm`` or ``cloudmatrix-384``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from skep.errors import InputError
from skep.files.chipfile import find_chip
from skep.model.chip import Chip
from skep.model.fact import System

_COUNTED = re.compile(r"\s*(-?[\d,_]+)\s*[x×*]\s*(.+?)\s*", re.IGNORECASE)
MOST_CHIPS = 10_000_000
FORMS = "allowed: COUNTxKIND such as 16384xh100-sxm, or a system of `skep systems`"


@dataclass(frozen=True, slots=True)
class Fleet:
    """``count`` chips of one kind; ``None`` where as many as are needed. ``system`` if named so."""

    chip: Chip
    count: int | None
    system: System | None = None

    def __str__(self) -> str:
        if self.system is not None:
            return self.system.system
        return self.chip.kind if self.count is None else f"{self.count:,} x {self.chip.kind}"


def parse_fleet(
    text: str,
    chips: Mapping[str, Chip],
    systems: Mapping[str, System],
    field: str,
    *,
    counted: bool = True,
) -> Fleet:
    """One fleet. ``counted``: a kind alone is refused. ``InputError`` with the nearest name."""
    match = _COUNTED.fullmatch(text)
    name = match[2] if match else text.strip()
    count = _count(match[1], text, field) if match else None
    if name not in chips and name in systems:
        return _of_system(systems[name], count or 1, chips, field)
    chip = find_chip(name, dict(chips) | dict.fromkeys(systems, _NO_CHIP), field)
    if count is None and counted:
        raise InputError(field, text, FORMS)
    return Fleet(chip, count)


def parse_fleets(
    text: str,
    chips: Mapping[str, Chip],
    systems: Mapping[str, System],
    field: str,
    *,
    counted: bool = True,
) -> tuple[Fleet, ...]:
    """Fleets joined by ``+``, that work together."""
    return tuple(
        parse_fleet(part, chips, systems, field, counted=counted) for part in text.split("+")
    )


_NO_CHIP = Chip(kind="none")


def _count(text: str, whole: str, field: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    count = int(digits) if digits.lstrip("-").isdigit() else 0
    if not 1 <= count <= MOST_CHIPS:
        raise InputError(field, whole, f"allowed: 1 to {MOST_CHIPS:,} chips")
    return count


def _of_system(system: System, times: int, chips: Mapping[str, Chip], field: str) -> Fleet:
    if system.chips is None or system.kind not in chips:
        allowed = "its chips are not published, or of several kinds; allowed: COUNTxKIND"
        raise InputError(field, system.system, allowed)
    return Fleet(chips[system.kind], times * system.chips, system if times == 1 else None)
