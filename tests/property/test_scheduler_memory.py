"""With a memory of the cycles before, or without, the plan is the same; a line kept in step too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.model.job import Job
from skep.model.policy import Policy
from skep.model.snapshot import HeldShare, Holder, Ints, Placement, Shape, Snapshot, Waiting
from skep.scheduler import schedule
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory
from tests.lives import columns, lives
from tests.lives import policies as lively
from tests.worlds import NOW, policies, worlds


@dataclass
class Story:
    """A world that goes on, with the line and the memory that a control plane would keep."""

    snapshot: Snapshot
    policy: Policy
    shapes: list[Shape]
    jobs: dict[str, Waiting]
    now: float = NOW
    memory: Memory = field(default_factory=Memory)
    line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.line = Line(self.policy.patience, self.policy.order)
        for job in self.jobs.values():
            self.line.put(job, self.shapes[job.shape])

    def lives(self) -> None:
        """Runs whose time is over end; what runs is told to the scheduler."""
        found = [h for held in self.snapshot.running for h in held.holder]
        for holder in found:
            if holder.end <= self.now:
                self.gives_back(holder)
        left = [h for h in found if h.end > self.now]
        rows = range(len(self.snapshot.pools.kind))
        running = tuple(columns(left, row) for row in rows)
        self.snapshot = replace(self.snapshot, running=running)

    def gives_back(self, holder: Holder) -> None:
        pools, (share,) = self.snapshot.pools, holder.shares
        free, drawn = pools.free.copy(), self.snapshot.sites.power_drawn.copy()
        free[share.row] += share.chips
        drawn[pools.site[share.row]] -= share.watts
        self.world(free, drawn)

    def one_ends(self, number: int) -> None:
        found = [h for held in self.snapshot.running for h in held.holder]
        if found:
            early = found[number % len(found)]
            self.gives_back(early)
            rows = range(len(self.snapshot.pools.kind))
            left = [h for h in found if h is not early]
            self.snapshot = replace(
                self.snapshot, running=tuple(columns(left, row) for row in rows)
            )

    def decide_alike(self) -> None:
        """Decide with a memory and without: the same is placed, stopped and promised."""
        kept = replace(self.snapshot, waiting=self.line, shapes=self.line.shapes)
        fresh = replace(self.snapshot, waiting=tuple(self.jobs.values()), shapes=tuple(self.shapes))
        plan = schedule(kept, self.policy, self.now, self.memory)
        alone = schedule(fresh, self.policy, self.now)
        assert tuple(plan.placements) == tuple(alone.placements)
        assert plan.preemptions == alone.preemptions
        promised = [[(r.job, r.start) for r in p.reservations] for p in (plan, alone)]
        assert promised[0] == promised[1]
        for placement in tuple(plan.placements):
            self.runs(placement)
            self.commit(placement)

    def runs(self, placement: Placement) -> None:
        names, pools = self.snapshot.sites.names, self.snapshot.pools
        found = [h for held in self.snapshot.running for h in held.holder]
        length = self.shapes[self.jobs[placement.job].shape].length
        for share in placement.shares:
            (row,) = np.flatnonzero(
                (pools.site == names.index(share.site)) & (pools.index == share.pool)
            )
            name = f"{placement.job}-{row}"
            run = HeldShare(name, int(row), share.chips, share.power, 0, stopping=False)
            spec = Job(name="new", run="x", preemptible=False)
            found.append(Holder(name, spec, 0, self.now, self.now + length, (run,)))
        rows = range(len(pools.kind))
        running = tuple(columns(found, row) for row in rows)
        self.snapshot = replace(self.snapshot, running=running)

    def decide(self) -> None:
        """Decide with all that is kept and with nothing: the same plan; then commit it."""
        kept = replace(self.snapshot, waiting=self.line, shapes=self.line.shapes)
        fresh = replace(self.snapshot, waiting=tuple(self.jobs.values()), shapes=tuple(self.shapes))
        plan = schedule(kept, self.policy, self.now, self.memory)
        assert plan == schedule(fresh, self.policy, self.now)
        for placement in tuple(plan.placements):
            self.commit(placement)

    def commit(self, placement: Placement) -> None:
        sites, pools = self.snapshot.sites, self.snapshot.pools
        queue = self.shapes[self.jobs.pop(placement.job).shape].queue
        self.line.drop(placement.job)
        free, drawn, held = pools.free.copy(), sites.power_drawn.copy(), dict(self.snapshot.held)
        held_in = {name: column.copy() for name, column in self.snapshot.held_in.items()}
        for share in placement.shares:
            row = sites.names.index(share.site)
            (pool,) = np.flatnonzero((pools.site == row) & (pools.index == share.pool))
            free[pool] -= share.chips
            drawn[row] += share.power
            held[queue] = held.get(queue, 0) + share.chips
            held_in.setdefault(queue, np.zeros_like(free))[pool] += share.chips
        self.world(free, drawn, held=held, held_in=held_in)

    def world(self, free: Ints, drawn: object, **more: object) -> None:
        self.snapshot = replace(
            self.snapshot,
            sites=replace(self.snapshot.sites, power_drawn=drawn),
            pools=replace(self.snapshot.pools, free=free),
            **more,
        )

    def ends(self, pool: int) -> None:
        """All that is held in a pool is given back."""
        pools, sites = self.snapshot.pools, self.snapshot.sites
        free, drawn = pools.free.copy(), sites.power_drawn.copy()
        site = int(pools.site[pool])
        back = int(pools.chips[pool] - free[pool])
        free[pool] += back
        drawn[site] -= back * pools.marginal_power[pool] * sites.pue[site]
        self.world(free, drawn)

    def arrives(self, like: Waiting, number: int) -> None:
        job = replace(like, job=f"n{number}", submitted_at=self.now)
        self.jobs[job.job] = job
        self.line.put(job, self.shapes[job.shape])

    def turns(self, site: int) -> None:
        """A site is lost, or is back."""
        up = self.snapshot.sites.up.copy()
        up[site] = ~up[site]
        self.snapshot = replace(self.snapshot, sites=replace(self.snapshot.sites, up=up))


def tell(data: st.DataObject, snapshot: Snapshot, policy: Policy) -> None:
    shapes = list(snapshot.shapes)
    story = Story(snapshot, policy, shapes, {job.job: job for job in snapshot.waiting})
    known = list(snapshot.waiting)
    story.decide()
    for number in range(data.draw(st.integers(1, 6))):
        what = data.draw(st.sampled_from(["nothing", "ends", "arrives", "turns", "time"]))
        if what == "ends":
            story.ends(data.draw(st.integers(0, len(snapshot.pools.kind) - 1)))
        elif what == "arrives" and known:
            story.arrives(data.draw(st.sampled_from(known)), number)
        elif what == "turns":
            story.turns(data.draw(st.integers(0, len(snapshot.sites.names) - 1)))
        elif what == "time":
            story.now += data.draw(st.sampled_from([1.0, 6.0, 100.0]))
        story.decide()


@settings(deadline=None, max_examples=120)
@given(st.data(), worlds(), policies())
def test_a_memory_changes_nothing(data: st.DataObject, snapshot: Snapshot, policy: Policy) -> None:
    tell(data, snapshot, policy)


@settings(deadline=None, max_examples=120)
@given(st.data(), lives(), lively())
def test_a_memory_changes_nothing_about_promises(
    data: st.DataObject, snapshot: Snapshot, policy: Policy
) -> None:
    policy = policy.model_copy(update={"preemption": False, "maintenance": ()})
    queues = tuple(q.model_copy(update={"preempt": False}) for q in policy.queues)
    policy = policy.model_copy(update={"queues": queues})
    pools = replace(snapshot.pools, first_block=None, block_free=None)
    snapshot = replace(snapshot, pools=pools)
    story = Story(snapshot, policy, list(snapshot.shapes), {w.job: w for w in snapshot.waiting})
    known = list(snapshot.waiting)
    story.decide_alike()
    for number in range(data.draw(st.integers(1, 5))):
        what = data.draw(st.sampled_from(["ends", "arrives", "time", "nothing"]))
        if what == "ends":
            story.one_ends(data.draw(st.integers(0, 30)))
        elif what == "arrives" and known:
            story.arrives(data.draw(st.sampled_from(known)), number)
        elif what == "time":
            story.now += data.draw(st.sampled_from([5.0, 120.0, 1000.0]))
            story.lives()
        story.decide_alike()
