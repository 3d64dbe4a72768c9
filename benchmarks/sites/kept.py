"""The file in which benchmarks/train.py keeps figures and records, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import summary


class Kept:
    """Figures and records in a file, if there is one; with those that were there before."""

    def __init__(self, path: str | None, again: bool) -> None:
        """``again``: what is there is measured again, and replaced."""
        self._path = Path(path) if path else None
        self.figures: dict[str, Any] = {}
        self.old: list[dict[str, Any]] = []
        if self._path and self._path.exists():
            self.figures = json.loads(self._path.read_text())
            self.old = self.figures.pop("records", [])
        self.records: list[dict[str, Any]] = [] if again else self.old

    def keep(self, records: list[dict[str, Any]]) -> None:
        """Write all that is known now: ``records`` before older ones of the same cases."""
        by_case = {summary.case(record): record for record in [*self.old, *records]}
        self.figures |= summary.figures(list(by_case.values()))
        if self._path:
            whole = self.figures | {"records": list(by_case.values())}
            new = self._path.with_name(self._path.name + ".new")
            new.write_text(json.dumps(whole, indent=1))
            new.replace(self._path)
