"""What the store says and keeps when the disk, the folder or another process is against it."""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from skep.errors import InputError, StoreError
from skep.model.event import Deferred
from skep.model.state import SiteState
from skep.store.sql import FILE, SqlStore, open_store

BEGIN = """
import hashlib, os, pathlib, subprocess, sys
from skep.errors import StoreError
from skep.model.event import Deferred
from skep.model.state import SiteState
from skep.store.bundles import BundleFolder
from skep.store.logs import LogFolder
from skep.store.sql import open_store
folder = sys.argv[1]

def shell(*command):
    subprocess.run(command, check=True)

def refused(action):
    try:
        action()
    except StoreError as error:
        text = str(error)
        assert "\\n" not in text and folder in text, text
        return text
    raise AssertionError("it was not refused")

def put(store, size=4000):
    event = Deferred(at=1.0, job="j", reason="x" * size)
    return store.append([event], sites=[SiteState("s", since=float(store.load().seq + 1))])[0].seq

def fill(store):
    acknowledged = 0
    while acknowledged < 100_000:
        acknowledged = put(store)

def whole(store, at_least):
    loaded = store.load()
    seqs = [entry.seq for entry in store.events(limit=1_000_000)]
    assert seqs == list(range(1, loaded.seq + 1)) and loaded.seq >= at_least
    assert loaded.sites[0].since == loaded.seq, "the state is not that of the last event"
"""


def _run(code: str, folder: Path, *before: str, **options: object) -> None:
    command = [*before, sys.executable, "-c", BEGIN + textwrap.dedent(code), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def _mounts() -> None:
    """Mounts of its own for a process: they end with it, and nobody else sees them."""
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    found = shutil.which("unshare") and subprocess.run(probe, capture_output=True, check=False)
    if not found or found.returncode != 0:
        pytest.skip("this user may not mount")


@pytest.mark.usefixtures("_mounts")
def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    code = """
    shell("mount", "-t", "tmpfs", "-o", "size=1m", "none", folder)
    store = open_store(folder)
    assert "the disk is full" in refused(lambda: fill(store))
    last = store.load().seq
    for _ in range(3):
        assert "the disk is full" in refused(lambda: put(store, 900_000))
    logs, bundles = LogFolder(folder + "/logs"), BundleFolder(folder + "/bundles")
    big = b"b" * 1_000_000
    digest = hashlib.sha256(big).hexdigest()
    assert "the disk is full" in refused(lambda: bundles.put(digest, big))
    assert not bundles.has(digest)
    assert "the disk is full" in refused(lambda: logs.append("r", "0", 0, "l" * 1_000_000))
    assert logs.size("r", "0") == 0
    assert os.listdir(folder + "/bundles") in ([],)
    whole(store, last)
    shell("mount", "-o", "remount,size=8m", folder)
    assert put(store) == last + 1
    bundles.put(digest, big)
    assert bundles.has(digest)
    assert logs.append("r", "0", 0, "l" * 1_000_000) == 1_000_000
    store.close()
    store = open_store(folder)
    whole(store, last + 1)
    """
    _run(code, tmp_path, "unshare", "-m")


@pytest.mark.usefixtures("_mounts")
def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    code = """
    shell("mount", "-t", "tmpfs", "-o", "size=64k", "none", folder)
    pathlib.Path(folder, "ballast").write_bytes(b"x" * 40_000)
    assert "the disk is full" in refused(lambda: open_store(folder))
    os.unlink(folder + "/ballast")
    shell("mount", "-o", "remount,size=8m", folder)
    assert put(open_store(folder)) == 1
    """
    _run(code, tmp_path, "unshare", "-m")


@pytest.mark.usefixtures("_mounts")
def test_a_folder_on_a_read_only_mount(tmp_path: Path) -> None:
    code = """
    store = open_store(folder)
    assert put(store) == 1
    store.close()
    shell("mount", "--bind", folder, folder)
    shell("mount", "-o", "remount,ro,bind", folder)
    os.chdir("/")
    assert "read-only" in refused(lambda: open_store(folder))
    assert "read-only" in refused(lambda: open_store(folder + "/new"))
    assert "read-only" in refused(lambda: LogFolder(folder).append("r", "0", 0, "text"))
    empty = hashlib.sha256(b"").hexdigest()
    assert "read-only" in refused(lambda: BundleFolder(folder).put(empty, b""))
    reader = open_store(folder, read_only=True)
    whole(reader, 1)
    reader.close()
    shell("mount", "-o", "remount,rw,bind", folder)
    assert put(open_store(folder)) == 2
    """
    _run(code, tmp_path, "unshare", "-m")


@pytest.fixture
def folder_of_nobody() -> Iterator[Path]:
    """A folder that a user without rights may reach (the folders of tests are private)."""
    folder = Path(tempfile.mkdtemp(prefix="skep-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_a_folder_that_the_user_may_not_write(folder_of_nobody: Path) -> None:
    store = open_store(folder_of_nobody)
    store.append([Deferred(at=1.0, job="j", reason="")], sites=[SiteState("s", since=1.0)])
    code = """
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    assert "read-only" in refused(lambda: open_store(folder))
    reader = open_store(folder, read_only=True)
    whole(reader, 1)
    """
    killed = folder_of_nobody / "killed"
    shutil.copytree(folder_of_nobody, killed)  # what a killed writer leaves, with its log ahead
    _run(code, folder_of_nobody)  # beside a writer
    store.close()
    _run(code, folder_of_nobody)  # after it
    _run(code, killed)
    assert (killed / (FILE + "-wal")).stat().st_size > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file immutable")
def test_files_that_become_read_only_while_open(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put = [Deferred(at=1.0, job="j", reason="x")]
    store.append(put)
    wal = str(tmp_path / (FILE + "-wal"))
    if subprocess.run(["chattr", "+i", wal], check=False, capture_output=True).returncode != 0:
        pytest.skip("this file system knows no immutable files")
    try:
        with pytest.raises(StoreError, match="read-only"):
            store.append(put)
    finally:
        subprocess.run(["chattr", "-i", wal], check=True)
    assert store.append(put)[0].seq == 2
    assert len(store.events()) == 2
    store.close()


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))

    code = """
    import resource
    store = open_store(folder)
    assert "limit on the size of files" in refused(lambda: fill(store))
    last = store.load().seq
    assert "limit" in refused(lambda: LogFolder(folder).append("r", "0", 0, "l" * 500_000))
    assert LogFolder(folder).size("r", "0") == 0
    resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    assert put(store) == last + 1
    whole(store, last + 1)
    """
    _run(code, tmp_path, preexec_fn=limit)


def test_a_database_that_may_not_grow(tmp_path: Path) -> None:
    pages, acknowledged = 60, []

    @sa.event.listens_for(sa.Engine, "begin")
    def limit(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    try:
        store = open_store(tmp_path)
        put = [Deferred(at=1.0, job="j", reason="x" * 4000)]
        with pytest.raises(StoreError, match=f"{tmp_path / FILE}: the disk is full"):
            acknowledged.extend(store.append(put) for _ in range(1000))
        last = len(acknowledged)
        assert [e.seq for e in store.events()] == list(range(1, last + 1))
        pages = 1000
        assert store.append(put)[0].seq == last + 1
        store.close()
    finally:
        sa.event.remove(sa.Engine, "begin", limit)


def test_a_database_that_another_process_keeps_locked(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/{FILE}", wait=0.1)
    put = [Deferred(at=1.0, job="j", reason="x")]
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process keeps it locked"):
        store.append(put)
    assert store.events() == ()
    other.close()
    assert store.append(put)[0].seq == 1
    store.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 1000)
    for read_only in (False, True):
        with pytest.raises(StoreError, match="damaged or not a database of skep"):
            open_store(tmp_path, read_only=read_only)
    assert (tmp_path / FILE).read_bytes() == b"not a database" * 1000


def test_a_damaged_database(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([Deferred(at=1.0, job="j", reason="x" * 4000) for _ in range(50)])
    store.close()
    file = tmp_path / FILE
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(StoreError, match="damaged"):
        open_store(tmp_path)
    file.unlink()  # what the message says: and then it works again, in the same process
    open_store(tmp_path).close()


def test_a_stored_record_that_cannot_be_read(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.append([Deferred(at=1.0, job="j", reason="x")])
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute('UPDATE events SET body = \'{"kind": "deferred", "at": "soon"}\'')
    with pytest.raises(StoreError, match=r"a stored event cannot be read: deferred\.at"):
        store.events()
    store.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_folder_that_is_missing(tmp_path: Path, read_only: bool) -> None:
    with pytest.raises(StoreError, match=r"none/control\.db.* (folder exists|no state yet)"):
        SqlStore(f"sqlite:///{tmp_path}/none/{FILE}", read_only=read_only)
    assert not (tmp_path / "none").exists()


def test_a_missing_folder_is_made_for_a_writer_only(tmp_path: Path) -> None:
    new = tmp_path / "with space?and%20#more" / "état"
    with pytest.raises(StoreError, match="no state yet"):
        open_store(new, read_only=True)
    assert list(tmp_path.iterdir()) == []
    open_store(new).close()
    assert (new / FILE).exists()
    open_store(new, read_only=True).close()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match=f"{tmp_path}/state"):
        open_store(tmp_path / "state")
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path)


@pytest.mark.parametrize("address", ["mysql://h/d", "sqlite://", "://"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises((InputError, StoreError)) as caught:
        open_store(address)
    assert "\n" not in str(caught.value)


def test_a_database_that_is_taken_away_while_open(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state")
    put = [Deferred(at=1.0, job="j", reason="x")]
    store.append(put)
    (tmp_path / "state").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="moved or deleted"):
        store.append(put)
    (tmp_path / "away").rename(tmp_path / "state")
    assert store.append(put)[0].seq == 2
    store.close()


def test_the_lock_ends_with_its_process_and_not_before(tmp_path: Path) -> None:
    code = "import sys; from skep.store.sql import open_store; open_store(sys.argv[1]);"
    code += "print(1, flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    with pytest.raises(StoreError, match=f"in use by process {holder.pid}: stop it first"):
        open_store(tmp_path)
    holder.kill()
    holder.communicate()
    open_store(tmp_path).close()
