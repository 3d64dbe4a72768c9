"""What runs wrote, read by offsets: log text by bytes, progress by lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.model.message import LogChunk, ProgressChunk

MALFORMED: dict[str, Any] = {"kind": "malformed"}
_LONGEST_LINE = 64 * 1024


def _same_length(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("skep-same-length", _same_length)


def text_of(data: bytes, *, last: bool) -> str:
    """``data`` as text whose UTF-8 form has one byte for each byte taken.

    Bytes that are not UTF-8, and NUL, become ``?``. A character that is cut off at the end is
    left out, unless this is the ``last`` that will come.
    """
    if not last:
        data = data[: len(data) - _cut_off(data)]
    return data.decode("utf-8", "skep-same-length").replace("\0", "?")


def _cut_off(data: bytes) -> int:
    """Bytes at the end that begin a character whose rest has not come."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needs = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if needs > back else 0
    return 0


def log_chunks(
    run: str, folder: Path, after: Mapping[str, int], limit: int, *, ended: bool
) -> tuple[LogChunk, ...]:
    """Of each log in ``folder`` the text from its offset on, at most ``limit`` bytes in all."""
    chunks = []
    logs = sorted(folder.glob("*.log"), key=lambda path: (len(path.stem), path.stem))
    waiting = [(log, log.stat().st_size - after.get(log.stem, 0)) for log in logs]
    waiting = [(log, size) for log, size in waiting if size > 0]
    for index, (log, size) in enumerate(waiting):
        share = min(size, limit // (len(waiting) - index))
        offset = after.get(log.stem, 0)
        with log.open("rb") as file:
            file.seek(offset)
            text = text_of(file.read(share), last=ended and share == size)
        limit -= share
        if text:
            chunks.append(LogChunk(run=run, process=log.stem, offset=offset, text=text))
    return tuple(chunks)


@dataclass(slots=True)
class ProgressReader:
    """Reads the progress file of one run; remembers which byte the last line it gave ended at."""

    path: Path
    line: int = 0
    byte: int = 0

    def read(self, run: str, after: int, limit: int) -> ProgressChunk | None:
        """At most ``limit`` whole lines from line ``after`` on; None where there are none."""
        if not self.path.exists():
            return None
        if after < self.line:
            self.line = self.byte = 0
        lines: list[dict[str, Any]] = []
        with self.path.open("rb") as file:
            file.seek(self.byte)
            line, byte = self.line, self.byte
            for raw in file:
                if not raw.endswith(b"\n") or len(lines) == limit:
                    break
                if line >= after:
                    lines.append(parsed(raw))
                else:
                    self.line, self.byte = line + 1, byte + len(raw)
                line, byte = line + 1, byte + len(raw)
        return ProgressChunk(run=run, offset=after, lines=tuple(lines)) if lines else None


def parsed(raw: bytes) -> dict[str, Any]:
    """The JSON object of one line (NaN and infinities as null), or ``MALFORMED``."""
    if len(raw) > _LONGEST_LINE:
        return MALFORMED
    try:
        found = json.loads(raw, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return MALFORMED
    return found if isinstance(found, dict) else MALFORMED
