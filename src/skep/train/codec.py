"""How a vector of updates becomes bytes on the wire, and comes back.

A codec is chosen by name in the header of each message, so that a site may read what it would not
write. Every site applies the *decoded* bytes, also the one that encoded them: that is what keeps
the anchors of all sites bit-identical, however coarse the codec is.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from skep.train.quantise import Blockwise, by_largest, to_signs
from skep.train.sparse import Sparse

BLOCK = 4096  # values that share one fp16 scale


class Codec(Protocol):
    """Turns a flat fp32 CPU vector into bytes and back."""

    @property
    def name(self) -> str:
        """The name in messages and settings."""
        ...

    def encode(self, vector: torch.Tensor, sources: int = 1) -> bytes:
        """The bytes of ``vector`` (1-D, fp32, CPU), the average of ``sources`` sites' updates."""
        ...

    def decode(self, data: bytes, length: int) -> torch.Tensor:
        """A fp32 vector of ``length`` values. Raises ``ValueError`` when the bytes do not fit."""
        ...


def to_bytes(vector: torch.Tensor) -> bytes:
    """The raw little-endian bytes of a CPU tensor."""
    return vector.detach().contiguous().numpy().tobytes()


def from_bytes(data: bytes | memoryview, length: int) -> torch.Tensor:
    """A writable fp32 vector of ``length`` values from raw bytes."""
    if len(data) != 4 * length:
        raise ValueError(f"{len(data)} bytes do not hold {length} fp32 values")
    return torch.from_numpy(np.frombuffer(data, dtype="<f4").copy())


class Fp32:
    """The values as they are: 4 bytes each."""

    name = "fp32"

    def encode(self, vector: torch.Tensor, sources: int = 1) -> bytes:  # noqa: ARG002
        return to_bytes(vector)

    def decode(self, data: bytes, length: int) -> torch.Tensor:
        return _finite(from_bytes(data, length))


class Fp16:
    """Half precision with one fp32 scale per block: 2 bytes each, no underflow of small updates."""

    name = "fp16"

    def encode(self, vector: torch.Tensor, sources: int = 1) -> bytes:  # noqa: ARG002
        blocks = _blocks(vector)
        scale = blocks.abs().amax(dim=1, keepdim=True)
        scale[scale == 0] = 1.0
        halves = (blocks / scale).half().reshape(-1)[: vector.numel()]
        return to_bytes(scale.reshape(-1)) + to_bytes(halves)

    def decode(self, data: bytes, length: int) -> torch.Tensor:
        count = -(-length // BLOCK)
        if len(data) != 4 * count + 2 * length:
            raise ValueError(f"{len(data)} bytes do not hold {length} fp16 values")
        scale = from_bytes(data[: 4 * count], count)
        halves = np.frombuffer(data, dtype="<f2", offset=4 * count).astype(np.float32)
        blocks = _blocks(torch.from_numpy(halves)) * scale.reshape(-1, 1)
        return _finite(blocks.reshape(-1)[:length].clone())


def _blocks(vector: torch.Tensor) -> torch.Tensor:
    padded = torch.nn.functional.pad(vector, (0, -vector.numel() % BLOCK))
    return padded.reshape(-1, BLOCK)


def _finite(vector: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(vector).all()):
        raise ValueError("an update with NaN or Inf")
    return vector


EXACT = "fp32"
_ALL: tuple[Codec, ...] = (
    Fp32(),
    Fp16(),
    Blockwise("int8", 8, by_largest(127)),
    Blockwise("int4", 4, by_largest(7)),
    Blockwise("int2", 2, to_signs),
    Sparse(),
)
CODECS: dict[str, Codec] = {codec.name: codec for codec in _ALL}


# Of what a codec drops, the share that is added to the next contribution. A site that has sent a
# little of what it learned goes on from nearly the old place and learns much of it again: owed in
# full, it adds up to many times what was learned.
_KEPT = {"sparse": 0.9}


def kept(name: str) -> float:
    """The share of what the codec dropped that is still owed; below 1 not all in the last round."""
    return _KEPT.get(name, 1.0)


def last_codec(name: str) -> str:
    """The codec of the last round, after which nothing that was dropped can come later."""
    return "int4" if name in ("int2", "sparse") else name


def codec(name: str) -> Codec:
    """The codec of that name. Raises ``ValueError`` naming the known ones."""
    if name not in CODECS:
        raise ValueError(f"allowed: one of {', '.join(sorted(CODECS))}")
    return CODECS[name]
