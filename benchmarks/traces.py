"""Real traces replayed: published results beside ours, skep against baselines in the same replay.

    python benchmarks/traces.py [--traces DIR] [--quick] [--json FILE]

The traces are other people's and are not part of skep: DIR has ``philly``, ``openb``, ``pollux``
and ``gavel`` as docs/guides/simulate.md tells; what is not there is left out and said.

All schedulers meet the same jobs on the same pool in the same replay (``skep.sim.replay``). FIFO
and the shortest-first hold back what is behind a job that does not fit; EASY backfills. These three
are given the true run times; skep is not, but for the rows that say so. Its order is by age, by
expected run time, or by what a job has had; the last stops running jobs, which save every 10
minutes of work and take 30 s to start again. The bound: baselines.py. In pieces: the part of the
free chip-time that a job of the trace could not use where it lay (skep.sim.fragments).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from baselines import Allowed, Baseline, deciding, lower_bound
from skep.control.topology import Topology, topology
from skep.files.pool import resolve_chips
from skep.model.chip import Chip
from skep.model.policy import Policy, Queue, Rule
from skep.model.site import NodePool, Pool, Site
from skep.sim.conditions import Checkpoints, Conditions
from skep.sim.figures import fragmentation
from skep.sim.readers.columns import columns_of
from skep.sim.readers.read import read_trace
from skep.sim.replay import Replay
from skep.sim.scaling import scaled
from skep.sim.trace import Trace, build

HERE = Path(__file__).parent
DEFAULT = HERE.parent.parent / "shared/facts/traces"
# By the rules of HeliosArtifact from the same list: mean completion and wait, s.
PHILLY = {"FIFO": (11585.29, 104.61), "shortest first": (11543.43, 62.75)}
POLLUX = {
    "Tiresias (fixed chips)": 4038.18,
    "Optimus+oracle": 5681.93,
    "Pollux (adaptive)": 2751.13,
}
MET = Conditions(restart=30.0, checkpoint=Checkpoints(every=600.0))
FGD = {"Random": 86.25, "BestFit": 92.91, "FGD": 95.23}  # % of GPUs, 100 % asked for


@dataclass(frozen=True, slots=True)
class Case:
    """A trace on its pool. ``key`` names its figures."""

    key: str
    title: str
    trace: Trace
    pool: Pool
    policy: Policy
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class Result:
    """Means in s; ``cpu`` in s; ``fragments``: part of the free chip-time in fragments."""

    wait: float
    completion: float
    slowdown: float
    fragments: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=Path, default=DEFAULT)
    parser.add_argument("--quick", action="store_true", help="a part of each trace")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    for name, make in CASES.items():
        if not (given.traces / name).is_dir():
            print(f"{name}: left out, {given.traces / name} is not here\n")
            continue
        for case in make(given.traces / name, given.quick):
            compare(case, figures)
            if not given.quick:  # published of whole lists
                _published(case)
            print()
    if (given.traces / "openb").is_dir():
        allocation(given.traces / "openb", figures, seeds=2 if given.quick else 5)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def compare(case: Case, figures: dict[str, float]) -> dict[str, Result]:
    """All schedulers on one case; prints a table."""
    columns = topology(case.pool, resolve_chips(case.pool))
    chips = int(columns.total.sum())
    exact = replace(case.trace, estimate=case.trace.duration)
    print(f"{case.title}: {len(case.trace):,} jobs, {chips:,} chips")
    titles = f"{'mean wait':>12} {'completion':>12} {'slowdown':>9} {'in pieces':>10} {'cpu':>7}"
    print(f"  {'':34} {titles}")
    found: dict[str, Result] = {}
    plain = case.policy
    short = plain.model_copy(update={"order": "shortest"})
    least = plain.model_copy(update={"order": "attained", "preemption": True})
    rows: list[tuple[str, str, Trace, Callable[..., object] | Policy]] = [
        ("fifo", "FIFO", case.trace, Baseline(case.trace, case.allowed)),
        ("easy", "EASY backfill, true run times", case.trace,
         Baseline(case.trace, case.allowed, backfill=True)),
        ("easy_first_fit", "  the same, first fit for best fit", case.trace,
         Baseline(case.trace, case.allowed, backfill=True, first_fit=True)),
        ("sjf", "shortest first, true run times", case.trace,
         Baseline(case.trace, case.allowed, shortest=True)),
        ("skep", "skep", case.trace, plain),
        ("skep_exact", "skep, true run times as estimates", exact, plain),
        ("skep_shortest", "skep, order: shortest", case.trace, short),
        ("skep_shortest_exact", "  the same, true run times", exact, short),
        ("skep_attained", "skep, order: attained, preempting", case.trace, least),
    ]  # fmt: skip
    for key, label, trace, by in rows:
        result = replayed(case, columns, trace, by)
        found[key] = result
        print(
            f"  {label:34} {result.wait:12,.1f} {result.completion:12,.1f} "
            f"{result.slowdown:9.2f} {result.fragments:10.1%} {result.cpu:6.1f}s"
        )
        figures[f"{case.key}_{key}_wait_s"] = result.wait
        figures[f"{case.key}_{key}_completion_s"] = result.completion
        figures[f"{case.key}_{key}_fragmentation"] = result.fragments
    bound = lower_bound(case.trace, chips)
    figures[f"{case.key}_bound_completion_s"] = bound
    print(f"  {'no schedule is better than':34} {'':12} {bound:12,.1f}")
    return found


def _published(case: Case) -> None:
    if case.key == "philly":
        for name, (completion, wait) in PHILLY.items():
            label = f"HeliosArtifact's rules, {name}"
            print(f"  {label:34} {wait:12,.1f} {completion:12,.1f}   (whole nodes; same list)")
    if case.key == "pollux":
        for name, completion in POLLUX.items():
            print(f"  {'published: ' + name:34} {'':12} {completion:12,.1f}")


def replayed(
    case: Case, columns: Topology, trace: Trace, by: Callable[..., object] | Policy
) -> Result:
    """One replay of the case, decided by ``by``; a policy: by skep under it."""
    began = time.process_time()
    ours = by if isinstance(by, Policy) else None
    replay = Replay(columns, ours or case.policy, trace, MET, by_node=False)
    with nullcontext() if ours else deciding(by):  # type: ignore[arg-type]
        replay.run()
    completion = replay.record.ended - trace.submit
    assert not np.isnan(completion).any(), f"{case.key}: {np.isnan(completion).sum()} did not end"
    return Result(
        float((replay.record.started - trace.submit).mean()),
        float(completion.mean()),
        float(np.maximum(1.0, completion / np.maximum(trace.duration, 10.0)).mean()),
        fragmentation(replay.timeline),
        time.process_time() - began,
    )


def everywhere(_queue: str, _pool: int) -> bool:
    return True


# The cases


def philly(folder: Path, quick: bool) -> list[Case]:
    """The eleven virtual clusters of HeliosArtifact, October and November 2017."""
    trace = read_trace(folder / "jobs.parquet", "philly")
    sizes = columns_of(folder / "vc_sizes_heliosartifact.parquet", ("vc", "nodes_8gpu"))
    nodes = dict(zip(sizes["vc"], sizes["nodes_8gpu"], strict=True))
    first = np.datetime64("2017-10-01T00:00:00").astype("datetime64[s]").astype(np.int64)
    last = np.datetime64("2017-12-01T00:00:00").astype("datetime64[s]").astype(np.int64)
    at = trace.submit + trace.start
    room = np.array([8 * nodes.get(name, 0) for name in trace.queues])[trace.queue]
    kept = np.flatnonzero((at >= first) & (at < last) & (trace.chips <= room))
    trace = trace.take(kept[:6000] if quick else kept)
    names = tuple(nodes)
    sites = tuple(
        Site(
            name=f"vc-{vc}",
            engine="simulated",
            pools=(NodePool(chip="gpu", nodes=nodes[vc], chips_per_node=8),),
        )
        for vc in names
    )
    policy = Policy(
        queues=tuple(Queue(name=vc) for vc in names),
        rules=(
            *(
                Rule(
                    id=f"own-{vc}", effect="allow", queues=(vc,), sites=(f"vc-{vc}",), reason="own"
                )
                for vc in names
            ),
            Rule(id="others", effect="refuse", reason="a virtual cluster is its queue's alone"),
        ),
    )

    def own(queue: str, pool: int) -> bool:
        return names[pool] == queue

    pool = Pool(name="philly", sites=sites, chips=(Chip(kind="gpu"),))
    title = "Philly, eleven virtual clusters, Oct–Nov 2017"
    made = [Case("philly", title, trace, pool, policy, own)]
    one = Pool(
        name="philly-one",
        sites=tuple(
            Site(name=f"site-{row}", engine="simulated", pools=site.pools)
            for row, site in enumerate(sites[:4])
        ),
        chips=pool.chips,
    )
    busy = slice(0, 6_000) if quick else slice(20_000, 40_000)
    fast = scaled(trace.take(busy), load=3.0)
    merged = replace(fast, queue=np.zeros_like(fast.queue), queues=("default",))
    most = max(8 * nodes[vc] for vc in names[:4])
    merged = merged.take(np.flatnonzero(merged.chips <= most))
    title = "Philly three times as fast, a part in one queue over four sites"
    made.append(Case("philly_pooled", title, merged, one, Policy(), everywhere))
    return made


def pollux(folder: Path, quick: bool) -> list[Case]:
    """All eight lists, one after another with time to drain between: 64 T4."""
    parts = [read_trace(folder, "pollux", part) for part in range(1, 3 if quick else 9)]
    gap = 10 * 86400.0
    trace = build(
        "pollux",
        np.concatenate([p.submit + gap * row for row, p in enumerate(parts)]),
        np.concatenate([p.duration for p in parts]),
        np.concatenate([p.chips for p in parts]),
        words={"app": [p.apps[app] for p in parts for app in p.app]},
    )
    pools = (NodePool(chip="t4", nodes=16, chips_per_node=4),)
    site = Site(name="aws", engine="simulated", pools=pools)
    pool = Pool(name="pollux", sites=(site,), chips=_unknown("t4"))
    title = "Pollux, eight lists of 160 jobs, 64 T4"
    made = [Case("pollux", title, trace, pool, Policy(), everywhere)]
    apart = tuple(
        Site(
            name=f"site-{row}",
            engine="simulated",
            pools=(NodePool(chip="t4", nodes=4, chips_per_node=4),),
        )
        for row in range(6)
    )
    some = trace.take(np.flatnonzero(trace.chips <= 16))
    title = "Pollux, those of 16 chips or fewer, 96 T4 at six sites, each job at one"
    pool = Pool(name="pollux-apart", sites=apart, chips=_unknown("t4"))
    made.append(Case("pollux_apart", title, some, pool, Policy(), everywhere))
    return made


def gavel(folder: Path, quick: bool) -> list[Case]:
    """The trace of the physical experiment, on V100s only and twice as fast."""
    del quick
    trace = scaled(read_trace(folder, "gavel", 1), load=2.0)
    pools = (NodePool(chip="v100", nodes=4, chips_per_node=8),)
    site = Site(name="gavel", engine="simulated", pools=pools)
    pool = Pool(name="gavel", sites=(site,), chips=_unknown("v100"))
    title = "Gavel, physical trace twice as fast, 32 V100"
    return [Case("gavel", title, trace, pool, Policy(), everywhere)]


def openb(folder: Path, quick: bool) -> list[Case]:
    """Alibaba's pods on an eighth of its GPUs and faster: at its own size nothing waits."""
    trace = scaled(read_trace(folder / "pods_default.parquet", "openb"), load=120.0)
    if quick:
        trace = trace.take(slice(0, 3000))
    pool = openb_pool(folder, part=8)
    trace = trace.take(np.flatnonzero(trace.duration > 0))
    title = "openb, whole GPUs, an eighth of the nodes, 120 times as fast"
    return [Case("openb", title, trace, pool, Policy(), everywhere)]


def openb_pool(folder: Path, part: int = 1) -> Pool:
    """The trace's own nodes, one pool for each model and size; every ``part``-th of them."""
    nodes = columns_of(folder / "nodes.parquet", ("gpu", "model"))
    kinds = list(zip(nodes["model"], nodes["gpu"], strict=True))
    counts: dict[tuple[str, int], int] = {}
    for model, gpus in kinds:
        if gpus:
            key = (str(model).lower(), int(gpus))
            counts[key] = counts.get(key, 0) + 1
    pools = tuple(
        NodePool(chip=model, nodes=max(1, count // part), chips_per_node=gpus)
        for (model, gpus), count in sorted(counts.items())
    )
    site = Site(name="openb", engine="simulated", pools=pools)
    return Pool(name="openb", sites=(site,), chips=_unknown(*{p.chip for p in pools}))


def _unknown(*names: str) -> tuple[Chip, ...]:
    """Kinds that the catalogue may not have, described by nothing but their names."""
    from skep.files.pool import catalogue

    return tuple(Chip(kind=name) for name in sorted(names) if name not in catalogue())


def allocation(folder: Path, figures: dict[str, float], seeds: int, part: int = 1) -> None:
    """How full openb's GPUs get when pods only come, as the FGD paper asks, in whole chips."""
    source = read_trace(folder / "pods_default.parquet", "openb")
    pool = openb_pool(folder, part)
    columns = topology(pool, resolve_chips(pool))
    total = int(columns.total.sum())
    shares, apart = [], []
    for seed in range(42, 42 + seeds):
        chance = np.random.default_rng(seed)
        order = chance.permutation(np.tile(np.arange(len(source)), 2))
        asked = np.cumsum(source.chips[order])
        rows = order[: int(np.searchsorted(asked, total)) + 1]
        endless = np.full(len(rows), 1e9)
        jobs = build("openb-fill", np.arange(len(rows), dtype=float), endless, source.chips[rows])
        replay = Replay(columns, Policy(), jobs, Conditions(), by_node=True)
        replay.run(until=float(len(rows)))
        started = ~np.isnan(replay.record.started)
        shares.append(100.0 * float(jobs.chips[started].sum()) / total)
        apart.append(replay.machines.scattered)
    ours, spread = float(np.median(shares)), float(np.median(apart))
    print(f"openb, pods that only come, 100 % of {total:,} GPUs asked for: % of them allocated")
    print(f"  {'skep, whole chips':34} {ours:12.2f}   ({spread:.0f} pods over too many nodes)")
    for name, value in FGD.items():
        print(
            f"  {'published: ' + name:34} {value:12.2f}   (parts of GPUs; CPU and memory bind too)"
        )
    figures["openb_allocation_pct"] = ours
    figures["openb_scattered"] = spread


CASES = {"philly": philly, "pollux": pollux, "gavel": gavel, "openb": openb}


if __name__ == "__main__":
    main()
