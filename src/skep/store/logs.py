"""``LogFolder``: what the processes of runs wrote, as the sites sent it.

One file per process, so that ``tail -f`` works too. Offsets count bytes of UTF-8. Not synchronised
to the disk at each write: what a power cut takes away is asked for again, since a site sends on
from the offset that it is told here.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from skep.store.faults import told
from skep.store.names import checked_name

CAP = 256 << 20
"""Bytes kept of one process's log."""
_ENDING = ".log"


class LogFolder:
    """Logs under ``path``, in ``RUN/PROCESS.log``. Safe to use from many threads.

    Methods raise ``InputError`` for a name that cannot be one of a file and ``StoreError`` where
    the disk refuses; then the file is as it was.
    """

    def __init__(self, path: str | Path, *, cap: int = CAP) -> None:
        self._path = Path(path)
        self._cap = cap
        self._lock = threading.Lock()

    def append(self, run: str, process: str, offset: int, text: str) -> int:
        """Keep ``text``, which begins at byte ``offset``; returns how far the log is received.

        What is there already is skipped. After a gap nothing is kept: send from what is returned.
        Beyond the cap everything counts as received, and only a line that says so is kept.
        """
        data = text.encode(errors="replace")
        file = self._file(run, process)
        with self._lock, told(str(file)):
            kept = _size(file)
            if kept >= self._cap:
                return max(kept, offset + len(data))
            new = data[max(kept - offset, 0) :]
            if offset > kept or not new:
                return kept
            _write(file, kept, self._cut(kept, new))
        return kept + len(new)

    def read(
        self, run: str, process: str, offset: int = 0, limit: int = 1 << 20
    ) -> tuple[str, int]:
        """(text, offset after it): at most ``limit`` bytes from ``offset`` on, whole characters.

        Answers ("", ``offset``) where there is nothing.
        """
        file = self._file(run, process)
        with told(str(file)):
            if not file.exists():
                return "", offset
            with file.open("rb") as log:
                log.seek(max(offset, 0))
                data = _whole(log.read(max(limit, 4)))
        return data.decode(errors="replace"), max(offset, 0) + len(data)

    def size(self, run: str, process: str) -> int:
        """How many bytes are kept; 0 where there is no log."""
        file = self._file(run, process)
        with told(str(file)):
            return _size(file)

    def processes(self, run: str) -> tuple[str, ...]:
        """Processes of the run that have a log: first those with a name, then by rank."""
        folder = self._path / checked_name("run", run)
        with told(str(folder)):
            names = [p.stem for p in folder.glob("*" + _ENDING)] if folder.is_dir() else []
        return tuple(sorted(names, key=_order))

    def _file(self, run: str, process: str) -> Path:
        name = checked_name("process", process) + _ENDING
        return self._path / checked_name("run", run) / name

    def _cut(self, kept: int, new: bytes) -> bytes:
        room = self._cap - kept
        if len(new) < room:
            return new
        line = f"\n[skep: {self._cap} bytes are kept of a log; the rest is dropped]\n"
        return _whole(new[:room]).ljust(room) + line.encode()


def _order(process: str) -> tuple[int, str]:
    return (int(process) if process.isdecimal() else -1), process


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _write(file: Path, end: int, data: bytes) -> None:
    """Add ``data`` at ``end``; where that fails, cut off what was half-written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], end + written)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
    finally:
        os.close(descriptor)


def _whole(data: bytes) -> bytes:
    """``data`` without a character of UTF-8 that is cut off at its end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return data
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if length > back and back < len(data) else data
    return data
