"""Grow: idle chips for elastic jobs that run over several sites, one more share at a time.

What nobody who waits can have, and nothing promised needs, goes to running jobs that asked for more
than they got: the highest priority first, then the oldest. The newcomer takes up its share of the
work (``skep.train`` lets it catch up) and is the first to go when somebody needs the chips.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from skep.model.snapshot import Holder, Placement, Repair, Shape, Waiting
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.place import placement, take
from skep.scheduler.prey import RESTART
from skep.scheduler.room import room
from skep.scheduler.score import scores
from skep.scheduler.search import choose

# A job that has just changed its size keeps it for so long, in s.
SETTLE = 60.0
# A share must be expected to work so many times as long as it takes to start.
WORTH = 5.0
# So many jobs grow in one cycle; the others in the next.
MOST = 4


def grow(board: Board, ledger: Ledger, waiting: Collection[str], now: float) -> list[Placement]:
    """New shares for running jobs, taken from the ledger. ``waiting``: jobs that wait (repairs)."""
    found: list[Placement] = []
    for holder in sorted(board.snapshot.growing, key=lambda h: (-h.priority, h.began, h.job)):
        if len(found) == MOST:
            break
        if holder.job in waiting or not _worth_it(holder, now):
            continue
        if share := _one_more(board, ledger, holder, now):
            found.append(share)
    return found


def settles_at(board: Board, now: float) -> float:
    """When the next job that has just changed its size may grow again; inf for never."""
    times = (_since(h) + SETTLE for h in board.snapshot.growing)
    return min((t for t in times if t > now), default=float("inf"))


def _since(holder: Holder) -> float:
    return float("-inf") if holder.resized_at is None else holder.resized_at


def _worth_it(holder: Holder, now: float) -> bool:
    if len(holder.shares) >= holder.spec.span.most or holder.spec.within is not None:
        return False
    return now >= _since(holder) + SETTLE and holder.end - now >= WORTH * RESTART


def _one_more(board: Board, ledger: Ledger, holder: Holder, now: float) -> Placement | None:
    names = board.snapshot.sites.names
    pools = board.snapshot.pools
    kind = pools.kind[holder.shares[0].row]
    sites = frozenset(names[pools.site[share.row]] for share in holder.shares)
    elastic = holder.spec.elastic
    missing = 0 if elastic is None else elastic.max - holder.chips
    shape = Shape.of(holder.spec, max(1.0, holder.end - now), holder.rates)
    again = Repair(chip=kind, chips=1, rank=holder.next_rank, others=sites)
    job = Waiting(holder.job, 0, 0, holder.priority, 0.0, repair=again)
    (ask,) = asks_of(job, shape, board, ledger)
    columns = board.columns(kind)
    least = int(columns.node.min()) if ask.whole_nodes and len(columns.node) else 1
    if least > missing:
        return None
    left = ledger.limits.left(ask.queue, kind)
    wide: Ask = replace(ask, least=least, most=int(min(missing, left)))
    if wide.most < least:
        return None
    rooms = room(board, ledger, wide)
    choice = choose(columns, rooms, wide, scores(board, columns, ledger, wide))
    if choice is None:
        return None
    given = placement(board, holder.job, 0, holder.next_rank, take(board, ledger, wide, choice))
    more, total = int(choice.chips.sum()), holder.chips + int(choice.chips.sum())
    where = given.shares[0].site
    reason = f"{more} idle chips at {where}: {total} of at most {elastic.max if elastic else total}"
    return replace(given, repair=False, grow=True, reason=reason)
