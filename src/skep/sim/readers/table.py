"""skep's own traces: a CSV or Parquet table with one job a row. See docs/guides/simulate.md."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skep.errors import InputError
from skep.files.problems import printable, unknown_field
from skep.model.snapshot import Floats
from skep.sim.trace import Trace, build

Column = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Number:
    """What a column of numbers may hold."""

    least: float
    allowed: str
    whole: bool = False
    required: bool = False
    most: float = 1e9


NUMBERS: Mapping[str, Number] = {
    "submit": Number(0, "seconds after the start, 0 or more", required=True),
    "duration": Number(0, "seconds of work, 0 or more", required=True),
    "chips": Number(1, "a whole number of 1 or more", whole=True, required=True),
    "estimate": Number(0, "seconds, 0 or more, or empty"),
    "deadline": Number(0, "seconds after submission, 0 or more, or empty"),
    "priority": Number(-1000, "a whole number from -1000 to 1000, or empty", whole=True),
    "sites": Number(1, "a whole number of 1 or more, or empty", whole=True),
    "chips_min": Number(1, "a whole number of 1 or more, or empty", whole=True),
    "chips_max": Number(1, "a whole number of 1 or more, or empty", whole=True),
}
WORDS = ("job", "kind", "queue", "user", "name", "model")
ALL = (*WORDS[:1], *NUMBERS, *WORDS[1:])
_OURS = {"chips_min": "least", "chips_max": "most", "name": "app"}
_DEFAULTS = {"priority": 0.0, "sites": 1.0, "chips_min": 0.0, "chips_max": 0.0}


def read_csv(path: Path) -> Trace:
    """The jobs of a CSV file with a header. Raises ``InputError``."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text)
            header = next(rows, [])
            lines = [row for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InputError("trace", str(path), f"cannot be read: {told}") from None
    for number, row in enumerate(lines, 2):
        if len(row) != len(header):
            allowed = f"allowed: {len(header)} fields, as in the header"
            raise InputError("row", f"{len(row)} fields", allowed, source=_at(path, number))
    if twice := next((name for name in header if header.count(name) > 1), None):
        allowed = "allowed: each column once"
        raise InputError("column", twice, allowed, source=printable(str(path)))
    columns = zip(*lines, strict=True) if lines else ([] for _ in header)
    return from_columns(path, dict(zip(header, columns, strict=True)), first=2)


def read_parquet(path: Path) -> Trace:
    """The jobs of a Parquet file. Raises ``InputError``; needs the extra ``parquet``."""
    table = parquet(path)
    return from_columns(path, {n: table.column(n).to_pylist() for n in table.column_names}, first=1)


def parquet(path: Path) -> Any:
    """A ``pyarrow.Table`` of the file at ``path``. Raises ``InputError``."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        allowed = "needs pyarrow: pip install 'skep[parquet]'"
        raise InputError("trace", str(path), allowed) from None
    try:
        return read_table(path)
    except (OSError, ArrowException) as error:
        told = str(error).splitlines()[0][:200]
        raise InputError("trace", str(path), f"cannot be read: {told}") from None


def from_columns(path: Path, columns: Mapping[str, Column], first: int) -> Trace:
    """The trace of these columns; row 0 is row ``first`` of the file. Raises ``InputError``."""
    source = printable(str(path))
    for name in columns:
        if name not in ALL:
            raise InputError("column", name, unknown_field(name, ALL), source=source)
    for name, rule in NUMBERS.items():
        if rule.required and name not in columns:
            allowed = (
                f"allowed: a table with columns submit, duration and chips ({name} is missing)"
            )
            raise InputError("column", ", ".join(columns), allowed, source=source)
    numbers = {
        name: _numbers(name, columns[name], path, first) for name in NUMBERS if name in columns
    }
    _range(numbers, path, first)
    words = {_OURS.get(n, n): [_word(v) for v in columns[n]] for n in WORDS if n in columns}
    ids = words.pop("job", None)
    optional = {_OURS.get(n, n): v for n, v in numbers.items() if not NUMBERS[n].required}
    return build(
        path.name.rsplit(".", 1)[0],
        numbers["submit"],
        numbers["duration"],
        numbers["chips"].astype(np.int64),
        ids=ids,
        numbers=optional,
        words=words,
    )


def _numbers(name: str, column: Column, path: Path, first: int) -> Floats:
    rule = NUMBERS[name]
    empty = math.nan if rule.required else _DEFAULTS.get(name, math.nan)
    found = np.empty(len(column), dtype=np.float64)
    for row, value in enumerate(column):
        found[row] = empty if value in ("", None) else _number(name, value, path, first + row)
    low = found < (0 if name in ("chips_min", "chips_max") else rule.least)
    wrong = low | np.isinf(found) | (np.isnan(found) if rule.required else np.False_)
    if name == "priority":
        wrong |= found > 1000
    if rule.whole:
        wrong |= found != np.floor(found)
    large = found > rule.most
    if (wrong | large).any():
        row = int(np.flatnonzero(wrong | large)[0])
        allowed = rule.allowed if wrong[row] else f"{rule.most:,.0f} at most"
        raise InputError(name, column[row], f"allowed: {allowed}", source=_at(path, first + row))
    return found


def _number(name: str, value: object, path: Path, row: int) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        allowed = f"allowed: {NUMBERS[name].allowed}"
        raise InputError(name, value, allowed, source=_at(path, row)) from None


def _range(numbers: Mapping[str, Floats], path: Path, first: int) -> None:
    """Elastic jobs name both ends of their range, in order."""
    if not ("chips_min" in numbers or "chips_max" in numbers):
        return
    zero = np.zeros_like(numbers["submit"])
    least, most = numbers.get("chips_min", zero), numbers.get("chips_max", zero)
    wrong = np.flatnonzero(((least > 0) != (most > 0)) | (most < least))
    if len(wrong):
        row = int(wrong[0])
        allowed = f"allowed: chips_min and chips_max together, chips_max of {least[row]:g} or more"
        raise InputError("chips_max", f"{most[row]:g}", allowed, source=_at(path, first + row))


def _word(value: object) -> str:
    return "" if value is None or value != value else str(value)


def _at(path: Path, row: int) -> str:
    return f"{printable(str(path))}, row {row}"


def write_csv(trace: Trace, path: Path) -> None:
    """Write the trace as skep's own CSV. Raises ``OSError``."""
    with path.open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text)
        out.writerow(ALL)
        for row in range(len(trace)):
            out.writerow(_line(trace, row))


def _line(trace: Trace, row: int) -> list[object]:
    def shown(value: float) -> object:
        return "" if math.isnan(value) else (int(value) if value == int(value) else float(value))

    elastic = bool(trace.most[row])
    return [
        trace.ids[row],
        shown(trace.submit[row]),
        shown(trace.duration[row]),
        int(trace.chips[row]),
        shown(trace.estimate[row]),
        shown(trace.deadline[row]),
        int(trace.priority[row]),
        int(trace.sites[row]),
        int(trace.least[row]) if elastic else "",
        int(trace.most[row]) if elastic else "",
        trace.kinds[trace.kind[row]],
        trace.queues[trace.queue[row]],
        trace.users[trace.user[row]],
        trace.apps[trace.app[row]],
        trace.models[trace.model[row]],
    ]


def write_parquet(trace: Trace, path: Path) -> None:
    """Write the trace as skep's own Parquet (zstd). Raises ``OSError``."""
    import pyarrow as pa
    from pyarrow import parquet as files

    lines = [_line(trace, row) for row in range(len(trace))]
    columns = {
        name: [None if v == "" else v for v in column]
        for name, column in zip(ALL, zip(*lines, strict=True), strict=True)
    }
    for name, rule in NUMBERS.items():
        if not rule.whole:
            columns[name] = [None if v is None else float(v) for v in columns[name]]
    files.write_table(pa.table(columns), path, compression="zstd")
