"""The trainable parameters of a model as one flat fp32 vector on the CPU, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch


class FlatModel:
    """Reads and writes the trainable parameters of ``model`` (DDP-wrapped or not) as one vector.

    Buffers (such as the running statistics of batch norm) stay local to each site.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.length = sum(p.numel() for p in self.parameters)

    def signature(self) -> str:
        """Differs between models of different shapes: such sites cannot train together."""
        shapes = ";".join(str(tuple(p.shape)) for p in self.parameters)
        return hashlib.blake2b(shapes.encode(), digest_size=8).hexdigest()

    @torch.no_grad()
    def read(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """A copy of the parameters from ``start`` to ``stop`` of the vector: 1-D, fp32, CPU."""
        pieces = [
            parameter.detach().reshape(-1)[own].to("cpu", torch.float32)
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
        for parameter in self.parameters:
            first, last = max(start, offset), min(stop, offset + parameter.numel())
            if first < last:
                yield (
                    parameter,
                    slice(first - offset, last - offset),
                    slice(first - start, last - start),
                )
            offset += parameter.numel()
