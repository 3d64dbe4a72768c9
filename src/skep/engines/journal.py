"""The engine's own record of every process that it started and saw end: one JSON object a line.

``event`` is ``start`` or ``end`` of one process (``process``: ``guard``, ``supervisor``, ``setup``
or the rank), or ``clear``: none of the run's processes lives any more. ``clock`` is seconds since
boot. A start is on disk before the process runs its command; an end is written when it is known,
so that the intervals in the record hold the true ones.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from skep.engines.procfs import boot_clock, boot_id, start_ticks

Record = dict[str, Any]


class Journal:
    """Appends to the file ``path``, each record on disk when the call returns.

    On a full disk ``make_room`` is called once; a start that still cannot be written raises
    ``OSError``, so that nothing starts unrecorded. Ends then stay unwritten: what is only believed
    to live does no harm.
    """

    def __init__(self, path: Path, make_room: Callable[[], None], **about: object) -> None:
        self.path, self.make_room, self.about, self.boot = path, make_room, about, boot_id()

    def start(self, process: str, pid: int) -> None:
        line = self._line("start", process=process, pid=pid, ticks=start_ticks(pid))
        try:
            self._append(line)
        except OSError:
            self.make_room()
            self._append(line)

    def end(self, process: str, pid: int, code: int) -> None:
        self._note("end", process=process, pid=pid, code=code)

    def clear(self) -> None:
        """None of the run's processes lives any more."""
        self._note("clear")

    def _note(self, event: str, **more: object) -> None:
        line = self._line(event, **more)
        try:
            self._append(line)
        except OSError:
            self.make_room()
            with contextlib.suppress(OSError):
                self._append(line)

    def _line(self, event: str, **more: object) -> bytes:
        process = {"process": "", "pid": 0} | more
        record = {"event": event, **self.about, **process, "boot": self.boot, "clock": boot_clock()}
        return json.dumps(record).encode() + b"\n"

    def _append(self, line: bytes) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line  # after one that a full disk has cut
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path) -> list[Record]:
    """All whole records of a journal; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines()
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # a line cut by a crash or a full disk
    return records


def alive_twice(records: Iterable[Record]) -> tuple[str, ...]:
    """What contradicts "no run was ever alive twice" in journals of one machine, in words.

    Checked: each process of a run starts once; of one share of a job (job, share's rank) the
    processes of two runs never live at the same time; nothing starts after its run was cleared.
    """
    ordered = sorted(records, key=lambda record: record["clock"])
    found: list[str] = []
    started: set[tuple[str, str]] = set()
    cleared: set[str] = set()
    living: dict[tuple[str, int], dict[tuple[str, str], int]] = {}
    for record in ordered:
        run, key = record["run"], (record["run"], record["process"])
        share = living.setdefault((record["job"], record["share"]), {})
        if record["event"] == "start":
            others = sorted({r for r, _ in share if r != run})
            if others:
                found.append(f"{run} started while {', '.join(others)} of the same share lived")
            if key in started:
                found.append(f"process {record['process']} of {run} started twice")
            if run in cleared:
                found.append(f"process {record['process']} of {run} started after its end")
            started.add(key)
            share[key] = record["pid"]
        elif record["event"] == "end":
            share.pop(key, None)
        else:
            cleared.add(run)
            for other in [k for k in share if k[0] == run]:
                del share[other]
    return tuple(found)
