"""What a process that serves says of itself: lines on standard error, which is often a file."""

from __future__ import annotations

import contextlib
import sys
import time


def say(text: str) -> None:
    """One line to standard error, with the time; said to nobody where it cannot be written.

    The file may lie on the disk that is full, and that is when there is something to say: who
    fails at saying it must not fail at its work.
    """
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    with contextlib.suppress(OSError, ValueError):  # ValueError: it was closed
        sys.stderr.write(f"{stamp} {text}\n")
        sys.stderr.flush()
