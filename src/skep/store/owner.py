"""One writer per state: a lock that dies with its process, and a number that fences late ones."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

import sqlalchemy as sa

from skep.errors import StoreError
from skep.store.faults import told

# The key of the advisory lock on a PostgreSQL database: "skep" in ASCII.
_KEY = 0x736B6570
_TRIES = 20
_PAUSE = 0.05


def holder() -> str:
    """This process, as another one may be told of it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class FileLock:
    """Held from the start until ``release`` or the end of the process, however it ends.

    Raises ``StoreError`` where another process (or this one) holds it. The file stays: to delete
    it would let two processes each lock a file of that name.
    """

    def __init__(self, path: Path, place: str) -> None:
        with told(place):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            other = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise StoreError(f"{place} is in use by process {other}: stop it first") from None
        except OSError:
            # Locked, but its number cannot be written (a full disk): the lock is what counts.
            pass

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._file)


class ServerLock:
    """The same on a PostgreSQL server: held as long as its own connection lives."""

    def __init__(self, engine: sa.Engine, place: str) -> None:
        with told(place):
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            got = self._get()
        if not got:
            other = self._other()
            self.release()
            raise StoreError(f"{place} is in use by {other}: stop it first")

    def _get(self) -> bool:
        # The server notices a moment late that the client of a killed process is gone.
        for _ in range(_TRIES):
            if self._connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_KEY))):
                return True
            time.sleep(_PAUSE)
        return False

    def _other(self) -> str:
        try:
            return str(self._connection.scalar(sa.text("SELECT holder FROM owner")))
        except sa.exc.SQLAlchemyError:
            return "another process"

    def release(self) -> None:
        """Let the next one in."""
        self._connection.invalidate()
        self._connection.close()
