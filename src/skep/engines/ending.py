"""How runs end, in words."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_NOT_FOUND = re.compile(r"(?:^|: )([^:\s][^:]*): (?:command )?not found\s*$", re.MULTILINE)
_TAIL_BYTES = 2000
_FULL_BYTES = 16 * 1024
_TAIL_CHARACTERS = 200
COMMAND_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Over(Exception):
    """A run is over, and how. ``grace``: seconds that its processes get to end by themselves."""

    phase: str
    reason: str
    exit_code: int | None = None
    grace: float = 0.0

    def __str__(self) -> str:
        return f"{self.phase}: {self.reason}"


def exit_code(code: int) -> int:
    """As shells count: 128 + n for a process killed by signal n."""
    return 128 - code if code < 0 else code


def last_line(log: Path) -> str:
    """The last line of a log with text in it, cut to a readable length; "" where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][:_TAIL_CHARACTERS] if lines else ""


def in_words(who: str, code: int, log: Path) -> str:
    """Why a process that ended with ``code`` (as ``subprocess`` counts) did so."""
    if code < 0:
        return f"{who} was killed by signal {-code}"
    line = last_line(log)
    if code == COMMAND_NOT_FOUND and (found := _NOT_FOUND.search(line)):
        return f"command not found: {found.group(1)} (exit 127)"
    return f"{who} ended with exit code {code}" + (f": {line}" if line else "")


def who(process: str, processes: int) -> str:
    """A process as reasons name it: ``setup``, ``the process``, ``process 1 of 2 (rank 0)``."""
    if not process.isdigit():
        return process
    if processes == 1:
        return "the process"
    return f"process {int(process) + 1} of {processes} (rank {process})"


def cannot(what: str, error: OSError) -> str:
    """``cannot write the run folder: No space left on device (/path)``."""
    where = f" ({error.filename})" if error.filename else ""
    return f"cannot {what}: {error.strerror or error}{where}"


def full_disk(folder: Path) -> str:
    """``"; the disk of the run's folder is full"`` where it is: logs may lack the last lines."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    full = disk.f_bavail * disk.f_frsize < _FULL_BYTES or (disk.f_files and not disk.f_favail)
    return "; the disk of the run's folder is full" if full else ""
