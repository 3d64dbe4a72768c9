"""The trainable parameters of a model as one flat fp32 vector on the CPU, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch


def is_sharded(parameter: torch.Tensor) -> bool:
    """Whether it is a ``DTensor``: of its values this rank holds some (``fully_shard``)."""
    return hasattr(parameter, "to_local") and hasattr(parameter, "placements")


def held(parameter: torch.Tensor) -> torch.Tensor:
    """The values that this rank holds, not a copy of them: of a ``DTensor`` its shard."""
    if not is_sharded(parameter):
        return parameter.detach()
    shard: Any = parameter
    local: torch.Tensor = shard.to_local()
    return local.detach()


def sharded_as(local: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A ``DTensor`` like ``parameter`` of which this rank holds ``local``."""
    from torch.distributed.tensor import DTensor  # slow to import, and new in PyTorch 2.5

    like: Any = parameter
    shape = {"shape": like.shape, "stride": like.stride()}
    made: torch.Tensor = DTensor.from_local(
        local, like.device_mesh, like.placements, run_check=False, **shape
    )
    return made


class FlatModel:
    """Reads and writes trainable parameters as one vector: those of ``model`` (DDP-wrapped or not),
    or ``parameters``; of sharded ones what this rank holds.

    Buffers (such as the running statistics of batch norm) stay local to each site.
    """

    def __init__(
        self, model: torch.nn.Module, parameters: Sequence[torch.Tensor] | None = None
    ) -> None:
        own = model.parameters() if parameters is None else parameters
        self.parameters = [p for p in own if p.requires_grad]
        self._lengths = [held(p).numel() for p in self.parameters]
        self.length = sum(self._lengths)
        self.whole_length = sum(p.numel() for p in self.parameters)

    def signature(self) -> str:
        """Differs between models of different shapes: such sites cannot train together."""
        shapes = ";".join(str(tuple(p.shape)) for p in self.parameters)
        return hashlib.blake2b(shapes.encode(), digest_size=8).hexdigest()

    @torch.no_grad()
    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """A copy of the parameters from ``start`` to ``stop`` of the vector: 1-D, fp32, CPU."""
        pieces = [
            parameter.reshape(-1)[own].to("cpu", torch.float32)
            for parameter, own, _ in self._pieces(start, self.length if stop is None else stop)
        ]
        return torch.cat(pieces) if pieces else torch.empty(0)

    @torch.no_grad()
    def write(self, vector: torch.Tensor, start: int = 0) -> None:
        """Set the parameters from ``start`` on from ``vector`` (1-D, fp32)."""
        for parameter, own, place in self._pieces(start, start + vector.numel()):
            if own.stop - own.start == parameter.numel():
                parameter.copy_(vector[place].reshape(parameter.shape))
            elif parameter.is_contiguous():
                parameter.view(-1)[own] = vector[place].to(parameter.device, parameter.dtype)
            else:
                whole = parameter.reshape(-1).clone()
                whole[own] = vector[place].to(parameter.device, parameter.dtype)
                parameter.copy_(whole.reshape(parameter.shape))

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[torch.Tensor, slice, slice]]:
        """Parameters with values from ``start`` to ``stop``: which of theirs, where those go."""
        offset = 0
        for parameter, length in zip(self.parameters, self._lengths, strict=True):
            first, last = max(start, offset), min(stop, offset + length)
            if first < last:
                yield (
                    held(parameter),
                    slice(first - offset, last - offset),
                    slice(first - start, last - start),
                )
            offset += length
