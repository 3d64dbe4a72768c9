"""Chips and systems: the catalogue that ships with skep, and a user's own entries over it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from skep.errors import InputError, nearest
from skep.files.problems import check, printable
from skep.files.yaml import MIB, parse_mapping, read_text
from skep.model.base import Spec
from skep.model.chip import Chip
from skep.model.fact import System

MOST_BYTES = 4 * MIB


class ChipFile(Spec):
    """A file of chip kinds: ``chips`` as in a pool file."""

    chips: tuple[Chip, ...] = Field(min_length=1, description="entries as in a pool file")


def load_chips(path: Path | None) -> dict[str, Chip]:
    """Every chip kind: the catalogue, and over it those of the file or pool file at ``path``.

    Raises ``InputError``.
    """
    from skep.data import catalogue

    known = catalogue.chips()
    if path is None:
        return known
    source = printable(str(path))
    data = parse_mapping(read_text(path, MOST_BYTES), str(path))
    if "sites" in data and "chips" in data:
        data = {"chips": data["chips"]}  # a pool file: its chips alone
    own = check(ChipFile, data, source=source)
    return known | {chip.kind: chip for chip in own.chips}


def find_chip(kind: str, chips: dict[str, Chip], field: str) -> Chip:
    """The chip of that kind; ``InputError`` with the nearest name where there is none."""
    if kind not in chips:
        allowed = "allowed: a kind that `skep chips` lists, or one of your own file (--chips)"
        raise InputError(field, kind, allowed + nearest(kind, chips))
    return chips[kind]


def find_system(name: str, known: dict[str, System], field: str) -> System:
    """The system of that name; ``InputError`` with the nearest name where there is none."""
    if name not in known:
        allowed = "allowed: a system that `skep systems` lists"
        raise InputError(field, name, allowed + nearest(name, known))
    return known[name]
