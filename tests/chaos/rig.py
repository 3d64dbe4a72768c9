"""Starts a pool with ``skep up``, kills its processes, and reads what the engines recorded."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from skep.client import Client
from skep.engines import journal

ROOT = Path(__file__).parents[2]
SKEP = Path(sys.executable).with_name("skep")


@dataclass
class Rig:
    """One pool on this machine under ``home``."""

    home: Path
    pool: Path
    told: list[str] = field(default_factory=list)

    def skep(self, *words: str, timeout: float = 60.0, check: bool = True) -> str:
        done = subprocess.run(
            [str(SKEP), *words],
            env=os.environ | {"SKEP_HOME": str(self.home), "NO_COLOR": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.home.parent,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"skep {' '.join(words)}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def json(self, *words: str) -> object:
        return json.loads(self.skep(*words, "--json"))

    def patient_json(self, *words: str, seconds: float = 30.0) -> object:
        """The same, while a killed control plane may be coming back."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.json(*words)
            except (AssertionError, subprocess.TimeoutExpired, ValueError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    def progress(self, job: str, after: int) -> dict[str, Any]:
        """A page of a job's progress lines, over HTTP as the command does it."""
        client = Client(self.server["url"], token=(self.home / "tokens/admin").read_text())
        return client.progress(job, after=after, limit=5000).model_dump()

    def events(self, job: str, after: int = 0) -> dict[int, str]:
        """Events of a job that the control plane has acknowledged: number and kind."""
        client = Client(self.server["url"], token=(self.home / "tokens/admin").read_text())
        return {e.seq: e.event.kind for e in client.events(job, after=after).events}

    @property
    def server(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "server.json").read_text()))

    def up(self) -> None:
        self.skep("up", "--pool", str(self.pool))

    def down(self) -> None:
        self.skep("down", "--force", check=False)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this pool whose command line has all ``words``."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = process.info["cmdline"] or []
            text = " ".join(line)
            if str(self.home) in text and all(word in text for word in words):
                found.append(process)
        return found

    def ranks(self, site: str | None = None) -> list[psutil.Process]:
        """Processes of jobs: those with a run's environment that supervisors started."""
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            try:
                environ = process.environ()
                line = process.cmdline()
            except (psutil.Error, OSError):
                continue
            if str(self.home) not in environ.get("SKEP_PROGRESS_FILE", ""):
                continue
            job = "RANK" in environ and "train.py" in " ".join(line) and "python" in line[0]
            if job and site in (None, environ.get("SKEP_SITE")):
                found.append(process)
        return found

    def kill(self, kind: str, chance: random.Random, sites: list[str]) -> str:
        """kill -9 of one kind of process; says what was hit ("" where nothing lives)."""
        site = chance.choice(sites)
        victims = {
            "control plane": lambda: self.processes("skep.api.server"),
            "agent": lambda: self.processes("skep.agent.main", f"--site {site}"),
            "rank": lambda: [chance.choice(r)] if (r := self.ranks()) else [],
            "site": lambda: [
                *self.processes("skep.agent.main", f"--site {site}"),
                *self.processes("skep.engines.supervisor", site),
                *self.ranks(site),
            ],
        }[kind]()
        for victim in victims:
            try:
                os.kill(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        hit = f"{kind} {site if kind in ('agent', 'site') else ''}".strip()
        if victims:
            self.told.append(hit)
        return hit if victims else ""


def records(home: Path) -> list[dict[str, object]]:
    """Every record of every site's engine: which process of which run started and ended when."""
    return [r for path in sorted(home.rglob("journal.jsonl")) for r in journal.read(path)]
