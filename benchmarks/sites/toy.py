"""The model, the text and the virtual chip that all systems of benchmarks/train.py are given."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/tinygpt"))
import text

CONTEXT, BATCH = 128, 2


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Toy(nn.Module):
    """870,656 parameters as it stands."""

    def __init__(self, layers: int = 4, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.bytes(x) + self.places.weight
        for block in self.blocks:
            h = block(h)
        return F.cross_entropy(self.head(self.norm(h)).flatten(0, 1), y.flatten())


@dataclass
class Bench:
    """One site's part of one measurement."""

    chosen: argparse.Namespace
    model: Toy = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(self.chosen.seed)
        self.model = Toy(self.chosen.layers, self.chosen.width)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3)
        training, unseen = text.load()
        own = [self.chosen.seed, self.chosen.site]
        sites = (self.chosen.site, self.chosen.sites)
        self.loader = text.batches(training, BATCH, CONTEXT, own, *sites)
        self.heldout = text.evaluation(unseen, 64, CONTEXT)
        self.over_s, self.longest_s, self.steps = 0.0, 0.0, 0
        self.looks: list[tuple[int, float, list[torch.Tensor]]] = []  # steps, seconds, parameters
        self.step_began = self.chip_done = 0.0
        self.slept = False
        self.optimizer.register_step_post_hook(lambda *_: self.chip_sleeps())

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of all steps."""
        self.began, self.sent = time.monotonic(), sent_bytes()
        for step in range(self.chosen.steps):
            self.step_began, self.slept = time.monotonic(), False
            yield next(self.loader)
            self.steps = step + 1
            self.longest_s = max(self.longest_s, time.monotonic() - self.step_began)

    def chip_sleeps(self, share: float = 1.0) -> None:
        """Sleep until the chip would have done its step, of which ``1 / share`` has been computed.

        A hook of the optimizer calls it, after the step and before what a library does there.
        """
        spent = share * (time.monotonic() - self.step_began)
        if not self.slept:
            self.slept = True
            due = time.monotonic() + self.chosen.step_s - spent
            time.sleep(max(self.chosen.step_s - spent, 0.0))
            self.over_s += time.monotonic() - due  # woken late, too, where others are busy
        self.chip_done = time.monotonic()

    @torch.no_grad()
    def evaluate(self) -> float:
        """Held-out loss of the model as it is, nats per byte."""
        x, y = self.heldout
        loss = sum(float(self.model(a, b)) for a, b in zip(x.split(16), y.split(16), strict=True))
        return loss / (len(x) // 16)

    @torch.no_grad()
    def glance(self, every: int = 10) -> None:
        """Note the time and keep the parameters every so many steps: evaluated at the end, for
        else the network would have that time for itself."""
        steps = self.steps + 1  # that of this batch is made
        if self.chosen.curve and steps % every == 0:
            parameters = [p.detach().clone() for p in self.model.parameters()]
            self.looks.append((steps, time.monotonic() - self.began, parameters))

    @torch.no_grad()
    def curve(self) -> list[tuple[int, float, float]]:
        """(steps, held-out loss, seconds) of each look; the model holds the last one's then."""
        found = []
        for steps, seconds, parameters in self.looks:
            for own, kept in zip(self.model.parameters(), parameters, strict=True):
                own.copy_(kept)
            found.append((steps, self.evaluate(), round(seconds, 2)))
        return found

    def loop_ended(self) -> None:
        self.wall = time.monotonic() - self.began
        self.bytes = sent_bytes() - self.sent

    def done(self, **more: object) -> None:
        """Write the figures of this site."""
        ideal = self.chosen.step_s * self.steps
        figures = {
            "steps": self.steps,
            "wall_s": self.wall,
            "share": ideal / self.wall,
            "share_without_contention": ideal / (self.wall - self.over_s),
            "contention_s": self.over_s,
            "bytes_per_token": self.bytes / (self.steps * BATCH * CONTEXT),
            "longest_step_s": self.longest_s,
            "heldout": self.evaluate(),
            "curve": self.curve(),  # after heldout
        }
        Path(self.chosen.out).write_text(json.dumps(figures | more))


def sent_bytes() -> int:
    """Bytes that this site's link has carried outwards."""
    path = Path("/sys/class/net/site/statistics/tx_bytes")
    return int(path.read_text()) if path.exists() else 0


def options() -> argparse.Namespace:
    """What the driver tells each site."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--site", type=int, required=True)
    parser.add_argument("--hosts", required=True, help="addresses of all sites, with commas")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--step-s", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--how", default="{}", help="JSON: settings of the system")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--out", required=True)
    chosen = parser.parse_args()
    chosen.hosts = chosen.hosts.split(",")
    chosen.sites, chosen.how = len(chosen.hosts), json.loads(chosen.how)
    os.environ.pop("SKEP_PROGRESS_FILE", None)
    return chosen
