"""Folders that travel: the same content gives the same bytes, and only what should goes along."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import time
from pathlib import Path

import pytest

from skep import errors
from skep.engines.unpack import unpack
from skep.errors import InputError
from skep.files.bundle import pack
from skep.files.ignore import Ignored
from skep.files.problems import Plain


def names(folder: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(pack(folder)[1])) as archive:
        return archive.getnames()


def write(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_the_digest_is_of_the_bytes_and_an_engine_unpacks_them(tmp_path: Path) -> None:
    folder, there = tmp_path / "here", tmp_path / "there"
    write(folder, "a.py", "sub/b.py", "x" * 150)
    (folder / "empty").mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o700)
    os.symlink("sub/b.py", folder / "link")
    digest, content = pack(folder)
    assert digest == hashlib.sha256(content).hexdigest()
    (tmp_path / "bundle").write_bytes(content)
    there.mkdir()
    unpack(str(tmp_path / "bundle"), digest, there)
    assert (there / "link").read_text() == "sub/b.py"
    assert (there / ("x" * 150)).read_text() == "x" * 150
    assert (there / "empty").is_dir()
    assert os.access(there / "run.sh", os.X_OK)
    assert os.stat(there / "a.py").st_mode & 0o111 == 0


def test_times_places_and_order_of_making_do_not_count(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "a", "b", "c/d")
    write(two, "c/d", "b", "a")
    for path in [*two.rglob("*"), two]:
        os.utime(path, (1, 1))
    (two / "a").chmod(0o600)
    first = pack(one)
    time.sleep(1.1)  # a gzip header has whole seconds
    assert first == pack(two)
    (two / "a").write_text("other")
    assert first[0] != pack(two)[0]


def test_a_link_with_a_full_path_inside_is_made_relative(tmp_path: Path) -> None:
    write(tmp_path, "data/a", "sub/b")
    os.symlink(tmp_path / "data" / "a", tmp_path / "sub" / "link")
    with tarfile.open(fileobj=io.BytesIO(pack(tmp_path)[1])) as archive:
        assert archive.getmember("sub/link").linkname == "../data/a"


@pytest.mark.parametrize("target", ["../other", "/etc/passwd", "sub/../../other"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    write(tmp_path, "here/a", "other")
    os.symlink(target, tmp_path / "here" / "link")
    with pytest.raises(InputError) as caught:
        pack(tmp_path / "here")
    assert str(caught.value) == (
        f"workdir: got the link link -> {target}; "
        "allowed: links inside the folder; or name it in .skepignore"
    )


def test_caches_environments_and_sockets_stay_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.py", ".git/x", "sub/__pycache__/y", ".venv/z", "sub/node_modules/w", ".env")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert names(tmp_path) == [".env", "a.py", "sub"]


def test_skepignore_leaves_out(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.bin", "c.bin", "data/d", "sub/data/e", "top", "sub/top")
    (tmp_path / ".skepignore").write_text("# large\n*.bin\n!c.bin\ndata/\n/top\n")
    assert names(tmp_path) == [".skepignore", "a.py", "c.bin", "sub", "sub/top"]


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("*.log", "a.log", True),
        ("*.log", "sub/a.log", True),
        ("sub/*.log", "sub/a.log", True),
        ("sub/*.log", "x/sub/a.log", False),
        ("sub/*.log", "sub/x/a.log", False),
        ("**/x.log", "a/b/x.log", True),
        ("**/x.log", "x.log", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/b/b/c", True),
        ("file?.txt", "file1.txt", True),
        ("file?.txt", "file10.txt", False),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("[0-9].txt", "5.txt", True),
        ("a+b(c).txt", "a+b(c).txt", True),
        ("a.c", "abc", False),
        ("dir/", "dir", False),
    ],
)
def test_patterns(pattern: str, path: str, *, ignored: bool) -> None:
    assert Ignored([pattern])(path, folder=False) is ignored


def test_patterns_for_folders_and_taken_back() -> None:
    assert Ignored(["dir/"])("x/dir", folder=True)
    assert not Ignored(["*.bin", "!keep.bin"])("keep.bin", folder=False)
    assert Ignored(["!keep.bin", "*.bin"])("keep.bin", folder=False)


def test_a_folder_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path, "small")
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(3 * 2**30)
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        pack(tmp_path)
    assert time.process_time() - start < 1
    shown = errors.shown(Plain(f"3,072 MiB in {tmp_path}"))
    assert str(caught.value) == (
        f"workdir: got {shown}; allowed: at most 512 MiB of files; the largest "
        "is large.bin (3,072 MiB): name in .skepignore what the job does not need, or put data "
        "where the sites can read it"
    )
    (tmp_path / ".skepignore").write_text("large.bin")
    assert names(tmp_path) == [".skepignore", "small"]


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "sub/a")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything
    with pytest.raises(InputError) as caught:
        pack(tmp_path)
    assert str(caught.value) == (
        "workdir: got 'sub/a'; Permission denied; "
        "allowed: files that can be read; or name it in .skepignore"
    )


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        pack(tmp_path / "gone")
