"""How fast updates become bytes and come back on one core, and how many bytes they need.

    python benchmarks/codec.py [--parameters N] [--json FILE]

The vector is a real one: the progress of some steps of the example's GPT, repeated to size. CPU
time of this thread, medians of rounds; GB/s are of fp32 parameters. ``error`` is the squared
error of one transfer over the square of the vector, without error feedback.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from skep.train.codec import CODECS

sys.path.insert(0, str(Path(__file__).parents[1] / "examples/tinygpt"))
ROUNDS = 5


def progress(length: int, steps: int = 20) -> torch.Tensor:
    """What ``steps`` steps of AdamW change in the example's model, repeated to ``length``."""
    import text
    from model import TinyGPT

    torch.manual_seed(1)
    model = TinyGPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    loader = text.batches(text.load()[0], 8, model.context, [1], 0, 1)
    for _, (x, y) in zip(range(steps), loader, strict=False):
        model(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
    change = torch.nn.utils.parameters_to_vector(model.parameters()).detach() - before
    return change.repeat(-(-length // change.numel()))[:length].clone()


def cpu_seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return statistics.median(taken)


def main() -> None:
    """Print one row per codec."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=int, default=1 << 23)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    vector = progress(chosen.parameters)
    gigabytes = 4e-9 * vector.numel()
    print(f"{'codec':<8} {'bits/param':>10} {'encode GB/s':>12} {'decode GB/s':>12} {'error':>9}")
    figures: dict[str, float] = {}
    for name, codec in CODECS.items():
        data = codec.encode(vector)
        back = codec.decode(data, vector.numel())
        error = float((back - vector).square().sum() / vector.square().sum())
        bits = 8 * len(data) / vector.numel()
        write = gigabytes / cpu_seconds(lambda codec=codec: codec.encode(vector))
        read = gigabytes / cpu_seconds(
            lambda codec=codec, data=data: codec.decode(data, vector.numel())
        )
        print(f"{name:<8} {bits:>10.3f} {write:>12.2f} {read:>12.2f} {error:>9.2g}")
        figures |= {
            f"bits_{name}": bits,
            f"encode_gbps_{name}": write,
            f"decode_gbps_{name}": read,
            f"error_{name}": error,
        }
    if chosen.json:
        Path(chosen.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
