"""The twin at size, and beside other open simulators on the same trace.

    python benchmarks/twin.py [--jobs N] [--chips N] [--no-peers] [--json FILE]

1. A real trace (Philly, superposed) of 1,000,000 jobs on 1,000,000 chips at 300 sites, decided each
   30 s: CPU seconds of this process, reading and scaling apart. Without the trace at hand: the
   example of this repository, scaled alike (``--trace FILE --format F`` for another one).
2. The same trace on a pool that is far too small for it, so that thousands of jobs wait: what a
   cycle costs that can place only a few of them.
3. AccaSim and hpcsim (from PyPI, in a virtual environment under build/) and skep's replay over the
   same file of the Standard Workload Format: first come first served there, skep's own scheduler
   and state machine here. Jobs per CPU second of each. An event: an arrival, a start or an end.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from skep.control.topology import Topology, topology
from skep.files.pool import catalogue, resolve_chips
from skep.model.policy import Policy
from skep.model.site import NodePool, Pool, Site
from skep.sim.conditions import Conditions
from skep.sim.pools import generated_pool
from skep.sim.readers.read import read_trace
from skep.sim.replay import Replay
from skep.sim.scaling import scaled
from skep.sim.scenario import Chips, Generated
from skep.sim.trace import Trace

ROOT = Path(__file__).parents[1]
PHILLY = ROOT.parent / "shared/facts/traces/philly/jobs.parquet"
EXAMPLE = ROOT / "examples/trace/jobs.swf"
SITES, PERIOD, NODE = 300, 30.0, 8
PER_COPY = 470  # chips for each copy of the trace
SMALL, SMALL_SITES, CROWD = 640, 8, 9000  # chips, sites and jobs of the crowded pool
PEERS = {"accasim": "accasim==1.1.3", "hpcsim": "hpcsim==0.3.1"}
PEER_JOBS = 4000
PEER_NODES = (312, 12_500)
EVENTS = 3  # of a job, in every simulator: arrival, start, end
LIMIT = 600  # s that a peer may take


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--chips", type=int, default=1_000_000)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--format", default=None)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    source = _source(given.trace, given.format)
    if not given.no_peers:
        peers(source, figures)
    crowded(source, figures)
    million(source, given.jobs, given.chips, figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def _source(path: Path | None, form: str | None) -> Trace:
    if path is not None:
        return read_trace(path, form)
    if PHILLY.exists():
        return read_trace(PHILLY, "philly")
    print("the Philly trace is not here: the example of this repository in its stead")
    return read_trace(EXAMPLE)


def million(source: Trace, jobs: int, chips: int, figures: dict[str, float]) -> None:
    """The large replay."""
    began = time.process_time()
    trace = scaled(source, copies=max(1, chips // PER_COPY), jobs=jobs)
    columns = _columns(min(SITES, chips // NODE), chips)
    made = time.process_time() - began
    print(
        f"{trace.name}: {len(trace):,} jobs within {trace.span / 3600:.1f} h on {chips:,} chips at "
        f"{len(columns.names)} sites, decided each {PERIOD:g} s (made in {made:.1f} s)"
    )
    cpu, replay = replayed(columns, trace, PERIOD)
    ended = int((replay.record.outcome == 1).sum())
    events = replay.record.events.total()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {'CPU':24} {cpu:12,.1f} s")
    print(f"  {'jobs ended':24} {ended:12,}")
    print(f"  {'jobs a CPU second':24} {ended / cpu:12,.0f}")
    print(f"  {'microseconds a job':24} {1e6 * cpu / ended:12,.0f}")
    print(f"  {'events of the product':24} {events:12,} ({events / cpu:,.0f}/s)")
    print(f"  {'cycles':24} {replay.steps:12,}")
    print(f"  {'peak memory':24} {memory:12,.0f} MiB")
    figures["twin_cpu_s"] = cpu
    figures["twin_jobs_per_s"] = ended / cpu
    figures["twin_events_per_s"] = events / cpu
    figures["twin_rss_mib"] = memory


def crowded(source: Trace, figures: dict[str, float]) -> None:
    """Twice the trace, twice as fast, on fewer chips than it needs."""
    trace = scaled(source, copies=2, jobs=CROWD, load=2.0)
    columns = _columns(SMALL_SITES, SMALL)
    cpu, replay = replayed(columns, trace, PERIOD)
    ended, longest = int((replay.record.outcome == 1).sum()), replay.timeline.longest
    print(
        f"{trace.name}: {len(trace):,} jobs on {SMALL:,} chips at {SMALL_SITES} sites: up to "
        f"{longest:,} wait at once"
    )
    print(f"  {'CPU':24} {cpu:12,.1f} s")
    print(f"  {'jobs a CPU second':24} {ended / cpu:12,.0f}")
    print(f"  {'milliseconds a cycle':24} {1e3 * cpu / replay.steps:12,.2f}")
    figures["crowded_jobs_per_s"] = ended / cpu
    figures["crowded_cycle_ms"] = 1e3 * cpu / replay.steps


def _columns(sites: int, chips: int) -> Topology:
    asked = Generated(sites=sites, chips=(Chips(kind="h100-sxm", chips=chips),))
    pool = generated_pool(asked, catalogue(), "benchmark")
    return topology(pool, resolve_chips(pool))


def replayed(columns: Topology, trace: Trace, period: float) -> tuple[float, Replay]:
    """CPU seconds of a replay, and what it left."""
    replay = Replay(columns, Policy(), trace, Conditions(), period=period, by_node=False)
    began = time.process_time()
    replay.run()
    return time.process_time() - began, replay


def peers(source: Trace, figures: dict[str, float]) -> None:
    """The same file through each simulator, on two machines."""
    folder = ROOT / "build/peers"
    python = _environment(folder)
    for nodes in PEER_NODES:
        copies = max(1, nodes * NODE // PER_COPY)
        trace = scaled(source, copies=copies, jobs=PEER_JOBS)
        path = folder / f"trace-{nodes}.swf"
        write_swf(trace, path)
        print(f"{len(trace):,} jobs of {trace.name} on {nodes:,} nodes of {NODE} chips")
        print(f"  {'':28} {'CPU s':>9} {'jobs/s':>10} {'events/s':>10}")
        ours = _ours(path, nodes)
        _line("skep, its own scheduler", ours, len(trace))
        for name in PEERS:
            took = _peer(python, name, path, nodes, folder) if python else None
            if took is None:
                print(f"  {name:28} did not run here")
                continue
            _line(f"{name}, FIFO", took, len(trace))
            figures[f"twin_vs_{name}_{nodes * NODE}"] = took / ours
            figures[f"twin_vs_{name}"] = took / ours  # the larger machine comes last
        print()


def _line(name: str, cpu: float, jobs: int) -> None:
    print(f"  {name:28} {cpu:9.2f} {jobs / cpu:10,.0f} {EVENTS * jobs / cpu:10,.0f}")


def _ours(path: Path, nodes: int) -> float:
    """At each event and without a period, as the others decide; one site, runs bound to nodes."""
    pools = (NodePool(chip="h100-sxm", nodes=nodes, chips_per_node=NODE, nodes_per_block=32),)
    pool = Pool(name="peer", sites=(Site(name="one", engine="simulated", pools=pools),))
    columns = topology(pool, resolve_chips(pool))
    trace = read_trace(path)
    replay = Replay(columns, Policy(), trace, Conditions(), by_node=True)
    began = time.process_time()
    replay.run()
    return time.process_time() - began


def write_swf(trace: Trace, path: Path) -> None:
    """The trace in the Standard Workload Format, in whole seconds."""
    table = zip(
        trace.submit.astype(int), trace.duration.astype(int).clip(1), trace.chips, strict=True
    )
    with path.open("w", encoding="utf-8") as out:
        out.write("; UnixStartTime: 0\n")
        for row, (at, took, chips) in enumerate(table, 1):
            line = f"{row} {at} -1 {took} {chips} -1 -1 {chips} {took} -1 1 1 1 1 1 1 -1 -1\n"
            out.write(line)


def _environment(folder: Path) -> Path | None:
    """An interpreter that has the peers; made once. None where they cannot be installed."""
    python = folder / "venv/bin/python"
    if not python.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print("installing the peers into build/peers/venv (once)")
        made = subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=False)
        pip = [str(python), "-m", "pip", "install", "-q", *PEERS.values()]
        if (
            made.returncode
            or subprocess.run(pip, check=False, stderr=subprocess.DEVNULL).returncode
        ):
            shutil.rmtree(folder / "venv", ignore_errors=True)
            print("  they could not be installed: no comparison")
            return None
    return python


def _peer(python: Path, name: str, trace: Path, nodes: int, folder: Path) -> float | None:
    """CPU seconds of a peer, by its own clock from its first event to its last."""
    work = folder / name  # AccaSim writes its results beside the script that starts it
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    script = work / f"run_{name}.py"
    shutil.copy(ROOT / f"benchmarks/peers/run_{name}.py", script)
    words = [str(python), str(script), str(trace), str(nodes), str(NODE), str(work), "fifo"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return None
    told = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return float(json.loads(told[-1].removeprefix("RESULT "))["cpu_s"]) if told else None


if __name__ == "__main__":
    main()
