"""Packs a folder to be sent along with a job: the same content gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skep.errors import InputError
from skep.files.ignore import Ignored
from skep.files.problems import Plain, printable
from skep.files.yaml import MIB, read_text

IGNORE_FILE = ".skepignore"
MOST_BYTES = 512 * MIB


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str  # relative, with /
    path: str
    info: os.stat_result


def pack(folder: str | Path, *, most: int = MOST_BYTES) -> tuple[str, bytes]:
    """``(digest, content)``: the folder as ``tar.gz`` and the SHA-256 of those bytes, in hex.

    Owners and times are left out, names are sorted. What ``.skepignore`` names stays here, and so
    do ``.git``, virtual environments and caches; sockets and devices too. Raises ``InputError``
    where a file cannot be read, a link points outside, or the files have more than ``most`` bytes.
    """
    root = Path(folder).absolute()
    entries = _checked(_entries(root), root, most)
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for entry in entries:
            _add(archive, entry, root)
    content = buffer.getvalue()
    return hashlib.sha256(content).hexdigest(), content


def _entries(root: Path) -> Iterator[_Entry]:
    ignore_file = root / IGNORE_FILE
    lines = read_text(ignore_file, MIB).splitlines() if ignore_file.is_file() else []
    yield from _below(str(root), "", Ignored(lines))


def _below(path: str, prefix: str, ignored: Ignored) -> Iterator[_Entry]:
    try:
        found = sorted(os.scandir(path), key=lambda item: item.name)
    except OSError as error:
        raise _unreadable(prefix or path, error) from None
    for item in found:
        name, folder = prefix + item.name, item.is_dir(follow_symlinks=False)
        if ignored(name, folder=folder):
            continue
        yield _Entry(name, item.path, item.stat(follow_symlinks=False))
        if folder:
            yield from _below(item.path, f"{name}/", ignored)


def _checked(entries: Iterator[_Entry], root: Path, most: int) -> list[_Entry]:
    """All entries; refused before anything is read where they are too large."""
    kept, total = [], 0
    for entry in entries:
        kept.append(entry)
        total += entry.info.st_size if stat.S_ISREG(entry.info.st_mode) else 0
    if total > most:
        largest = max(kept, key=lambda e: e.info.st_size)
        allowed = (
            f"allowed: at most {most / MIB:,.0f} MiB of files; the largest is "
            f"{printable(largest.name)} ({largest.info.st_size / MIB:,.0f} MiB): name in "
            f"{IGNORE_FILE} what the job does not need, or put data where the sites can read it"
        )
        got = Plain(f"{total / MIB:,.0f} MiB in {printable(str(root))}")
        raise InputError("workdir", got, allowed)
    return kept


def _add(archive: tarfile.TarFile, entry: _Entry, root: Path) -> None:
    member, mode = tarfile.TarInfo(entry.name), entry.info.st_mode
    if stat.S_ISDIR(mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    elif stat.S_ISLNK(mode):
        member.type, member.mode = tarfile.SYMTYPE, 0o777
        member.linkname = _target(entry, root)
        archive.addfile(member)
    elif stat.S_ISREG(mode):
        content = _content(entry)
        member.size, member.mode = len(content), 0o755 if mode & stat.S_IXUSR else 0o644
        archive.addfile(member, io.BytesIO(content))


def _content(entry: _Entry) -> bytes:
    try:
        return Path(entry.path).read_bytes()
    except OSError as error:
        raise _unreadable(entry.name, error) from None


def _target(entry: _Entry, root: Path) -> str:
    """The link's target, relative to the link. A link may only lead to where it stays inside."""
    target = os.readlink(entry.path)
    parent = os.path.dirname(entry.path)
    full = os.path.normpath(os.path.join(parent, target))
    if full != str(root) and not full.startswith(f"{root}{os.sep}"):
        got = Plain(f"the link {printable(entry.name)} -> {printable(target)}")
        raise InputError("workdir", got, f"allowed: links inside the folder; or {_LEAVE_OUT}")
    return os.path.relpath(full, parent)


def _unreadable(name: str, error: OSError) -> InputError:
    return InputError(
        "workdir", name, f"{error.strerror}; allowed: files that can be read; or {_LEAVE_OUT}"
    )


_LEAVE_OUT = f"name it in {IGNORE_FILE}"
