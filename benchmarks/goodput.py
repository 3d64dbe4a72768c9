"""Goodput of one job on 1,200,000 chips that fail, in the twin: one gang beside many islands.

    python benchmarks/goodput.py [--hours H] [--json FILE]

``skep.sim.replay`` runs one job over M sites: chips fail at random, the product's own control plane
takes the run's end, places the share again on spare chips, and the other sites go on, as
``skep.train`` lets them. Printed are the assumptions, the part of the time that is progress, the
closed form of ``skep.planner.goodput`` for the same numbers, and what was published.

Published (Decoupled DiLoCo, arXiv 2604.21428, simulated too): 1.2 million chips, each failing once
a year in the mean: 27 % for data parallelism, 58 % for elastic data parallelism, 88 % for decoupled
learners. What a restart takes there is not known to us: so it is varied here, and the restart with
which each published figure comes out is told beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import combinations
from math import ceil
from pathlib import Path

from skep.control.topology import topology
from skep.files.pool import resolve_chips
from skep.model.policy import Policy
from skep.model.site import Lease, Link, NodePool, Pool, Site
from skep.planner.goodput import DAY, NODE, Failing, best_interval, share
from skep.sim.conditions import Checkpoints, Conditions, Wear
from skep.sim.replay import Replay
from skep.sim.trace import build
from skep.sim.wear import breakages

CHIPS = 1_200_000
YEAR = 365.0 * DAY
PAUSE = 1.0  # s that a checkpoint stops a gang: copied in memory, written behind
EXCHANGE = 24.0  # s: 24 steps of one second
REPAIR = DAY
RESTARTS = (10.0, 30.0, 60.0)
ISLANDS = (1, 8, 16, 64)
PUBLISHED = {
    "data parallel": 0.27,
    "elastic data parallel": 0.58,
    "decoupled": 0.88,
}
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0, help="of simulated time, about")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    assumptions(given.hours)
    print(f"  {'':24} {'restart':>8} {'goodput':>8} {'formula':>8} {'starts':>7} {'CPU':>7}")
    for islands in ISLANDS:
        for restart in RESTARTS:
            one_case(islands, restart, given.hours * 3600.0, figures)
    elastic(figures)
    published()
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def assumptions(hours: float) -> None:
    print(f"one job on {CHIPS:,} chips; about {hours:g} h simulated, seed {SEED}. Assumed:")
    print(f"  a chip fails once a year in the mean, at random: one every {YEAR / CHIPS:.1f} s")
    print(
        f"  a failure ends the run of its site; it is back on spare chips after {REPAIR / 3600:g} h"
    )
    print(f"  one gang: checkpoints at the best interval, each stops it for {PAUSE:g} s")
    print(f"  islands: an exchange every {EXCHANGE:g} s; what a site did since is lost with it")
    print("  nobody waits for the network; where all sites are down at once, the last checkpoint")
    print("  restart: s from the failure until the site works again (retry_delay: 0 in the policy)")


def failing(restart: float) -> Failing:
    """The planner's model with these assumptions."""
    return Failing(per_node_day=NODE * DAY / YEAR, checkpoint=PAUSE, restart=restart, repair=REPAIR)


def one_case(islands: int, restart: float, seconds: float, figures: dict[str, float]) -> None:
    """The twin and the formula for one number of islands."""
    of = failing(restart)
    between = of.between(CHIPS / islands)
    formula = gang(of, between) if islands == 1 else decoupled(of, between)
    if islands == 1 and formula < 0.01:
        print(f"  {'one gang':24} {restart:6.0f} s {'–':>8} {formula:8.1%}   (never gets far)")
        figures[f"goodput_1_{restart:.0f}s"] = formula
        return
    began = time.process_time()
    reached, starts = replayed(islands, of, seconds)
    cpu = time.process_time() - began
    name = "one gang" if islands == 1 else f"{islands} islands"
    print(f"  {name:24} {restart:6.0f} s {reached:8.1%} {formula:8.1%} {starts:7,} {cpu:6.1f}s")
    figures[f"goodput_{islands}_{restart:.0f}s"] = reached


def gang(of: Failing, between: float) -> float:
    """All stop, all go back to the last checkpoint (Daly)."""
    return share(best_interval(of.checkpoint, between), of, between)


def decoupled(of: Failing, between: float) -> float:
    """One island works ``between`` s, loses half an exchange in the mean, and starts again."""
    return (between - EXCHANGE / 2) / (between + of.restart) if between > EXCHANGE else 0.0


def replayed(islands: int, of: Failing, seconds: float) -> tuple[float, int]:
    """Progress over time in the twin, and how often a share was started."""
    columns = topology(pool(islands, of), resolve_chips(pool(islands, of)))
    between = of.between(CHIPS / islands)
    work = seconds * (gang(of, between) if islands == 1 else decoupled(of, between))
    interval = best_interval(of.checkpoint, between) if islands == 1 else 600.0
    conditions = Conditions(
        restart=of.restart,
        checkpoint=Checkpoints(every=interval, cost=of.checkpoint if islands == 1 else 0.0),
        exchange=EXCHANGE if islands > 1 else 0.0,
        failures=(Wear(kind="chip", every=YEAR, repair=REPAIR),),
    )
    trace = build("one job", [0.0], [work], [CHIPS], numbers={"sites": [islands]})
    broken = breakages(conditions, columns, SEED, 4.0 * seconds)
    replay = Replay(columns, Policy(retry_delay=0.0), trace, conditions, broken, seed=SEED)
    replay.run(until=4.0 * seconds)
    ended = replay.record.ended[0] - replay.record.started[0]
    return work / float(ended), int(replay.record.attempts[0])


def pool(islands: int, of: Failing) -> Pool:
    """Equal sites with spare chips for what is being repaired, each linked with each."""
    each = CHIPS // islands
    nodes = ceil((each + of.spares(each)) / NODE)
    sites = tuple(
        Site(
            name=f"site-{row:02d}",
            engine="simulated",
            pools=(NodePool(chip="h100-sxm", nodes=nodes, chips_per_node=NODE),),
        )
        for row in range(islands)
    )
    pairs = combinations((site.name for site in sites), 2)
    links = tuple(Link(between=pair, bandwidth=1e11) for pair in pairs)
    return Pool(name="goodput", sites=sites, links=links, lease=Lease())


def elastic(figures: dict[str, float]) -> None:
    """All stop for a while and go on without the lost part: nothing is done again."""
    between = YEAR / CHIPS
    for restart in RESTARTS:
        found = between / (between + restart)
        print(f"  {'elastic, all pause':24} {restart:6.0f} s {'–':>8} {found:8.1%}")
        figures[f"goodput_elastic_{restart:.0f}s"] = found


def published() -> None:
    """Each published figure, and the restart with which our formulas give the same."""
    between = YEAR / CHIPS
    print("\npublished, and the restart that gives the same here:")
    found = {
        "data parallel": solved(lambda of: gang(of, between), PUBLISHED["data parallel"]),
        "elastic data parallel": between / PUBLISHED["elastic data parallel"] - between,
        "decoupled": solved(lambda of: decoupled(of, 8 * between), PUBLISHED["decoupled"]),
    }
    for name, value in PUBLISHED.items():
        more = " with 8 islands" if name == "decoupled" else ""
        print(f"  {name:24} {value:8.0%}   {found[name]:5.1f} s{more}")


def solved(of: object, wanted: float) -> float:
    """The restart (s) for which ``of`` gives ``wanted``; it falls with the restart."""
    low, high = 0.0, 600.0
    for _ in range(60):
        middle = (low + high) / 2
        good = of(replace(failing(0.0), restart=middle))  # type: ignore[operator]
        low, high = (middle, high) if good > wanted else (low, middle)
    return low


if __name__ == "__main__":
    main()
