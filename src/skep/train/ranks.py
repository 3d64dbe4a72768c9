"""The ranks of one site: all learn and do the same thing at the same step.

One all-reduce of a few numbers per step carries what each rank has seen to all (``word``); new
parameters of which there are copies follow by broadcast. Without a process group there is one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class Group:
    """Some ranks of the site, in order. ``handle`` None: all of them."""

    ranks: tuple[int, ...]
    handle: Any = None


class Ranks:
    """This process among the ranks of its site."""

    def __init__(self) -> None:
        grouped = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if grouped else 0
        self.world = dist.get_world_size() if grouped else 1
        nccl = grouped and dist.get_backend() == "nccl"
        self._device = "cuda" if nccl else "cpu"
        self.all = Group(tuple(range(self.world)))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def group(self, ranks: Sequence[int]) -> Group:
        """On all ranks alike: a group of these."""
        several = 1 < len(ranks) < self.world
        return Group(tuple(ranks), dist.new_group(list(ranks)) if several else None)

    def summed(self, values: Sequence[float]) -> list[float]:
        """Each number summed over the ranks (who has nothing to say gives 0)."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def gathered(self, value: Any) -> list[Any]:
        """The picklable value of each rank, on every rank."""
        if self.world == 1:
            return [value]
        box: list[Any] = [None] * self.world
        dist.all_gather_object(box, value)
        return box

    def broadcast(self, vector: torch.Tensor, group: Group) -> torch.Tensor:
        """The vector of the first rank of ``group``, on every rank of it."""
        if len(group.ranks) == 1:
            return vector
        tensor = vector.to(self._device)
        dist.broadcast(tensor, group.ranks[0], group=group.handle)
        return tensor.cpu()

    def broadcast_object(self, value: Any, group: Group | None = None) -> Any:
        """The picklable value of the first rank of ``group`` (None: of all), on every rank."""
        who = group or self.all
        if len(who.ranks) == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, who.ranks[0], group=who.handle)
        return box[0]
