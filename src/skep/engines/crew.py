"""The processes of one run, as its supervisor starts, watches and ends them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skep.engines.journal import Journal
from skep.engines.procfs import boot_clock, descendants, die_with_parent, kill

# Nothing of the command runs before its start is on record: a supervisor that dies in between
# closes the gate's pipe, and the process ends.
_GATE = 'read -r _ || exit 125; exec "$0" -c "$1" </dev/null'


def shell() -> str:
    """bash where there is one, else sh."""
    return shutil.which("bash") or "/bin/sh"


@dataclass(slots=True)
class Crew:
    """Processes by name (``setup`` or the rank), each in a session of its own."""

    journal: Journal
    living: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(
        self, name: str, command: str, environ: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        """Run the shell command; its output goes to ``log``."""
        inside, outside = os.pipe()
        parent = os.getpid()
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [shell(), "-c", _GATE, shell(), command],
                    stdin=inside,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=dict(environ),
                    start_new_session=True,
                    preexec_fn=lambda: _in_child(parent),
                )
            self.living[name] = process
            self.journal.start(name, process.pid)
            os.write(outside, b"\n")
        finally:
            os.close(inside)
            os.close(outside)

    def reap(self) -> dict[str, int]:
        """Exit codes (as ``subprocess`` counts) of the processes that ended since last asked."""
        ended = {}
        for name, process in list(self.living.items()):
            code = process.poll()
            if code is not None:
                del self.living[name]
                self.journal.end(name, process.pid, code)
                ended[name] = code
        reap_orphans({process.pid for process in self.living.values()})
        return ended

    def ask_to_end(self) -> None:
        """SIGTERM to the process group of each."""
        for process in self.living.values():
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue

    def end(self, deadline: Callable[[], float]) -> dict[str, int]:
        """End all: SIGTERM, then SIGKILL at ``deadline()`` (boot clock, may come nearer).

        Answers the exit codes. When it returns no process of the run lives, whatever session
        or group it moved to.
        """
        if boot_clock() < deadline():
            self.ask_to_end()
        ended: dict[str, int] = {}
        while self.living and boot_clock() < deadline():
            ended |= self.reap()
            if self.living:
                time.sleep(0.01)
        self.clear()
        while self.living:
            ended |= self.reap()
        reap_orphans(set())
        return ended

    def clear(self) -> None:
        """SIGKILL to all below this process until none is left."""
        while not childless() and (left := descendants(os.getpid())):
            kill(left)
            time.sleep(0.002)


def _in_child(parent: int) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    die_with_parent(signal.SIGKILL, parent)


def childless() -> bool:
    """Whether nothing at all is below this process (which adopts orphans)."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def reap_orphans(spare: set[int]) -> None:
    """Take the exit of ended children that nobody waits for; ``spare`` have someone who does."""
    try:
        while (seen := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if seen.si_pid in spare:
                return
            os.waitpid(seen.si_pid, os.WNOHANG)
    except ChildProcessError:
        return
