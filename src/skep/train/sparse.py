"""``sparse``: the 64 largest of each 4096 values, two bits each, the rest is owed.

Error feedback makes what was left out come later (SparseLoCo, arXiv 2508.15706). A position is its
low byte, in order, and a count for each segment of 256; a value is a sign and one of two
magnitudes around the mean magnitude of its block. About 10.5 bits for each value that is kept.
An average of ``n`` sites' sparse updates keeps ``n`` times as many.
"""

from __future__ import annotations

import struct

import numpy as np
import torch

from skep.train.packing import expand, squeeze

BLOCK, SEGMENT, KEPT = 4096, 256, 64
_LEVELS = (0.75, 1.5)  # of the mean magnitude of what is kept
_MIDDLE = sum(_LEVELS) / 2
_HEAD = struct.Struct("!II")  # bytes of the first two of three streams: counts, codes, low bytes


class Sparse:
    """Top-k with error feedback left to the caller."""

    name = "sparse"

    def encode(self, vector: torch.Tensor, sources: int = 1) -> bytes:
        blocks = torch.nn.functional.pad(vector, (0, -vector.numel() % BLOCK)).reshape(-1, BLOCK)
        kept = min(KEPT * max(sources, 1), BLOCK)
        places = blocks.abs().topk(kept, dim=1, sorted=False).indices.sort(dim=1).values
        values = blocks.gather(1, places)
        used = values != 0  # there may be fewer than ``kept``
        sizes = values.abs()
        scale = sizes.sum(dim=1, keepdim=True) / used.sum(dim=1, keepdim=True).clamp(min=1)
        codes = (values < 0).to(torch.uint8) | ((sizes > _MIDDLE * scale).to(torch.uint8) << 1)
        counts = torch.zeros(len(blocks), BLOCK // SEGMENT).scatter_add_(
            1, places // SEGMENT, used.float()
        )
        streams = (
            squeeze(_bytes_of(counts)),
            squeeze(_pack(codes[used].numpy())),
            squeeze((places % SEGMENT)[used].to(torch.uint8).numpy()),
        )
        head = _HEAD.pack(len(streams[0]), len(streams[1]))
        return head + scale.numpy().astype("<f4").tobytes() + b"".join(streams)

    def decode(self, data: bytes, length: int) -> torch.Tensor:
        count = -(-length // BLOCK)
        start = _HEAD.size + 4 * count
        if len(data) < start:
            raise ValueError(f"{len(data)} bytes do not hold {length} sparse values")
        first, second = _HEAD.unpack_from(data)
        scale = np.frombuffer(data, dtype="<f4", count=count, offset=_HEAD.size)
        if not (np.abs(scale) < 1e38).all():
            raise ValueError("an update with NaN or Inf")
        view, segments = memoryview(data)[start:], count * (BLOCK // SEGMENT)
        counts = expand(view[:first], 2 * segments).copy().view("<u2").astype(np.int64)
        if (counts > SEGMENT).any():
            raise ValueError("an update with more values than places")
        total = int(counts.sum())
        codes = _unpack(expand(view[first : first + second], -(-total // 4)))[:total]
        low = expand(view[first + second :], total)
        sizes = np.where(codes & 2, np.float32(_LEVELS[1]), np.float32(_LEVELS[0]))
        segment = np.repeat(np.arange(segments, dtype=np.int64), counts)
        whole = np.zeros(count * BLOCK, dtype=np.float32)
        values = np.where(codes & 1, -sizes, sizes) * scale[segment // (BLOCK // SEGMENT)]
        whole[segment * SEGMENT + low] = values
        return torch.from_numpy(whole[:length].copy())


def _bytes_of(counts: torch.Tensor) -> np.ndarray:
    return np.frombuffer(counts.numpy().astype("<u2").tobytes(), dtype=np.uint8)


def _pack(codes: np.ndarray) -> np.ndarray:
    codes = np.pad(codes, (0, -len(codes) % 4))
    packed: np.ndarray = codes[0::4] | (codes[1::4] << 2) | (codes[2::4] << 4) | (codes[3::4] << 6)
    return packed


def _unpack(packed: np.ndarray) -> np.ndarray:
    codes = np.empty(4 * len(packed), dtype=np.uint8)
    for place in range(4):
        codes[place::4] = (packed >> (2 * place)) & 3
    return codes
