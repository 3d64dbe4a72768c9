"""What a site did when, for Chrome's trace viewer (chrome://tracing, ui.perfetto.dev).

The JSON array format of the Trace Event specification: one complete event (``"ph": "X"``) a line,
times in microseconds; the closing bracket may be missing, so a run that was killed can be read. The
first row has the local steps, the second what skep did between them, then one row per fragment:
from the call of a round to its result. Where these overlap with the first row, nobody waited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

STEPS, BETWEEN, FRAGMENTS = 0, 1, 10  # rows


class Trace:
    """Writes to ``path`` (empty: nowhere). A file that cannot be written ends the trace only."""

    def __init__(self, path: str, site: str) -> None:
        self._file: TextIO | None = None
        self._named: set[int] = set()
        if path:
            try:
                self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - kept open
            except OSError:
                return
            self._write("[\n")
            self._meta("process_name", 0, site)

    def step(self, number: int, start: float, end: float) -> None:
        """A local step; times in monotonic seconds, as everywhere here."""
        self._span(STEPS, "local steps", f"step {number}", start, end, {})

    def between(self, start: float, end: float) -> None:
        """What skep did after a step, while training stood still."""
        self._span(BETWEEN, "skep between steps", "exchange", start, end, {})

    def round(self, index: int, start: float, end: float, record: Mapping[str, Any]) -> None:
        """A round of fragment ``index``, from its call to its result."""
        shown = {name: record[name] for name in ("round", "sites", "tokens", "codec", "lr")}
        row, name = FRAGMENTS + index, f"round {record['round']}"
        self._span(row, f"fragment {index} on its way", name, start, end, shown)

    def close(self) -> None:
        """Nothing is written any more."""
        if self._file is not None:
            self._write("{}]\n")
            if self._file is not None:
                self._file.close()
            self._file = None

    def _span(
        self, row: int, title: str, name: str, start: float, end: float, shown: Mapping[str, Any]
    ) -> None:
        if self._file is None:
            return
        if row not in self._named:
            self._named.add(row)
            self._meta("thread_name", row, title)
        event = {"ph": "X", "pid": 0, "tid": row, "name": name, "args": dict(shown)}
        event |= {"ts": round(1e6 * start, 1), "dur": round(1e6 * max(end - start, 0.0), 1)}
        self._write(json.dumps(event) + ",\n")

    def _meta(self, what: str, row: int, name: str) -> None:
        event = {"ph": "M", "pid": 0, "tid": row, "name": what, "args": {"name": name}}
        self._write(json.dumps(event) + ",\n")

    def _write(self, text: str) -> None:
        if self._file is not None:
            try:
                self._file.write(text)
            except OSError:
                self._file = None
