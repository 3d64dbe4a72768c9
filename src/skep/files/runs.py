"""Reads measured runs (CSV) to calibrate a chip with, and the file that a calibration makes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skep.errors import InputError, nearest
from skep.files.problems import NOTHING, Plain, printable
from skep.files.workload import load_model
from skep.files.yaml import MIB, read_text
from skep.planner.calibrate import FIELDS, Run
from skep.planner.layout import RECOMPUTE, Layout

MOST_BYTES = MIB
LEAST, MOST = 3, 200
COUNTS = ("tp", "pp", "dp", "cp", "ep", "virtual", "micro_batch", "zero")
CHANGES = ("seq_len", "global_batch", "dtype")
COLUMNS = ("chip", "model", "chips", *COUNTS, *CHANGES, "recompute", "step_s", "tokens_per_s")
Row = Mapping[str, str]


def load_runs(path: Path) -> tuple[str, list[Run]]:
    """The chip kind of the file and its runs. ``InputError`` names row and column."""
    source = printable(str(path))
    reader = csv.DictReader(read_text(path, MOST_BYTES).splitlines())
    for name in reader.fieldnames or ():
        if name not in COLUMNS:
            allowed = f"no such column{nearest(name, COLUMNS)}; allowed: {', '.join(COLUMNS)}"
            raise InputError("column", name, allowed, source=source)
    rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    if not LEAST <= len(rows) <= MOST:
        got = Plain(f"{len(rows)} runs")
        raise InputError("rows", got, f"allowed: {LEAST} to {MOST}, best 3 to 10", source=source)
    kinds = sorted({row.get("chip", "") for row in rows})
    if len(kinds) != 1 or not kinds[0]:
        got = Plain(", ".join(kinds) or "nothing")
        raise InputError("chip", got, "allowed: one chip kind in all rows", source=source)
    return kinds[0], [_run(row, number, path, source) for number, row in enumerate(rows, start=2)]


def _run(row: Row, number: int, path: Path, source: str) -> Run:
    where = f"{source}: line {number}"
    model = row.get("model", "")
    if not model:
        raise InputError("model", NOTHING, "required: a name or a file", source=where)
    beside = path.parent / model
    what = str(beside) if beside.is_file() else model
    changes: dict[str, Any] = {
        name: row[name] if name == "dtype" else _count(row, name, where)
        for name in CHANGES
        if row.get(name)
    }
    work = load_model(what, changes).workload
    layout = _layout(row, where)
    rate, step = _amount(row, "tokens_per_s", where), _amount(row, "step_s", where)
    if (rate is None) == (step is None):
        allowed = "allowed: either step_s or tokens_per_s (all chips together)"
        raise InputError("step_s", row.get("step_s") or NOTHING, allowed, source=where)
    if rate is not None:
        step = work.tokens_per_step / rate
    assert step is not None
    return Run(work, layout, step)


def _layout(row: Row, where: str) -> Layout:
    found: dict[str, Any] = {
        name: _count(row, name, where, least=0 if name == "zero" else 1)
        for name in COUNTS
        if row.get(name)
    }
    word = row.get("recompute", "")
    if word and word not in RECOMPUTE:
        raise InputError("recompute", word, f"allowed: {', '.join(RECOMPUTE)}", source=where)
    if word:
        found["recompute"] = word
    made = Layout(**found)
    if row.get("chips"):
        chips = _count(row, "chips", where)
        rest = made.tp * made.pp * made.cp
        if chips % rest or ("dp" in found and made.chips != chips):
            allowed = f"allowed: tp x pp x cp x dp, a multiple of {rest}"
            raise InputError("chips", chips, allowed, source=where)
        found["dp"] = chips // rest
    return Layout(**found)


def _count(row: Row, name: str, where: str, least: int = 1) -> int:
    text = row.get(name, "")
    if not text.isdigit() or int(text) < least:
        raise InputError(name, text, f"allowed: a whole number, {least} or more", source=where)
    return int(text)


def _amount(row: Row, name: str, where: str) -> float | None:
    text = row.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e15:
        raise InputError(name, text, "allowed: a number above 0", source=where)
    return value


def load_calibration(path: Path) -> tuple[str, dict[str, float]]:
    """Chip kind and factors of a file that ``skep plan calibrate … --json`` printed."""
    source = printable(str(path))
    try:
        data = json.loads(read_text(path, MOST_BYTES))
        kind, factors = str(data["chip"]), {k: float(v) for k, v in data["factors"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        allowed = "allowed: what `skep plan calibrate RUNS --json` prints"
        raise InputError("file", Plain("something else"), allowed, source=source) from None
    for name, factor in factors.items():
        if name not in FIELDS or not 0.05 <= factor <= 20:
            allowed = f"allowed: factors of 0.05 to 20 for {', '.join(FIELDS)}"
            raise InputError(f"factors.{name}", factor, allowed, source=source)
    return kind, factors
