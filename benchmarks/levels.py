"""One level of reduction and two: what the busiest site's link carries, and how long a round takes.

    python benchmarks/levels.py [--sites 40,64] [--mbit 20] [--parameters 200000] [--rounds 1]
                                [--interval 4] [--json FILE]

The protocol of rounds (``skep.train.fragments``) of so many sites in one process, on a virtual
clock, without training loops: each site answers half a second after it was called, with progress
made up for that. Every message is as long as it really is, with 60 bytes for what carries it; a
site's link carries ``--mbit`` each way, one message after the other, with a delay of 20 ms. Rounds
of all fragments are called every ``--interval`` seconds. ``round_s``: from the first call until all
sites have the results of all fragments, the longest of the rounds. ``busiest_mb``: MB per round
over the link of the site that carries most, the larger way; ``beats_kb_s``: what each site sends
that is neither call, contribution nor result; ``digests``: the most that sites came to in one round
of one fragment.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from skep.train.fragments import Fragments, cuts, fragments_for
from skep.train.frames import Kind, Message, body_of
from skep.train.lead import Options
from skep.train.member import Member
from skep.train.outer import PLAIN, fresh
from skep.train.parts import Local, Part
from skep.train.wire import in_order

TICK_S, DELAY_S, ANSWER_S, AROUND = 0.05, 0.02, 0.5, 60


class Site:
    """Its rounds, and its link."""

    def __init__(self, index: int, start: torch.Tensor, options: Options) -> None:
        self.name = f"s{index:03}"
        me = Member(self.name, index, f"j-a1-{self.name}", "s", f"{self.name}.example.org:7000")
        self.ranges = cuts(start.numel(), fragments_for(start.numel()))
        states = [fresh(start[slice(*own)], "o") for own in self.ranges]
        self.fragments = Fragments(me, states, options, 0.0)
        self.fragments.report(Local(rate=1000.0, step_s=1.0), [1000] * len(states))
        self.me, self.answering = me, dict.fromkeys(range(len(states)), "")
        self.up = self.down = 0.0  # when the link is free again
        self.carried: Counter[str] = Counter()


class World:
    """All sites, an agenda."""

    def __init__(self, sites: int, parameters: int, rate: float, options: Options) -> None:
        start = torch.randn(parameters, generator=torch.Generator().manual_seed(1)) * 0.02
        self.step = torch.randn(parameters) * 1e-3
        self.now, self.rate, self._count = 0.0, rate, itertools.count()
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.sites = {site.name: site for site in (Site(i, start, options) for i in range(sites))}
        self.rounds: dict[tuple[int, int], list[float]] = {}  # fragment, number: when applied
        self.digests: dict[tuple[int, int], set[str]] = defaultdict(set)  # of the same
        self.calls: set[float] = set()  # of the first fragment
        everyone = list(self.sites.values())
        for site in everyone:
            site.fragments.rates = {other.name: rate for other in everyone if other is not site}
            site.fragments.sees = dict(site.fragments.rates)
            for other in everyone:
                if other is not site:
                    site.fragments.joined(other.me, 0.0)
            self.at(0.0, lambda s=site: self._tick(s))

    def at(self, when: float, work: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (when, next(self._count), work))

    def run(self, until: float) -> None:
        while self.agenda[0][0] <= until:
            self.now, _, work = heapq.heappop(self.agenda)
            work()

    def _tick(self, site: Site) -> None:
        site.fragments.tick(self.now)
        self._after(site)
        self.at(self.now + TICK_S, lambda: self._tick(site))

    def _after(self, site: Site) -> None:
        if site.name == "s000":
            self.calls.add(site.fragments.rounds[0].called_last)
        for index, call in site.fragments.wanted.items():
            if site.answering[index] != call.base:
                site.answering[index] = call.base
                self.at(self.now + ANSWER_S, lambda i=index: self._answer(site, i))
        for record in site.fragments.drain():
            which = (record["fragment"], record["round"])
            self.rounds.setdefault(which, []).append(self.now)
            self.digests[which].add(record["digest"])
        outbox, site.fragments.outbox = site.fragments.outbox, []
        for to, message in outbox:
            self._send(site, self.sites[to], message)

    def _answer(self, site: Site, index: int) -> None:
        if index not in site.fragments.wanted:
            return
        run, number = site.me.run, site.fragments.states[index].round + 1
        after = site.fragments.states[index].merged.get(site.name, ("", 0))[1]
        progress = self.step[slice(*site.ranges[index])].roll(site.me.rank)
        part = Part(progress, run, max(number, after + 1), after, 1000, 1.0)
        site.fragments.answers(index, part)
        site.fragments.offered(index, part, self.now)
        self._after(site)

    def _send(self, site: Site, to: Site, message: Message) -> None:
        size = len(body_of(message)) + AROUND
        kind = "beats" if message.kind is Kind.BEAT else "rounds"
        site.carried[f"{kind} out"] += size
        to.carried[f"{kind} in"] += size
        when = self.now
        if in_order(message):
            site.up = max(site.up, self.now) + size / self.rate
            # of both links one after the other, as the way of a message is shared by both
            to.down = max(to.down + size / self.rate, site.up)
            when = to.down
        self.at(when + DELAY_S, lambda: self._arrive(site, to, message))

    def _arrive(self, site: Site, to: Site, message: Message) -> None:
        to.fragments.received(site.name, message, self.now)
        self._after(to)


def measure(
    sites: int, one_level: int, parameters: int, mbit: float, interval: float, rounds: int
) -> dict[str, Any]:
    """The figures of one arrangement."""
    options = Options(outer=PLAIN, codec="int4", interval=interval, one_level=one_level)
    world = World(sites, parameters, mbit * 125_000.0, options)
    world.run(2.5 * interval)  # the first rounds learn how long answers take
    before = {name: site.carried.copy() for name, site in world.sites.items()}
    began, known = world.now, set(world.rounds)
    world.run(began + (rounds + 1) * interval)
    carried = {name: site.carried - before[name] for name, site in world.sites.items()}
    spent, done = world.now - began, defaultdict(list)
    for (fragment, number), times in world.rounds.items():
        if (fragment, number) not in known and len(times) == sites:
            done[number].append(max(times))
    took = [max(ends) - max(c for c in world.calls if c < min(ends)) for ends in done.values()]
    ways = [[c[f"rounds {w}"] + c[f"beats {w}"] for w in ("in", "out")] for c in carried.values()]
    return {
        "sites": sites,
        "levels": 1 if sites <= one_level else 2,
        "round_s": max(took, default=float("nan")),
        "busiest_mb": max(map(max, ways)) / (rounds + 1) / 1e6,
        "mean_mb": sum(map(sum, ways)) / 2 / sites / (rounds + 1) / 1e6,
        "beats_kb_s": sum(c["beats out"] for c in carried.values()) / sites / spent / 1e3,
        "digests": max(map(len, world.digests.values())),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", default="40,64", help="with commas")
    parser.add_argument("--mbit", type=float, default=20.0)
    parser.add_argument("--parameters", type=int, default=200_000)
    parser.add_argument("--interval", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found, began = [], time.monotonic()
    columns = ("sites", "levels", "round_s", "busiest_mb", "mean_mb", "beats_kb_s", "digests")
    print("".join(f"{name:>12}" for name in columns))
    for sites in map(int, chosen.sites.split(",")):
        for one_level in (sites, sites - 1):
            how = (chosen.parameters, chosen.mbit, chosen.interval, chosen.rounds)
            found.append(measure(sites, one_level, *how))
            print("".join(f"{found[-1][name]:>12.4g}" for name in columns), flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
