"""The folders of the local engine on disk, and the atomic steps on them.

``SITE_DIR``: ``runs/RUN``, ``used/RUN`` (ids that never run again), ``checkpoints/JOB``,
``bundles``, ``journal.jsonl``, ``lease.json``, ``lock``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skep.engines.journal import Journal
from skep.engines.procfs import alive, boot_clock, boot_id, start_ticks
from skep.engines.sheet import Sheet

ENDED = frozenset({"succeeded", "failed", "stopped"})
# Kept free for the last words of a run whose disk has filled up.
_BALLAST = 64 * 1024


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace the file in one step; readers see the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write_new(temporary, text, durable)
    os.replace(temporary, path)


def claim(path: Path, text: str = "") -> bool:
    """Create the file with its text in one durable step; False where it exists already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write_new(temporary, text, durable=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return True


def _write_new(path: Path, text: str, durable: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Names in the folder are on disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(path: Path) -> int | None:
    """Hold the file's lock; answers the open handle, None where another holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in the file; None where there is none (yet)."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class SiteFolder:
    """The folder of one site's engine."""

    path: Path

    def make(self) -> None:
        for name in ("runs", "used", "checkpoints", "bundles"):
            (self.path / name).mkdir(parents=True, exist_ok=True)

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def lease(self) -> Path:
        return self.path / "lease.json"

    def run(self, run: str) -> RunFolder:
        return RunFolder(self.runs / run)

    def used(self, run: str) -> Path:
        """The mark that the id has had its time."""
        return self.path / "used" / run

    def checkpoint(self, job: str) -> Path:
        return self.path / "checkpoints" / job

    def hold_lease(self, until: float) -> None:
        """Note until when (boot clock) the site's lease runs; supervisors read it."""
        write_whole(self.lease, json.dumps({"boot": boot_id(), "until": until}))

    def lease_until(self) -> float | None:
        """The noted end of the lease on the boot clock; None where none was ever granted."""
        noted = read_json(self.lease)
        if noted is None:
            return None
        return float(noted["until"]) if noted["boot"] == boot_id() else 0.0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run. ``started`` is claimed once, by whoever may start its processes."""

    path: Path

    @property
    def run(self) -> str:
        return self.path.name

    @property
    def site(self) -> SiteFolder:
        return SiteFolder(self.path.parent.parent)

    @property
    def sheet(self) -> Path:
        return self.path / "sheet.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def started(self) -> Path:
        return self.path / "started"

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def token(self) -> Path:
        return self.path / "token"

    @property
    def progress(self) -> Path:
        return self.path / "progress.jsonl"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def words(self) -> Path:
        """What the supervisor itself wrote: empty unless it failed."""
        return self.path / "supervisor.log"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def fill(self) -> None:
        """Make the inner folders and the ballast."""
        for folder in (self.path, self.work, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        (self.path / "ballast").write_bytes(b"\0" * _BALLAST)

    def status(self) -> dict[str, Any] | None:
        return read_json(self.path / "status.json")

    def write_status(self, status: Mapping[str, object]) -> None:
        """Tell the run's state; on a full disk the ballast is given up for it."""
        try:
            write_whole(self.path / "status.json", json.dumps(status))
        except OSError:
            self.give_up_ballast()
            write_whole(self.path / "status.json", json.dumps(status))

    def journal(self, sheet: Sheet) -> Journal:
        """The site's journal, for records of this run."""
        return Journal(self.site.journal, self.give_up_ballast, **sheet.about())

    def read_sheet(self) -> Sheet:
        return Sheet.from_json(self.sheet.read_text())

    def give_up_ballast(self) -> None:
        """Make room on a full disk for what must still be noted."""
        with contextlib.suppress(OSError):
            (self.path / "ballast").unlink()

    def claim_start(self) -> bool:
        """Settle, once and for all, that this process (and no other) may start the run."""
        who = {"pid": os.getpid(), "ticks": start_ticks(os.getpid()), "boot": boot_id()}
        return claim(self.started, json.dumps(who))

    def claim_never(self) -> bool:
        """Settle that nobody starts the run; False where somebody may have started it."""
        return claim(self.started, "{}")

    def starter(self) -> int | None:
        """The id of the process that claimed the start, while it lives."""
        who = read_json(self.started)
        if not who or who["boot"] != boot_id() or not alive(who["pid"], who["ticks"]):
            return None
        return int(who["pid"])

    def order_go(self, peers: Mapping[str, str]) -> bool:
        """Let the processes start; False where that was said before."""
        return claim(self.path / "go", json.dumps({"peers": dict(peers)}))

    def go(self) -> dict[str, str] | None:
        """The peers, once the run may start."""
        said = read_json(self.path / "go")
        return None if said is None else dict(said["peers"])

    def order_stop(self, grace: float, reason: str) -> bool:
        """Ask for the end; a later request counts only if it ends sooner."""
        deadline = boot_clock() + grace
        before = self.stop()
        if before is not None and before["deadline"] <= deadline:
            return False
        kept = reason if before is None else before["reason"]
        write_whole(self.path / "stop", json.dumps({"deadline": deadline, "reason": kept}))
        return True

    def stop(self) -> dict[str, Any] | None:
        return read_json(self.path / "stop")

    def remove(self) -> None:
        """Take the folder away: its name at once, its content as far as possible."""
        gone = self.path.with_name(f".gone.{self.run}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, gone)
        shutil.rmtree(gone, ignore_errors=True)
