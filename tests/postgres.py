"""A PostgreSQL server of our own, for the contract of stores."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class Postgres:
    """A server of our own, in a folder of its own, on a socket there."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self._bin, self._count = folder, binaries, 0
        # The server refuses to run as root.
        self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        if os.geteuid() != 0:
            self._as = {}
        else:
            shutil.chown(folder, "nobody", "nogroup")
        make = [binaries / "initdb", "-D", folder / "data", "-U", "skep", "-A", "trust"]
        # Words sorted as people do, where the server can: names must be found all the same.
        for order in (["--locale-provider=icu", "--icu-locale=en"], []):
            done = subprocess.run(
                [*make, "-E", "UTF8", *order], capture_output=True, cwd=folder, **self._as
            )
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stderr
        self.start()

    def start(self) -> None:
        command = [self._bin / "postgres", "-D", self.folder / "data", "-k", self.folder]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [*command, "-c", "listen_addresses="],
            stdout=log,
            stderr=log,
            cwd=self.folder,
            **self._as,
        )
        log.close()
        for _ in range(200):
            if self._psql("SELECT 1").returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, how: int = signal.SIGINT) -> None:
        self.process.send_signal(how)
        self.process.wait(30)

    def database(self) -> str:
        self._count += 1
        done = self._psql(f"CREATE DATABASE d{self._count}")
        assert done.returncode == 0, done.stderr
        return f"postgresql://skep@/d{self._count}?host={self.folder}"

    def _psql(self, query: str) -> "subprocess.CompletedProcess[bytes]":
        command = [self._bin / "psql", "-h", self.folder, "-U", "skep", "-c", query, "postgres"]
        return subprocess.run(command, capture_output=True, check=False)


def _postgres_binaries() -> Path | None:
    in_path = [Path(p).resolve().parent for p in [shutil.which("initdb")] if p]
    folders = [*in_path, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _roomy(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 1 << 30


@pytest.fixture(scope="session", name="postgres")
def postgres_server() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="psycopg, the driver of PostgreSQL, is not installed")
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed here")
    # In memory where that is: a server makes and removes thousands of small files.
    memory = "/dev/shm" if _roomy(Path("/dev/shm")) else None
    folder = Path(tempfile.mkdtemp(prefix="skep-pg-", dir=memory))
    server = Postgres(folder, binaries)
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)
