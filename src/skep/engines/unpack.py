"""Unpack a job's workdir: a tar archive named by the SHA-256 of its bytes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from skep.engines.ending import Over

if TYPE_CHECKING:
    import tarfile


def unpack(bundle: str, digest: str, folder: Path) -> None:
    """The archive's content into ``folder``; raises ``Over`` where it is missing or damaged.

    Members that would leave the folder, and devices, are refused.
    """
    if not digest:
        return
    # A third of a supervisor's start would go into these, for runs that need them not.
    import hashlib
    import tarfile

    path = Path(bundle)
    if not bundle or not path.is_file():
        raise Over("failed", f"the workdir's bundle {digest[:12]} is not at this site")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise Over("failed", f"the workdir's bundle is damaged: {found[:12]}, not {digest[:12]}")
    try:
        with tarfile.open(path) as archive:
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 on, and backports
                archive.extractall(folder, filter="data")
            else:
                _refuse_escapes(archive)
                archive.extractall(folder)
    except tarfile.TarError as error:
        raise Over("failed", f"the workdir's bundle cannot be unpacked: {error}") from error


def _refuse_escapes(archive: tarfile.TarFile) -> None:
    """What ``filter="data"`` refuses, for Pythons without it: devices, ways out of the folder."""
    for member in archive:
        names = [member.name, member.linkname]
        parts = [PurePosixPath(name).parts for name in names]
        plain = member.isreg() or member.isdir() or member.issym()
        if not plain or any(p and (p[0] == "/" or ".." in p) for p in parts):
            raise Over(
                "failed", f"the workdir's bundle has a member that may not be: {member.name}"
            )
