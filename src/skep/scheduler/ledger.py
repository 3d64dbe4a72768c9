"""Ledger: the working copy of what is free while one plan is made; nothing else is written to.

It only ever falls within a cycle, so what was refused once in a cycle stays refused in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skep.model.evolve import quick, replace
from skep.model.policy import Policy
from skep.model.snapshot import Floats, Ints, Pools, Rates, Snapshot
from skep.scheduler.blocks import Blocks, Parts, largest_per_pool, limited
from skep.scheduler.fair import Tree
from skep.scheduler.limits import Limits
from skep.scheduler.promise import Promise, Window, shut_sites, windows_of


@quick
@dataclass(frozen=True, slots=True)
class Mark:
    """A ledger as it was."""

    free: Ints
    headroom: Floats
    largest: Ints
    blocks: dict[int, list[int]]
    used: list[int]
    held: dict[str, float]
    placed: int
    lying: int
    promised: list[tuple[Ints, Floats, int]]


@quick
@dataclass(frozen=True, slots=True)
class Ledger:
    """Chips free per pool (length P), W free at the meter per site (length S), quotas, blocks.

    ``largest`` is the most chips free in one block, per pool. ``kept`` is what is kept free for a
    job that has waited too long: it is in ``free`` and ``headroom`` no more. ``touched`` are the
    sites from which chips were taken, in order.
    """

    free: Ints
    headroom: Floats
    limits: Limits
    tree: Tree
    blocks: Blocks
    largest: Ints
    touched: list[int] = field(default_factory=list)
    kept: dict[int, tuple[str, int]] = field(default_factory=dict)  # pool -> for which job, chips
    kept_power: dict[int, float] = field(default_factory=dict)  # site -> W
    at: float = 0.0  # now
    windows: list[Window] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    placed: list[tuple[float, int, int, float]] = field(default_factory=list)  # end, pool, chips, W
    lying: list[tuple[float, int, Parts]] = field(
        default_factory=list
    )  # end, pool, in which blocks

    @classmethod
    def now(cls, snapshot: Snapshot, policy: Policy, at: float) -> Ledger:
        """What is free in the snapshot at the time ``at``; the power margin is kept free."""
        sites, pools = snapshot.sites, snapshot.pools
        headroom = sites.power_cap * (1.0 - policy.power_margin) - sites.power_drawn
        limits, tree = Limits(snapshot, policy), Tree(snapshot, policy)
        windows = windows_of(policy, sites.names, at)
        for window in windows:
            if np.isinf(headroom[window.site]):  # a cap to come needs one to be taken off
                headroom[window.site] = _all_at_work(snapshot, window.site)
        return cls(
            pools.free.copy(),
            headroom,
            limits,
            tree,
            Blocks(pools),
            largest_per_pool(pools),
            at=at,
            windows=windows,
        )

    @classmethod
    def empty_pool(cls, snapshot: Snapshot, policy: Policy) -> Ledger:
        """What would be free if no run were alive."""
        sites, pools = snapshot.sites, snapshot.pools
        idle = sites.power_drawn - _drawn_by_runs(pools, sites.pue)
        headroom = sites.power_cap * (1.0 - policy.power_margin) - idle
        limits, tree = Limits(snapshot, policy, empty=True), Tree(snapshot, policy)
        largest = np.minimum(pools.chips, pools.block_chips)
        blocks = Blocks(pools, idle=True)
        return cls(pools.chips.copy(), headroom, limits, tree, blocks, largest)

    def pressing(self, length: float) -> list[Promise]:
        """The promises that begin before what starts now and works ``length`` s has ended."""
        end = self.at + length
        return [promise for promise in self.promises if promise.start < end]

    def free_for(self, length: float, pool_site: Ints) -> Ints:
        """Chips free per pool for ``length`` s from now on, beside what is promised."""
        free, pressing = self.free, self.pressing(length)
        for promise in pressing:
            free = np.minimum(free, promise.free)
        for pool in _in_blocks(pressing):
            here = limited(self.blocks.of(pool), self.most_of_blocks(pool, length))
            free[pool] = min(int(free[pool]), sum(here))
        shut = shut_sites(self.windows, len(self.headroom), self.at, self.at + length)
        return free if shut is None else np.where(shut[pool_site], 0, free)

    def largest_for(self, length: float) -> Ints:
        """The most chips free in one block per pool, for ``length`` s, beside what is promised."""
        largest = self.largest
        for pool in _in_blocks(self.pressing(length)):
            here = limited(self.blocks.of(pool), self.most_of_blocks(pool, length))
            largest = largest.copy() if largest is self.largest else largest
            largest[pool] = min(int(largest[pool]), max(here, default=0))
        return largest

    def most_of_blocks(self, pool: int, length: float) -> dict[int, int]:
        """What may be taken of blocks that are promised to others, for ``length`` s."""
        most: dict[int, int] = {}
        for promise in self.pressing(length):
            if promise.block is not None and promise.block.pool == pool:
                block, spare = promise.block.block, promise.block.spare
                most[block] = min(most.get(block, spare), spare)
        return most

    def headroom_for(self, length: float) -> Floats:
        """W free per site for ``length`` s from now on, beside what is promised."""
        headroom = self.headroom
        for promise in self.pressing(length):
            headroom = np.minimum(headroom, promise.headroom)
        return headroom

    def take(self, pool: int, site: int, chips: int, power: float, length: float) -> Parts:
        """Take ``chips`` off a pool and ``power`` (W) off its site; in which blocks they lie.

        ``length``: for how many s.
        """
        parts = self.blocks.take(pool, chips, self.most_of_blocks(pool, length))
        self._less(pool, site, chips, power, length)
        self._less_of_blocks(pool, parts, length)
        self.lying.append((self.at + length, pool, parts))
        return parts

    def _less_of_blocks(self, pool: int, parts: Parts, length: float) -> None:
        for promise in self.pressing(length):
            if promise.block is not None and promise.block.pool == pool:
                mine = (chips for block, chips in parts if block == promise.block.block)
                promise.block.spare -= sum(mine)

    def take_often(
        self, pool: int, site: int, chips: int, times: int, power: float, length: float
    ) -> list[tuple[Parts, int]]:
        """As ``take``, for ``times`` equal jobs; ``power`` (W) is that of one chip."""
        if self.most_of_blocks(pool, length):
            return [(self.take(pool, site, chips, power * chips, length), 1) for _ in range(times)]
        answer = self.blocks.take_often(pool, chips, times)
        for parts, often in answer:
            many = tuple((block, often * here) for block, here in parts)
            self.lying.append((self.at + length, pool, many))
        self._less(pool, site, times * chips, power * (times * chips), length)
        return answer

    def _less(self, pool: int, site: int, chips: int, power: float, length: float) -> None:
        self.placed.append((self.at + length, pool, chips, power))
        for promise in self.pressing(length):
            promise.free[pool] -= chips
            promise.headroom[site] -= power
        self.free[pool] -= chips
        self.headroom[site] -= power
        self.largest[pool] = self.blocks.largest(pool)
        self.touched.append(site)

    def withhold(
        self, pool: int, site: int, chips: int, power: float, parts: Parts = ()
    ) -> tuple[int, float]:
        """Keep so many of the free ``chips`` of a pool, and ``power`` (W), out of the plan.

        Of the blocks of ``parts`` where they are to lie in those. Answers what was kept.
        """
        some, watts = max(0, min(chips, int(self.free[pool]))), max(0.0, power)
        self.free[pool] -= some
        self.headroom[site] -= watts
        self.blocks.keep(pool, parts)
        if parts:
            self.largest[pool] = self.blocks.largest(pool)
        self.largest[pool] = min(int(self.largest[pool]), int(self.free[pool]))
        self.touched.append(site)
        return some, watts

    def charge(self, queue: str, kind: str, site: int, chips: int, rates: Rates) -> None:
        """Count chips of ``kind`` against the quotas and the part of ``queue``."""
        self.limits.take(queue, kind, np.array([site]), np.array([chips]))
        self.tree.charge(queue, kind, chips, rates)

    def seen_by(self, job: str) -> Ledger:
        """As it is for ``job``: what is kept for it is free."""
        mine = [pool for pool, (name, _) in self.kept.items() if name == job]
        if not mine and all(promise.job != job for promise in self.promises):
            return self
        seen = replace(
            self,
            free=self.free.copy(),
            headroom=self.headroom.copy(),
            kept={pool: mine for pool, mine in self.kept.items() if mine[0] != job},
            promises=[promise for promise in self.promises if promise.job != job],
        )
        for pool in mine:
            seen.free[pool] += self.kept[pool][1]
        if mine:
            for site, watts in self.kept_power.items():
                seen.headroom[site] += watts
        return seen

    def mark(self) -> Mark:
        """What ``back`` takes."""
        return Mark(
            self.free.copy(),
            self.headroom.copy(),
            self.largest.copy(),
            self.blocks.copy(),
            self.limits.used(),
            self.tree.copy(),
            len(self.placed),
            len(self.lying),
            [
                (p.free.copy(), p.headroom.copy(), 0 if p.block is None else p.block.spare)
                for p in self.promises
            ],
        )

    def back(self, mark: Mark) -> None:
        """Be as when ``mark`` was made."""
        self.free[:], self.headroom[:], self.largest[:] = mark.free, mark.headroom, mark.largest
        self.blocks.restore(mark.blocks)
        self.limits.restore(mark.used)
        self.tree.restore(mark.held)
        del self.placed[mark.placed :]
        del self.lying[mark.lying :]
        for promise, (free, headroom, spare) in zip(self.promises, mark.promised, strict=True):
            promise.free[:], promise.headroom[:] = free, headroom
            if promise.block is not None:
                promise.block.spare = spare
        self.touched.append(-1)

    def keep(self, job: str, pools: Ints, sites: Ints) -> None:
        """Keep what is free in ``pools``, and the power of their ``sites``, for ``job``."""
        for pool in pools.tolist():
            self.kept[pool] = (job, int(self.free[pool]))
            self.free[pool] = 0
            self.largest[pool] = 0
        for site in sites.tolist():
            self.kept_power[site] = max(0.0, float(self.headroom[site]))
            self.headroom[site] = min(0.0, float(self.headroom[site]))
            self.touched.append(site)


def _in_blocks(promises: list[Promise]) -> set[int]:
    """Pools of which some block is promised to somebody."""
    return {p.block.pool for p in promises if p.block is not None}


def meter_power(pools: Pools, pue: Floats) -> Floats:
    """W at the meter that one chip at work adds, per pool (length P)."""
    return pools.marginal_power * pue[pools.site]


def _all_at_work(snapshot: Snapshot, site: int) -> float:
    """W that a site's free chips could add at most, and one more: a headroom that never binds."""
    pools = snapshot.pools
    watts = meter_power(pools, snapshot.sites.pue) * pools.chips
    return float(watts[pools.site == site].sum()) + 1.0


def _drawn_by_runs(pools: Pools, pue: Floats) -> Floats:
    held = (pools.chips - pools.free) * meter_power(pools, pue)
    drawn: Floats = np.bincount(pools.site, weights=held, minlength=len(pue)).astype(np.float64)
    return drawn
