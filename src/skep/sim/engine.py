"""The simulated engine: runs take time on a simulated clock, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skep import units
from skep.engines.base import Material
from skep.model.message import LogChunk, ObservedPhase, Order, ProgressChunk, RunReport
from skep.sim.stint import Stint

FENCED = "the site's lease ran out: its agent has no word from the control plane"
PORT = 29400  # nothing listens there


@dataclass(slots=True)
class SimulatedRun:
    """One run: when it is ready, started and over. ``over_at`` may lie ahead until it comes."""

    order: Order
    stint: Stint
    taken_at: float
    ready_at: float
    go_at: float | None = None
    started_at: float | None = None
    over_at: float = float("inf")
    outcome: ObservedPhase = "succeeded"
    exit_code: int | None = None
    reason: str = ""
    settled: bool = False
    told: RunReport | None = None

    def phase(self, now: float) -> ObservedPhase:
        """What the run does at ``now``."""
        if now >= self.over_at:
            return self.outcome
        if self.started_at is not None:
            return "running"
        return "ready" if now >= self.ready_at else "preparing"

    def runs_at(self, now: float) -> bool:
        """Whether its processes are alive at ``now``."""
        return self.started_at is not None and self.started_at <= now < self.over_at

    def ends(self, at: float, outcome: ObservedPhase, code: int | None, reason: str) -> None:
        """It ends so at ``at``, unless it has ended, or ends before."""
        if at < self.over_at:
            self.over_at, self.outcome, self.exit_code, self.reason = at, outcome, code, reason


@dataclass(slots=True)
class SimulatedEngine:
    """An ``Engine`` and ``Fenced``. It outlives agents, as the supervisors of the local one do.

    Every call first brings its runs to the present; between calls nothing is computed. ``wake``
    is told when a run will change by itself; ``started`` hears of each start. ``stop_takes``: s
    from a stop to the end of the run, where its grace is not shorter.
    """

    clock: Callable[[], float]
    plan: Callable[[Order], Stint]
    interrupted: Callable[[Order, Stint, float], None] = lambda _order, _stint, _worked: None
    wake: Callable[[float], None] = lambda _when: None
    started: Callable[[SimulatedRun], None] = lambda _run: None
    host: str = "127.0.0.1"
    stop_takes: float = 1.0
    runs: dict[str, SimulatedRun] = field(default_factory=dict)
    never: dict[str, RunReport] = field(default_factory=dict)  # stopped before they were seen
    used: set[str] = field(default_factory=set)  # ids of forgotten runs
    lease: float | None = None

    def prepare(self, order: Order, material: Material) -> None:
        del material
        self.settle()
        if order.run in self.runs or order.run in self.never or order.run in self.used:
            return
        stint, now = self.plan(order), self.clock()
        run = SimulatedRun(order, stint, now, now + stint.setup)
        self.runs[order.run] = run
        self.wake(run.ready_at)

    def go(self, order: Order) -> None:
        self.settle()
        run = self.runs.get(order.run)
        if run is not None and run.go_at is None:
            run.go_at = self.clock()
            self.settle()

    def stop(self, run: str, grace: float, reason: str) -> None:
        self.settle()
        held = self.runs.get(run)
        if held is None:
            if run not in self.used:
                self.never.setdefault(run, RunReport(run=run, phase="stopped", reason=reason))
            return
        takes = min(self.stop_takes, grace) if held.started_at is not None else 0.0
        held.ends(self.clock() + takes, "stopped", None, reason)
        if not held.settled:
            self.wake(held.over_at)

    def forget(self, run: str) -> None:
        self.settle()
        held = self.runs.get(run)
        if run in self.never or (held is not None and held.settled):
            self.runs.pop(run, None)
            self.never.pop(run, None)
            self.used.add(run)

    def poll(self) -> tuple[RunReport, ...]:
        self.settle()
        now = self.clock()
        seen = (self._told(run, run.phase(now)) for run in self.runs.values())
        return (*seen, *self.never.values())

    def logs(self, run: str, after: Mapping[str, int], limit: int) -> tuple[LogChunk, ...]:
        """Nothing: simulated runs write no logs."""
        del run, after, limit
        return ()

    def progress(self, run: str, after: int, limit: int) -> ProgressChunk | None:
        """Nothing: simulated runs write no progress."""
        del run, after, limit
        return None

    def close(self) -> None:
        """Nothing is held."""

    def hold_lease(self, until: float) -> None:
        self.settle()
        self.lease = until

    def lease_until(self) -> float | None:
        return self.lease

    def crash(self, reason: str) -> None:
        """Everything that lives here dies now, as when the site loses its power."""
        self.settle()
        for run in self.runs.values():
            run.ends(self.clock(), "failed", None, reason)
        self.settle()

    def kill(self, run: str, reason: str) -> None:
        """The processes of one run are killed now."""
        self.settle()
        held = self.runs.get(run)
        if held is not None and held.started_at is not None:
            held.ends(self.clock(), "failed", 137, reason)
            self.wake(self.clock())

    def settle(self) -> None:
        """Bring every run to the present: starts, leases that ran out, ends that have come."""
        now = self.clock()
        for run in self.runs.values():
            if not run.settled:
                self._settle(run, now)

    def _settle(self, run: SimulatedRun, now: float) -> None:
        begin = float("inf") if run.go_at is None else max(run.go_at, run.ready_at)
        if run.started_at is None and begin <= now and begin < min(run.over_at, self._fence(run)):
            self._start(run, begin)
        if now >= (fence := self._fence(run)):
            takes = min(self.stop_takes, run.order.grace) if run.started_at is not None else 0.0
            run.ends(max(fence, run.taken_at) + takes, "stopped", None, FENCED)
        if now >= run.over_at:
            run.settled = True
            if run.started_at is not None and run.outcome != "succeeded":
                self.interrupted(run.order, run.stint, run.over_at - run.started_at)

    def _fence(self, run: SimulatedRun) -> float:
        """When the run must end because the site has no lease any more."""
        return self.lease if self.lease is not None and fenced(run.order) else float("inf")

    def _start(self, run: SimulatedRun, now: float) -> None:
        run.started_at = now
        stint, limit = run.stint, run.order.spec.time_limit
        if limit is not None and limit < stint.work:
            run.ends(now + limit, "failed", None, f"time limit of {units.duration(limit)} reached")
        outcome: ObservedPhase = "failed" if stint.exit_code else "succeeded"
        run.ends(now + stint.work, outcome, stint.exit_code, stint.reason)
        self.started(run)
        self.wake(run.over_at)

    def _told(self, run: SimulatedRun, phase: ObservedPhase) -> RunReport:
        if run.told is None or run.told.phase != phase:
            over, peers = run.settled, run.order.site_count > 1
            run.told = RunReport(
                run=run.order.run,
                phase=phase,
                address=f"{self.host}:{PORT}" if peers and phase != "preparing" else "",
                exit_code=run.exit_code if over else None,
                reason=run.reason if over else "",
                started_at=run.started_at,
                ended_at=run.over_at if over else None,
            )
        return run.told


def fenced(order: Order) -> bool:
    """Whether a run of the job may be placed elsewhere, so that it must end with the lease."""
    return order.spec.on_site_loss != "wait"
