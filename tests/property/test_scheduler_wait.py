"""No starvation: who waits longer than the policy's patience waits for a bounded time more.

The condition: every run ends within ``LONGEST``, sites stay up, the pool could hold the job with
nothing else running, and no quota stands against it. Then each job starts at the latest
``patience + (1 + jobs before it) * (LONGEST + 1)`` after it was submitted, whatever arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from skep.model.policy import Order, Policy
from skep.model.snapshot import Snapshot, Waiting
from skep.scheduler import schedule
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory
from tests.builders import JobRow, job, site, world

LONGEST = 6
PATIENCE = 10.0


@dataclass
class Run:
    end: int
    shares: list[tuple[int, int]]  # pool, chips


@dataclass
class Pool:
    """A pool that goes on, second by second; small jobs that go first arrive without end."""

    snapshot: Snapshot
    policy: Policy
    runs: list[Run] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)

    def step(self, line: Line, memory: Memory, now: int, length: int) -> None:
        free = self.snapshot.pools.free.copy()
        for run in [run for run in self.runs if run.end <= now]:
            for pool, chips in run.shares:
                free[pool] += chips
            self.runs.remove(run)
        self.snapshot = replace(self.snapshot, pools=replace(self.snapshot.pools, free=free))
        seen = replace(self.snapshot, waiting=line, shapes=line.shapes)
        plan = schedule(seen, self.policy, float(now), memory)
        free = free.copy()
        for placement in tuple(plan.placements):
            rows = [self.snapshot.sites.names.index(s.site) for s in placement.shares]
            shares = [(row, s.chips) for row, s in zip(rows, placement.shares, strict=True)]
            for pool, chips in shares:
                free[pool] -= chips
            self.runs.append(Run(now + length, shares))
            self.started[placement.job] = now
            line.drop(placement.job)
        assert (free >= 0).all()
        self.snapshot = replace(self.snapshot, pools=replace(self.snapshot.pools, free=free))


def waits(
    sizes: list[int], big: list[JobRow], lengths: list[int], fair: bool, order: Order
) -> None:
    rows = [site(f"s{n}", size) for n, size in enumerate(sizes)]
    small = job(1, priority=9) if order == "age" else job(1, shape={"length": 1.0})
    snapshot = world(*rows, jobs=[*big, small])
    policy = Policy(power_margin=0.0, patience=PATIENCE, fair_share=fair, order=order)
    pool, line, memory = Pool(snapshot, policy), Line(PATIENCE, order), Memory()
    shapes = dict(enumerate(snapshot.shapes))
    for waiting in snapshot.waiting[: len(big)]:
        waiting = replace(waiting, submitted_at=0.0, level=int(order == "attained"))
        line.put(waiting, shapes[waiting.shape])
    template = snapshot.waiting[-1]
    bound = int(PATIENCE + (1 + len(big)) * (LONGEST + 1))
    for now in range(bound + 1):
        for number in range(sum(sizes)):
            new: Waiting = replace(template, job=f"n{now}-{number}", submitted_at=float(now))
            line.put(new, shapes[template.shape])
        pool.step(line, memory, now, lengths[now % len(lengths)])
    late = [w.job for w in snapshot.waiting[: len(big)] if w.job not in pool.started]
    assert not late


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[int], list[JobRow], list[int], bool, Order]:
    sizes = draw(st.lists(st.integers(2, 6), min_size=1, max_size=3))
    big = []
    for _ in range(draw(st.integers(1, 3))):
        if len(sizes) > 1 and draw(st.booleans()):
            most = sum(sorted(sizes)[-2:])
            big.append(job(draw(st.integers(2, most)), span=(1, 2)))
        else:
            big.append(job(draw(st.integers(2, max(sizes)))))
    lengths = draw(st.lists(st.integers(1, LONGEST), min_size=1, max_size=5))
    orders: list[Order] = ["age", "shortest", "attained"]
    return sizes, big, lengths, draw(st.booleans()), draw(st.sampled_from(orders))


@settings(deadline=None, max_examples=12)
@given(stories())
def test_who_has_waited_long_enough_starts(
    story: tuple[list[int], list[JobRow], list[int], bool, Order],
) -> None:
    waits(*story)


def test_without_patience_it_would_wait_for_ever() -> None:
    """The rule is needed: small urgent jobs alone would keep the large one out."""
    rows = [site("ash", 4)]
    snapshot = world(*rows, jobs=[job(4), *[job(1, priority=9) for _ in range(4)]])
    plan = schedule(snapshot, Policy(power_margin=0.0, patience=1e9), 0.0)
    assert {p.job for p in plan.placements} == {"j2", "j3", "j4", "j5"}
    assert np.all(np.array([len(p.shares) for p in plan.placements]) == 1)
