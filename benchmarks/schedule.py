"""The scheduling function alone: pools of 1k to 1M chips, 1k and 10k jobs waiting, one core.

    python benchmarks/schedule.py [--rounds N] [--json FILE]

CPU time of the process, median of the rounds; every round decides from the snapshot anew. Jobs are
of 40 shapes from 1 chip to 2,048, one in ten over two to four sites, in a seeded random order.

- ``free``: the queue meets an empty pool: placements and refusals, as many as fit.
- ``95 %``: nineteen of twenty chips are held.
- ``full``: no chip is free: every job is refused and explained.
- ``idle``: nothing waits.
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

from skep.model.job import ChipRequest, Span
from skep.model.policy import Policy, Queue, Rule
from skep.model.snapshot import Pools, Shape, Sites, Snapshot, Waiting
from skep.scheduler import schedule

SIZES = ((1_000, 8), (10_000, 30), (100_000, 100), (1_000_000, 300))
KINDS = ("h100-sxm", "ascend-910c", "cpu-core")
NODE = 8
POLICY = Policy(
    queues=(Queue(name="default"),),
    rules=(
        Rule(id="sample", effect="refuse", chips=("h100-sxm",), countries=("CN",), reason="sample"),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    print(
        f"{'chips':>9} {'sites':>5} {'waiting':>7} {'pool':>5} "
        f"{'cycle ms':>9} {'placed':>7} {'refused':>7} {'decisions/s':>12}"
    )
    for chips, sites in SIZES:
        for count in (1_000, 10_000):
            for held in (0.0, 0.95, 1.0):
                _row(chips, sites, count, held, given.rounds, figures)
        _idle(chips, sites, given.rounds, figures)
    _largest(given.rounds, figures)
    figures["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all of this: {figures['rss_mib']:.0f} MiB")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def _row(
    chips: int, sites: int, count: int, held: float, rounds: int, figures: dict[str, float]
) -> None:
    snapshot = world(chips, sites, count, held)
    seconds = median(lambda: schedule(snapshot, POLICY, 0.0), rounds)
    plan = schedule(snapshot, POLICY, 0.0)
    state = {0.0: "free", 1.0: "full"}.get(held, f"{held:.0%}")
    print(
        f"{chips:>9} {sites:>5} {count:>7} {state:>5} {seconds * 1e3:>9.1f} "
        f"{len(plan.placements):>7} {len(plan.refusals):>7} {count / seconds:>12.0f}"
    )
    figures[f"cycle_ms_{chips}_{count}_{state.replace(' ', '').rstrip('%')}"] = seconds * 1e3
    if (chips, count, held) == (1_000_000, 10_000, 0.0):
        figures["decisions_per_s"] = count / seconds


def _idle(chips: int, sites: int, rounds: int, figures: dict[str, float]) -> None:
    snapshot = world(chips, sites, 0, 0.5)
    seconds = median(lambda: schedule(snapshot, POLICY, 0.0), rounds * 20)
    print(f"{chips:>9} {sites:>5} {0:>7} {'idle':>5} {seconds * 1e3:>9.3f}")
    figures["idle_cycle_ms"] = seconds * 1e3


def _largest(rounds: int, figures: dict[str, float]) -> None:
    """One job that takes every chip of one kind at every site of a million-chip pool."""
    chips, sites = SIZES[-1]
    snapshot = world(chips, sites, 0, 0.0)
    one_kind = replace(snapshot.pools, kind=(KINDS[1],) * len(snapshot.pools.kind))
    total = int(one_kind.chips.sum())
    shape = Shape(
        (ChipRequest(kind=KINDS[1], count=total),),
        Span(min=sites, max=sites),
        None,
        "chip",
        "default",
    )
    job = Waiting("all", 1, 0, 0, 0.0)
    whole = replace(snapshot, pools=one_kind, shapes=(shape,), waiting=(job,))
    plan = schedule(whole, POLICY, 0.0)
    assert len(plan.placements[0].shares) == sites
    seconds = median(lambda: schedule(whole, POLICY, 0.0), rounds)
    print(f"one job that takes all {total:,} chips over {sites} sites: {seconds * 1e3:.1f} ms")
    figures["million_chip_job_s"] = seconds


def median(call: Callable[[], object], rounds: int) -> float:
    """CPU seconds of one call."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times)


def world(chips: int, sites: int, waiting: int, held: float) -> Snapshot:
    """A pool of one kind per site, sizes over a factor of ten, caps that hardly bind."""
    rng = np.random.default_rng(7)
    weight = rng.uniform(1.0, 10.0, sites)
    size = np.maximum(NODE, (chips * weight / weight.sum()).astype(np.int64) // NODE * NODE)
    free = size - np.round(size * held).astype(np.int64)
    busy = np.full(sites, 600.0)
    width = np.full((sites, sites), 1e11)
    np.fill_diagonal(width, np.inf)
    shapes = _shapes(int(size.max()))
    order = rng.integers(0, len(shapes), waiting)
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
            block_chips=np.full(sites, NODE * 32),
            marginal_power=busy,
            speed=np.full(sites, 1e15),
        ),
        shapes,
        tuple(Waiting(f"job-{n:06d}", 1, int(s), 0, float(n)) for n, s in enumerate(order)),
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
