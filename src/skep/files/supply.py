"""Reads supply files: the electricity of a site, hour by hour, as CSV.

The first column is the start of the hour (UTC, ISO 8601), each an hour after the one before; then
any of the columns ``sun_w``, ``wind_w`` (W), ``carbon_g_kwh`` (gCO2eq/kWh), ``price_usd_mwh``.
"""

from __future__ import annotations

import csv
import datetime
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skep.errors import InputError, nearest
from skep.files.problems import NOTHING, printable
from skep.files.yaml import MIB, read_text
from skep.model.site import Pool
from skep.model.snapshot import Floats
from skep.power.hours import HOUR
from skep.power.series import COLUMNS

MOST_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True)
class SupplyTable:
    """Hourly values from ``start`` (s since the Unix epoch) on, one array per column given."""

    start: float
    columns: dict[str, Floats]

    @property
    def hours(self) -> int:
        return len(next(iter(self.columns.values())))


def load_supply(path: str | Path, *, source: str | None = None) -> SupplyTable:
    """The table of the CSV file at ``path``. Raises ``InputError`` with line and column."""
    path = Path(path)
    source = printable(str(path)) if source is None else source
    rows = csv.reader(read_text(path, MOST_BYTES, source=source).splitlines())
    try:
        return _table(rows, source)
    except csv.Error as error:
        raise _bad(rows.line_num, "", str(error), "allowed: CSV", source) from None


def load_tables(pool: Pool) -> dict[str, tuple[float, dict[str, Floats]]]:
    """Site -> (start of the first hour, columns) for each site whose supply is a file."""
    tables = {}
    for site in pool.sites:
        if site.power is not None and site.power.supply.file is not None:
            table = load_supply(site.power.supply.file)
            tables[site.name] = (table.start, table.columns)
    return tables


def _table(rows: Iterator[list[str]], source: str) -> SupplyTable:
    names = _header(next(rows, []), source)
    hours: list[float] = []
    values: list[list[float]] = [[] for _ in names]
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(names) + 1:
            allowed = f"allowed: {len(names) + 1} values, as in the first line"
            raise _bad(line, "", len(row), allowed, source)
        hours.append(_hour(row[0], hours, line, source))
        for column, name in enumerate(names):
            values[column].append(_value(row[column + 1], name, line, source))
    if not hours:
        raise _bad(2, "", NOTHING, "allowed: one line for each hour", source)
    return SupplyTable(hours[0], {n: np.array(v) for n, v in zip(names, values, strict=True)})


def _header(row: list[str], source: str) -> list[str]:
    names = [name.strip() for name in row[1:]]
    for name in names:
        if name not in COLUMNS:
            allowed = f"no such column{nearest(name, COLUMNS)}; allowed: {', '.join(COLUMNS)}"
            raise _bad(1, "", name, allowed, source)
    if not names or len(set(names)) < len(names):
        got = ",".join(row) if row else NOTHING
        allowed = f"allowed: the hour, then any of {', '.join(COLUMNS)}, each once"
        raise _bad(1, "", got, allowed, source)
    return names


def _hour(text: str, before: list[float], line: int, source: str) -> float:
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        allowed = "allowed: the start of an hour such as '2026-01-31T14:00'"
        raise _bad(line, "hour", text, allowed, source) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    seconds = moment.timestamp()
    if before and seconds != before[-1] + HOUR:
        allowed = "allowed: one hour after the line before"
        raise _bad(line, "hour", text, allowed, source)
    return seconds


def _value(text: str, name: str, line: int, source: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    least = -math.inf if name == "price_usd_mwh" else 0.0
    if not math.isfinite(number) or number < least:
        allowed = "allowed: a number" + ("" if least < 0 else " of 0 or more")
        raise _bad(line, name, text, allowed, source)
    return number


def _bad(line: int, column: str, value: object, allowed: str, source: str) -> InputError:
    where = f"line {line}, column {column}" if column else f"line {line}"
    return InputError(where, value, allowed, source=source)
