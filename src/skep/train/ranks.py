"""The ranks of one site: all learn and do the same thing at the same step.

One all-reduce of a few numbers per step carries the ranks' token counts to rank 0 and rank 0's
decision to all; new parameters follow by broadcast. Without a process group there is one rank.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


class Ranks:
    """This process among the ranks of its site."""

    def __init__(self) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if grouped else 0
        self.world = dist.get_world_size() if grouped else 1
        nccl = grouped and dist.get_backend() == "nccl"
        self._device = "cuda" if nccl else "cpu"

    @property
    def first(self) -> bool:
        return self.rank == 0

    def summed(self, values: list[float]) -> list[float]:
        """Each number summed over the ranks (who has nothing to say gives 0)."""
        if self.world == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def broadcast(self, vector: torch.Tensor) -> torch.Tensor:
        """Rank 0's vector, on every rank."""
        if self.world == 1:
            return vector
        tensor = vector.to(self._device)
        dist.broadcast(tensor, 0)
        return tensor.cpu()

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's picklable value, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]
