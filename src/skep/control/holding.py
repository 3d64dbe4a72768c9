"""What is held and until when: the live runs of each pool in order of their expected ends.

Brought up to date when it is read, by the jobs that have changed since: a plan for which all that
waits fits at once asks for none of it. A snapshot shares the columns of every pool in which nothing
has changed since the last one.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np

from skep.control.had import had_by
from skep.control.rates import JobRates
from skep.control.topology import Topology
from skep.model.evolve import replace
from skep.model.policy import Policy
from skep.model.snapshot import EMPTY, Held, HeldShare, Holder
from skep.model.state import JobState, RunState
from skep.scheduler.estimate import ahead
from skep.scheduler.worth import Worth

# Runs of a job without an estimate (in a log of an older skep) are taken to last so long, in s.
UNKNOWN = 3600.0
# A run that is asked to stop and has no grace of its own is gone after so long at the latest.
_USUAL = 10.0


# After having given way once a job is left alone for so long (s) from its next start; twice as long
# after each further time.
PROTECTED = 600.0

_MOST = 2**62

_COLUMNS = {
    "end": "d",
    "chips": "q",
    "watts": "d",
    "priority": "q",
    "began": "d",
    "every": "d",
    "safe_until": "d",
    "worth": "d",
    "spare": "q",
    "had": "d",
}


class _Pool:
    """One pool's columns, which grow and shrink in place, and the frozen copy of them."""

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {n: array(kind) for n, kind in _COLUMNS.items()}
        self._holder: list[Holder] = []
        self._frozen: Held | None = EMPTY

    def add(self, holder: Holder, share: HeldShare) -> None:
        at = bisect_right(self._columns["end"], holder.end)
        for name, value in _row(holder, share).items():
            self._columns[name].insert(at, value)
        self._holder.insert(at, holder)
        self._frozen = None

    def remove(self, holder: Holder) -> None:
        at = bisect_left(self._columns["end"], holder.end)
        while self._holder[at] is not holder:
            at += 1
        for column in (*self._columns.values(), self._holder):
            del column[at]
        self._frozen = None

    def move(self, old: Holder, new: Holder) -> None:
        """Put a holder's row where its new end belongs; the rest of the row is as it was."""
        if self._holder and self._holder[0] is old:
            at = 0  # who is late was the first to end
        else:
            at = bisect_left(self._columns["end"], old.end)
            while self._holder[at] is not old:
                at += 1
        to = bisect_right(self._columns["end"], new.end) - 1
        for column in self._columns.values():
            column.insert(to, column.pop(at))
        self._columns["end"][to] = new.end
        del self._holder[at]
        self._holder.insert(to, new)
        self._frozen = None

    def columns(self) -> Held:
        if self._frozen is None:
            arrays = {name: np.array(column) for name, column in self._columns.items()}
            lowest = float(arrays["priority"].min(initial=_MOST))
            spare = arrays["priority"][arrays["spare"] > 0]
            self._frozen = Held(
                **arrays,
                holder=tuple(self._holder),
                lowest=lowest,
                lowest_spare=float(spare.min()) if len(spare) else float("inf"),
            )
        return self._frozen


class Running(Sequence[Held]):
    """All pools' columns, made when they are first read: to be read before the world changes."""

    def __init__(self, holding: Holding, pools: Sequence[_Pool]) -> None:
        self._holding, self._pools = holding, pools

    def __len__(self) -> int:
        return len(self._pools)

    @overload
    def __getitem__(self, at: int) -> Held: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Held]: ...
    def __getitem__(self, at: int | slice) -> Held | Sequence[Held]:
        self._holding.refresh()
        if isinstance(at, slice):
            return [pool.columns() for pool in self._pools[at]]
        return self._pools[at].columns()


def _row(holder: Holder, share: HeldShare) -> dict[str, float]:
    return {
        "end": holder.end,
        "chips": share.chips,
        "watts": share.watts,
        "priority": holder.priority,
        "began": holder.began,
        "every": holder.spec.checkpoint_every or 0.0,
        "safe_until": _safe_until(holder),
        "worth": holder.weight / share.chips,
        "spare": _spare(holder, share),
        "had": holder.had,
    }


def _safe_until(holder: Holder) -> float:
    if not holder.loose or not holder.spec.preemptible:
        return float("inf")
    if not holder.preemptions:
        return float("-inf")
    return holder.began + PROTECTED * 2.0 ** min(holder.preemptions - 1, 16)


def _spare(holder: Holder, share: HeldShare) -> int:
    """1 where an elastic job can do without the share, 2 where with fewer chips of its only one."""
    elastic, span = holder.spec.elastic, holder.spec.span
    if not holder.loose or elastic is None:
        return 0
    if len(holder.shares) == 1:
        return 2 if holder.spec.preemptible and holder.chips > elastic.min else 0
    can = len(holder.shares) > span.min and holder.chips - share.chips >= elastic.min
    return int(can)


class Holding:
    """All pools' live runs, and what is known of each job that holds chips.

    ``jobs`` are the states of the world as they are whenever this is read.
    """

    def __init__(
        self, topology: Topology, policy: Policy, rates: JobRates, jobs: Mapping[str, JobState]
    ) -> None:
        self._topology, self._policy, self._rates, self._jobs = topology, policy, rates, jobs
        self._worth = Worth(topology.kind, topology.speed)
        self._now = 0.0
        self._pools = [_Pool() for _ in topology.kind]
        self._holders: dict[str, Holder] = {}
        self._growing: dict[str, Holder] = {}
        self._changed: dict[str, None] = {}  # jobs of which the rows are out of date
        self._late: list[str] = []  # jobs that may be past their expected end
        self._ends: list[tuple[float, str]] = []  # expected ends
        self._elastic = False  # whether one of those that have changed may grow
        self._columns: Running | None = None

    # Changes

    def changes(self, job: JobState) -> None:
        """What the job holds, or may be done with it, is not what it was."""
        self._changed.pop(job.id, None)
        if job.id in self._holders or job.live():  # else it came and went unseen
            self._changed[job.id] = None
        self._elastic = self._elastic or job.spec.elastic is not None
        self._columns = None

    def due(self, now: float) -> None:
        """Note who has passed its expected end by ``now``."""
        self._now = max(self._now, now)
        while self._ends and self._ends[0][0] <= now:
            self._late.append(heapq.heappop(self._ends)[1])
            self._columns = None

    def refresh(self) -> None:
        """Bring the rows up to the present; each end that has passed is set anew."""
        if not self._changed and not self._late:
            return
        changed, self._changed = self._changed, {}
        late, self._late = self._late, []
        for job in changed:
            self._put(job)
        for job in late:
            holder = self._holders.get(job)
            if holder is not None and holder.end <= self._now:
                self._set_anew(holder)
        self._elastic = False

    def _put(self, job: str) -> None:
        """Bring a job's rows up to its state."""
        state = self._jobs.get(job)
        new = None if state is None or not state.live() else self._holder(state, self._now)
        old = self._holders.pop(job, None)
        if old is not None:
            for share in old.shares:
                self._pools[share.row].remove(old)
            self._growing.pop(job, None)
        if new is not None:
            for share in new.shares:
                self._pools[share.row].add(new, share)
            self._holders[job] = new
            if _may_grow(new):
                self._growing[job] = new
            if old is None or new.end != old.end:
                heapq.heappush(self._ends, (new.end, job))

    def _set_anew(self, old: Holder) -> None:
        """The job works beyond its expected end, of which nothing else has changed."""
        job = self._jobs[old.job]
        if not old.loose:
            self._put(old.job)
            return
        end = ahead(old.began, job.expected if job.expected is not None else UNKNOWN, self._now)
        new = replace(old, end=end)
        for share in old.shares:
            self._pools[share.row].move(old, new)
        self._holders[old.job] = new
        if old.job in self._growing:
            self._growing[old.job] = new
        heapq.heappush(self._ends, (end, old.job))

    # Views

    @property
    def holders(self) -> Mapping[str, Holder]:
        """What each job holds."""
        self.refresh()
        return self._holders

    @property
    def growing(self) -> Mapping[str, Holder]:
        """Those that could do with more chips."""
        if self._growing or self._elastic:
            self.refresh()
        return self._growing

    def next_end(self) -> float:
        """When the next job passes its expected end, of those that a plan has looked at."""
        return self._ends[0][0] if self._ends else float("inf")

    def columns(self) -> Running:
        """One entry per pool, in order of the topology's rows. Not to be written to.

        The same object as before where nothing has changed.
        """
        if self._columns is None:
            self._columns = Running(self, self._pools)
        return self._columns

    def _holder(self, job: JobState, now: float) -> Holder:
        live, latest = job.live(), job.shares()
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
        rates = self._rates.of(job.spec)
        worth = [self._worth.of(run.share.chip, rates) * run.share.chips for run in live]
        by_level = self._policy.order == "attained"
        return Holder(
            job=job.id,
            spec=job.spec,
            priority=own + (queue.priority if queue else 0),
            began=began,
            end=end,
            shares=tuple(
                [
                    HeldShare(
                        run.run,
                        self._topology.pool_row[run.share.site, run.share.pool],
                        run.share.chips,
                        run.share.power,
                        run.share.rank,
                        run.phase == "stopping",
                        run.share.in_blocks,
                    )
                    for run in live
                ]
            ),
            loose=_loose(job, live, latest),
            preemptions=job.preemptions,
            migrations=job.migrations,
            moved_at=job.moved_at,
            resized_at=job.resized_at,
            next_rank=_next_rank(live, latest),
            rates=rates,
            worth=sum(worth),
            had=had_by(job, began, self._worth, rates) if by_level else 0.0,
        )


def _loose(job: JobState, live: tuple[RunState, ...], shares: dict[int, RunState]) -> bool:
    if job.ending or job.evicted:
        return False
    return all(run.phase == "running" for run in (*live, *shares.values()))


def _next_rank(live: tuple[RunState, ...], shares: dict[int, RunState]) -> int:
    taken = {*shares, *[run.share.rank for run in live]}
    rank = 0
    while rank in taken:
        rank += 1
    return rank


def _may_grow(holder: Holder) -> bool:
    elastic = holder.spec.elastic
    return elastic is not None and holder.loose and holder.chips < elastic.max
