"""Where the values of a rank's flat vector lie in the whole parameters: to cut shards anew. Pure
but for looking at tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from skep.train.flat import held, is_sharded

Box = tuple[tuple[int, int], ...]  # [start, stop) in each dimension


@dataclass(frozen=True, slots=True)
class Place:
    """The part ``box`` of parameter ``index`` of the model, which has ``shape``."""

    index: int
    shape: tuple[int, ...]
    box: Box

    @property
    def count(self) -> int:
        """Values in it."""
        count = 1
        for start, stop in self.box:
            count *= max(stop - start, 0)
        return count

    def fields(self) -> list[Any]:
        return [self.index, list(self.shape), [list(pair) for pair in self.box]]


def places_from(fields: Sequence[Any] | None) -> tuple[Place, ...] | None:
    """Raises ``ValueError`` or ``TypeError`` when these are not such."""
    if fields is None:
        return None
    return tuple(
        Place(int(i), tuple(map(int, shape)), tuple((int(a), int(b)) for a, b in box))
        for i, shape, box in fields
    )


def place_of(index: int, parameter: torch.Tensor) -> Place | None:
    """Where this rank's values of ``parameter`` lie; None where that is not simply told."""
    shape = tuple(parameter.shape)
    box = [(0, size) for size in shape]
    if is_sharded(parameter):
        tensor: Any = parameter
        own = tensor.device_mesh.get_coordinate()
        cut = [(d, kind) for d, kind in enumerate(tensor.placements) if not kind.is_replicate()]
        if len(cut) > 1 or any(type(kind).__name__ != "Shard" for _, kind in cut):
            return None
        for mesh_dim, kind in cut:
            size, parts = shape[kind.dim], tensor.device_mesh.size(mesh_dim)
            each = -(-size // parts)  # as torch.chunk cuts
            start = min(own[mesh_dim] * each, size)
            box[kind.dim] = (start, min(start + each, size))
        if [stop - start for start, stop in box] != list(held(parameter).shape):
            return None
    return Place(index, shape, tuple(box))


def moved(
    source: torch.Tensor, there: Sequence[Place], target: torch.Tensor, here: Sequence[Place]
) -> int:
    """Copy what two flat vectors have in common from ``source`` to ``target``: how many values.

    Raises ``ValueError`` when the places do not fit the vectors or belong to other parameters.
    """
    if (
        sum(p.count for p in there) != source.numel()
        or sum(p.count for p in here) != target.numel()
    ):
        raise ValueError("its shards are not those of its vectors")
    known: dict[int, list[tuple[Place, int]]] = {}
    start = count = 0
    for place in there:
        known.setdefault(place.index, []).append((place, start))
        start += place.count
    start = 0
    for place in here:
        view = target[start : start + place.count].view(_sizes(place.box))
        start += place.count
        for other, at in known.get(place.index, []):
            if other.shape != place.shape:
                raise ValueError(f"parameter {place.index} has shape {other.shape} in it")
            both = tuple(
                (max(a, c), min(b, d)) for (a, b), (c, d) in zip(place.box, other.box, strict=True)
            )
            if any(stop <= first for first, stop in both):
                continue
            found = source[at : at + other.count].view(_sizes(other.box))
            view[_within(both, place.box)] = found[_within(both, other.box)]
            count += Place(0, (), both).count
    return count


def _sizes(box: Box) -> list[int]:
    return [stop - start for start, stop in box]


def _within(part: Box, whole: Box) -> tuple[slice, ...]:
    pairs = zip(part, whole, strict=True)
    return tuple(slice(start - base, stop - base) for (start, stop), (base, _) in pairs)
