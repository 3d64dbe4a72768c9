"""What dying, returning and being cut off costs the other sites: real processes, shaped links.

    python benchmarks/outages.py [--mbit R] [--steps N] [--json FILE]

Three sites in network namespaces (root, iproute2) train the toy of ``sites/toy`` on virtual chips,
without a control plane. The third one is killed (``kill -9``) in the middle of a round, is started
again 8 s later with nothing, and 20 s after its first step its link is cut without a word for 15 s.
What the others lose to its return is counted from that first step on: starting Python takes cores
that all sites of one machine share.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "sites"))
import net

SITES = Path(__file__).parent / "sites"
WARM_S, DEAD_S, BACK_S, CUT_S = 20.0, 8.0, 20.0, 15.0
AGAIN_STEPS = 150  # of the site that comes back: until some rounds after its link is healed
HOW = {"codec": "int4", "interval_steps": 20, "fragments": 2}


def gaps(ended: Sequence[float], start: float, stop: float) -> list[float]:
    """Seconds from step to step, of those steps that ended in this time."""
    pairs = itertools.pairwise(ended)
    return [after - before for before, after in pairs if start <= after < stop]


def stall(ended: Sequence[float], usual: float, start: float, stop: float) -> float:
    """By how many seconds the longest step of this time was longer than ``usual``."""
    return max(gaps(ended, start, stop), default=usual) - usual


def rate(ended: Sequence[float], start: float, stop: float) -> float:
    """Steps per second in this time."""
    return sum(start <= at < stop for at in ended) / (stop - start)


def rounds_until(rounds: Sequence[dict[str, Any]], site: str, back: float) -> tuple[int, float]:
    """How many rounds (of any fragment) closed without ``site`` after ``back``, and the seconds
    until the first with it; -1 where there is none."""
    later = [record for record in rounds if record["t"] >= back]
    for count, record in enumerate(later):
        if site in record["sites"]:
            return count, record["t"] - back
    return len(later), -1.0


def judged(
    found: list[dict[str, Any]], rounds: list[dict[str, Any]], at: dict[str, float]
) -> dict[str, Any]:
    """The figures; ``found`` by site, ``at``: when what happened (Unix seconds)."""
    others = [site["ended"] for site in found[:2]]
    usual = [statistics.median(gaps(ended, 0.0, at["kill"])) for ended in others]
    pairs = list(zip(others, usual, strict=True))
    calm = sum(rate(ended, at["kill"] - 15.0, at["kill"]) for ended in others)
    joins = sum(rate(ended, at["trains"], at["cut"]) for ended in others)
    count, seconds = rounds_until(rounds, "s2", at["trains"])
    after, again = rounds_until(rounds, "s2", at["heal"])
    return {
        "calm_stall_s": max(stall(e, u, at["kill"] - 15.0, at["kill"]) for e, u in pairs),
        "kill_stall_s": max(stall(e, u, at["kill"], at["back"]) for e, u in pairs),
        "steps_lost": sum(site["chosen_steps"] - len(site["ended"]) for site in found[:2]),
        "rejoin_rounds": count,
        "rejoin_s": seconds,
        "rejoin_cost_points": 100.0 * (1.0 - joins / calm),
        "cut_stall_s": max(stall(e, u, at["cut"], at["heal"]) for e, u in pairs),
        "cut_own_stall_s": stall(found[2]["ended"], usual[0], at["cut"], at["heal"]),
        "heal_rounds": after,
        "heal_s": again,
        "survivor_digests": len({site["digest"] for site in found[:2]}),
    }


def measure(mbit: float, steps: int) -> dict[str, Any]:
    """One run with all of it."""
    with net.Net(3, mbit) as made, tempfile.TemporaryDirectory() as folder:
        here = Path(folder)

        def start(site: int, count: int) -> Any:
            how = HOW | {"progress": str(here / f"{site}.progress")}
            words = [str(SITES / "with_skep.py"), "--site", str(site), "--steps", str(count)]
            words += ["--hosts", ",".join(made.hosts), "--how", json.dumps(how)]
            words += ["--out", str(here / f"{site}.json")]
            return made.start(site, sys.executable, *words, log=here / f"{site}.log")

        running = [start(site, steps) for site in range(3)]
        first = here / "0.progress"
        while not lines(first, "round"):
            time.sleep(0.1)
        at = {}
        time.sleep(WARM_S)
        running[2].kill()
        running[2].wait()
        at["kill"] = time.time()
        time.sleep(DEAD_S)
        (here / "2.progress").unlink()
        running[2], at["back"] = start(2, AGAIN_STEPS), time.time()
        while not lines(here / "2.progress", "step"):
            time.sleep(0.1)
        at["trains"] = lines(here / "2.progress", "step")[0]["t"]
        time.sleep(BACK_S)
        made.cut(2)
        at["cut"] = time.time()
        time.sleep(CUT_S)
        made.heal(2)
        at["heal"] = time.time()
        for process in running:
            process.wait(600.0)
        found = [json.loads((here / f"{site}.json").read_text()) for site in range(3)]
        rounds = lines(first, "round")
    for site in found:
        site["chosen_steps"] = steps
    return judged(found, rounds, at) | {"start_s": at["trains"] - at["back"]}


def lines(path: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind in a progress file."""
    text = path.read_text() if path.exists() else ""
    records = (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))
    return [record for record in records if record["kind"] == kind]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mbit", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=330)
    parser.add_argument("--json")
    options = parser.parse_args()
    if why := net.possible():
        print(f"not measured: {why}")
        return
    found = measure(options.mbit, options.steps) | {"load": os.getloadavg()[0]}
    for name, value in found.items():
        print(f"{name:<20} {value:>8.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
