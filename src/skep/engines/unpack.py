"""Unpack a job's workdir: a tar archive named by the SHA-256 of its bytes."""

from __future__ import annotations

from pathlib import Path

from skep.engines.ending import Over


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
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise Over("failed", f"the workdir's bundle cannot be unpacked: {error}") from error
