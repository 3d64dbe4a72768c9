"""The supervisor of one run: ``python -m skep.engines.supervisor RUN_DIR``. It outlives the agent.

Two processes, so that either may be killed: the *guard* holds the run's lock and waits; its child,
the *supervisor*, unpacks, sets up, starts the processes and tells the state in ``status.json``.
When one of the two dies the other ends all that lives of the run and tells so. Nothing is ever
started again: who may start is settled once by claiming ``started``.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from skep import units
from skep.engines import ports
from skep.engines.crew import Crew
from skep.engines.ending import Over, cannot, exit_code, full_disk, in_words, who
from skep.engines.folder import ENDED, RunFolder, try_lock
from skep.engines.journal import Journal
from skep.engines.procfs import adopt_orphans, boot_clock, die_with_parent
from skep.engines.sheet import Sheet
from skep.engines.unpack import unpack

# Sent by the engine after it wrote ``go`` or ``stop``.
WAKE = signal.SIGUSR1
# Sent by the kernel to the supervisor when its guard dies.
ORPHANED = signal.SIGUSR2
_HEARD = {WAKE, ORPHANED, signal.SIGTERM, signal.SIGCHLD}
# Others get so long to end by themselves when one process has failed, in seconds.
_FAIL_GRACE = 1.0
_LONGEST_WAIT = 1.0


class Supervisor:
    """Takes one run from its order to its end."""

    def __init__(self, folder: RunFolder, sheet: Sheet, guard: int) -> None:
        self.folder, self.sheet, self.guard = folder, sheet, guard
        self.journal = folder.journal(sheet)
        self.crew = Crew(self.journal)
        self.status: dict[str, object] = {"run": sheet.run, "phase": "preparing"}
        self.held: socket.socket | None = None
        self.must_end_at: float | None = None
        self.lease_at: float | None = None

    def run(self) -> None:
        """All of it; returns when nothing of the run lives and its end is told."""
        try:
            over = self._work()
        except Over as early:
            over = early
        except OSError as error:
            over = Over("failed", cannot("run here", error))
        codes = self.crew.end(self._deadline(over))
        self.journal.clear()
        code = over.exit_code
        if over.phase == "stopped" and codes:
            code = max(exit_code(code) for code in codes.values())
        self._tell(phase=over.phase, reason=over.reason, exit_code=code, ended_at=time.time())

    def _work(self) -> Over:
        self._tell()
        sheet = self.sheet
        unpack(sheet.bundle, sheet.digest, self.folder.work)
        self._heed()
        self._set_up()
        address = self._reserve()
        self._tell(phase="ready", address=address)
        while (peers := self.folder.go()) is None:
            self._wait()
        self._heed()
        self._start(peers, address)
        return self._watch()

    def _set_up(self) -> None:
        if not self.sheet.setup.strip():
            return
        log = self.folder.log("setup")
        environ = self.sheet.site_environ()
        self.crew.start("setup", self.sheet.setup, environ, self.folder.work, log)
        while not (ended := self.crew.reap()):
            self._wait()
        if code := ended["setup"]:
            raise Over("failed", in_words("setup", code, log), exit_code(code))

    def _reserve(self) -> str:
        if not (self.sheet.exchange and self.sheet.inbound):
            return ""
        self.held = ports.reserve(self.sheet.host)
        return f"{self.sheet.host}:{ports.port(self.held)}"

    def _start(self, peers: dict[str, str], listen: str) -> None:
        sheet = self.sheet
        environ = sheet.site_environ(listen, peers)
        with ports.reserve(sheet.host) as taken:
            master_port = ports.port(taken)
        if self.held is not None:
            self.held.close()
        if sheet.time_limit is not None:
            self.must_end_at = boot_clock() + sheet.time_limit
        for rank in range(sheet.processes):
            own = environ | sheet.rank_environ(rank, master_port)
            log = self.folder.log(str(rank))
            self.crew.start(str(rank), sheet.command, own, self.folder.work, log)
        self._tell(phase="running", started_at=time.time())

    def _watch(self) -> Over:
        """Until all have ended, or the first has failed."""
        while True:
            for process, code in self.crew.reap().items():
                if code:
                    name = who(process, self.sheet.processes)
                    reason = in_words(name, code, self.folder.log(process))
                    reason += full_disk(self.folder.path)
                    self._linger()
                    return Over("failed", reason, exit_code(code), self.sheet.grace)
            if not self.crew.living:
                return Over("succeeded", "", 0)
            self._wait()

    def _linger(self) -> None:
        """The others notice by themselves, mostly; what they say of it is worth a moment."""
        until = boot_clock() + _FAIL_GRACE
        while self.crew.living and boot_clock() < until and self.folder.stop() is None:
            signal.sigtimedwait(_HEARD, 0.1)
            self.crew.reap()

    def _wait(self) -> None:
        """Sleep until something is heard or due; raises ``Over`` where the run has to end."""
        due = [at for at in (self.must_end_at, self.lease_at) if at is not None]
        timeout = min([_LONGEST_WAIT, *(max(0.0, at - boot_clock()) for at in due)])
        heard = signal.sigtimedwait(_HEARD, timeout)
        if heard is not None and heard.si_signo == signal.SIGTERM:
            raise Over("stopped", "the machine ends its processes (SIGTERM)", None, 1.0)
        self._heed()

    def _heed(self) -> None:
        if os.getppid() != self.guard:
            raise Over("failed", "lost its supervisor: the guard process was killed")
        if (stop := self.folder.stop()) is not None:
            grace = max(0.0, stop["deadline"] - boot_clock())
            raise Over("stopped", stop["reason"], None, grace)
        if self.must_end_at is not None and boot_clock() >= self.must_end_at:
            limit = units.duration(self.sheet.time_limit or 0.0)
            raise Over("failed", f"time limit of {limit} reached", None, self.sheet.grace)
        self._heed_lease()

    def _heed_lease(self) -> None:
        if not self.sheet.fenced or (self.lease_at is not None and boot_clock() < self.lease_at):
            return
        self.lease_at = self.folder.site.lease_until()
        if self.lease_at is not None and boot_clock() >= self.lease_at:
            reason = "the site's lease ran out: its agent has no word from the control plane"
            raise Over("stopped", reason, None, self.sheet.grace)

    def _deadline(self, over: Over) -> Deadline:
        fence = self.sheet.grace if self.sheet.fenced else None
        return Deadline(self.folder, boot_clock() + over.grace, fence)

    def _tell(self, **changes: object) -> None:
        self.status |= changes
        self.folder.write_status(self.status)


class Deadline:
    """When the processes are killed; a stop request may bring it nearer, and so does the lease.

    ``fence``: a run that may be placed elsewhere is dead so many seconds after the site's lease,
    however long the grace of a stop that was under way. Then its site may count as lost.
    """

    def __init__(self, folder: RunFolder, at: float, fence: float | None = None) -> None:
        self.folder, self.at, self.fence = folder, at, fence

    def __call__(self) -> float:
        stop = self.folder.stop()
        at = self.at if stop is None else min(self.at, float(stop["deadline"]))
        lease = self.folder.site.lease_until() if self.fence is not None else None
        return at if lease is None or self.fence is None else min(at, lease + self.fence)


def guard(folder: RunFolder) -> int:
    """Claim the run, fork its supervisor, and stand in when that dies. The exit code."""
    lock = try_lock(folder.lock)
    if lock is None:
        return 0
    sheet = folder.read_sheet()
    journal = folder.journal(sheet)
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    if not folder.claim_start():
        return 0
    adopt_orphans()
    journal.start("guard", os.getpid())
    child = os.fork()
    if child == 0:
        _as_supervisor(folder, sheet, journal)
    _pass_on_until_ended(child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    journal.end("supervisor", child, code)
    _stand_in(folder, journal, code)
    journal.end("guard", os.getpid(), 0)
    return 0


def _as_supervisor(folder: RunFolder, sheet: Sheet, journal: Journal) -> None:
    code = 1
    try:
        parent = os.getppid()
        die_with_parent(ORPHANED, parent)
        adopt_orphans()
        journal.start("supervisor", os.getpid())
        Supervisor(folder, sheet, parent).run()
        code = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def _pass_on_until_ended(child: int) -> None:
    """Signals for the supervisor reach the guard's id too; returns when the child has ended."""
    while True:
        heard = signal.sigwaitinfo(_HEARD)
        if heard.si_signo != signal.SIGCHLD:
            os.kill(child, heard.si_signo)
        elif os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return


def _stand_in(folder: RunFolder, journal: Journal, code: int) -> None:
    """After the supervisor: end what it left, tell its loss where it did not tell the end."""
    Crew(journal).end(boot_clock)
    status = folder.status() or {"run": folder.run}
    if status.get("phase") in ENDED:
        return
    journal.clear()
    reason = f"lost its supervisor: {in_words('it', code, folder.words)}"
    folder.write_status({**status, "phase": "failed", "reason": reason, "ended_at": time.time()})


def main() -> int:
    """The guard of the run whose folder is the argument."""
    return guard(RunFolder(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
