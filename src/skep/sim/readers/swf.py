"""The Standard Workload Format of the Parallel Workloads Archive, version 2.

Source of the fields: Feitelson, "The Standard Workload Format",
https://www.cs.huji.ac.il/labs/parallel/workload/swf.html
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from skep.errors import InputError
from skep.files.problems import printable
from skep.model.snapshot import Bools, Floats, Ints
from skep.sim.trace import Trace, build

FIELDS = (
    "job number", "submit time", "wait time", "run time", "allocated processors",
    "average CPU time used", "used memory", "requested processors", "requested time",
    "requested memory", "status", "user", "group", "executable", "queue", "partition",
    "preceding job", "think time",
)  # fmt: skip
_SUBMIT, _RUN, _ALLOCATED, _REQUESTED, _EXPECTED, _USER = 1, 3, 4, 7, 8, 11
_EXECUTABLE, _QUEUE = 13, 14
_MEASURED = (_SUBMIT, _RUN, _ALLOCATED, _REQUESTED, _EXPECTED)
_MOST = 1e10  # seconds or processors: three hundred years
_NUMBERS = {"MaxProcs", "MaxNodes", "UnixStartTime"}


def read_swf(path: Path) -> Trace:
    """The jobs of a ``.swf`` or ``.swf.gz`` file. Raises ``InputError``.

    A job asks for its requested processors, or for the allocated ones where none are told; its
    estimate is the requested time. Records without processors or run time are left out and
    counted. Of the header, ``MaxProcs`` (or ``MaxNodes``) and ``UnixStartTime`` are used.
    """
    source = printable(str(path))
    try:
        with _opened(path) as text:
            header, rows = _parsed(text, source)
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InputError("trace", str(path), f"cannot be read: {told}") from None
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(FIELDS))
    chips = np.where(table[:, _REQUESTED] > 0, table[:, _REQUESTED], table[:, _ALLOCATED])
    kept: Bools = (chips > 0) & (table[:, _RUN] >= 0) & (table[:, _SUBMIT] >= 0)
    return _trace(path, table[kept], chips[kept].astype(np.int64), header, int((~kept).sum()))


def _trace(path: Path, table: Floats, chips: Ints, header: dict[str, float], left: int) -> Trace:
    expected = np.where(table[:, _EXPECTED] > 0, table[:, _EXPECTED], np.nan)
    name = path.name.removesuffix(".gz").removesuffix(".swf")
    size = header.get("MaxProcs", header.get("MaxNodes"))
    return build(
        name,
        table[:, _SUBMIT],
        table[:, _RUN],
        chips,
        ids=[f"{int(number)}" for number in table[:, 0]],
        numbers={"estimate": expected},
        words={
            "user": _names("user", table[:, _USER]),
            "queue": _names("q", table[:, _QUEUE]),
            "app": _names("app", table[:, _EXECUTABLE]),
        },
        start=max(header.get("UnixStartTime", 0.0), 0.0),
        size=int(size) if size and size > 0 else None,
        left_out=left,
    )


def _names(prefix: str, numbers: Floats) -> list[str]:
    """Archives number users and queues; -1 is unknown."""
    return [f"{prefix}{int(n)}" if n >= 0 else "" for n in numbers]


def _opened(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", errors="replace"))
    return path.open(encoding="utf-8", errors="replace")


def _parsed(lines: Iterable[str], source: str) -> tuple[dict[str, float], list[list[float]]]:
    header: dict[str, float] = {}
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(";"):
            header |= _comment(line)
            continue
        parts = line.split()
        if not parts:
            continue
        rows.append(_record(parts, f"{source}, line {number}"))
    return header, rows


def _record(parts: list[str], source: str) -> list[float]:
    if len(parts) != len(FIELDS):
        allowed = f"allowed: {len(FIELDS)} fields in a record of the Standard Workload Format"
        raise InputError("record", f"{len(parts)} fields", allowed, source=source)
    try:
        found = [float(part) for part in parts]
    except ValueError:
        raise _not_a_number(parts, source) from None
    if not all(map(math.isfinite, found)):
        raise _not_a_number(parts, source)
    for field in _MEASURED:
        if not -1 <= found[field] <= _MOST:
            allowed = f"allowed: 0 to {_MOST:g}, -1 where it is not known"
            raise InputError(FIELDS[field], parts[field], allowed, source=source)
    return found


def _not_a_number(parts: list[str], source: str) -> InputError:
    for name, part in zip(FIELDS, parts, strict=True):
        try:
            if math.isfinite(float(part)):
                continue
        except ValueError:
            pass
        return InputError(name, part, "allowed: a number, -1 where it is not known", source=source)
    raise AssertionError("all parts are numbers")


def _comment(line: str) -> dict[str, float]:
    """``; MaxProcs: 128`` by name; other comments say nothing to us."""
    name, _, value = line.lstrip("; \t").partition(":")
    if name.strip() not in _NUMBERS:
        return {}
    try:
        return {name.strip(): float(value.split()[0])}
    except (ValueError, IndexError):
        return {}
