"""Hypothesis strategies: worlds in which jobs run, and policies on time and on taking back."""

from __future__ import annotations

import datetime
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np

from skep.model.job import Elastic, Job, Span
from skep.model.policy import Maintenance, Order, Policy, Queue
from skep.model.snapshot import Held, HeldShare, Holder, Snapshot
from skep.scheduler.blocks import packed
from tests.worlds import NAMES, NOW, worlds

ORDERS: tuple[Order, ...] = ("age", "age", "shortest", "attained")
LENGTHS = (60.0, 600.0, 3600.0, np.inf)


@st.composite
def holders(draw: st.DrawFn, snapshot: Snapshot) -> tuple[list[Holder], Snapshot]:
    """Every chip that is not free is held by a run with an end, a priority and a past."""
    found, number = [], 0
    blocks = [packed(*sizes) for sizes in block_sizes(snapshot)]
    pools, pue = snapshot.pools, snapshot.sites.pue
    for row in range(len(pools.kind)):
        left = int(pools.chips[row] - pools.free[row])
        watts = float(pools.marginal_power[row] * pue[pools.site[row]])
        while left:
            chips = draw(st.integers(1, left))
            left -= chips
            number += 1
            spec = Job(
                name="held",
                run="x",
                queue=draw(st.sampled_from(["default", "batch"])),
                preemptible=draw(st.sampled_from([True, True, False])),
                checkpoint_every=draw(st.sampled_from([None, 300.0])),
                grace=draw(st.sampled_from([0.0, 30.0])),
                elastic=Elastic(min=1, max=20) if draw(st.booleans()) else None,
                span=Span(min=1, max=3),
            )
            found.append(
                Holder(
                    job=f"r{number}",
                    spec=spec,
                    priority=draw(st.integers(-2, 2)),
                    began=NOW - draw(st.sampled_from([10.0, 1000.0])),
                    end=NOW + draw(st.sampled_from([1.0, 100.0, 100.0, 2000.0, 9000.0])),
                    shares=(
                        HeldShare(
                            f"r{number}-a1",
                            row,
                            chips,
                            watts * chips,
                            0,
                            stopping=False,
                            parts=lie(draw, blocks[row], chips),
                        ),
                    ),
                    loose=draw(st.sampled_from([True, True, True, False])),
                    had=draw(st.sampled_from([0.0, 3500.0, 9000.0])),
                )
            )
    running = tuple(columns(found, row) for row in range(len(pools.kind)))
    first = np.cumsum([0, *map(len, blocks)])
    free = np.array([here for pool in blocks for here in pool], dtype=np.int64)
    pools = replace(pools, first_block=first, block_free=free)
    return found, replace(snapshot, running=running, pools=pools)


def block_sizes(snapshot: Snapshot) -> list[tuple[int, int]]:
    pools = snapshot.pools
    return list(zip(pools.chips.tolist(), pools.block_chips.tolist(), strict=True))


def lie(draw: st.DrawFn, free: list[int], chips: int) -> tuple[tuple[int, int], ...]:
    """In which blocks a run lies, wherever there is room; taken from ``free``."""
    parts = []
    for block in draw(st.permutations(range(len(free)))):
        some = min(chips, free[block])
        if some:
            parts.append((block, some))
            free[block] -= some
            chips -= some
    return tuple(sorted(parts))


def columns(found: list[Holder], row: int) -> Held:
    mine = sorted((h for h in found if h.shares[0].row == row), key=lambda h: h.end)

    def column(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(values, dtype=np.float64)

    may = [h.loose and h.spec.preemptible for h in mine]
    return Held(
        end=column([h.end for h in mine]),
        chips=np.array([h.chips for h in mine], dtype=np.int64),
        watts=column([h.shares[0].watts for h in mine]),
        priority=np.array([h.priority for h in mine], dtype=np.int64),
        began=column([h.began for h in mine]),
        every=column([h.spec.checkpoint_every or 0.0 for h in mine]),
        safe_until=column([-np.inf if free else np.inf for free in may]),
        worth=column([1.0] * len(mine)),
        spare=np.array([2 * could_do_with_less(h) for h in mine], dtype=np.int64),
        had=column([h.had for h in mine]),
        holder=tuple(mine),
        lowest=min((h.priority for h in mine), default=np.inf),
        lowest_spare=min((h.priority for h in mine if could_do_with_less(h)), default=np.inf),
    )


def could_do_with_less(holder: Holder) -> bool:
    elastic = holder.spec.elastic
    may = holder.loose and holder.spec.preemptible
    return may and elastic is not None and holder.chips > elastic.min


@st.composite
def lives(draw: st.DrawFn, most_jobs: int = 6) -> Snapshot:
    snapshot = draw(worlds(most_jobs=most_jobs))
    _, lived = draw(holders(snapshot))
    shapes = tuple(replace(s, length=draw(st.sampled_from(LENGTHS))) for s in lived.shapes)
    shapes = tuple(replace(s, rates=()) for s in shapes)
    waiting = tuple(
        replace(
            w,
            evicted=draw(st.sampled_from([False, False, True])),
            level=draw(st.sampled_from([0, 0, 0, 1])),
        )
        for w in lived.waiting
    )
    return replace(lived, shapes=shapes, waiting=waiting)


@st.composite
def windows(draw: st.DrawFn) -> tuple[Maintenance, ...]:
    start = datetime.datetime.fromtimestamp(NOW + draw(st.integers(-50, 3000)), tz=datetime.UTC)
    long = datetime.timedelta(seconds=draw(st.sampled_from([60, 4000])))
    cap = draw(st.sampled_from([None, None, 50.0, 200.0]))
    window = Maintenance(site=draw(st.sampled_from(NAMES)), start=start, end=start + long, cap=cap)
    return draw(st.sampled_from([(), (), (window,)]))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return Policy(
        queues=(
            Queue(
                name="default",
                preempt=draw(st.booleans()),
                soft_chips=draw(st.sampled_from([None, 9])),
            ),
            Queue(name="batch", soft_chips=draw(st.sampled_from([None, 2]))),
        ),
        fair_share=draw(st.booleans()),
        order=draw(st.sampled_from(ORDERS)),
        levels=(1.0, 4.0),
        backfill=draw(st.sampled_from(["easy", "easy", "conservative", "none"])),
        preemption=draw(st.booleans()),
        maintenance=draw(windows()),
        power_margin=draw(st.sampled_from([0.0, 0.05])),
        patience=1e9,
    )
