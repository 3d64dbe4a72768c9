"""Trains a small GPT on the Python standard library's sources, over any number of sites.

A plain PyTorch loop; what makes it run over sites are the two lines marked with "skep".
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parent))

import text
from model import TinyGPT

import skep.train


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, help="end when all sites together trained so many")
    limit = os.environ.get("TRAIN_SECONDS")  # set by `skep run --compare-alone`
    parser.add_argument("--seconds", type=float, default=limit, help="end after so many seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1, help="windows per step and rank")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=30, help="steps")
    parser.add_argument("--eval-every", type=int, default=20, help="rounds; 0: only at the end")
    chosen = parser.parse_args()
    if chosen.tokens is None and chosen.seconds is None:
        chosen.seconds = 60.0
    return chosen


def done_share(run: skep.train.Run, chosen: argparse.Namespace) -> float:
    """How far the training is, 0 to 1, by the nearer of its two ends."""
    by_tokens = run.global_tokens / chosen.tokens if chosen.tokens else 0.0
    by_time = run.elapsed / chosen.seconds if chosen.seconds else 0.0
    return max(by_tokens, by_time)


def learning_rate(chosen: argparse.Namespace, step: int, share: float) -> float:
    """Warm-up over the first steps of this process, then down in a line to a tenth."""
    return float(chosen.lr * min((step + 1) / chosen.warmup, 1.0) * (1.0 - 0.9 * min(share, 1.0)))


@torch.no_grad()
def heldout(model: TinyGPT, windows: tuple[torch.Tensor, torch.Tensor], batch: int = 32) -> float:
    """Mean loss over held-out windows, nats per byte."""
    model.eval()
    pieces = zip(windows[0].split(batch), windows[1].split(batch), strict=True)
    total = sum(float(model(x, y)) * len(x) for x, y in pieces)
    model.train()
    return total / len(windows[0])


def main() -> None:
    """Train, synchronise, evaluate."""
    chosen = options()
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    site, sites = (int(os.environ.get(f"SKEP_SITE_{k}", d)) for k, d in (("RANK", 0), ("COUNT", 1)))

    inner = TinyGPT()
    model = DistributedDataParallel(inner) if world > 1 else inner
    optimizer = torch.optim.AdamW(model.parameters(), lr=chosen.lr, weight_decay=0.1, fused=True)
    training, unseen = text.load()
    chance = [chosen.seed, site, rank]
    loader = text.batches(training, chosen.batch, inner.context, chance, site, sites)
    glance = text.evaluation(unseen, 64, inner.context)
    evaluated = step = 0

    with skep.train.join(model, optimizer) as run:  # skep
        for x, y in run.data(loader):  # skep: counts tokens
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(chosen, step, done_share(run, chosen))
            loss = model(x, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # so few windows: spikes
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss.detach())
            step += 1
            if done_share(run, chosen) >= 1.0:
                break
            if chosen.eval_every and run.round >= evaluated + chosen.eval_every and rank == 0:
                evaluated = run.round
                run.log(heldout_loss=heldout(inner, glance))
        run.finish()
        if rank == 0:
            final = heldout(inner, text.evaluation(unseen, 1024, inner.context))
            run.log(heldout_loss=final, final=True, **run.stats)
            print(f"held-out loss {final:.4f} after {run.global_tokens} tokens of all sites")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
