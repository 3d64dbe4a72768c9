"""What Linux tells of processes, and the few things to ask of it (``prctl``, ``/proc``).

A process is named by its id together with its start time in clock ticks since boot, because an id
alone is used again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_DEAD = "ZXx"


def die_with_parent(number: int, parent: int) -> None:
    """The kernel sends this process ``number`` when its parent ``parent`` dies or is dead."""
    _LIBC.prctl(_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Descendants whose parents die become children of this process, not of init."""
    _LIBC.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def boot_clock() -> float:
    """Seconds since boot, time asleep included; the same for all processes of the machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """A name of this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/PID/stat`` from the state on; empty where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rfind(")") + 2 :].split()


def start_ticks(pid: int) -> int | None:
    """Start time in clock ticks since boot; None where no such process lives (zombies do not)."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in _DEAD else None


def alive(pid: int, ticks: int) -> bool:
    """Whether the very process that started at ``ticks`` still lives."""
    return start_ticks(pid) == ticks


def _all() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def descendants(root: int) -> list[int]:
    """Living processes below ``root``, whatever session or group they moved to."""
    children: dict[int, list[int]] = {}
    living = set()
    for pid in _all():
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
            if fields[0] not in _DEAD:
                living.add(pid)
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return [pid for pid in found if pid in living]


def marked(mark: str) -> list[int]:
    """Living processes (other than this one) whose environment was started with ``NAME=value``."""
    wanted = mark.encode() + b"\0"
    found = []
    for pid in _all():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environ and pid != os.getpid() and start_ticks(pid) is not None:
            found.append(pid)
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL to each; those that are gone are passed over."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
