"""Schedulers to be held against: first come first served, EASY backfill, shortest first; a bound.

Small pure functions of a snapshot, with what skep is not given: the true run time of each job. They
decide inside the same replay, in place of skep's own ``schedule``; events, folds and checks stay.
A job goes to one pool: of those it may use, the one with the fewest free chips that hold it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

import skep.control.cycle
from skep.model.placement import Share
from skep.model.policy import Policy
from skep.model.snapshot import Placement, Plan, Snapshot
from skep.sim.trace import Trace

Allowed = Callable[[str, int], bool]
"""(queue, row of the pool) -> whether jobs of the queue may use it."""


@contextmanager
def deciding(by: Callable[..., Plan]) -> Iterator[None]:
    """Let ``by`` decide in place of skep's scheduler."""
    ours = skep.control.cycle.schedule
    skep.control.cycle.schedule = by  # type: ignore[assignment]
    try:
        yield
    finally:
        skep.control.cycle.schedule = ours


@dataclass(slots=True)
class Baseline:
    """``shortest``: order by run time instead of age. ``backfill``: EASY, else the head waits
    and all of its group behind it. A group is all queues that use the same pools. ``first_fit``:
    the first pool that holds a job instead of the one with the fewest free chips."""

    trace: Trace
    allowed: Allowed
    shortest: bool = False
    backfill: bool = False
    first_fit: bool = False
    _ends: list[tuple[float, int, int]] = field(default_factory=list)  # end, pool, chips
    _pools: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, snapshot: Snapshot, policy: Policy, now: float, *more: object) -> Plan:
        """A plan of placements only."""
        del policy, more
        while self._ends and self._ends[0][0] <= now:
            heapq.heappop(self._ends)
        free = snapshot.pools.free.copy()
        placed: list[Placement] = []
        shut: dict[tuple[int, ...], tuple[int, float, int] | None] = {}
        for job in sorted(snapshot.waiting, key=self._key):
            shape = snapshot.shapes[job.shape]
            chips, pools = shape.chips[0].count, self._usable(snapshot, shape.queue)
            took = float(self.trace.duration[int(job.job)])
            if pools in shut and not self.backfill:
                continue
            pool = self._choice(free, pools, chips, now + took, shut.get(pools))
            if pool is None:
                if pools not in shut:
                    shut[pools] = self._reserved(free, pools, chips, now) if self.backfill else None
                continue
            if (held := shut.get(pools)) and pool == held[0] and now + took > held[1]:
                shut[pools] = (held[0], held[1], held[2] - chips)
            free[pool] -= chips
            heapq.heappush(self._ends, (now + took, pool, chips))
            placed.append(_placement(snapshot, job.job, job.version, pool, chips))
        return Plan(tuple(placed), ())

    def _key(self, job: object) -> tuple[float, int]:
        row = int(job.job)  # type: ignore[attr-defined]
        return (float(self.trace.duration[row]) if self.shortest else 0.0, row)

    def _usable(self, snapshot: Snapshot, queue: str) -> tuple[int, ...]:
        if queue not in self._pools:
            rows = range(len(snapshot.pools.kind))
            self._pools[queue] = tuple(row for row in rows if self.allowed(queue, row))
        return self._pools[queue]

    def _choice(
        self,
        free: np.ndarray,
        pools: tuple[int, ...],
        chips: int,
        end: float,
        held: tuple[int, float, int] | None,
    ) -> int | None:
        fits = [pool for pool in pools if free[pool] >= chips]
        if held is not None:
            kept, start, spare = held
            fits = [p for p in fits if p != kept or end <= start or chips <= spare]
        if self.first_fit:
            return min(fits, default=None)
        return min(fits, key=lambda pool: (free[pool], pool)) if fits else None

    def _reserved(
        self, free: np.ndarray, pools: tuple[int, ...], chips: int, now: float
    ) -> tuple[int, float, int] | None:
        """(pool, start, chips to spare then) of the first of its group that does not fit."""
        left = {pool: int(free[pool]) for pool in pools}
        del now
        for end, pool, given in sorted(self._ends):
            if pool in left:
                left[pool] += given
                if left[pool] >= chips:
                    spare = left[pool] - chips
                    spare += sum(g for e, p, g in self._ends if p == pool and e == end) - given
                    return pool, end, min(spare, int(free[pool]))
        return None


def _placement(snapshot: Snapshot, job: str, version: int, pool: int, chips: int) -> Placement:
    pools = snapshot.pools
    size = int(pools.chips_per_node[pool])
    share = Share(
        site=snapshot.sites.names[pools.site[pool]],
        pool=int(pools.index[pool]),
        chip=pools.kind[pool],
        chips=chips,
        nodes=-(-chips // size),
    )
    return Placement(job, version, (share,), repair=False, reason="a baseline")


def lower_bound(trace: Trace, chips: int) -> float:
    """No schedule has a smaller mean completion time (s).

    The larger of two bounds: every job takes its run time; and no order of the same work is better
    than shortest remaining work first, preemptive, on one machine with the speed of all chips.
    """
    alone = float(trace.duration.mean())
    return max(alone, _fluid(trace.submit, trace.duration * trace.chips / chips))


def _fluid(submit: np.ndarray, work: np.ndarray) -> float:
    """Mean completion of shortest remaining processing time on one machine."""
    heap: list[tuple[float, float]] = []  # work left, submitted
    now, total, row = 0.0, 0.0, 0
    times, works = submit.tolist(), work.tolist()
    while heap or row < len(times):
        if not heap:
            now = max(now, times[row])
        while row < len(times) and times[row] <= now:
            heapq.heappush(heap, (works[row], times[row]))
            row += 1
        left, since = heapq.heappop(heap)
        until = times[row] if row < len(times) else float("inf")
        if now + left <= until:
            now += left
            total += now - since
        else:
            heapq.heappush(heap, (left - (until - now), since))
            now = until
    return total / len(times)
