"""Again: a running job stops and goes on with other chips, some of which it may hold already.

All of its runs stop, its new chips are kept for it, and it is placed there once they have come: it
loses what it did since the last checkpoint, and starts anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skep.model.snapshot import Holder, Ints, Migration
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.clique import Choice
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import count, shares_of
from skep.scheduler.prey import RESTART

# s after the grace for which chips are kept: reports take time, leases may have to run out.
SLACK = 120.0
FACTOR = 2.0  # what a change gains, over what it costs, at least
REST = 3600.0  # s between two changes of one job; twice as long after each further one


def cost_of(holder: Holder, now: float) -> float:
    """Chip-seconds, in chips of the reference, that it costs to stop the job and start it anew."""
    return holder.weight * (holder.unsaved(now) + holder.spec.grace + RESTART)


def rested(holder: Holder, now: float) -> bool:
    """Whether the last such change is long enough ago, and the job can bear another."""
    rest = REST * 2.0 ** min(max(0, holder.migrations - 1), 16)
    may = holder.loose and holder.spec.preemptible
    return may and (holder.moved_at is None or now >= holder.moved_at + rest)


def without(ledger: Ledger, holder: Holder, board: Board) -> Ledger:
    """What would be free if the job held nothing; a copy, with what is promised as it is."""
    free, headroom, largest = ledger.free.copy(), ledger.headroom.copy(), ledger.largest.copy()
    promises = [replace(p, free=p.free.copy(), headroom=p.headroom.copy()) for p in ledger.promises]
    for share in holder.shares:
        site = int(board.snapshot.pools.site[share.row])
        free[share.row] += share.chips
        headroom[site] += share.watts
        for promise in promises:
            if promise.start < holder.end:  # else it is counted with already
                promise.free[share.row] += share.chips
                promise.headroom[site] += share.watts
        if share.parts:
            blocks = list(ledger.blocks.of(share.row))
            for block, chips in share.parts:
                blocks[block] += chips
            largest[share.row] = max(blocks)
    return replace(ledger, free=free, headroom=headroom, largest=largest, promises=promises)


def held_in(holder: Holder, pools: Ints) -> Ints:
    """Chips that the job holds in each of ``pools``."""
    chips = dict.fromkeys(pools.tolist(), 0)
    for share in holder.shares:
        if share.row in chips:
            chips[share.row] += share.chips
    return np.array([chips[pool] for pool in pools.tolist()], dtype=np.int64)


def move(
    board: Board, ledger: Ledger, holder: Holder, ask: Ask, choice: Choice, gain: float, what: str
) -> Migration:
    """The decision; what the job does not hold already is taken from the ledger."""
    now, columns = ledger.at, board.columns(ask.kind)
    pools, sites = columns.rows[choice.rows], columns.site[choice.rows]
    more = np.maximum(choice.chips - held_in(holder, pools), 0)
    table = zip(pools.tolist(), sites.tolist(), more.tolist(), choice.rows.tolist(), strict=True)
    for pool, site, some, row in table:
        watts = some * float(columns.watts[row])
        for promise in ledger.pressing(ask.length):
            promise.free[pool] -= some
            promise.headroom[site] -= watts
        ledger.withhold(pool, site, some, watts)
    count(ledger, ask, columns, choice.rows, sites, more)
    cost = cost_of(holder, now)
    reason = f"{what}; gains {gain / 3600:.1f} chip-hours, costs {cost / 3600:.1f}"
    return Migration(
        job=holder.job,
        runs=tuple(share.run for share in holder.shares),
        shares=shares_of(board, ask, choice),
        until=now + holder.spec.grace + SLACK,
        gain=gain,
        cost=cost,
        grace=holder.spec.grace,
        reason=reason,
    )
