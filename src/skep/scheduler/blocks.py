"""Blocks: in which blocks of a pool a share lies. As few as can be, and of those the fullest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from skep.model.snapshot import Ints, Pools

Parts = tuple[tuple[int, int], ...]
"""(block of the pool, chips) for each block."""


class Blocks:
    """Free chips per block, by pool (row). Pools without columns of blocks are packed tightly."""

    def __init__(self, pools: Pools, *, idle: bool = False) -> None:
        self._pools, self._idle = pools, idle
        self._free: dict[int, list[int]] = {}

    def of(self, pool: int) -> list[int]:
        """Free chips of each block of ``pool``; changed by ``take``."""
        found = self._free.get(pool)
        if found is None:
            found = self._free[pool] = self._read(pool)
        return found

    def _read(self, pool: int) -> list[int]:
        pools = self._pools
        if self._idle:
            return packed(int(pools.chips[pool]), int(pools.block_chips[pool]))
        if pools.block_free is None or pools.first_block is None:
            size, chips = int(pools.block_chips[pool]), int(pools.chips[pool])
            free = packed(int(pools.free[pool]), size)
            return free + [0] * (-(-chips // max(size, 1)) - len(free))
        first, last = pools.first_block[pool], pools.first_block[pool + 1]
        return list(map(int, pools.block_free[first:last].tolist()))

    def largest(self, pool: int) -> int:
        """The most chips free in one block of ``pool``."""
        return max(self.of(pool), default=0)

    def take(self, pool: int, chips: int, most: Mapping[int, int] | None = None) -> Parts:
        """Take ``chips`` from the blocks of ``pool``; in which blocks they lie.

        ``most``: no more than so many from these blocks.
        """
        free = self.of(pool)
        parts = pick(limited(free, most) if most else free, chips)
        for block, count in parts:
            free[block] -= count
        return parts

    def take_often(self, pool: int, chips: int, times: int) -> list[tuple[Parts, int]]:
        """As ``take``, so many times in a row: (parts, how often) for each different answer."""
        free = self.of(pool)
        answer: list[tuple[Parts, int]] = []
        order = sorted((b for b, here in enumerate(free) if here >= chips), key=free.__getitem__)
        for block in order:
            fits = min(times, free[block] // chips)
            free[block] -= fits * chips
            times -= fits
            answer.append((((block, chips),), fits))
            if not times:
                return answer
        return answer + [(self.take(pool, chips), 1) for _ in range(times)]

    def keep(self, pool: int, parts: Parts) -> None:
        """Take what is free of ``parts`` out of the blocks of ``pool``."""
        for block, chips in parts:
            free = self.of(pool)
            free[block] -= min(free[block], chips)

    def copy(self) -> dict[int, list[int]]:
        """What ``restore`` takes."""
        return {pool: list(free) for pool, free in self._free.items()}

    def restore(self, copy: dict[int, list[int]]) -> None:
        """Be as when ``copy`` was made."""
        self._free = copy


def limited(free: list[int], most: Mapping[int, int]) -> list[int]:
    """``free`` chips per block, of some blocks no more than ``most``."""
    seen = list(free)
    for block, limit in most.items():
        seen[block] = max(0, min(seen[block], limit))
    return seen


def packed(chips: int, size: int) -> list[int]:
    """``chips`` in blocks of ``size``, the last one perhaps smaller."""
    size = max(size, 1)
    return [size] * (chips // size) + ([chips % size] if chips % size else [])


def pick(free: list[int], chips: int) -> Parts:
    """The blocks that give ``chips``: the fullest that holds them all, else the fewest.

    Of several blocks the emptiest give all they have, the rest comes from the fullest that holds
    it. Fewer than ``chips`` are given where the blocks have no more.
    """
    best = -1
    least = 0
    for block, here in enumerate(free):
        if here >= chips and (best < 0 or here < least):
            best, least = block, here
            if here == chips:
                break
    if best >= 0:
        return ((best, chips),)
    parts: list[tuple[int, int]] = []
    order = sorted(range(len(free)), key=lambda block: (-free[block], block))
    for place, block in enumerate(order):
        if chips <= 0 or not free[block]:
            break
        if free[block] >= chips:
            block = min((b for b in order[place:] if free[b] >= chips), key=lambda b: (free[b], b))
        parts.append((block, min(chips, free[block])))
        chips -= parts[-1][1]
    return tuple(sorted(parts))


def largest_per_pool(pools: Pools) -> Ints:
    """The most chips free in one block, per pool."""
    if pools.block_free is None or pools.first_block is None or not len(pools.block_free):
        return np.minimum(pools.free, pools.block_chips)
    found: Ints = np.maximum.reduceat(pools.block_free, pools.first_block[:-1])
    return found
