"""``BundleFolder``: packed workdirs by the SHA-256 digest of their bytes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from skep.errors import InputError, NotFoundError
from skep.store.faults import told
from skep.store.names import checked_digest

LIMIT = 1 << 30
"""Bytes of the largest bundle that is taken."""
_PIECE = 1 << 20


class BundleFolder:
    """Bundles under ``path``, each whole or not at all. Safe to use from many processes.

    Methods raise ``InputError`` for a digest that is none, and ``StoreError`` where the disk
    refuses.
    """

    def __init__(self, path: str | Path, *, limit: int = LIMIT) -> None:
        self._path = Path(path)
        self._limit = limit

    def put(self, digest: str, content: bytes | IO[bytes] | Iterable[bytes]) -> Path:
        """Keep ``content``; answers its file. Does nothing where it is there already.

        Raises ``InputError`` where the bytes do not have that digest or are too many.
        """
        file = self._path / checked_digest(digest)
        if not self.has(digest):
            with told(str(file)):
                self._path.mkdir(parents=True, exist_ok=True)
                descriptor, part = tempfile.mkstemp(prefix=".part-", dir=self._path)
            try:
                self._fill(descriptor, digest, _pieces(content))
                with told(str(file)):
                    os.replace(part, file)
                    _sync(self._path)
            finally:
                Path(part).unlink(missing_ok=True)
        return file

    def has(self, digest: str) -> bool:
        """Whether the bundle is there."""
        file = self._path / checked_digest(digest)
        with told(str(file)):
            return file.exists()

    def path(self, digest: str) -> Path:
        """The file of a bundle. Raises ``NotFoundError`` where there is none."""
        if not self.has(digest):
            raise NotFoundError(f"there is no bundle {digest}: submit the job again")
        return self._path / digest

    def _fill(self, descriptor: int, digest: str, pieces: Iterable[bytes]) -> None:
        # An error of who sends the pieces is theirs: only our own writing is told as the disk's.
        digester, size, place = hashlib.sha256(), 0, str(self._path / digest)
        with open(descriptor, "wb", buffering=0) as out:
            for piece in pieces:
                size += len(piece)
                if size > self._limit:
                    raise InputError("bundle", digest, f"allowed: at most {self._limit} bytes")
                digester.update(piece)
                with told(place):
                    _write(out, piece)
            with told(place):
                os.fsync(out.fileno())
        found = digester.hexdigest()
        if found != digest:
            raise InputError("bundle", found, f"allowed: bytes whose SHA-256 is {digest}")


def _write(out: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[out.write(rest) :]


def _pieces(content: bytes | IO[bytes] | Iterable[bytes]) -> Iterable[bytes]:
    if isinstance(content, bytes):
        return (content,)
    read = getattr(content, "read", None)
    return iter(lambda: read(_PIECE), b"") if read is not None else content


def _sync(folder: Path) -> None:
    """Make the new name in the folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
