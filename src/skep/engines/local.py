"""The local engine: runs are processes on this machine, each run under a supervisor of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skep.engines.base import Material
from skep.engines.ending import Over, cannot, last_line
from skep.engines.folder import (
    ENDED,
    RunFolder,
    SiteFolder,
    claim,
    sync_folder,
    try_lock,
)
from skep.engines.loading import Setting
from skep.engines.order import sheet_of, write_srun
from skep.engines.output import ProgressReader, log_chunks
from skep.engines.procfs import kill, marked
from skep.engines.supervisor import WAKE
from skep.errors import ConflictError, StoreError
from skep.model.base import NAME_PATTERN
from skep.model.message import LogChunk, Order, ProgressChunk, RunReport

_NAME = re.compile(NAME_PATTERN)


class LocalEngine:
    """Executes runs of one site as processes of this machine.

    Holds the site's folder: a second engine on the same folder is refused (``ConflictError``).
    May be called from several threads.
    """

    def __init__(self, setting: Setting) -> None:
        self.site, self.setting = setting.site, setting
        self.folder = SiteFolder(setting.folder.resolve())
        self._guard = threading.RLock()
        self._spawned: dict[str, subprocess.Popen[bytes]] = {}
        self._refused: dict[str, RunReport] = {}
        self._told: dict[str, RunReport] = {}
        self._readers: dict[str, ProgressReader] = {}
        self._lock = self._open()
        self._runs = self._adopt()

    def _open(self) -> int:
        path = self.folder.path
        try:
            self.folder.make()
            lock = try_lock(path / "lock")
        except OSError as error:
            raise StoreError(cannot(f"use the site's folder {path}", error)) from error
        if lock is None:
            raise ConflictError(f"another agent works in the folder {path}")
        return lock

    def _adopt(self) -> dict[str, RunFolder]:
        """Runs found on disk; those whose supervisor was never started get theirs."""
        found = {}
        for path in sorted(self.folder.runs.iterdir()):
            folder = RunFolder(path)
            if path.name.startswith("."):  # half made, or half removed
                shutil.rmtree(path, ignore_errors=True)
                continue
            found[path.name] = folder
            if not folder.started.exists():
                self._spawn(folder)
        return found

    def prepare(self, order: Order, material: Material) -> None:
        with self._guard:
            if self._known(order.run):
                return
            try:
                folder = self._create(order, material)
            except Over as over:
                self._refuse(order.run, over.reason)
            except OSError as error:
                self._refuse(order.run, cannot("write the run's folder", error))
            else:
                self._runs[order.run] = folder
                self._spawn(folder)

    def _known(self, run: str) -> bool:
        return run in self._runs or run in self._refused or self.folder.used(run).exists()

    def _create(self, order: Order, material: Material) -> RunFolder:
        """The run's folder, complete at once: what a crash leaves before is not a run yet."""
        if not _NAME.match(order.run) or not _NAME.match(order.job):
            raise Over("failed", f"{order.run!r} of {order.job!r} cannot name folders")
        final = self.folder.run(order.run)
        new = RunFolder(final.path.with_name(f".new.{order.run}"))
        new.remove()
        new.fill()
        sheet = sheet_of(order, self.setting, final, material, os.environ)
        if material.token:
            _write_secret(new.token, material.token)
        if "SLURM_NTASKS" in order.spec.env:
            write_srun(new)
        Path(sheet.checkpoint).mkdir(parents=True, exist_ok=True)
        _write_secret(new.sheet, sheet.to_json())
        os.rename(new.path, final.path)
        sync_folder(self.folder.runs)
        return final

    def _refuse(self, run: str, reason: str) -> None:
        self._refused[run] = RunReport(run=run, phase="failed", reason=reason)

    def _spawn(self, folder: RunFolder) -> None:
        with folder.words.open("ab") as words:
            self._spawned[folder.run] = subprocess.Popen(
                [sys.executable, "-P", "-m", "skep.engines.supervisor", str(folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                cwd="/",
                start_new_session=True,
            )

    def go(self, order: Order) -> None:
        with self._guard:
            folder = self._runs.get(order.run)
            if folder is not None and folder.order_go(order.peers):
                self._wake(folder)

    def stop(self, run: str, grace: float, reason: str) -> None:
        with self._guard:
            if run in self._refused or self.folder.used(run).exists():
                return
            folder = self._runs.get(run) or self._never_seen(run)
            if (folder.status() or {}).get("phase") in ENDED:
                return
            if folder.claim_never():
                folder.write_status({"run": run, "phase": "stopped", "reason": reason})
            elif folder.order_stop(grace, reason):
                self._wake(folder)

    def _never_seen(self, run: str) -> RunFolder:
        """A folder that keeps a late ``prepare`` from doing anything."""
        folder = self.folder.run(run)
        folder.path.mkdir(mode=0o700)
        self._runs[run] = folder
        return folder

    def _wake(self, folder: RunFolder) -> None:
        who = folder.starter()
        if who is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(who, WAKE)

    def forget(self, run: str) -> None:
        with self._guard:
            folder = self._runs.get(run)
            if folder is not None and (folder.status() or {}).get("phase") in ENDED:
                claim(self.folder.used(run))
                del self._runs[run]
                folder.remove()
            for memory in (self._refused, self._told, self._readers):
                memory.pop(run, None)

    def poll(self) -> tuple[RunReport, ...]:
        with self._guard:
            for run, process in list(self._spawned.items()):
                if process.poll() is not None:
                    del self._spawned[run]
            reports = [self._report(folder) for folder in self._runs.values()]
            return (*reports, *self._refused.values())

    def _report(self, folder: RunFolder) -> RunReport:
        if (told := self._told.get(folder.run)) is not None:
            return told
        status = folder.status()
        if (status or {}).get("phase") not in ENDED and folder.run not in self._spawned:
            status = self._bury(folder)
        report = _as_report(folder.run, status)
        if report.phase in ENDED:
            self._told[folder.run] = report
        return report

    def _bury(self, folder: RunFolder) -> dict[str, Any] | None:
        """The state of a run whose supervisor may be dead: if so end what it left and tell so."""
        lock = try_lock(folder.lock)
        if lock is None:
            return folder.status()
        try:
            status = folder.status() or {}
            if status.get("phase") in ENDED:
                return status
            folder.claim_never()
            kill(marked(_mark(folder)))
            if marked(_mark(folder)):
                return status
            return self._tell_loss(folder, status)
        except OSError:
            folder.give_up_ballast()  # the next poll may find room for the mark
            return folder.status()
        finally:
            os.close(lock)

    def _tell_loss(self, folder: RunFolder, status: dict[str, Any]) -> dict[str, Any]:
        word = last_line(folder.words)
        reason = "lost its supervisor" + (f": {word}" if word else "")
        status = {**status, "phase": "failed", "reason": reason}
        try:
            if folder.sheet.exists():
                folder.journal(folder.read_sheet()).clear()
            folder.write_status(status)
        except OSError as error:
            status["reason"] += f"; {cannot('note it', error)}"
        return status

    def logs(self, run: str, after: Mapping[str, int], limit: int) -> tuple[LogChunk, ...]:
        folder = self._runs.get(run)
        if folder is None:
            return ()
        try:
            return log_chunks(run, folder.logs, after, limit, ended=run in self._told)
        except OSError:
            return ()  # forgotten in between

    def progress(self, run: str, after: int, limit: int) -> ProgressChunk | None:
        folder = self._runs.get(run)
        if folder is None:
            return None
        with self._guard:
            reader = self._readers.setdefault(run, ProgressReader(folder.progress))
            try:
                return reader.read(run, after, limit)
            except OSError:
                return None

    def hold_lease(self, until: float) -> None:
        """Note until when (boot clock) the lease runs: supervisors stop runs by themselves then."""
        self.folder.hold_lease(until)

    def close(self) -> None:
        os.close(self._lock)


def _write_secret(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)


def _mark(folder: RunFolder) -> str:
    return f"SKEP_PROGRESS_FILE={folder.progress}"


def _as_report(run: str, status: Mapping[str, Any] | None) -> RunReport:
    return RunReport.model_validate({"run": run, "phase": "preparing", **(status or {})})
