"""32 learners, 125 faults an hour: how much is trained, and how many take part in each round.

    python benchmarks/learners.py [--minutes 5] [--learners 32] [--faults-per-hour 125] [--seed 1]
                                  [--json FILE]

Sites in one process on a virtual clock with the product's own training library
(``sites/virtual``), a model of 20,000 parameters, steps of 2 s. Faults come at random and are, by
turns: kill -9 of a learner (it starts again with nothing after 10 s), a cut from all others
without a word for 10 to 30 s, steps ten times as long for 10 s. The first learner is spared, as
its log is read. ``throughput``: tokens trained over those without faults; ``taking part``: mean
number of contributions to a round.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "sites"))
import torch
import virtual

from skep.train.ranks import Ranks
from skep.train.run import Run
from skep.train.settings import Settings

STEP_S, BATCH, RATE, BACK_S = 2.0, 8, 1.25e6, 10.0


class Job:
    """So many learners for ``end`` virtual seconds."""

    def __init__(self, learners: int, end: float, log: str) -> None:
        self.names = [f"s{index:02}" for index in range(learners)]
        self.end, self.log = end, log
        self.world = virtual.World()
        self.trained, self.attempts = 0, dict.fromkeys(self.names, 0)
        self.digests: dict[str, str] = {}

    def start(self, name: str) -> None:
        self.attempts[name] += 1
        self.world.start(name, lambda: self._train(name), RATE)

    def _train(self, name: str) -> None:
        rank = self.names.index(name)
        torch.manual_seed(rank)
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 92)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        chosen = Settings(
            site=name,
            rank=rank,
            run=f"j-a{self.attempts[name]}-{name}",
            listen=f"127.0.0.1:{7000 + rank}",
            peers={other: "127.0.0.1:1" for other in self.names if other != name},
            token=b"of the learners",
            fragments=2,
            progress_file=self.log if rank == 0 else "",
        )
        with Run(model, optimizer, chosen, Ranks()) as run:
            while self.world.now < self.end:
                model(torch.randn(BATCH, 64)).square().mean().backward()
                run.tokens(BATCH)
                self.world.step(STEP_S)
                self.trained += BATCH
                optimizer.step()
                optimizer.zero_grad()
            run.finish()
            self.digests[name] = run.digest

    def inject(self, kind: int, chance: random.Random) -> None:
        """One fault at one learner that has none now."""
        world = self.world
        fit = [
            name
            for name in self.names[1:]
            if not world.seats[name].dead
            and world.seats[name].slower == 1.0
            and frozenset((name, self.names[0])) not in world.cut
        ]
        name = chance.choice(fit)
        seat, others = world.seats[name], [other for other in self.names if other != name]
        if kind == 0:
            world.kill(name)
            world.at(world.now + BACK_S, lambda: self.start(name))
        elif kind == 1:
            for other in others:
                world.part(name, other)
            back = world.now + chance.uniform(10.0, 30.0)
            world.at(back, lambda: [world.heal(name, other) for other in others])
        else:
            seat.slower = 10.0
            world.at(world.now + BACK_S, lambda: setattr(seat, "slower", 1.0))


def measure(learners: int, minutes: float, rate: float, seed: int) -> dict[str, Any]:
    """The figures of one storm."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        job = Job(learners, minutes * 60.0, str(log))
        for name in job.names:
            job.start(name)
        faults, chance = round(minutes / 60.0 * rate), random.Random(seed)
        times = sorted(chance.uniform(20.0, job.end - 40.0) for _ in range(faults))
        for number, when in enumerate(times):
            job.world.at(when, lambda kind=number % 3: job.inject(kind, chance))
        job.world.run(until=job.end + 600.0)
        for seat in job.world.seats.values():
            if seat.failure is not None:
                raise seat.failure
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    rounds = [line for line in lines if line["kind"] == "round" and not line["final"]]
    ideal = learners * BATCH * (job.end // STEP_S)
    return {
        "learners": learners,
        "learner_faults": faults,
        "learner_throughput": job.trained / ideal,
        "learner_rounds": len(rounds),
        "learner_participants": statistics.mean(line["participants"] for line in rounds),
        "learner_digests": len(set(job.digests.values())),
        "learner_ended": len(job.digests),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--learners", type=int, default=32)
    parser.add_argument("--faults-per-hour", type=float, default=125.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    began = time.monotonic()
    found = measure(chosen.learners, chosen.minutes, chosen.faults_per_hour, chosen.seed)
    for name, value in found.items():
        print(f"{name:<24} {value:.4g}")
    print(f"{time.monotonic() - began:.0f} s")
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
