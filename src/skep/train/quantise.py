"""Block-wise integers: ``int8``, ``int4`` and ``int2``, one bfloat16 scale per 128 values.

Symmetric, zero stays zero. ``int8`` and ``int4`` divide by the largest magnitude of the block
(over 127, over 7). ``int2`` has the three levels -s, 0, s: below 0.7 of the mean magnitude a value
is zero, and s is the mean magnitude of the others, which for a normal distribution is close to the
least squared error (ternary weight networks, arXiv 1605.04711). Codes are packed into bytes and
Huffman coded. What rounding drops is owed and sent with the next update (``replica``, ``lead``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from skep.train.packing import expand, squeeze

BLOCK = 128
AT_ONCE = 1 << 19  # values that are worked on together, so that they stay in the cache

Quantised = tuple[torch.Tensor, torch.Tensor]  # codes int8 (blocks, BLOCK); scales bf16 (blocks,)


def by_largest(levels: int) -> Callable[[torch.Tensor], Quantised]:
    """Quantises blocks to -levels … levels, the largest magnitude of a block being ``levels``."""

    def quantise(blocks: torch.Tensor) -> Quantised:
        scale = (blocks.abs().amax(dim=1) / levels).bfloat16()
        inverse = _inverse(scale)
        codes = (blocks * inverse.unsqueeze(1)).round_().clamp_(-levels, levels)
        return codes.to(torch.int8), scale

    return quantise


def to_signs(blocks: torch.Tensor) -> Quantised:
    """Quantises blocks to -1, 0, 1."""
    sizes = blocks.abs()
    large = sizes > 0.7 * sizes.mean(dim=1, keepdim=True)
    total = (sizes * large).sum(dim=1)
    scale = (total / large.sum(dim=1).clamp_(min=1)).bfloat16()
    scale = torch.where(torch.isfinite(sizes.amax(dim=1)), scale, torch.nan)
    codes = torch.where(large, blocks.sign(), 0.0)
    return codes.nan_to_num_().to(torch.int8), scale


def _inverse(scale: torch.Tensor) -> torch.Tensor:
    wide = scale.float()
    return torch.where(wide > 0, 1.0 / wide, wide.isnan() * torch.nan).nan_to_num_()


@dataclass(frozen=True, slots=True)
class Blockwise:
    """A codec of ``bits`` per value (8, 4 or 2) before entropy coding."""

    name: str
    bits: int
    quantise: Callable[[torch.Tensor], Quantised]

    def encode(self, vector: torch.Tensor, sources: int = 1) -> bytes:  # noqa: ARG002
        codes, scales = [], []
        for piece in torch.split(vector, AT_ONCE):
            padded = torch.nn.functional.pad(piece, (0, -piece.numel() % BLOCK))
            code, scale = self.quantise(padded.reshape(-1, BLOCK))
            codes.append(_pack(code.reshape(-1).numpy(), self.bits))
            scales.append(scale.view(torch.int16).numpy())
        return np.concatenate(scales).astype("<i2").tobytes() + squeeze(np.concatenate(codes))

    def decode(self, data: bytes, length: int) -> torch.Tensor:
        count = -(-length // BLOCK)
        if len(data) < 2 * count:
            raise ValueError(f"{len(data)} bytes do not hold {length} {self.name} values")
        scale = np.frombuffer(data, dtype="<i2", count=count).astype(np.int16)
        packed = expand(memoryview(data)[2 * count :], count * BLOCK * self.bits // 8)
        wide = torch.from_numpy(scale).view(torch.bfloat16).float()
        if not bool(torch.isfinite(wide * 128).all()):
            raise ValueError("an update with NaN or Inf")
        codes = torch.from_numpy(_unpack(packed, self.bits)).reshape(-1, BLOCK)
        return (codes * wide.unsqueeze(1)).reshape(-1)[:length]


def _pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Two's-complement codes, ``8 // bits`` to a byte, the first one in the low bits."""
    raw = codes.view(np.uint8)
    if bits == 8:
        return raw
    if bits == 4:
        return (raw[0::2] & 15) | (raw[1::2] << 4)
    low = (raw[0::4] & 3) | ((raw[1::4] & 3) << 2)
    return low | ((raw[2::4] & 3) << 4) | (raw[3::4] << 6)


def _unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    """The codes (int8) that ``_pack`` packed."""
    if bits == 8:
        return packed.view(np.int8).copy()
    each = 8 // bits
    codes = np.empty(each * len(packed), dtype=np.int8)
    for place in range(each):
        shifted = (packed << (8 - bits * (place + 1))).view(np.int8)
        codes[place::each] = shifted >> (8 - bits)
    return codes
