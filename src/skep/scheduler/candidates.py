"""Candidates: the runs that may be stopped for one job, and what would be free without them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from skep.model.snapshot import Bools, Floats, Holder, Ints, Waiting
from skep.scheduler.ask import Ask
from skep.scheduler.attained import may_give_way
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.owed import Debts, owed_to
from skep.scheduler.prey import Herd, Prey

_NEVER = 1e18  # chip-seconds: dearer than any chip


@dataclass(frozen=True, slots=True)
class Candidates:
    """``rows`` of the herd, pool by pool, and the cost of a chip of each.

    Those of ``pools[n]`` are ``rows[at[n]:at[n + 1]]``; ``dear`` is the least cost of a chip in
    each pool of the board. ``fewer`` are rows of elastic jobs that start anew with fewer chips.
    """

    herd: Herd
    rows: Ints
    each: Floats
    pools: Ints
    at: Ints
    dear: Floats
    fewer: frozenset[int]

    def of(self, pool: int) -> slice:
        """Where the candidates of ``pool`` are in ``rows``."""
        n = int(np.searchsorted(self.pools, pool))
        if n == len(self.pools) or self.pools[n] != pool:
            return slice(0, 0)
        return slice(int(self.at[n]), int(self.at[n + 1]))

    def prey(self, pool: int) -> Prey:
        """All that ``pool`` may get back."""
        where = self.of(pool)
        rows = self.rows[where]
        return Prey.of(self.herd, rows, self.each[where], self.herd.chips[rows])

    def prey_in_blocks(self, pool: int) -> dict[int, Prey]:
        """What each block of ``pool`` may get back; a run counts with what it has in the block."""
        found: dict[int, list[tuple[int, int]]] = {}
        where = self.of(pool)
        for place in range(where.start, where.stop):
            row = int(self.rows[place])
            share = next(s for s in self.herd.holder(row).shares if s.row == pool)
            for block, chips in share.parts:
                found.setdefault(block, []).append((place, chips))
        answer = {}
        for block, some in found.items():
            places = np.array([place for place, _ in some], dtype=np.int64)
            here = np.array([chips for _, chips in some], dtype=np.int64)
            # Stopping a run costs all of its chips, however few of them lie here.
            whole = self.each[places] * self.herd.chips[self.rows[places]]
            answer[block] = Prey.of(self.herd, self.rows[places], whole / here, here)
        return answer


def candidates(
    board: Board,
    ledger: Ledger,
    herd: Herd,
    ask: Ask,
    job: Waiting,
    gone: Collection[int],
    *,
    by_level: bool = True,
    worthwhile: float = 0.0,
) -> Candidates | None:
    """Who may be stopped for ``job``, as it asks; None for nobody. ``gone``: rows that stop.

    ``by_level``: also who has had more, where the policy's order is by that. ``worthwhile``: what
    an elastic job may lose (chip-seconds of the reference) to start anew with fewer chips.
    """
    columns, now = board.columns(ask.kind), ledger.at
    lies = np.zeros(len(ledger.free), dtype=bool)
    lies[columns.rows[board.gate(ask.queue, ask.kind).open]] = True
    spare: Bools = (herd.spare == 1) & (herd.priority <= job.priority)
    can = spare
    if board.policy.preemption:
        below = herd.priority < job.priority
        if by_level and board.policy.order == "attained":
            more = may_give_way(board.policy, herd, now, job.level)
            below |= (herd.priority == job.priority) & more
        can = can | (below & (herd.safe_until <= now))
    can = can & lies[herd.pool]
    if debts := owed_to(board, ledger, ask):
        can[_owing(board, herd, debts, np.flatnonzero(lies), now)] = True
    fewer = _fewer(ledger, herd, ask, job, worthwhile, lies[herd.pool] & ~can)
    can[fewer] = True
    if gone:
        can[list(gone)] = False
    rows = np.flatnonzero(can)
    if not len(rows):
        return None
    each = herd.each(rows, spare[rows], now)
    pools, at = np.unique(herd.pool[rows], return_index=True)
    dear = np.full(len(ledger.free), _NEVER)
    dear[pools] = np.minimum.reduceat(each, at)
    return Candidates(herd, rows, each, pools, np.append(at, len(rows)), dear, frozenset(fewer))


def _fewer(
    ledger: Ledger, herd: Herd, ask: Ask, job: Waiting, worthwhile: float, here: Bools
) -> list[int]:
    """Rows of elastic jobs that could start anew at once in what ``job`` would leave them."""
    if ask.sites_max > 1 or ask.in_block or ask.worth or worthwhile <= 0.0:
        return []
    can = here & (herd.spare == 2) & (herd.priority <= job.priority)
    rows = np.flatnonzero(can & (herd.safe_until <= ledger.at))
    none = np.zeros(len(rows), dtype=bool)
    cost = herd.each(rows, none, ledger.at) * herd.chips[rows]
    left = ledger.free[herd.pool[rows]] + herd.chips[rows] - ask.least
    some = rows[(cost <= worthwhile) & (left > 0)]
    return [r for r in some.tolist() if left_to(ledger, herd.holder(r), ask) >= 0]


def left_to(ledger: Ledger, holder: Holder, ask: Ask) -> int:
    """Chips above the least that the elastic job needs, which ``ask`` would leave where it is."""
    (share,), elastic = holder.shares, holder.spec.elastic
    least = share.chips if elastic is None else elastic.min
    return int(ledger.free[share.row]) + share.chips - ask.least - least


def _owing(board: Board, herd: Herd, debts: Debts, pools: Ints, now: float) -> list[int]:
    """Rows of queues that owe chips, the newest first, until each owes none."""
    held_in, left = board.snapshot.held_in, dict(debts)
    rows = [
        row
        for pool in pools.tolist()
        if not held_in or any(held_in[queue][pool] > 0 for queue in debts if queue in held_in)
        for row in herd.rows(pool)
        if herd.safe_until[row] <= now
    ]
    found = []
    for row in sorted(rows, key=lambda row: (-herd.began[row], row)):
        queue = herd.holder(row).spec.queue
        if left.get(queue, 0.0) > 0:
            left[queue] -= int(herd.chips[row])
            found.append(row)
    return found


def without(board: Board, ledger: Ledger, found: Candidates, ask: Ask) -> Ledger:
    """What would be free if all of them were gone, what is promised not looked at."""
    herd, rows, pools = found.herd, found.rows, board.snapshot.pools
    count = len(pools.kind)
    chips = np.bincount(herd.pool[rows], herd.chips[rows], count).astype(np.int64)
    watts = np.bincount(herd.pool[rows], herd.watts[rows], count)
    more = np.bincount(pools.site, watts, len(ledger.headroom))
    largest = ledger.largest
    if ask.in_block:
        largest = largest.copy()
        for pool in found.pools.tolist():
            free = ledger.blocks.of(pool)
            sums = (
                free[block] + int(prey.chips.sum())
                for block, prey in found.prey_in_blocks(pool).items()
            )
            largest[pool] = max((int(largest[pool]), *sums))
    return replace(
        ledger,
        free=ledger.free + chips,
        headroom=ledger.headroom + more,
        largest=largest,
        promises=[],
    )
