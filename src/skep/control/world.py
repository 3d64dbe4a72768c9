"""The world in memory: the fold of all events, with the indices that decisions need.

``put`` keeps every index in step with one job's new state, so that the cost of a change follows
the change and not the size of the world.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from skep.control.topology import Topology
from skep.model.state import JobState, RunState, SiteState


class World:
    """Jobs, sites and what is free. One control plane owns it; only committed events change it."""

    def __init__(self, topology: Topology, first_revision: int = 0) -> None:
        self.topology = topology
        self.seq = 0  # number of the last event
        self.jobs: dict[str, JobState] = {}
        self.sites = {name: SiteState(name) for name in topology.names}
        self.heard: dict[str, float] = {}  # site -> when its agent last reported
        self.runs: dict[str, dict[str, str]] = {name: {} for name in topology.names}
        # Revisions of what a site should hold; they start above those of an earlier control plane.
        self.revision: dict[str, int] = dict.fromkeys(topology.names, first_revision)
        self.job_of: dict[str, str] = {}  # every run of a known job -> the job
        self.ordered: dict[str, int] = {}  # live run -> revision with which it was first ordered
        self.free = topology.total.copy()
        self.drawn = topology.idle.copy()
        self.held: dict[str, int] = defaultdict(int)
        self.waiting: dict[str, None] = {}  # ids in order of submission
        self.active: set[str] = set()
        self.deferred: dict[str, float] = {}  # waiting job -> when its reasons were last logged
        self.dirty: set[str] = set()  # jobs that the next cycle must look at
        self._timers: list[tuple[float, str]] = []

    def put(self, job: JobState) -> None:
        """Take a job's new state and bring the indices up to it."""
        old = self.jobs.get(job.id)
        before = {r.run: r for r in old.live()} if old else {}
        after = {r.run: r for r in job.live()} if not job.ended else {}
        for name in before.keys() - after.keys():
            self._release(job, before[name])
        for name in after.keys() - before.keys():
            self._take(job, after[name])
        for name, run in after.items():
            if before.get(name) != run:
                self.revision[run.share.site] += 1
                self.ordered.setdefault(name, self.revision[run.share.site])
        self.jobs[job.id] = job
        self.job_of.update(dict.fromkeys(after, job.id))
        self._index(job)

    def _index(self, job: JobState) -> None:
        if job.ended:
            self.active.discard(job.id)
            self.waiting.pop(job.id, None)
            self.dirty.discard(job.id)
            self.deferred.pop(job.id, None)
            return
        self.active.add(job.id)
        self.dirty.add(job.id)
        if wants_chips(job):
            self.waiting.setdefault(job.id)
        else:
            self.waiting.pop(job.id, None)

    def _take(self, job: JobState, run: RunState) -> None:
        self._account(job, run, 1)
        self.runs[run.share.site][run.run] = job.id

    def _release(self, job: JobState, run: RunState) -> None:
        self._account(job, run, -1)
        self.runs[run.share.site].pop(run.run, None)
        self.ordered.pop(run.run, None)
        self.revision[run.share.site] += 1

    def _account(self, job: JobState, run: RunState, sign: int) -> None:
        share, topology = run.share, self.topology
        self.free[topology.pool_row[share.site, share.pool]] -= sign * share.chips
        self.drawn[topology.row[share.site]] += sign * share.power
        self.held[job.spec.queue] += sign * share.chips

    def wake_at(self, when: float, job: str) -> None:
        """Look at the job again at ``when``."""
        heapq.heappush(self._timers, (when, job))

    def due(self, now: float) -> None:
        """Mark the jobs whose time has come."""
        while self._timers and self._timers[0][0] <= now:
            _, job = heapq.heappop(self._timers)
            if job in self.active:
                self.dirty.add(job)

    def next_wake(self) -> float:
        """When the next timer is due; infinity if there is none."""
        return self._timers[0][0] if self._timers else float("inf")

    def load(self, jobs: Iterable[JobState], sites: Iterable[SiteState], now: float) -> None:
        """Fill from the store at start; each site that was up gets a fresh, full lease."""
        for job in jobs:
            self.put(job)
        for site in sites:
            if site.name in self.sites:
                self.sites[site.name] = site
                self.heard[site.name] = now

    def free_of(self, site: str, pool: int) -> int:
        """Chips not held by a live run."""
        return int(self.free[self.topology.pool_row[site, pool]])

    def drawn_at(self, site: str) -> float:
        """W at the meter: all chips idle, plus live runs at their worst."""
        return float(self.drawn[self.topology.row[site]])

    def up(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Per site: its agent holds its lease."""
        return np.array([self.sites[n].phase == "up" for n in self.topology.names], dtype=bool)


def lost_shares(job: JobState) -> tuple[RunState, ...]:
    """Shares of a started gang to be placed again while other shares run or have succeeded."""
    shares = job.shares().values()
    others = any(r.phase == "succeeded" or (r.go and not r.ended) for r in shares)
    return tuple(r for r in shares if r.ended and r.phase != "succeeded") if others else ()


def wants_chips(job: JobState) -> bool:
    """Whether the scheduler has something to decide for the job."""
    if job.ended or job.ending:
        return False
    return not job.live() or bool(lost_shares(job))
