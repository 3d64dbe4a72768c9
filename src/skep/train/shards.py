"""Which parameters of a site's model this rank speaks for: rank i with the ranks i of other sites.

Ranks that hold the same values of a parameter are copies; the first of them exchanges it and the
others get it from that one. With DDP one rank exchanges all. With ``fully_shard`` (FSDP2) every
rank exchanges its own shard, over connections of its own: one *rail* for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from skep.errors import InputError
from skep.train.flat import FlatModel, is_sharded
from skep.train.layout import Place, place_of
from skep.train.ranks import Group, Ranks

ALLOWED = (
    "allowed: the same parameters on all ranks of a site (as with DDP), `fully_shard` (FSDP2), "
    "or sharded=True where each rank holds parameters of its own"
)
PIECE = 1 << 25  # values that are passed on at a time

Share = tuple[Any, ...]  # alike for ranks that hold the same values of a parameter


@dataclass(frozen=True, slots=True)
class Copies:
    """Parameters that all ranks of ``group`` hold alike; its first rank exchanges them."""

    group: Group
    flat: FlatModel

    def spread(self, ranks: Ranks) -> None:
        """Those of the first rank, at all of them."""
        length = self.flat.length
        for start in range(0, length, PIECE):
            stop = min(start + PIECE, length)
            self.flat.write(ranks.broadcast(self.flat.read(start, stop), self.group), start)


@dataclass(frozen=True, slots=True)
class Shards:
    """``own`` is what this rank exchanges if it ``speaks``, on rail ``rail`` of ``rails``.

    ``twins`` hold all that this rank holds, ``length`` is that of the whole model as far as this
    rank knows of it, ``signature`` that of its shapes. ``places``: where the values of ``own`` lie
    in the whole model, None where that is not simply told.
    """

    own: FlatModel
    speaks: bool
    copies: tuple[Copies, ...]
    twins: Group
    rail: int
    rails: int
    length: int
    signature: str
    places: tuple[Place, ...] | None

    def spread(self, ranks: Ranks) -> None:
        """On all ranks: pass on what the ranks that exchange have written."""
        for copies in self.copies:
            copies.spread(ranks)


def shards_of(model: torch.nn.Module, ranks: Ranks, sharded: bool) -> Shards:
    """On all ranks of a site. Raises ``InputError`` for what cannot be shared out."""
    _refuse_flat_parameters(model)
    whole = FlatModel(model)
    parameters, signature = whole.parameters, whole.signature()
    mine = [
        (index, tuple(p.shape), _share(p, ranks.rank, sharded))
        for index, p in enumerate(parameters)
    ]
    told: list[list[Share]] = ranks.gathered(mine)
    holders = _holders(told)
    if not all(share[2] or len(holders[share]) == ranks.world for share in mine):
        raise InputError("model", "parameters of other shapes on other ranks", ALLOWED)
    twins = _twins(told)
    groups = {who: ranks.group(who) for who in sorted({*holders.values(), *twins})}
    first = [p for p, share in zip(parameters, mine, strict=True) if _leads(holders[share], ranks)]
    own = FlatModel(model, first)
    found = [
        place_of(index, p)
        for index, (p, share) in enumerate(zip(parameters, mine, strict=True))
        if _leads(holders[share], ranks)
    ]
    places = tuple(place for place in found if place is not None)
    speaking = [rank for rank, length in enumerate(ranks.gathered(own.length)) if length]
    if speaking and speaking[0] != 0:
        raise InputError("model", "no trainable parameters on rank 0 of the site", ALLOWED)
    together = _together(parameters, mine, holders)
    copies = tuple(Copies(groups[who], FlatModel(model, several)) for who, several in together)
    return Shards(
        own=own,
        speaks=ranks.first or own.length > 0,
        copies=copies,
        twins=groups[twins[ranks.rank]],
        rail=speaking.index(ranks.rank) if own.length else 0,
        rails=max(len(speaking), 1),
        length=whole.whole_length,
        signature=signature,
        places=places if len(places) == len(found) and not sharded else None,
    )


def _refuse_flat_parameters(model: torch.nn.Module) -> None:
    """FSDP1 shows each rank's shard as a whole parameter: it would be taken for a copy."""
    kinds = {type(module).__name__ for module in model.modules()}
    if "FullyShardedDataParallel" in kinds:
        raise InputError("model", "FullyShardedDataParallel (FSDP1)", ALLOWED)


def _share(parameter: torch.Tensor, rank: int, sharded: bool) -> Share:
    """Which of the values a rank holds: of a ``DTensor`` by its place in the mesh."""
    if not is_sharded(parameter):
        return (rank,) if sharded else ()
    tensor: Any = parameter
    place = tensor.device_mesh.get_coordinate()
    if place is None or any(kind.is_partial() for kind in tensor.placements):
        raise InputError("model", f"a DTensor placed {tensor.placements}", ALLOWED)
    cut = [dim for dim, kind in enumerate(tensor.placements) if not kind.is_replicate()]
    return (tuple(tensor.device_mesh.mesh.flatten().tolist()), *((d, place[d]) for d in cut))


def _holders(told: Sequence[Sequence[Share]]) -> dict[Share, tuple[int, ...]]:
    """By parameter and share, the ranks that hold it."""
    holders: dict[Share, tuple[int, ...]] = {}
    for rank, shares in enumerate(told):
        for share in shares:
            holders[share] = (*holders.get(share, ()), rank)
    return holders


def _twins(told: Sequence[Sequence[Share]]) -> list[tuple[int, ...]]:
    """For each rank those that hold all that it holds."""
    alike: dict[tuple[Share, ...], tuple[int, ...]] = {}
    for rank, shares in enumerate(told):
        alike[tuple(shares)] = (*alike.get(tuple(shares), ()), rank)
    return [alike[tuple(shares)] for shares in told]


def _leads(holders: tuple[int, ...], ranks: Ranks) -> bool:
    return holders[0] == ranks.rank


def _together(
    parameters: Sequence[torch.Tensor],
    mine: Sequence[Share],
    holders: dict[Share, tuple[int, ...]],
) -> Iterator[tuple[tuple[int, ...], list[torch.Tensor]]]:
    """This rank's parameters of which there are copies, by the ranks that hold them, in order."""
    several: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for parameter, share in zip(parameters, mine, strict=True):
        if len(holders[share]) > 1:
            several.setdefault(holders[share], []).append(parameter)
    yield from sorted(several.items(), key=lambda pair: pair[0])
