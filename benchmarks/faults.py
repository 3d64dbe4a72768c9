"""Random faults, one after the other, while four sites train one model; then the accounts.

    python benchmarks/faults.py [--rounds N] [--seed N] [--json FILE]

Sites in one process on a virtual clock, with the product's own training library
(``sites/virtual``).
Each fault round takes 5 s of virtual time and brings one of: kill of a rank (the site starts again
from its checkpoint), of a site (it comes back with nothing), in the middle of a message; return
with an old checkpoint; a cut of 1 to 60 s of one link or of a site from all; a frame damaged on its
way, a bit flipped in an anchor, NaN and absurd values in the parameters; a site ten times slower.
At the end all must have ended with one digest, the loss must be that of a run without faults over
as many tokens, and the token account must be exact: each token that a run trained and still had is
in the model once (``Ledger``).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "examples/tinygpt"))
sys.path.insert(0, str(Path(__file__).parent / "sites"))
import text
import torch
import virtual
from model import TinyGPT

from skep.train import lead, replica, replicas, rounds
from skep.train.lead import Options
from skep.train.outer import outer_step
from skep.train.ranks import Ranks
from skep.train.run import Run
from skep.train.settings import Settings

ROUND_S, STEP_S, RATE = 5.0, 0.4, 1.25e6
NAMES = ("s0", "s1", "s2", "s3")
CONTEXT, BATCH = 32, 4
FRAGMENTS = 4


@functools.cache
def loaded() -> tuple[Any, Any]:
    """Training and held-out bytes."""
    return text.load()


class Ledger:
    """An account of its own: what each run trained, dropped, offered, and what became of it."""

    def __init__(self) -> None:
        self.trained: Counter[str] = Counter()  # by run
        self.begun: Counter[tuple[str, int]] = Counter()  # pending at its start, by run, fragment
        self.dropped: Counter[tuple[str, int]] = Counter()
        self.offered: dict[tuple[str, int, int], int] = {}  # tokens by run, fragment, number
        self.steps: dict[str, tuple[str, dict[str, tuple[str, int]], int]] = {}

    def patches(self) -> list[Any]:
        """Context managers under which the library is watched."""
        make, trained = replicas.Replicas.__init__, replicas.Replicas.trained
        part, reset = replica.Replica.part, replica.Replica.reset

        def made(these: Any, flat: Any, ranges: Any, states: Any, pending: Any, *rest: Any) -> None:
            make(these, flat, ranges, states, pending, *rest)
            for index, one in enumerate(these._replicas):
                one_of[id(one)] = index
                self.begun[(one.run, index)] += pending[index]

        def counted(these: Any, tokens: int) -> None:
            trained(these, tokens)
            self.trained[these._replicas[0].run] += tokens

        def offered(one: Any, *rest: Any, **more: Any) -> Any:
            found = part(one, *rest, **more)
            if found is not None:
                self.offered[(one.run, one_of[id(one)], found.number)] = found.tokens
            return found

        def dropped(one: Any) -> Any:
            self.dropped[(one.run, one_of[id(one)])] += one.pending
            return reset(one)

        def stepped(
            state: Any, progress: Any, outer: Any, tokens: int, merged: Any, *m: Any
        ) -> Any:
            new = outer_step(state, progress, outer, tokens, merged, *m)
            self.steps[new.digest] = (state.digest, dict(merged), tokens)
            return new

        one_of: dict[int, int] = {}
        return [
            mock.patch.object(replicas.Replicas, "__init__", made),
            mock.patch.object(replicas.Replicas, "trained", counted),
            mock.patch.object(replica.Replica, "part", offered),
            mock.patch.object(replica.Replica, "reset", dropped),
            mock.patch.object(lead, "outer_step", stepped),
            mock.patch.object(rounds, "outer_step", stepped),
        ]

    def wrong(self, fragment: int, digest: str, tokens: int, alive: list[str]) -> list[str]:
        """What does not add up in the history of a fragment that ended with ``digest``."""
        earliest: dict[str, int] = {}
        merged_of: Counter[str] = Counter()
        found, total = [], 0
        while digest in self.steps:  # newest first
            digest, merged, count = self.steps[digest]
            total += count
            for run, number in merged.values():
                if earliest.get(run, number + 1) <= number:
                    found.append(f"{run} number {number} was merged twice in fragment {fragment}")
                earliest[run] = number
                merged_of[run] += self.offered[(run, fragment, number)]
        if total != tokens or merged_of.total() != tokens:
            found.append(f"fragment {fragment}: {tokens} told, {total}, {merged_of.total()}")
        for run in self.trained:
            most = self.trained[run] + self.begun[(run, fragment)]
            # what a run dropped may have been under way, and be merged all the same
            least = most - self.dropped[(run, fragment)] if run in alive else 0
            if not least <= merged_of[run] <= most:
                text = f"{merged_of[run]} tokens of {run} where {least} to {most} are due"
                found.append(f"fragment {fragment}: {text}")
        return found + self._of_sites(fragment, merged_of)

    def _of_sites(self, fragment: int, merged_of: Counter[str]) -> list[str]:
        """No site has more in the model than its runs have trained, whatever they resumed."""
        trained: Counter[str] = Counter()
        merged: Counter[str] = Counter()
        for run, count in self.trained.items():
            site = run.rpartition("-")[2]
            trained[site] += count
            merged[site] += merged_of[run]
        more = [site for site in trained if merged[site] > trained[site]]
        return [
            f"fragment {fragment}: {merged[s]} tokens of {s}, which trained on {trained[s]}"
            for s in more
        ]


@dataclass
class Job:
    """Four sites that train one model until ``end`` (virtual seconds)."""

    folder: Path
    seed: int
    end: float
    world: virtual.World = field(default_factory=virtual.World)
    ledger: Ledger = field(default_factory=Ledger)
    attempts: Counter[str] = field(default_factory=Counter)
    runs: dict[str, Run] = field(default_factory=dict)
    models: dict[str, TinyGPT] = field(default_factory=dict)
    late_s: float = 0.0  # the longest that a step took beyond its chip
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.text, self.unseen = loaded()

    def start(self, name: str) -> None:
        self.attempts[name] += 1
        run = f"j-a{self.attempts[name]}-{name}"
        self.world.start(name, lambda: self._train(name, run), RATE)

    def _train(self, name: str, run_id: str) -> None:
        rank = NAMES.index(name)
        torch.manual_seed(self.seed + 100 * self.attempts[name])
        model = TinyGPT(layers=2, width=32, context=CONTEXT)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
        chance = [self.seed, rank, self.attempts[name]]
        loader = text.batches(self.text, BATCH, CONTEXT, chance, rank, len(NAMES))
        chosen = Settings(
            site=name,
            rank=rank,
            run=run_id,
            listen=f"127.0.0.1:{7000 + rank}",
            peers={other: "127.0.0.1:1" for other in NAMES if other != name},
            token=b"of the faults",
            checkpoint_dir=str(self.folder / name),
            options=Options(),
            fragments=FRAGMENTS,
            finish_wait=60.0,
        )
        run = Run(model, optimizer, chosen, Ranks())
        try:
            with run:
                self.runs[name], self.models[name] = run, model
                for x, y in run.data(loader):
                    began = self.world.now
                    share = min(self.world.now / self.end, 1.0)
                    for group in optimizer.param_groups:
                        group["lr"] = 3e-3 * (1.0 - 0.9 * share)
                    model(x, y).backward()
                    self.world.step(STEP_S)
                    stepped = self.world.now
                    optimizer.step()
                    optimizer.zero_grad()
                    self.late_s = max(self.late_s, self.world.now - stepped, 0.0)
                    if began >= self.end:
                        break
                run.finish()
        finally:
            run._keeper.wait()

    def finished(self) -> Job:
        """Start all sites and run until they have ended; raises what a site has raised."""
        for name in NAMES:
            self.start(name)
        with contextlib.ExitStack() as stack:
            for patch in self.ledger.patches():
                stack.enter_context(patch)
            self.world.run(until=self.end + 300.0)
        for seat in self.world.seats.values():
            if seat.failure is not None:
                raise seat.failure
        return self

    # -- faults -----------------------------------------------------------------------------

    def inject(self, chance: random.Random) -> None:
        """One fault at one site, of those that may be hit now."""
        world = self.world
        up = [name for name in NAMES if not world.seats[name].over and not world.seats[name].dead]
        whole = [name for name in up if not any(name in pair for pair in world.cut)]
        kind = chance.choice(sorted(FAULTS))
        kills = kind.startswith(("kill", "return"))
        if (kills and len(whole) < 3) or not whole:
            kind = "slow"
        self.counts[kind] += 1
        FAULTS[kind](self, chance.choice(whole if kills and whole else up), chance)

    def kill(self, name: str, back_s: float, keep: bool) -> None:
        self.world.kill(name)
        if not keep:
            for path in (self.folder / name).glob("*"):
                path.unlink(missing_ok=True)  # just written: it has its last name
        self.world.at(self.world.now + back_s, lambda: self.start(name))

    def cut(self, pairs: list[tuple[str, str]], seconds: float) -> None:
        fresh = [pair for pair in pairs if frozenset(pair) not in self.world.cut]
        for pair in fresh:
            self.world.part(*pair)
        self.world.at(
            min(self.world.now + seconds, self.end - 2 * ROUND_S),
            lambda: [self.world.heal(*pair) for pair in fresh],
        )

    def kill_in_message(self, name: str) -> None:
        """When the next data leaves the site, half of it is on its way."""
        send, world = self.world.send, self.world

        def watched(sender: str, to: str, message: Any) -> None:
            send(sender, to, message)
            if sender == name and message.payload and not world.seats[name].dead:
                world.send = send  # type: ignore[method-assign]
                world.at(world.now + 0.5 * world.latency_s, lambda: self.kill(name, 3.0, True))

        world.send = watched  # type: ignore[method-assign]

    def flip(self, name: str) -> None:
        made = self.world.seats[name].exchange
        if made is not None:
            anchor = made._rounds.rounds[0].state.anchor
            anchor[7] = anchor[7] + 1.0

    def spoil(self, name: str, value: float) -> None:
        with torch.no_grad():
            self.models[name].head.weight[3] += value


FAULTS = {
    "kill rank": lambda job, name, c: job.kill(name, c.uniform(1, 3), True),
    "kill site": lambda job, name, c: job.kill(name, c.uniform(2, 10), False),
    "kill in message": lambda job, name, _: job.kill_in_message(name),
    "return old": lambda job, name, c: job.kill(name, c.uniform(10, 25), True),
    "cut link": lambda job, name, c: job.cut(
        [(name, c.choice([n for n in NAMES if n != name]))], c.uniform(1, 60)
    ),
    "cut site": lambda job, name, c: job.cut(
        [(name, n) for n in NAMES if n != name], c.uniform(1, 60)
    ),
    "damage frame": lambda job, name, c: job.world.damage(
        name, c.choice([n for n in NAMES if n != name])
    ),
    "flip anchor": lambda job, name, _: job.flip(name),
    "not a number": lambda job, name, _: job.spoil(name, float("nan")),
    "absurd": lambda job, name, _: job.spoil(name, 1e4),
    "slow": lambda job, name, _: slow(job, name),
}


def slow(job: Job, name: str) -> None:
    seat = job.world.seats[name]
    seat.slower = 10.0
    job.world.at(job.world.now + 2 * ROUND_S, lambda: setattr(seat, "slower", 1.0))


def heldout(job: Job) -> float:
    model = job.models[NAMES[0]]
    x, y = text.evaluation(job.unseen, 512, CONTEXT)
    with torch.no_grad():
        pieces = zip(x.split(64), y.split(64), strict=True)
        return sum(float(model(a, b)) for a, b in pieces) / 8


def trained(folder: Path, seed: int, faults: int, end: float) -> Job:
    """A job over ``end`` virtual seconds with so many faults; raises what a site has raised."""
    job, chance = Job(folder, seed, end), random.Random(seed)
    for number in range(faults):
        when = (number + 2 + chance.random()) * ROUND_S
        job.world.at(when, lambda: job.inject(chance))
    return job.finished()


def judged(job: Job) -> dict[str, Any]:
    """What came out of a job: whether all ended, on one digest, with an exact account."""
    ended = all(seat.over for seat in job.world.seats.values())
    runs = [job.runs[name] for name in NAMES]
    wrong = [] if ended else ["not all have ended"]
    states = runs[0]._states()
    alive = [f"j-a{job.attempts[name]}-{name}" for name in NAMES]
    for fragment, state in enumerate(states):
        wrong += job.ledger.wrong(fragment, state.digest, state.tokens, alive)
    return {
        "ended": ended,
        "digests": len({run.digest for run in runs}),
        "tokens": states[0].tokens,
        "wrong": wrong,
        "heldout": heldout(job),
        "blocked_s": job.late_s,
        "faults": dict(job.counts),
    }


def proof(faults: int, seed: int) -> dict[str, Any]:
    """``faults`` fault rounds, then as many tokens without any."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        hit = judged(trained(Path(one), seed, faults, (faults + 6) * ROUND_S))
        span = hit["tokens"] / (len(NAMES) * BATCH * CONTEXT) * STEP_S
        calm = judged(trained(Path(other), seed, 0, span))
    gap = 100 * (hit["heldout"] / calm["heldout"] - 1)
    return {"hit": hit, "calm": calm, "fault_rounds": faults, "fault_loss_gap_pct": gap}


def main() -> None:
    """Print what was injected and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    began = time.monotonic()
    found = proof(chosen.rounds, chosen.seed)
    for name in ("hit", "calm"):
        print(name, json.dumps(found[name]))
    print(
        f"{chosen.rounds} fault rounds: loss {found['fault_loss_gap_pct']:+.2f} % against none, "
        f"{time.monotonic() - began:.0f} s"
    )
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(found, indent=2))
    sys.exit(bool(found["hit"]["wrong"]) or found["hit"]["digests"] != 1)


if __name__ == "__main__":
    main()
