"""Columns of other people's tables, with one line where one is missing."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skep.errors import InputError
from skep.files.problems import printable
from skep.sim.readers.table import parquet


def columns_of(path: Path, needed: Sequence[str]) -> dict[str, list[Any]]:
    """The ``needed`` columns of a Parquet or CSV (also ``.gz``) table. Raises ``InputError``."""
    if not path.exists():
        raise InputError("trace", str(path), "no such file")
    if path.suffix == ".parquet":
        table = parquet(path)
        _check(path, table.column_names, needed)
        return {name: table.column(name).to_pylist() for name in needed}
    try:
        with _opened(path) as text:
            rows = csv.DictReader(text)
            _check(path, rows.fieldnames or (), needed)
            lines = list(rows)
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InputError("trace", str(path), f"cannot be read: {told}") from None
    return {name: [line[name] for line in lines] for name in needed}


def _opened(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _check(path: Path, found: Sequence[str], needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in found]
    if missing:
        allowed = f"allowed: a table with the columns {', '.join(needed)}"
        have = ", ".join(found)
        raise InputError("column", have, allowed, source=printable(str(path)))
