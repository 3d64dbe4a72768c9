"""What reservations cost: one job arrives at 1M chips, 95 % held by running jobs, 100k waiting.

    python benchmarks/reserve.py [--arrivals N] [--json FILE]

CPU time of ``schedule`` for each arrival, with the memory of the cycle before, under each kind of
backfill. What is placed is held from then on, so that the columns of what runs change as they do
in a control plane. ``preempt``: one in ten arrivals has priority over what runs, and may stop it;
its chips are kept until its victims are gone, when the next job arrives. ``urgent``: those alone.
``first``: a whole plan with no memory of an earlier one.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from operator import is_not
from pathlib import Path

import numpy as np

from skep.model.job import ChipRequest, Job, Span
from skep.model.placement import Claim
from skep.model.policy import Policy
from skep.model.snapshot import (
    Held,
    HeldShare,
    Holder,
    Kept,
    Pools,
    Shape,
    Sites,
    Snapshot,
    Waiting,
)
from skep.scheduler import schedule
from skep.scheduler.blocks import packed
from skep.scheduler.line import Line
from skep.scheduler.memory import Memory

CHIPS, SITES, WAITING = 1_000_000, 300, 100_000
KINDS = ("h100-sxm", "ascend-910c", "cpu-core")
SIZES = (1, 2, 4, 8, 16, 32, 64, 256, 1024, 2048)
LENGTHS = (600.0, 3600.0, 14400.0, 86400.0)
URGENT = 10  # one in so many
NOW = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrivals", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    print(
        f"{'policy':>14} {'first ms':>9} {'median ms':>10} {'p99 ms':>8} "
        f"{'placed':>7} {'stopped':>8}"
    )
    for name, policy, urgent in (
        ("easy", Policy(), False),
        ("conservative", Policy(backfill="conservative"), False),
        ("preempt", Policy(preemption=True), True),
    ):
        first, times, placed, stopped = arrivals(policy, given.arrivals, urgent=urgent)
        median, late = (float(np.quantile(times, q)) * 1e3 for q in (0.5, 0.99))
        print(
            f"{name:>14} {first * 1e3:>9.1f} {median:>10.2f} {late:>8.2f} {placed:>7} {stopped:>8}"
        )
        figures[f"{name}_first_ms"] = first * 1e3
        figures[f"{name}_median_ms"], figures[f"{name}_p99_ms"] = median, late
        if urgent:
            median, late = (float(np.quantile(times[::URGENT], q)) * 1e3 for q in (0.5, 0.99))
            print(f"{'urgent':>14} {'':>9} {median:>10.2f} {late:>8.2f}")
            figures["urgent_median_ms"], figures["urgent_p99_ms"] = median, late
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def arrivals(policy: Policy, count: int, *, urgent: bool) -> tuple[float, list[float], int, int]:
    """CPU seconds of the first plan and of each arrival's; jobs placed, jobs stopped for others."""
    rng = np.random.default_rng(3)
    site = Site(*world(rng))
    first, _, _ = site.cycle(policy, NOW)  # what fits beforehand is placed beforehand
    times, placed, stopped = [], 0, 0
    for number in range(count):
        high = 5 if urgent and number % URGENT == 0 else 0
        site.line.put(Waiting(f"new-{number}", 1, 0, high, NOW + number), shape(rng))
        took, given, victims = site.cycle(policy, NOW + number)
        times.append(took)
        placed, stopped = placed + given, stopped + victims
        site.victims_end()
    return first, times, placed, stopped


class Site:
    """All sites, and what was placed on them so far."""

    def __init__(self, snapshot: Snapshot, line: Line) -> None:
        self.snapshot, self.line, self.memory = snapshot, line, Memory()
        self.running = list(snapshot.running)
        self.free = snapshot.pools.free.copy()
        self.drawn = snapshot.sites.power_drawn.copy()
        pools = snapshot.pools
        blocks = [
            packed(int(c), int(b)) for c, b in zip(pools.chips, pools.block_chips, strict=True)
        ]
        self.first_block = np.cumsum([0, *map(len, blocks)])
        self.block_free = np.concatenate(
            [
                packed(int(free), int(size)) + [0] * (len(all_) - len(packed(int(free), int(size))))
                for free, size, all_ in zip(pools.free, pools.block_chips, blocks, strict=True)
            ]
        )
        self.kept: dict[str, Kept] = {}
        self.told: tuple[Held, ...] = ()

    def cycle(self, policy: Policy, now: float) -> tuple[float, int, int]:
        """CPU seconds of one plan, jobs placed, jobs stopped; what was placed is held."""
        seen = replace(
            self.snapshot,
            shapes=self.line.shapes,
            running=self._held(),
            pools=replace(
                self.snapshot.pools,
                free=self.free.copy(),
                first_block=self.first_block,
                block_free=self.block_free.copy(),
            ),
            kept=tuple(self.kept.values()),
            sites=replace(self.snapshot.sites, power_drawn=self.drawn.copy()),
        )
        began = time.process_time()
        plan = schedule(seen, policy, now, self.memory)
        found = list(plan.placements)
        took = time.process_time() - began
        for placement in found:
            row = self.line.row[placement.job]
            end = now + self.line.shapes[self.line.groups[self.line.keys[row]].shape].length
            for share in placement.shares:
                row = int(share.site.removeprefix("site-"))
                self.free[row] -= share.chips
                for block, chips in share.in_blocks:
                    self.block_free[self.first_block[row] + block] -= chips
                self.drawn[row] += share.power
                pool = self.running[row]
                held = holder_of(placement.job, row, share.chips, share.power, now, end)
                self.running[row] = columns([*pool.holder, held])
            self.line.drop(placement.job)
        for job in [p.job for p in found if p.job in self.kept]:
            del self.kept[job]
        for preemption in plan.preemptions:
            victims = tuple(victim.job for victim in preemption.victims)
            claim = Claim(shares=preemption.shares, until=preemption.until, victims=victims)
            self.kept[preemption.job] = Kept(preemption.job, claim)
            row = self.line.row[preemption.job]
            shape = self.line.shapes[self.line.keys[row][0]]
            self.line.put(replace(self.line.job(row), claim=claim), shape)
            self._stop(set(victims), now)
        return took, len(found), sum(len(p.victims) for p in plan.preemptions)

    def _held(self) -> tuple[Held, ...]:
        """What runs; the same object as before where nothing has changed."""
        if len(self.told) != len(self.running) or any(map(is_not, self.told, self.running)):
            self.told = tuple(self.running)
        return self.told

    def _stop(self, victims: set[str], now: float) -> None:
        """They are told to stop."""
        for row, pool in enumerate(self.running):
            if any(holder.job in victims for holder in pool.holder):
                stopped = [
                    replace(h, shares=(replace(h.shares[0], stopping=True),), end=now + 30)
                    if h.job in victims
                    else h
                    for h in pool.holder
                ]
                self.running[row] = columns(stopped)

    def victims_end(self) -> None:
        """Those that were told to stop have stopped."""
        for row, pool in enumerate(self.running):
            gone = [h for h in pool.holder if h.shares[0].stopping]
            for holder in gone:
                chips = holder.shares[0].chips
                self.free[row] += chips
                self.drawn[row] -= holder.shares[0].watts
                self._back(row, chips)
            if gone:
                self.running[row] = columns([h for h in pool.holder if h not in gone])

    def _back(self, row: int, chips: int) -> None:
        """Chips come back in the blocks that are the fullest."""
        first, last = self.first_block[row], self.first_block[row + 1]
        for block in range(last - 1, first - 1, -1):
            some = min(chips, int(self.snapshot.pools.block_chips[row]) - self.block_free[block])
            self.block_free[block] += some
            chips -= some


def shape(rng: np.random.Generator) -> Shape:
    size, kind = int(rng.choice(SIZES)), KINDS[int(rng.integers(3))]
    wide = Span(min=2, max=4) if size >= 64 and rng.random() < 0.3 else Span()
    request = (ChipRequest(kind=kind, count=size),)
    return Shape(request, wide, None, "chip", "default", length=float(rng.choice(LENGTHS)))


def world(rng: np.random.Generator) -> tuple[Snapshot, Line]:
    weight = rng.uniform(1.0, 10.0, SITES)
    size = np.maximum(8, (CHIPS * weight / weight.sum()).astype(np.int64) // 8 * 8)
    running = tuple(pool_runs(rng, row, int(chips * 0.95)) for row, chips in enumerate(size))
    held = np.array([int(pool.chips.sum()) for pool in running])
    width = np.full((SITES, SITES), 1e11)
    np.fill_diagonal(width, np.inf)
    sites = Sites(
        names=tuple(f"site-{n:03d}" for n in range(SITES)),
        countries=("SE",) * SITES,
        up=np.ones(SITES, dtype=bool),
        drained=np.zeros(SITES, dtype=bool),
        power_cap=size * 1000.0,
        power_drawn=size * 100.0 + held * 600.0,
        pue=np.ones(SITES),
        clean=rng.uniform(0.0, 1.0, SITES),
        bandwidth=width,
        rtt=np.zeros((SITES, SITES)),
    )
    pools = Pools(
        site=np.arange(SITES),
        index=np.zeros(SITES, dtype=np.int64),
        kind=tuple(KINDS[n % 3] for n in range(SITES)),
        chips=size,
        free=size - held,
        chips_per_node=np.full(SITES, 8),
        block_chips=np.full(SITES, 256),
        marginal_power=np.full(SITES, 600.0),
        speed=np.full(SITES, 1e15),
    )
    line = Line(patience=1e9)
    for number in range(WAITING):
        line.put(Waiting(f"job-{number}", 1, 0, 0, float(number)), shape(rng))
    return Snapshot(sites, pools, line.shapes, line, {}, running=running), line


def pool_runs(rng: np.random.Generator, row: int, chips: int) -> Held:
    holders = []
    while chips > 0:
        some = min(chips, int(rng.choice(SIZES[:8])))
        end = NOW + float(rng.exponential(7200.0)) + 1.0
        name = f"run-{row}-{len(holders)}"
        holders.append(holder_of(name, row, some, some * 600.0, NOW - 3000.0, end))
        chips -= some
    return columns(holders)


def holder_of(job: str, row: int, chips: int, watts: float, began: float, end: float) -> Holder:
    share = HeldShare(f"{job}-a1", row, chips, watts, 0, stopping=False)
    return Holder(job, SPEC, 0, began, end, (share,))


SPEC = Job(name="x", run="x", checkpoint_every=900)


def columns(holders: list[Holder]) -> Held:
    holders.sort(key=lambda holder: holder.end)
    shares = [holder.shares[0] for holder in holders]
    count = len(holders)
    return Held(
        end=np.array([h.end for h in holders]),
        chips=np.array([s.chips for s in shares], dtype=np.int64),
        watts=np.array([s.watts for s in shares]),
        priority=np.zeros(count, dtype=np.int64),
        began=np.array([h.began for h in holders]),
        every=np.full(count, 900.0),
        safe_until=np.full(count, -np.inf),
        worth=np.ones(count),
        spare=np.zeros(count, dtype=np.int64),
        had=np.zeros(count),
        holder=tuple(holders),
        lowest=0.0,
    )


if __name__ == "__main__":
    main()
