"""A small GPT over bytes."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import nn


class Block(nn.Module):
    """Attention, then a two-layer network, each on a normalised input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shapes (batch, time, width) in and out."""
        batch, time, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TinyGPT(nn.Module):
    """Predicts the next byte; 351,872 parameters as it stands."""

    def __init__(self, layers: int = 4, width: int = 64, heads: int = 4, context: int = 64) -> None:
        super().__init__()
        self.context = context
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(context, width)
        self.earlier = nn.ModuleList(nn.Embedding(256, width) for _ in range(3))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256)
        self.apply(_small)
        self.pairs = nn.Embedding(256, 256)
        nn.init.zeros_(self.pairs.weight)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy (nats per byte) of predicting ``y`` from ``x``, both (batch, time)."""
        h = self.bytes(x) + self.places.weight[: x.shape[1]]
        for back, table in enumerate(self.earlier, start=1):
            h = h + F.pad(table(x[:, :-back]), (0, 0, back, 0))
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h)) + self.pairs(x)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def _small(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
