"""The processes that a keeper keeps: started, watched, started again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE = 0.2  # seconds before the first new start
LONGEST_PAUSE = 5.0
STEADY = 10.0  # who lived so long starts again at once
MOST_LOG = 4 << 20  # bytes of a log kept when a keeper starts


def next_pause(pause: float, lived: float) -> float:
    """Seconds to wait before the next start of what died after ``lived`` seconds.

    Doubles from 0.2 s to 5 s; a life of 10 s or more forgets the past.
    """
    if lived >= STEADY or pause <= 0:
        return FIRST_PAUSE
    return min(2 * pause, LONGEST_PAUSE)


@dataclass(slots=True)
class Child:
    """One process: ``python -m MODULE ARGS``. Times are monotonic seconds."""

    name: str
    module: str
    args: list[str]
    log: Path
    restarts: int = 0
    code: int | None = field(default=None)
    _process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _pause: float = 0.0
    _due: float = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self, now: float) -> None:
        """Start the process; its output is appended to the log."""
        argv = [sys.executable, "-m", self.module, *self.args]
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment()
            )
        self._started, self.code = now, None

    def watch(self, now: float) -> bool:
        """Start the process again where it has died and its time has come; True if it did."""
        if self._process is not None and self._process.poll() is not None:
            self.code = self._process.returncode
            self._pause = next_pause(self._pause, now - self._started)
            self._process, self._due = None, now + self._pause
        if self._process is None and now >= self._due:
            self.restarts += 1
            self.start(now)
            return True
        return False

    def dead(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def stop(self, seconds: float) -> None:
        """End the process, at the latest after ``seconds``."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            lines = self.log.read_text(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def trim(log: Path) -> None:
    """Begin a log anew that has become long; the old one stays beside it until the next time."""
    if log.exists() and log.stat().st_size > MOST_LOG:
        log.replace(log.with_suffix(".old"))


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("SKEP_TOKEN", "SKEP_SERVER")}
    return kept | {"PYTHONUNBUFFERED": "1"}
