"""The world in memory: the fold of all events, with the indices that decisions need.

``put`` keeps every index in step with one job's new state, so that the cost of a change follows
the change and not the size of the world.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from skep.control.alike import Alike
from skep.control.holding import Holding
from skep.control.rates import JobRates
from skep.control.topology import Topology
from skep.control.usage import Usage
from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.snapshot import Bools, Ints
from skep.model.state import JobState, RunState, SiteState
from skep.scheduler.blocks import Parts, pick
from skep.scheduler.estimate import Estimate, History
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory
from skep.scheduler.worth import Worth

# A plan is not asked for sooner than so many seconds after the last one, unless something happens.
SHORTEST_LOOK = 1.0
# Who should run elsewhere is looked for at most so often, in s.
BETWEEN_MOVES = 60.0


class World:
    """Jobs, sites and what is free. One control plane owns it; only committed events change it."""

    def __init__(
        self, topology: Topology, first_revision: int = 0, policy: Policy | None = None
    ) -> None:
        self.topology, self.policy = topology, policy or Policy()
        self.now = 0.0  # of the last cycle or report
        self.history = History()
        self.alike = Alike()  # waiting jobs, to be estimated anew where the history changes
        self.claims: dict[str, None] = {}  # jobs for which chips are kept
        # When a plan is wanted although nothing has happened: at once where sites close.
        closing = self.policy.maintenance or self.policy.evacuate
        self.again = 0.0 if closing else float("inf")
        self.moves_at = 0.0  # when to look again for who should run elsewhere
        self.deferring: set[str] = set()  # waiting jobs that may wait for better power
        self.seq = 0  # number of the last event
        self.jobs: dict[str, JobState] = {}
        self.rates = JobRates(topology.chips, topology.kind)
        self.holding = Holding(topology, self.policy, self.rates, self.jobs)
        self.sites = {name: SiteState(name) for name in topology.names}
        # Per site: its agent holds its lease. Never written to: made anew when that changes.
        self.up = np.zeros(len(topology.names), dtype=bool)
        self.heard: dict[str, float] = {}  # site -> when its agent last reported
        self.runs: dict[str, dict[str, str]] = {name: {} for name in topology.names}
        # Revisions of what a site should hold; they start above those of an earlier control plane.
        self.revision: dict[str, int] = dict.fromkeys(topology.names, first_revision)
        self.job_of: dict[str, str] = {}  # every run of a known job -> the job
        self.ordered: dict[str, int] = {}  # live run -> revision with which it was first ordered
        self.free = topology.total.copy()
        self.drawn = topology.idle.copy()
        self.held: dict[str, int] = defaultdict(int)
        self.held_in: dict[str, Ints] = {}  # queue -> chips per pool
        self.block_free = topology.block_chips_of_each.copy()
        # The same numbers, of which one is read or written in a third of the time.
        self._free, self._block_free = self.free.data, self.block_free.data
        self._drawn: memoryview[float] = self.drawn.data.cast("B").cast("d")
        self._held_in: dict[str, memoryview] = {}
        self._first_block: list[int] = topology.first_block.tolist()
        self._chosen: dict[str, Parts] = {}
        self.worth = Worth(topology.kind, topology.speed)
        self.held_worth: dict[str, float] = defaultdict(float)  # queue -> chips of the reference
        self.usage = Usage(self.policy.half_life)
        # Waiting jobs as the scheduler sees them; made by the first snapshot, then kept in step.
        self.line: Line | None = None
        self.line_policy: Policy | None = None
        self.drained: tuple[Policy, Bools] | None = None  # per site, under that policy
        self.unlined: dict[str, None] = {}  # waiting jobs of which the line knows too little
        self.avoiding: dict[str, float] = {}  # waiting job -> until when it avoids what it does now
        self.memory = Memory()
        self.untold: dict[str, None] = {}  # waiting jobs whose wait was not yet explained
        self.waiting: dict[str, None] = {}  # ids in order of submission
        self.active: set[str] = set()
        self.deferred: dict[str, float] = {}  # waiting job -> when it was told why, oldest first
        self.dirty: set[str] = set()  # jobs that the next cycle must look at
        self._timers: list[tuple[float, str]] = []

    def put(self, job: JobState) -> None:
        """Take a job's new state and bring the indices up to it."""
        old = self.jobs.get(job.id)
        if job.ended and not (old and old.ended):
            self.history.note(job)
            self.alike.ended(job, self.history, self.now)
        if job.runs and (old is None or old.runs is not job.runs):
            self._follow(old, job)
        self.jobs[job.id] = job
        self._index(job)

    def put_sites(self, sites: Iterable[SiteState]) -> None:
        """Take the new states of sites of the pool."""
        known = {site.name: site for site in sites if site.name in self.sites}
        if known:
            self.sites.update(known)
            self.up = np.array([self.sites[n].phase == "up" for n in self.topology.names], bool)

    def _follow(self, old: JobState | None, job: JobState) -> None:
        """What the job's runs hold has changed."""
        before: Mapping[str, RunState] = old.runs if old else {}
        anew = False  # whether what it holds, or what may be done with it, is another
        for name, run in job.runs.items():
            was = before.get(name)
            if was is run:
                continue
            held, holds = was is not None and not was.ended, not run.ended
            if held and not holds:
                self._release(job, run)
            elif holds:
                self._hold(job, run, fresh=not held)
            anew |= held != holds or (holds and was is not None and _matters(was, run))
        if old is None:
            self._recall(job)
        if anew:
            self.holding.changes(job)

    def _hold(self, job: JobState, run: RunState, *, fresh: bool) -> None:
        """The site has to hold the run, as it is now."""
        name, site = run.run, run.share.site
        if fresh:
            self._account(job, run, 1)
            self.runs[site][name] = self.job_of[name] = job.id
        self.revision[site] += 1
        self.ordered.setdefault(name, self.revision[site])

    def _release(self, job: JobState, run: RunState) -> None:
        """The run has ended."""
        self._account(job, run, -1)
        self.runs[run.share.site].pop(run.run, None)
        self.ordered.pop(run.run, None)
        self.revision[run.share.site] += 1

    def _recall(self, job: JobState) -> None:
        """Count what the runs of a job used that had ended before it was known here."""
        for run in job.runs.values():
            if run.ended:
                end = job.ended_at if run.ended_at is None else run.ended_at
                chips = self.worth_of(job, run.share)
                self.usage.had(job.spec.queue, chips, run.placed_at, end or run.placed_at)

    def worth_of(self, job: JobState, share: Share) -> float:
        """What the share is worth to the job, in chips of the reference."""
        return share.chips * self.worth.of(share.chip, self.rates.of(job.spec))

    def _index(self, job: JobState) -> None:
        name, ended = job.id, job.ended
        if job.claim is not None and not ended and not job.ending:
            self.claims.setdefault(name)
        elif self.claims:
            self.claims.pop(name, None)
        if ended:
            self.active.discard(name)
            self.dirty.discard(name)
            self._leaves(name)
            return
        self.active.add(name)
        self.dirty.add(name)
        if not wants_chips(job):
            self._leaves(name)
            return
        if name not in self.waiting:
            self.waiting[name] = None
            self.untold[name] = None
        if job.not_before:
            self.wake_at(job.not_before, name)
        if job.spec.defer:
            self.deferring.add(name)
        self.unlined[name] = None

    def _leaves(self, job: str) -> None:
        """The job waits no more, if it did."""
        if job not in self.waiting:
            return
        del self.waiting[job]
        self.untold.pop(job, None)
        if self.deferred.pop(job, None) is not None:
            self.alike.leaves(self.jobs[job])
        self.unlined.pop(job, None)
        self.avoiding.pop(job, None)
        self.deferring.discard(job)
        if self.line is not None:
            self.line.drop(job)

    def told(self, job: str, now: float) -> None:
        """The log has said why the job waits; it goes to the end of those to be told again."""
        self.untold.pop(job, None)
        self.deferred.pop(job, None)
        self.deferred[job] = now
        self.alike.waits(self.jobs[job])

    def _account(self, job: JobState, run: RunState, sign: int) -> None:
        share, topology, queue = run.share, self.topology, job.spec.queue
        pool, chips = topology.pool_row[share.site, share.pool], sign * share.chips
        self._free[pool] -= chips
        self._drawn[topology.row[share.site]] += sign * share.power
        self.held[queue] += chips
        if queue not in self.held_in:
            self.held_in[queue] = np.zeros(len(self.free), dtype=np.int64)
            self._held_in[queue] = self.held_in[queue].data
        self._held_in[queue][pool] += chips
        first = self._first_block[pool]
        for block, part in self._parts(run, pool, sign):
            self._block_free[first + block] -= sign * part
        worth = self.worth_of(job, share)
        self.held_worth[queue] = max(0.0, self.held_worth[queue] + sign * worth)
        if sign > 0:
            self.usage.begins(queue, worth, run.placed_at)
        else:
            end = run.ended_at or job.ended_at or run.placed_at
            self.usage.ends(queue, worth, run.placed_at, end)

    def _parts(self, run: RunState, pool: int, sign: int) -> Parts:
        """In which blocks the run lies; chosen here where its placement did not say."""
        if run.share.in_blocks or sign < 0:
            return run.share.in_blocks or self._chosen.pop(run.run, ())
        first, last = self._first_block[pool], self._first_block[pool + 1]
        parts = self._chosen[run.run] = pick(self.block_free[first:last].tolist(), run.share.chips)
        return parts

    def wake_at(self, when: float, job: str) -> None:
        """Look at the job again at ``when``."""
        heapq.heappush(self._timers, (when, job))

    def due(self, now: float) -> None:
        """Mark the jobs whose time has come."""
        self.now = max(self.now, now)
        while self._timers and self._timers[0][0] <= now:
            _, job = heapq.heappop(self._timers)
            if job in self.active:
                self.dirty.add(job)
        self.holding.due(now)

    def next_wake(self) -> float:
        """When the next timer is due; infinity if there is none."""
        timer = self._timers[0][0] if self._timers else float("inf")
        end = self.holding.next_end() if self._something_moves() else float("inf")
        return min(timer, end, self.again)

    def _something_moves(self) -> bool:
        return bool(self.waiting or self.claims or self.holding.growing)

    def wants_a_plan(self, now: float) -> bool:
        """Whether there is something to decide: jobs wait, chips may move, or the time has come."""
        return self._something_moves() or self.again <= now

    def looks_for_moves(self, now: float) -> bool:
        """Whether it is time to look for who should run elsewhere; then not again for a while."""
        if not self.policy.migration or not self.holding.holders or now < self.moves_at:
            return False
        self.moves_at = now + BETWEEN_MOVES
        return True

    def plan_again(self, when: float, now: float) -> None:
        """Ask for a plan at ``when`` although nothing happens until then."""
        if self.policy.migration and self.holding.holders:
            when = min(when, self.moves_at)
        self.again = max(when, now + SHORTEST_LOOK)

    def length(self, job: JobState) -> float:
        """Seconds that the job is expected to work yet, counted from when it is placed."""
        if job.runs and job.live():
            holder = self.holding.holders.get(job.id)
            if holder is not None:
                return max(1.0, holder.end - self.now)
        whole = self.history.seconds(job.spec, job.user, self.policy.assumed)
        return max(1.0, whole - job.done)

    def estimate(self, job: JobState) -> Estimate:
        """How long the whole of the job is expected to take, and why."""
        return self.history.expected(job.spec, job.user, self.policy.assumed)

    def load(self, jobs: Iterable[JobState], sites: Iterable[SiteState], now: float) -> None:
        """Fill from the store at start; each site that was up gets a fresh, full lease."""
        self.now = now
        for job in sorted(jobs, key=_end):
            self.put(job)
        known = [site for site in sites if site.name in self.sites]
        self.put_sites(known)
        self.heard.update(dict.fromkeys((site.name for site in known), now))

    def free_of(self, site: str, pool: int) -> int:
        """Chips not held by a live run."""
        return self._free[self.topology.pool_row[site, pool]]

    def free_in(self, site: str, pool: int, block: int) -> int:
        """Chips of a block of the pool that are not held by a live run."""
        return self._block_free[self._first_block[self.topology.pool_row[site, pool]] + block]

    def drawn_at(self, site: str) -> float:
        """W at the meter: all chips idle, plus live runs at their worst."""
        return self._drawn[self.topology.row[site]]


def _end(job: JobState) -> float:
    """In order of their ends, those without one in order of age: as they came."""
    return job.submitted_at if job.ended_at is None else job.ended_at


def _matters(was: RunState, run: RunState) -> bool:
    """Whether something else may be done with a run that goes on."""
    return run.phase != was.phase and run.phase in ("running", "stopping")


def lost_shares(job: JobState) -> tuple[RunState, ...]:
    """Shares of a started gang to be placed again while other shares run or have succeeded."""
    return _lost_shares(job, job.live())


def _lost_shares(job: JobState, live: tuple[RunState, ...]) -> tuple[RunState, ...]:
    if len(live) == len(job.runs) or (job.evicted and live):
        return ()
    shares = job.shares().values()
    others = any(r.phase == "succeeded" or (r.go and not r.ended) for r in shares)
    return tuple(r for r in shares if r.ended and r.phase != "succeeded") if others else ()


def wants_chips(job: JobState) -> bool:
    """Whether the scheduler has something to decide for the job."""
    if job.ended or job.ending:
        return False
    live = job.live()
    return not live or bool(_lost_shares(job, live))
