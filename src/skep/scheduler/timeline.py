"""Timeline: what will be free when, beside what is promised.

Releases are taken from the expected ends of what runs, per pool in sorted columns; nothing here is
one object per job. Promises (reservations, and the power that a window takes away) are kept in the
ledger, where everything that is placed now is held to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from skep.model.evolve import replace
from skep.model.snapshot import Bools, Floats, Held, Ints
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.promise import InBlock, Promise, less, shut_sites

# Work that never ends is taken to last so long, in s: some thirty years.
FOREVER = 1e9
Number = TypeVar("Number", np.int64, np.float64)


class Timeline:
    """The future of one snapshot: its running jobs, its policy, and what the ledger has given."""

    def __init__(
        self, board: Board, ledger: Ledger, releases: Callable[[], Releases | None] | None = None
    ) -> None:
        """``releases`` answers those of the snapshot's running jobs, once they are asked for."""
        self.board, self.ledger, self.now = board, ledger, ledger.at
        self._made = releases
        self._sites: Ints = board.snapshot.pools.site

    def promise_windows(self) -> None:
        """Promise the power that windows of a lower cap will take away."""
        sites, none = self.board.snapshot.sites, np.empty(0, dtype=np.int64)
        before = self.ledger.headroom + sites.power_drawn  # W that may be drawn today
        for window in self.ledger.windows:
            if window.cap is not None:
                most = window.cap * (1.0 - self.board.policy.power_margin)
                lower = max(0.0, before[window.site] - most)
                start, where = max(window.start, self.now), np.array([window.site])
                self._promise("", start, window.end, none, where, none, np.array([lower]))

    def promise(
        self,
        job: str,
        start: float,
        end: float,
        pools: Ints,
        chips: Ints,
        power: Floats,
        block: int | None = None,
    ) -> None:
        """Keep these chips and this power (W) from ``start`` to ``end``, against everybody.

        With a ``block`` they are all to lie in that one of the only pool.
        """
        within = None
        if block is not None:
            pool, count = int(pools[0]), int(chips[0])
            free = self.in_blocks(pool, start)
            within = InBlock(pool, block, count, free[block] - count if free else 0)
        self._promise(job, start, end, pools, self._sites[pools], chips, power, within)

    def _promise(
        self,
        job: str,
        start: float,
        end: float,
        pools: Ints,
        sites: Ints,
        chips: Ints,
        power: Floats,
        block: InBlock | None = None,
    ) -> None:
        free, headroom = self._beside(start)
        new = Promise(job, start, end, pools, sites, chips, power, free, headroom, block)
        less(free, headroom, pools, sites, chips, power)
        for other in self.ledger.promises:
            if start <= other.start < end:  # it has to bear the new one too
                less(other.free, other.headroom, pools, sites, chips, power)
                if block is not None and other.block is not None and other.block.same(block):
                    other.block.spare -= block.chips
        self.ledger.promises.append(new)

    def promise_apart(
        self, start: float, end: float, pools: Ints, chips: Ints, power: Floats
    ) -> None:
        """Keep what others give back for somebody; what was promised before bears it already."""
        free, headroom = self._beside(start)
        sites = self._sites[pools]
        less(free, headroom, pools, sites, chips, power)
        self.ledger.promises.append(
            Promise("", start, end, pools, sites, chips, power, free, headroom)
        )

    def ends_sooner(self, pool: int, chips: int, watts: float, end: float, planned: float) -> None:
        """What was to end at the time ``planned`` will end at ``end``, if that is sooner."""
        if end < planned:
            both = [(end, pool, chips, watts), (planned, pool, -chips, -watts)]
            self.ledger.placed.extend(both)
            self.ledger.touched.append(int(self._sites[pool]))

    def during(self, start: float, end: float) -> Ledger:
        """What is free during all of ``start`` to ``end``, beside every promise."""
        free, headroom = self._beside(start)
        for promise in self.ledger.promises:
            if start < promise.start < end:
                free = np.minimum(free, promise.free)
                headroom = np.minimum(headroom, promise.headroom)
        shut = shut_sites(self.ledger.windows, len(headroom), start, end)
        if shut is not None:
            free = np.where(shut[self._sites], 0, free)
        return self.bare(np.maximum(free, 0), headroom)

    def within_blocks(
        self, view: Ledger, pools: Ints, least: int, start: float, end: float
    ) -> Ledger:
        """``view``, which is of ``start`` to ``end``, with what ``pools`` have in one block then.

        Where it is not known in which blocks runs lie, as much as can be.
        """
        largest = view.largest.copy()
        for pool in pools[view.free[pools] >= least].tolist():
            free = self.in_blocks(pool, start)
            if free is None:
                continue
            for promise in self.ledger.promises:
                inside = promise.block
                if inside is not None and inside.pool == pool and start < promise.start < end:
                    free[inside.block] = min(free[inside.block], inside.spare)
            largest[pool] = min(int(largest[pool]), max(free, default=0))
        return replace(view, largest=largest)

    def in_blocks(self, pool: int, when: float) -> list[int] | None:
        """Chips free in each block of ``pool`` at ``when``, beside what is promised in blocks.

        None where it is not known in which blocks its runs lie.
        """
        base, free = self._releases, list(self.ledger.blocks.of(pool))
        if base is not None:
            known = base.blocks(pool, self.board.snapshot.running[pool])
            if known is None:
                return None
            ends, blocks, chips = known
            back = np.bincount(blocks[ends <= when], chips[ends <= when], len(free))
            free = [here + int(more) for here, more in zip(free, back.tolist(), strict=True)]
        for end, where, parts in self.ledger.lying:
            for block, chips_here in parts if where == pool and end <= when else ():
                free[block] += chips_here
        for promise in self.ledger.promises:
            inside = promise.block
            if inside is not None and inside.pool == pool and promise.start <= when < promise.end:
                free[inside.block] -= inside.chips
        return free

    def bare(self, free: Ints, headroom: Floats) -> Ledger:
        """A ledger of so much, with nothing promised, in as few blocks as can be."""
        blocks = np.minimum(free, self.board.snapshot.pools.block_chips)
        return replace(
            self.ledger,
            free=free,
            headroom=headroom,
            largest=blocks,
            promises=[],
            windows=[],
            kept={},
            kept_power={},
        )

    def _beside(self, when: float) -> tuple[Ints, Floats]:
        """What is free at ``when`` beside every promise; own copies."""
        stamp = when, len(self.ledger.promises), len(self.ledger.touched), len(self.ledger.placed)
        if self._last[0] != stamp:  # a slot that was found is promised next
            self._last = stamp, self._found_beside(when)
        free, headroom = self._last[1]
        return free.copy(), headroom.copy()

    def _found_beside(self, when: float) -> tuple[Ints, Floats]:
        free, headroom = self.released(when)
        for promise in self.ledger.promises:
            if promise.start <= when < promise.end:
                taken = promise.pools, promise.sites, promise.chips, promise.power
                less(free, headroom, *taken)
        return free, headroom

    def released(self, when: float) -> tuple[Ints, Floats]:
        """Chips free per pool and W per site at ``when`` if nothing more is placed; own copies."""
        base = self._releases
        free, headroom = self.ledger.free.copy(), self.ledger.headroom.copy()
        if base is not None:
            ahead = min(when - base.origin, base.step - 0.5)
            at = np.searchsorted(base.key, base.first_key + ahead, side="right")
            free += base.chips[at] - base.chips[base.first]
            watts = base.watts[at] - base.watts[base.first]
            headroom += np.bincount(self._sites, weights=watts, minlength=len(headroom))
        ends, pools, chips, watts = self._given
        done = ends <= when
        if done.any():
            free += np.bincount(pools[done], chips[done], len(free)).astype(np.int64)
            sites = self._sites[pools[done]]
            headroom += np.bincount(sites, weights=watts[done], minlength=len(headroom))
        return free, headroom

    def moments(self, pools: Ints) -> Floats:
        """Times after now at which more may be free in ``pools`` than before; sorted."""
        base, ledger = self._releases, self.ledger
        ends = [w.end for w in ledger.windows] + [p.end for p in ledger.promises]
        given, where, _, _ = self._given
        more = np.concatenate([ends, given[np.isin(where, pools)]]) if len(given) else ends
        some = np.unique(np.asarray(more, dtype=np.float64))
        some = some[(some > self.now) & np.isfinite(some)]
        times = np.empty(0) if base is None else base.ends(pools)
        times = times[np.searchsorted(times, self.now, side="right") :]
        new = some[~_among(some, times)]
        return np.insert(times, np.searchsorted(times, new), new) if len(new) else times

    @property
    def releases(self) -> Releases | None:
        """The ends of what runs, as columns."""
        return self._releases

    @cached_property
    def _releases(self) -> Releases | None:
        if self._made is not None:
            return self._made()
        running = self.board.snapshot.running
        return Releases.of(running, self.now) if running else None

    @property
    def _given(self) -> tuple[Floats, Ints, Ints, Floats]:
        """What this plan has placed so far: ends, pools, chips, W."""
        stamp = len(self.ledger.touched)
        if self._seen[0] != stamp:
            table = np.array(self.ledger.placed, dtype=np.float64).reshape(-1, 4)
            pools, chips = table[:, 1].astype(np.int64), table[:, 2].astype(np.int64)
            self._seen = stamp, (table[:, 0], pools, chips, table[:, 3])
        return self._seen[1]

    def enough_from(self, pools: Ints, chips: int) -> float:
        """No pool of ``pools`` has so many chips free before that time, promises not counted.

        What this plan has placed is taken to be back at once. Infinity: none ever has.
        """
        base, ledger = self._releases, self.ledger
        _, where, given, _ = self._given
        free = ledger.free[pools]
        if len(given):
            free = free + np.bincount(where, np.maximum(given, 0), len(ledger.free))[pools]
        if (free >= chips).any() or base is None:
            return self.now if (free >= chips).any() else np.inf
        first = base.first[pools]
        at = np.searchsorted(base.chips, base.chips[first] + chips - free, side="left")
        inside = at <= base.last[pools]
        return float(base.end[at[inside] - 1].min()) if inside.any() else np.inf

    _last: tuple[tuple[float, int, int, int], tuple[Ints, Floats]] = (
        (np.nan, 0, 0, 0),
        (np.empty(0, dtype=np.int64), np.empty(0)),
    )
    _none = np.empty(0, dtype=np.int64)
    _seen: tuple[int, tuple[Floats, Ints, Ints, Floats]] = (
        0,
        (np.empty(0), _none, _none, np.empty(0)),
    )


def _among(some: Floats, times: Floats) -> Bools:
    """Which of ``some`` are among ``times``, which are sorted."""
    at = np.minimum(np.searchsorted(times, some), max(0, len(times) - 1))
    found: Bools = times[at] == some if len(times) else np.zeros(len(some), dtype=bool)
    return found


@dataclass(frozen=True, slots=True)
class Releases:
    """Expected ends by pool and time: cumulated chips and W, searched for all pools at once.

    Rows ``first[p]`` to ``last[p]`` are pool p's; ``key`` is the time after ``origin`` plus a step
    for each pool that is longer than any time, so that one sorted column holds them all.
    """

    origin: float
    first: Ints
    last: Ints
    step: float
    first_key: Floats
    key: Floats
    end: Floats
    chips: Ints
    watts: Floats
    _ends: dict[bytes, Floats] = field(default_factory=dict)
    _blocks: dict[int, tuple[Floats, Ints, Ints] | None] = field(default_factory=dict)

    def ends(self, pools: Ints) -> Floats:
        """The times at which something ends in ``pools``; sorted."""
        key = pools.tobytes()
        if key not in self._ends:
            parts = [self.end[self.first[p] : self.last[p]] for p in pools.tolist()]
            times = np.unique(np.concatenate([np.empty(0), *parts]))
            self._ends[key] = times[times < self.origin + FOREVER]
        return self._ends[key]

    def blocks(self, pool: int, held: Held) -> tuple[Floats, Ints, Ints] | None:
        """End, block and chips of each part of the runs of ``pool``; None where one is not known.

        ``held`` are the runs.
        """
        if pool not in self._blocks:
            shares = [(h.end, s) for h in held.holder for s in h.shares if s.row == pool]
            table = [(end, block, n) for end, s in shares for block, n in s.parts]
            known = sum(s.chips for _, s in shares) == sum(n for _, _, n in table)
            ends, blocks, chips = zip(*table, strict=True) if table else ((), (), ())
            self._blocks[pool] = (
                (
                    np.array(ends, dtype=np.float64),
                    np.array(blocks, dtype=np.int64),
                    np.array(chips, dtype=np.int64),
                )
                if known
                else None
            )
        return self._blocks[pool]

    @classmethod
    def of(cls, running: Sequence[Held], now: float) -> Releases:
        """The columns of all pools in one, from ``now`` on; an end that has passed comes now."""
        counts = np.array([len(pool.end) for pool in running])
        edges = np.concatenate(([0], np.cumsum(counts)))
        end = np.clip(np.concatenate([pool.end for pool in running]), now, now + FOREVER)
        step = float(np.max(end, initial=now)) - now + 1.0
        first_key = step * np.arange(len(running), dtype=np.float64)
        return cls(
            origin=now,
            first=edges[:-1],
            last=edges[1:],
            step=step,
            first_key=first_key,
            key=np.repeat(first_key, counts) + (end - now),
            end=end,
            chips=_cumulated(np.concatenate([pool.chips for pool in running])),
            watts=_cumulated(np.concatenate([pool.watts for pool in running])),
        )


def _cumulated(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    total: npt.NDArray[Number] = np.concatenate((values[:1] * 0, np.cumsum(values)))
    return total if len(total) else np.zeros(1, dtype=values.dtype)


@dataclass(slots=True)
class OnTimeline:
    """What is decided over a timeline, on its board and from its ledger."""

    timeline: Timeline

    @property
    def board(self) -> Board:
        return self.timeline.board

    @property
    def ledger(self) -> Ledger:
        return self.timeline.ledger
