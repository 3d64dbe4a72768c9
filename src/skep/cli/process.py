"""Other processes of this machine, by their id: who lives, who is ours, and ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether there is a process of that id that is not a zombie."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _state(pid) != "Z"


def command_of(pid: int) -> str:
    """The command line of a process; "" where there is none."""
    file = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        try:
            return file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()


def is_ours(pid: int, *words: str) -> bool:
    """Whether the process lives and all ``words`` are in its command line.

    An id may have gone to another program since it was written down.
    """
    return alive(pid) and all(word in command_of(pid) for word in words)


def end(pid: int, seconds: float) -> bool:
    """Ask a process to end; kill it after ``seconds``. Whether it ended by itself."""
    if wait_gone(pid, seconds, signal.SIGTERM):
        return True
    wait_gone(pid, 5.0, signal.SIGKILL)
    return False


def wait_gone(pid: int, seconds: float, first: signal.Signals) -> bool:
    """Send ``first``, then wait until the process is gone; False if it is not in time."""
    try:
        os.kill(pid, first)
    except ProcessLookupError:
        return True
    until = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
