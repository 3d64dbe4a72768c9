"""Loss at equal tokens: four virtual sites with skep.train, data parallel, one site alone; and at
equal time with chips of unequal speed.

The product's own code on a virtual clock (``virtual``), the model of the example made smaller.
"""

from __future__ import annotations

import functools
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/tinygpt"))
import text
import virtual
from model import TinyGPT

from skep.train.lead import Options
from skep.train.ranks import Ranks
from skep.train.run import Run
from skep.train.settings import Settings

SITES, BATCH, CONTEXT, STEP_S, RATE = 4, 2, 32, 0.4, 1.25e7
LR = 3e-3
Clip = Callable[[float], Any]


def of_torch(model: torch.nn.Module) -> Clip:
    """Clips by the norm of the gradients that are there."""
    return functools.partial(torch.nn.utils.clip_grad_norm_, list(model.parameters()))


def parsed(how: str) -> tuple[str, bool, bool]:
    """A codec, and whether "+lengthen" and "+own" are behind it."""
    codec, *marks = how.split("+")
    if set(marks) - {"lengthen", "own"}:
        raise SystemExit(f"{how}: allowed: a codec, with +lengthen or +own if wanted")
    return codec, "lengthen" in marks, "own" in marks


class Job:
    """The same model, data and seeds for each way of training."""

    def __init__(
        self, steps: int, seed: int, batch: int = BATCH, rate: float = 1.0, norm: float = 1.0
    ) -> None:
        """For all ways of training alike: ``rate`` of the learning rate; ``norm`` to which
        gradients are clipped, 0: they are not."""
        self.steps, self.seed, self.batch, self.lr = steps, seed, batch, LR * rate
        self.norm = norm
        self.text, self.unseen = text.load()

    def site(self, index: int) -> tuple[TinyGPT, torch.optim.Optimizer, Iterator[Any]]:
        torch.manual_seed(self.seed)
        model = TinyGPT(layers=2, width=32, context=CONTEXT)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=0.1)
        chance = [self.seed, index]
        return model, optimizer, text.batches(self.text, self.batch, CONTEXT, chance, index, SITES)

    def step(self, number: int, optimizer: torch.optim.Optimizer, clip: Clip) -> None:
        """One step on the gradients that are there, clipped by ``clip`` to the norm given."""
        share = number / self.steps
        for group in optimizer.param_groups:
            group["lr"] = self.lr * min((number + 1) / 30, 1.0) * (1.0 - 0.9 * share)
        if self.norm:
            clip(self.norm)
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def heldout(self, model: TinyGPT) -> float:
        x, y = text.evaluation(self.unseen, 1024, CONTEXT)
        pieces = list(zip(x.split(64), y.split(64), strict=True))
        return sum(float(model(a, b)) for a, b in pieces) / len(pieces)

    def parallel(self, sites: int) -> float:
        """Data parallelism over so many sites: gradients averaged at each step."""
        model, optimizer, _ = self.site(0)
        loaders = [self.site(index)[2] for index in range(sites)]
        for number in range(self.steps):
            for loader in loaders:
                x, y = next(loader)
                (model(x, y) / sites).backward()
            self.step(number, optimizer, of_torch(model))
        return self.heldout(model)

    def skep(self, how: str, speeds: tuple[float, ...] = (1.0,) * SITES) -> dict[str, Any]:
        """skep.train with what it chooses itself but the codec: loss, bytes per token, choices.

        ``how``: the codec; with "+lengthen" for longer local steps, "+own" for gradients clipped by
        the norm of each site's own, as in a loop that has not heard of other sites.
        Chips of ``speeds``: all train as long as the fastest needs for its steps. ``trained`` is
        how many tokens the sites have trained, ``tokens`` those that came into the model.
        """
        world, found = virtual.World(), {"trained": 0}
        codec, lengthen, own = parsed(how)
        names = [f"s{index}" for index in range(len(speeds))]
        end = self.steps * STEP_S / max(speeds)

        def train(index: int) -> None:
            model, optimizer, loader = self.site(index)
            chosen = Settings(
                site=names[index],
                rank=index,
                run=f"j-a1-{names[index]}",
                listen="127.0.0.1:1",
                peers={name: "127.0.0.1:1" for name in names if name != names[index]},
                token=b"of the bench",
                options=Options(codec=codec),
                lengthen=lengthen,
            )
            with Run(model, optimizer, chosen, Ranks()) as run:
                clip = of_torch(model) if own else run.clip_grad_norm_
                began = world.now
                while world.now - began < end - 1e-6:
                    x, y = next(loader)
                    model(x, y).backward()
                    run.tokens(x.numel())
                    world.step(STEP_S / speeds[index])
                    self.step(int(self.steps * (world.now - began) / end) - 1, optimizer, clip)
                    found["trained"] += x.numel()
                run.finish()
                if index == 0:
                    found.update(run.stats, heldout=self.heldout(model), tokens=run.global_tokens)
                    found["took_s"] = world.now - began

        for index, name in enumerate(names):
            world.start(name, lambda index=index: train(index), RATE)
        world.run()
        for seat in world.seats.values():
            if seat.failure is not None:
                raise seat.failure
        return found


UNEQUAL = (1.0, 1.0, 0.25, 0.25)


def unequal(steps: int, seeds: list[int], batch: int = BATCH) -> dict[str, float]:
    """Two strong and two weak chips against the strong ones alone, the same time: share of the
    summed token rate that came into the model, losses."""
    torch.set_num_threads(1)
    ideal = steps * batch * CONTEXT * sum(UNEQUAL)
    jobs = [Job(steps, seed, batch) for seed in seeds]
    all_four = [job.skep("int4+own", UNEQUAL) for job in jobs]
    strong = [job.skep("int4+own", UNEQUAL[:2]) for job in jobs]
    return {
        "unequal_token_share": statistics.mean(one["tokens"] for one in all_four) / ideal,
        "unequal_loss": statistics.mean(one["heldout"] for one in all_four),
        "unequal_strong_alone_loss": statistics.mean(one["heldout"] for one in strong),
        "unequal_seeds": len(seeds),
    }


def gaps(
    steps: int,
    seeds: list[int],
    batch: int = BATCH,
    rate: float = 1.0,
    ways: str = "int8,int4,int2",
    norm: float = 1.0,
) -> dict[str, float]:
    """Mean held-out losses over the seeds, and each one's gap to data parallelism in per cent.

    ``ways``: as ``Job.skep`` takes them, with commas.
    """
    torch.set_num_threads(1)
    jobs = [Job(steps, seed, batch, rate, norm) for seed in seeds]
    losses = {
        "ddp": statistics.mean(job.parallel(SITES) for job in jobs),
        "alone": statistics.mean(job.parallel(1) for job in jobs),
    }
    for way in ways.split(","):
        losses[way] = statistics.mean(job.skep(way)["heldout"] for job in jobs)
    figures = {f"loss_{name}": value for name, value in losses.items()}
    for name, value in losses.items():
        if name != "ddp":
            figures[f"loss_gap_{name}_pct"] = 100 * (value / losses["ddp"] - 1)
    return figures | {"loss_tokens": steps * SITES * batch * CONTEXT, "loss_seeds": len(seeds)}
