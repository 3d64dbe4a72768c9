"""How the agent reaches the control plane, and how it goes on when it cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from skep.model.message import Answer, Report

SHORTEST_BACKOFF = 0.2
LONGEST_BACKOFF = 5.0


class Transport(Protocol):
    """The two things that an agent asks. Each call ends within a time limit of its own."""

    def report(self, site: str, report: Report, wait: float) -> Answer:
        """Tell what the site holds; answered when something changes for it, or after ``wait``."""
        ...

    def bundle(self, digest: str, to: Path) -> Path:
        """Fetch a packed workdir to the file ``to``; answers where it lies."""
        ...


class Backoff:
    """Doubling pauses after failures, and one line said when trouble begins and when it ends."""

    def __init__(self, what: str, say: Callable[[str], None], stopping: threading.Event) -> None:
        self.what, self.say, self.stopping = what, say, stopping
        self.pause = 0.0

    def failed(self, error: Exception) -> None:
        """Tell of the first failure, then sleep (woken when the agent ends)."""
        if not self.pause:
            self.say(f"{self.what} fails, and is tried again: {type(error).__name__}: {error}")
        self.pause = min(LONGEST_BACKOFF, max(SHORTEST_BACKOFF, 2 * self.pause))
        self.stopping.wait(self.pause)

    def worked(self) -> None:
        if self.pause:
            self.say(f"{self.what} works again")
        self.pause = 0.0
