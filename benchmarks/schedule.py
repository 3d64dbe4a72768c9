"""The scheduler: pools of 1k to 1M chips, up to 100k jobs waiting, one core.

    python benchmarks/schedule.py [--rounds N] [--small] [--json FILE]

CPU time of the process, median of the rounds. Jobs are of 40 shapes from 1 chip to 2,048, one in
ten over two to four sites, in a seeded random order.

- ``schedule``: the pure function meets a queue and a pool that is free, half, 95 % or all full,
  with no memory of earlier cycles. Decisions are placements and refusals; ``told`` is what it costs
  to read all of the plan.
- ``fits``: as ``free``, with jobs so small that all of them fit.
- ``arrival``: one job arrives at a control plane of which 95 % is held while others wait: from its
  submission to its decision in the event log (store in memory), explained where it is refused.
- ``idle``: a cycle of that control plane in which nothing has changed.
- ``all``: one job takes every chip of the largest pool.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from skep.control.draft import Draft
from skep.control.electricity import Electricity
from skep.control.service import Control
from skep.control.topology import topology
from skep.files.pool import catalogue
from skep.model.event import Event, Placed, RunGrant, SiteJoined, Submitted
from skep.model.job import ChipRequest, Job, Span
from skep.model.placement import Share
from skep.model.policy import Policy, Queue, Rule
from skep.model.site import NodePool, Place, Pool, Power, Site
from skep.model.snapshot import Pools, Shape, Sites, Snapshot, Waiting
from skep.scheduler import schedule
from skep.scheduler.line import Line
from skep.store.memory import MemoryStore

SIZES = ((1_000, 8), (10_000, 30), (100_000, 100), (1_000_000, 300))
WAITING = (1_000, 10_000, 100_000)
KINDS = ("h100-sxm", "ascend-910c", "cpu-core")
NODE = 8
BLOCK = 32  # nodes
ARRIVALS = 200
NOW = 100_000.0
POLICY = Policy(
    queues=(Queue(name="default"),),
    rules=(
        Rule(id="sample", effect="refuse", chips=("h100-sxm",), countries=("CN",), reason="sample"),
    ),
    patience=10 * NOW,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="only pools up to 10k chips")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    sizes = SIZES[:2] if given.small else SIZES
    waiting = WAITING[:2] if given.small else WAITING
    figures: dict[str, float] = {}
    arrivals(sizes, waiting, figures)
    decisions(sizes, waiting, given.rounds, figures)
    largest(*sizes[-1], given.rounds, figures)
    figures["peak_rss_mib"] = rss()
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


# The pure function


def decisions(
    sizes: tuple[tuple[int, int], ...],
    waiting: tuple[int, ...],
    rounds: int,
    figures: dict[str, float],
) -> None:
    print(
        f"\n{'chips':>9} {'sites':>5} {'waiting':>7} {'pool':>5} {'cycle ms':>9} "
        f"{'placed':>7} {'refused':>7} {'decisions/s':>12} {'told ms':>8}"
    )
    for chips, sites in sizes:
        for count in waiting:
            for state, held in (
                ("fits", 0.0),
                ("free", 0.0),
                ("50%", 0.5),
                ("95%", 0.95),
                ("full", 1.0),
            ):
                _row(chips, sites, count, state, held, rounds, figures)


def _row(
    chips: int,
    sites: int,
    count: int,
    state: str,
    held: float,
    rounds: int,
    figures: dict[str, float],
) -> None:
    most = max(1, chips // count // 4) if state == "fits" else 2048
    snapshot = world(chips, sites, count, held, most)
    seconds = median(lambda: schedule(snapshot, POLICY, NOW), rounds)
    plan = schedule(snapshot, POLICY, NOW)
    told = median(lambda: (list(plan.placements), list(plan.refusals)), 1)
    rate = count / seconds
    print(
        f"{chips:>9} {sites:>5} {count:>7} {state:>5} {seconds * 1e3:>9.1f} "
        f"{len(plan.placements):>7} {len(plan.refusals):>7} {rate:>12.0f} {told * 1e3:>8.0f}"
    )
    figures[f"cycle_ms_{chips}_{count}_{state.rstrip('%')}"] = seconds * 1e3
    if state == "free":  # the last one printed is the largest
        figures["decisions_per_s"] = rate
    if state == "fits":
        figures["fitting_decisions_per_s"] = rate


def largest(chips: int, sites: int, rounds: int, figures: dict[str, float]) -> None:
    """One job that takes every chip of one kind at every site, decided and read."""
    snapshot = world(chips, sites, 0, 0.0)
    one_kind = replace(snapshot.pools, kind=(KINDS[1],) * len(snapshot.pools.kind))
    total = int(one_kind.chips.sum())
    asked = (ChipRequest(kind=KINDS[1], count=total),)
    shape = Shape(asked, Span(min=sites, max=sites), None, "chip", "default")
    job = Waiting("all", 1, 0, 0, 0.0)
    whole = replace(snapshot, pools=one_kind, shapes=(shape,), waiting=(job,))
    assert len(schedule(whole, POLICY, NOW).placements[0].shares) == sites
    seconds = median(lambda: list(schedule(whole, POLICY, NOW).placements), rounds)
    print(f"\none job that takes all {total:,} chips over {sites} sites: {seconds * 1e3:.1f} ms")
    figures["million_chip_job_s"] = seconds


def median(call: Callable[[], object], rounds: int) -> float:
    """CPU seconds of one call."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times)


def rss() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# The control plane


def arrivals(
    sizes: tuple[tuple[int, int], ...], waiting: tuple[int, ...], figures: dict[str, float]
) -> None:
    print(
        f"{'chips':>9} {'sites':>5} {'waiting':>7} {'idle ms':>8} "
        f"{'arrival: median':>15} {'p99 ms':>7} {'gang of 2,048: median':>21} {'p99 ms':>7}"
    )
    rows = []
    for chips, sites in sizes:
        for count in waiting:
            control = filled(chips, sites, count)
            control.cycle(NOW)
            idle = median(lambda c=control: c.cycle(NOW), 50)
            one = _arriving(control, small(), "one")
            gang = _arriving(control, gang_of(chips), "gang")
            p99, gang99 = (float(np.quantile(times, 0.99)) for times in (one, gang))
            print(
                f"{chips:>9} {sites:>5} {count:>7} {idle * 1e3:>8.3f} "
                f"{statistics.median(one) * 1e3:>15.2f} {p99 * 1e3:>7.2f} "
                f"{statistics.median(gang) * 1e3:>21.2f} {gang99 * 1e3:>7.2f}"
            )
            figures["idle_cycle_ms"] = idle * 1e3
            figures["arrival_p99_ms"] = p99 * 1e3
            figures["gang_p99_ms"] = gang99 * 1e3
            figures["rss_mib"] = rss()
            rows.append((chips, count, statistics.median(one), idle))
    _fit(rows, figures)
    print(f"peak memory until here: {figures['rss_mib']:.0f} MiB")


def _fit(rows: list[tuple[int, int, float, float]], figures: dict[str, float]) -> None:
    """Exponents of cost ~ chips^a waiting^b by least squares of the logarithms."""
    table = np.array(rows)
    known = np.log(np.column_stack([np.e * np.ones(len(table)), table[:, 0], table[:, 1]]))
    for name, column in (("arrival", 2), ("idle", 3)):
        _, a, b = np.linalg.lstsq(known, np.log(table[:, column]), rcond=None)[0]
        print(f"{name}: CPU time ~ chips^{a:.2f} × waiting^{b:.2f}")
        figures[f"{name}_growth_chips"], figures[f"{name}_growth_waiting"] = float(a), float(b)


def _arriving(control: Control, specs: list[Job], name: str) -> list[float]:
    """CPU seconds from submission to decision, for one job after the other."""
    times = []
    for number in range(ARRIVALS):
        spec = specs[number % len(specs)]
        began = time.process_time()
        control.submit(spec, "", f"{name}-{number}", NOW)
        control.cycle(NOW)
        times.append(time.process_time() - began)
        state = control.world.jobs[f"{name}-{number}"]
        assert state.decision
    return times


def small() -> list[Job]:
    """Jobs of one to 64 chips, of each kind and of any."""
    return [
        Job(name="one", run="x", chips=(ChipRequest(kind=kind, count=count),))
        for count in (1, 8, 64)
        for kind in (*KINDS, None)
    ]


def gang_of(chips: int) -> list[Job]:
    """Jobs of 2,048 chips (or a part of a small pool): one site; few sites with good links."""
    asked = (ChipRequest(kind=KINDS[1], count=min(2048, chips // 64)),)
    return [
        Job(name="gang", run="x", chips=asked, within="site"),
        Job(name="gang", run="x", chips=asked, span=Span(min=1, max=4)),
    ]


def filled(chips: int, sites: int, waiting: int) -> Control:
    """A control plane with 95 % of each pool held and ``waiting`` jobs that do not fit."""
    snapshot = world(chips, sites, waiting, 0.0)
    control = Control(
        topology(_pool(snapshot), catalogue()),
        POLICY,
        MemoryStore(),
        Electricity(topology(_pool(snapshot), catalogue()), 0.0, on=False),
        0.0,
    )
    events: list[Event] = []
    for row, name in enumerate(snapshot.sites.names):
        events.append(SiteJoined(at=0.0, site=name, agent="a", reason="up"))
        count = round(float(snapshot.pools.chips[row]) * 0.95)
        share = Share(site=name, pool=0, chip=snapshot.pools.kind[row], chips=count, nodes=1)
        spec = Job(name="held", run="x", chips=(ChipRequest(kind=share.chip, count=count),))
        events.append(Submitted(at=0.0, job=f"held-{row}", spec=spec, user=""))
        grant = RunGrant(run=f"held-{row}-a1", share=share)
        placed = Placed(at=0.0, job=f"held-{row}", attempt=1, runs=(grant,), go=True, reason="")
        events.append(placed)
    largest = int(snapshot.pools.chips.max())
    asked = {number: _large(shape, number, largest) for number, shape in line_shapes(snapshot)}
    for job in snapshot.waiting:
        spec = asked[job.shape]
        events.append(Submitted(at=job.submitted_at / 10, job=job.job, spec=spec, user=""))
    draft = Draft(control.world)
    draft.add(*events)
    draft.commit(control.store)
    for name in snapshot.sites.names:
        control.world.heard[name] = NOW
    return control


def line_shapes(snapshot: Snapshot) -> list[tuple[int, Shape]]:
    assert isinstance(snapshot.shapes, dict)
    return list(snapshot.shapes.items())


def _large(shape: Shape, number: int, largest: int) -> Job:
    """As the shape, but of half the largest site or more: it fits, and not at 95 %."""
    (asked,) = shape.chips
    count = int(largest * (0.5 + 0.01 * number))
    more = ChipRequest(kind=asked.kind, count=count)
    return Job(name="waits", run="x", chips=(more,), span=shape.span)


def _pool(snapshot: Snapshot) -> Pool:
    table = zip(
        snapshot.sites.names,
        snapshot.sites.countries,
        snapshot.pools.kind,
        snapshot.pools.chips.tolist(),
        strict=True,
    )
    return Pool(
        sites=tuple(
            Site(
                name=name,
                place=Place(latitude=0, longitude=0, country=country),
                pools=(
                    NodePool(
                        chip=kind, nodes=chips // NODE, chips_per_node=NODE, nodes_per_block=BLOCK
                    ),
                ),
                power=Power(cap=chips * 3000.0, pue=1.2),
            )
            for name, country, kind, chips in table
        )
    )


# The world


def world(chips: int, sites: int, waiting: int, held: float, most: int = 2048) -> Snapshot:
    """A pool of one kind per site, sizes over a factor of ten, caps that hardly bind."""
    rng = np.random.default_rng(7)
    weight = rng.uniform(1.0, 10.0, sites)
    size = np.maximum(NODE, (chips * weight / weight.sum()).astype(np.int64) // NODE * NODE)
    free = size - np.round(size * held).astype(np.int64)
    busy = np.full(sites, 600.0)
    width = np.full((sites, sites), 1e11)
    np.fill_diagonal(width, np.inf)
    shapes = _shapes(min(most, int(size.max())))
    order = rng.integers(0, len(shapes), waiting)
    jobs = (Waiting(f"job-{n:06d}", 1, int(s), 0, float(n)) for n, s in enumerate(order))
    line = Line.of(jobs, shapes, POLICY.patience)
    return Snapshot(
        Sites(
            names=tuple(f"site-{n:03d}" for n in range(sites)),
            countries=tuple(rng.choice(["CN", "SE", "US"], sites).tolist()),
            up=np.ones(sites, dtype=bool),
            drained=np.zeros(sites, dtype=bool),
            power_cap=size * 1000.0,
            power_drawn=size * 100.0 + (size - free) * busy * 1.2,
            pue=np.full(sites, 1.2),
            clean=rng.uniform(0.0, 1.0, sites),
            bandwidth=width,
            rtt=np.zeros((sites, sites)),
        ),
        Pools(
            site=np.arange(sites),
            index=np.zeros(sites, dtype=np.int64),
            kind=tuple(KINDS[n % len(KINDS)] for n in range(sites)),
            chips=size,
            free=free,
            chips_per_node=np.full(sites, NODE),
            block_chips=np.full(sites, NODE * BLOCK),
            marginal_power=busy,
            speed=np.full(sites, 1e15),
        ),
        line.shapes,
        line,
        {},
    )


def _shapes(largest: int) -> tuple[Shape, ...]:
    sizes = [min(size, largest) for size in (1, 2, 4, 8, 16, 32, 64, 256, 1024, 2048)]
    asked = [
        (ChipRequest(kind=kind, count=size), size) for kind in (*KINDS, None) for size in sizes
    ]
    return tuple(
        Shape((chips,), Span(min=2, max=4) if n % 10 == 9 else Span(), None, "chip", "default")
        for n, (chips, _) in enumerate(asked)
    )


if __name__ == "__main__":
    main()
