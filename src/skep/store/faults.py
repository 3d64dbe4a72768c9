"""What goes wrong below, said in one line: where, what, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from skep.errors import StoreError

_FULL = "the disk is full: free some space and go on; nothing was lost"
_READONLY = "it is read-only: make the folder and its files writable for this user"
_MISSING = "it cannot be opened: check that the folder exists and that this user may write there"
_LOCKED = "another process keeps it locked: close that process, or wait and try again"
_DAMAGED = "it is damaged or not a database of skep: move it away, or put a good copy in its place"
_IO = "reading or writing failed: check the disk, and any limit on the size of files"

# The beginning of SQLite's name for its error -> what to say.
_SQLITE = {
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READONLY,
    "SQLITE_PERM": _READONLY,
    "SQLITE_CANTOPEN": _MISSING,
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_IOERR": _IO,
}
# PostgreSQL's SQLSTATE, or its class -> what to say.
_POSTGRES = {
    "53100": "the disk of the server is full: free some space and go on; nothing was lost",
    "53": "the server has run out of something that it needs: see its log",
    "25006": "the database is read-only: connect to the primary server",
    "28": "the server does not let this user in: check the user and the password",
    "3D": "there is no such database: create it first",
    "42501": "this user may not change the tables: grant it the schema",
    "55P03": _LOCKED,
    "57P": "the server is stopping or starting: try again when it is up",
    "08": "the server cannot be reached: check that it runs and that the address is right",
}
_OS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the quota of this user is used up: free some space and go on; nothing was lost",
    errno.EFBIG: _IO,
    errno.EIO: _IO,
    errno.EROFS: _READONLY,
    errno.EACCES: _READONLY,
    errno.EPERM: _READONLY,
    errno.ENOENT: _MISSING,
    errno.ENOTDIR: _MISSING,
}


@contextmanager
def told(place: str) -> Iterator[None]:
    """Turns errors of the database and of files into ``StoreError`` about ``place``."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(f"{place}: {_database(error, place)}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"{place}: {_first_line(error)}") from error
    except OSError as error:
        raise StoreError(f"{place}: {_OS.get(error.errno or 0, _first_line(error))}") from error


def _database(error: DBAPIError, place: str) -> str:
    cause = error.orig
    name = str(getattr(cause, "sqlite_errorname", "") or "")
    if name:
        said = _sqlite(name, place)
    else:
        said = _longest(_POSTGRES, str(getattr(cause, "sqlstate", "") or "08"))
    return f"{said} ({_first_line(cause)})" if said else _first_line(cause)


def _sqlite(name: str, place: str) -> str:
    # On a full disk SQLite may also fail at the index of its write-ahead log, as an I/O error.
    file = Path(place)
    if name.startswith("SQLITE_IOERR"):
        if _no_space(file):
            return _FULL
        if not (os.access(file, os.W_OK) and os.access(f"{file}-wal", os.W_OK)):
            return _READONLY
    return _longest(_SQLITE, name)


def _no_space(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < 1 << 16
    except OSError:
        return False


def _longest(table: dict[str, str], key: str) -> str:
    found = [known for known in table if key.startswith(known)]
    return table[max(found, key=len)] if found else ""


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
