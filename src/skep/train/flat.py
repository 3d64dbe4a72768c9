"""The trainable parameters of a model as one flat fp32 vector on the CPU, and back."""

from __future__ import annotations

import hashlib

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
    def read(self) -> torch.Tensor:
        """A copy of the parameters: 1-D, fp32, CPU."""
        return torch.cat([p.detach().reshape(-1).to("cpu", torch.float32) for p in self.parameters])

    @torch.no_grad()
    def write(self, vector: torch.Tensor) -> None:
        """Set the parameters from ``vector`` (1-D, fp32, ``length`` values)."""
        offset = 0
        for parameter in self.parameters:
            piece = vector[offset : offset + parameter.numel()]
            parameter.copy_(piece.reshape(parameter.shape))
            offset += parameter.numel()
