"""Prey: what runs, as columns, and which of it costs least to stop.

The cost of stopping a job is the work since its last checkpoint and that of starting again, times
what all of its chips are worth to it, in chips of the reference. A spare share of an elastic job
costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import is_not

import numpy as np

from skep.model.event import Cause
from skep.model.snapshot import Bools, Floats, Held, HeldShare, Holder, Ints, Waiting
from skep.scheduler.columns import Columns

# s that a job works before it is where it was, besides what was lost: unpack, set up, load.
RESTART = 60.0
# Chip-seconds that taking a spare chip back is charged, so that none is taken without need.
SPARE = 1.0
_WATT = 1e-6  # W; sums of floats


@dataclass(frozen=True, slots=True)
class Herd:
    """The live runs of some pools in one set of columns: rows ``first[n]`` on are ``pools[n]``'s.

    ``place`` is the number n of a pool.
    """

    running: Sequence[Held]
    pools: Ints
    place: dict[int, int]
    first: Ints
    pool: Ints
    end: Floats
    chips: Ints
    watts: Floats
    priority: Ints
    began: Floats
    every: Floats
    safe_until: Floats
    worth: Floats
    spare: Ints
    had: Floats

    @classmethod
    def of(cls, running: Sequence[Held], pools: Ints) -> Herd:
        """The columns of ``pools`` in one; ``running`` has one entry for each of them."""
        counts = [len(held.end) for held in running]
        first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        return cls(
            running=running,
            pools=pools,
            place={pool: n for n, pool in enumerate(pools.tolist())},
            first=first,
            pool=np.repeat(pools, counts),
            end=np.concatenate([held.end for held in running]),
            chips=np.concatenate([held.chips for held in running]),
            watts=np.concatenate([held.watts for held in running]),
            priority=np.concatenate([held.priority for held in running]),
            began=np.concatenate([held.began for held in running]),
            every=np.concatenate([held.every for held in running]),
            safe_until=np.concatenate([held.safe_until for held in running]),
            worth=np.concatenate([held.worth for held in running]),
            spare=np.concatenate([held.spare for held in running]),
            had=np.concatenate([held.had for held in running]),
        )

    def holder(self, row: int) -> Holder:
        """Whose run the row is."""
        n = self.place[int(self.pool[row])]
        return self.running[n].holder[row - int(self.first[n])]

    def rows(self, pool: int) -> range:
        """The rows of ``pool``; none of a pool that is not here."""
        n = self.place.get(pool)
        return range(0) if n is None else range(int(self.first[n]), int(self.first[n + 1]))

    def each(self, rows: Ints, spare: Bools, now: float) -> Floats:
        """Cost of one chip of each row, in chip-seconds of the reference; ``spare``: no need."""
        worked = np.maximum(0.0, now - self.began[rows])
        every = self.every[rows]
        lost = np.where(every > 0, worked % np.where(every > 0, every, 1.0), worked)
        return np.where(spare, SPARE, (lost + RESTART) * self.worth[rows])


class Runs:
    """What runs, as ``Snapshot.running`` has it, with what was made of it for one plan or more."""

    def __init__(self, running: Sequence[Held], before: Runs | None = None) -> None:
        """``before``: of the last plan; what has not changed since is taken over."""
        self.running = running
        self._herds: dict[str, Herd] = {} if before is None else before._herds

    @cached_property
    def lowest(self) -> float:
        """The lowest priority of all; inf where nothing runs."""
        return min((held.lowest for held in self.running), default=np.inf)

    @cached_property
    def lowest_spare(self) -> float:
        """The lowest priority of those that can do without a run, or with less of it."""
        return min((held.lowest_spare for held in self.running), default=np.inf)

    def herd(self, columns: Columns) -> Herd:
        """The runs in the pools of ``columns``."""
        pools = np.sort(columns.rows)
        held = tuple(self.running[pool] for pool in pools.tolist())
        known = self._herds.get(columns.kind)
        if (
            known is None
            or len(known.running) != len(held)
            or any(map(is_not, known.running, held))
        ):
            known = self._herds[columns.kind] = Herd.of(held, pools)
        return known


@dataclass(frozen=True, slots=True)
class Prey:
    """Runs that one pool may get back: rows of the herd, the cheapest chip first.

    ``each``: cost of each row's chip, in chip-seconds. ``chips`` and ``watts`` are what each gives
    (of one block, where the chips must lie in one).
    """

    rows: Ints
    each: Floats
    chips: Ints
    watts: Floats

    @classmethod
    def of(cls, herd: Herd, rows: Ints, each: Floats, chips: Ints) -> Prey:
        """In order of cost; the latest to begin first where that is the same."""
        order = np.lexsort((-herd.began[rows], each))
        return cls(rows[order], each[order], chips[order], herd.watts[rows][order])

    def cost(self, places: list[int]) -> float:
        """Chip-seconds that stopping the runs of ``places`` costs."""
        return float((self.each[places] * self.chips[places]).sum())

    def cheapest(self, chips: int, watts: float) -> list[int] | None:
        """Places in ``rows`` that give ``chips`` and ``watts`` at the least cost; None if none do.

        The cheapest in turn, less what is not needed then; or one alone, if that is cheaper.
        """
        enough = np.cumsum(self.chips) >= chips
        enough &= np.cumsum(self.watts) >= watts - _WATT
        if not enough.any():
            return None
        some = int(np.argmax(enough)) + 1
        costs = self.each * self.chips
        kept = self._needed(some, costs, chips, watts)
        alone = (self.chips >= chips) & (self.watts >= watts - _WATT)
        if alone.any():
            at = int(np.argmin(np.where(alone, costs, np.inf)))
            if (float(costs[at]), 1) <= (float(costs[kept].sum()), len(kept)):
                return [at]
        return kept

    def _needed(self, some: int, costs: Floats, chips: int, watts: float) -> list[int]:
        """The first ``some`` without those that are not needed, the dearest left out first."""
        kept = dict.fromkeys(range(some))
        have, power = int(self.chips[:some].sum()), float(self.watts[:some].sum())
        for at in np.argsort(-costs[:some], kind="stable").tolist():
            less, cooler = have - int(self.chips[at]), power - float(self.watts[at])
            if less >= chips and cooler >= watts - _WATT and len(kept) > 1:
                have, power = less, cooler
                del kept[at]
        return list(kept)


@dataclass(frozen=True, slots=True)
class Loss:
    """A job that gives back: in ``rows`` (pool -> chips, W), at ``cost`` chip-seconds."""

    holder: Holder
    shares: tuple[HeldShare, ...]
    cause: Cause
    cost: float
    rows: dict[int, tuple[int, float]]


def loss(herd: Herd, row: int, job: Waiting, now: float, cause: Cause) -> Loss:
    """What stopping the run of ``row`` for ``job`` means; ``cause``: why it may be, as a whole."""
    holder, pool = herd.holder(row), int(herd.pool[row])
    if herd.spare[row] == 1 and holder.priority <= job.priority:
        mine = next(share for share in holder.shares if share.row == pool)
        cost = SPARE * mine.chips
        return Loss(holder, (mine,), "shrink", cost, {pool: (mine.chips, mine.watts)})
    cost = holder.weight * (holder.unsaved(now) + RESTART)
    rows: dict[int, tuple[int, float]] = {}
    for share in holder.shares:
        before = rows.get(share.row, (0, 0.0))
        rows[share.row] = (before[0] + share.chips, before[1] + share.watts)
    return Loss(holder, holder.shares, cause, cost, rows)


def given(losses: Sequence[Loss], pool: int, after: float = -np.inf) -> tuple[int, float]:
    """Chips and W that come back in ``pool``, of jobs expected to end later than ``after``."""
    found = [x.rows[pool] for x in losses if pool in x.rows and x.holder.end > after]
    return sum(chips for chips, _ in found), sum(watts for _, watts in found)
