"""What is held and until when: the live runs of each pool in order of their expected ends.

Kept in step with the world, one job at a time; a snapshot shares the columns of every pool in
which nothing has changed since the last one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import numpy as np

from skep.control.topology import Topology
from skep.model.policy import Policy
from skep.model.snapshot import EMPTY, Held, HeldShare, Holder
from skep.model.state import JobState
from skep.scheduler.estimate import ahead

# Runs of a job without an estimate (in a log of an older skep) are taken to last so long, in s.
UNKNOWN = 3600.0
# A run that is asked to stop and has no grace of its own is gone after so long at the latest.
_USUAL = 10.0


@dataclass(slots=True)
class _Pool:
    """One pool's columns, which grow and shrink in place, and the frozen copy of them."""

    end: array[float] = field(default_factory=lambda: array("d"))
    chips: array[int] = field(default_factory=lambda: array("q"))
    watts: array[float] = field(default_factory=lambda: array("d"))
    priority: array[int] = field(default_factory=lambda: array("q"))
    holder: list[Holder] = field(default_factory=list)
    frozen: Held | None = None

    def add(self, end: float, holder: Holder, share: HeldShare) -> None:
        at = bisect_right(self.end, end)
        self.end.insert(at, end)
        self.chips.insert(at, share.chips)
        self.watts.insert(at, share.watts)
        self.priority.insert(at, holder.priority)
        self.holder.insert(at, holder)
        self.frozen = None

    def remove(self, end: float, holder: Holder) -> None:
        at = bisect_left(self.end, end)
        while self.holder[at] is not holder:
            at += 1
        for column in (self.end, self.chips, self.watts, self.priority, self.holder):
            del column[at]
        self.frozen = None

    def columns(self) -> Held:
        if self.frozen is None:
            self.frozen = (
                Held(
                    np.array(self.end),
                    np.array(self.chips, dtype=np.int64),
                    np.array(self.watts),
                    np.array(self.priority, dtype=np.int64),
                    tuple(self.holder),
                )
                if self.holder
                else EMPTY
            )
        return self.frozen


class Holding:
    """All pools' live runs, and what is known of each job that holds chips."""

    def __init__(self, topology: Topology, policy: Policy) -> None:
        self._topology, self._policy = topology, policy
        self._pools = [_Pool() for _ in topology.kind]
        self.holders: dict[str, Holder] = {}
        self._columns: tuple[Held, ...] | None = None

    def put(self, job: JobState, now: float) -> Holder | None:
        """Bring a job's rows up to its state; answers what it holds now, None for nothing."""
        new = None if job.ended or not job.live() else self._holder(job, now)
        old = self.holders.get(job.id)
        if old is not None:
            for share in old.shares:
                self._pools[share.row].remove(old.end, old)
            del self.holders[job.id]
        if new is not None:
            for share in new.shares:
                self._pools[share.row].add(new.end, new, share)
            self.holders[job.id] = new
        if old is not None or new is not None:
            self._columns = None
        return new

    def columns(self) -> tuple[Held, ...]:
        """One entry per pool, in order of the topology's rows. Not to be written to."""
        if self._columns is None:
            self._columns = tuple(pool.columns() for pool in self._pools)
        return self._columns

    def _holder(self, job: JobState, now: float) -> Holder:
        live = job.live()
        begun = job.begun_at()
        began = begun if begun is not None else min(run.placed_at for run in live)
        end = ahead(began, job.expected if job.expected is not None else UNKNOWN, now)
        stops = [
            run.stopping_at + (_USUAL if run.grace is None else run.grace)
            for run in live
            if run.stopping_at is not None
        ]
        if len(stops) == len(live):
            end = max(stops)
        queue = self._policy.queue(job.spec.queue)
        own = self._policy.priority_of(job.spec.priority)
        return Holder(
            job=job.id,
            spec=job.spec,
            priority=own + (queue.priority if queue else 0),
            began=began,
            end=end,
            shares=tuple(
                HeldShare(
                    run.run,
                    self._topology.pool_row[run.share.site, run.share.pool],
                    run.share.chips,
                    run.share.power,
                    run.share.rank,
                    run.phase == "stopping",
                )
                for run in live
            ),
            loose=not job.ending and all(run.phase == "running" for run in live),
            preemptions=job.preemptions,
            migrations=job.migrations,
            moved_at=job.moved_at,
            resized_at=job.resized_at,
            dropped=job.dropped,
        )
