"""Stretch: an elastic job takes idle chips where it is, as few as one (or a node) more.

A share cannot become larger while it runs: the job stops and starts anew with what it held and
what is idle there. So this is for those that cannot have a share more (``grow``), and only where
the chips gained, over what the job has yet to do, outweigh the restart twice (see ``again``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from skep.model.snapshot import Holder, Migration, Shape, Waiting
from skep.scheduler.again import FACTOR, cost_of, move, rested, without
from skep.scheduler.ask import Ask, asks_of
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.line import Line
from skep.scheduler.reach import kinds_of
from skep.scheduler.room import room
from skep.scheduler.score import scores
from skep.scheduler.search import choose

# So many jobs in one cycle; the others in the next.
MOST = 4


def stretch(
    board: Board, ledger: Ledger, line: Line, changed: Collection[str], now: float
) -> list[Migration]:
    """Who starts anew with more chips at its own sites; what is more is taken from the ledger.

    Of no kind for which somebody waits: chips are given back one by one no more than they are
    taken. ``changed``: jobs that grow and runs that stop already.
    """
    found: list[Migration] = []
    growing = board.snapshot.growing
    wanted = {k for s in line.shapes.values() for k in kinds_of(board.kinds, s)} if growing else ()
    for holder in sorted(growing, key=lambda h: (-h.priority, h.began, h.job)):
        if len(found) == MOST:
            break
        if board.snapshot.pools.kind[holder.shares[0].row] in wanted or holder.job in line.row:
            continue
        names = (holder.job, *(share.run for share in holder.shares))
        if rested(holder, now) and not any(name in changed for name in names):
            found += _more(board, ledger, holder, now)
    return found


def _more(board: Board, ledger: Ledger, holder: Holder, now: float) -> list[Migration]:
    """As many chips as its own pools have for it, if that is worth it."""
    pools = [share.row for share in holder.shares]
    kinds = {board.snapshot.pools.kind[row] for row in pools}
    least = FACTOR * cost_of(holder, now)
    elastic, left = holder.spec.elastic, holder.end - now
    idle = min(int(ledger.free[pools].sum()), (elastic.max if elastic else 0) - holder.chips)
    if len(kinds) > 1 or idle <= 0 or _gain(holder, holder.chips + idle, left) <= least:
        return []
    for ask in _asks(board, ledger, holder, kinds.pop(), idle, now):
        columns, seen = board.columns(ask.kind), without(ledger, holder, board)
        rooms = np.where(np.isin(columns.rows, pools), room(board, seen, ask), 0)
        choice = choose(columns, rooms, ask, scores(board, columns, seen, ask))
        chips = 0 if choice is None else int(choice.chips.sum())
        if choice is not None and (gain := _gain(holder, chips, left)) > least:
            told = f"starts anew with {chips} chips instead of {holder.chips} where it is"
            return [move(board, ledger, holder, ask, choice, gain, told)]
    return []


def _asks(
    board: Board, ledger: Ledger, holder: Holder, kind: str, idle: int, now: float
) -> Iterator[Ask]:
    """More of the kind that it has, at as many sites."""
    shape = Shape.of(holder.spec, max(1.0, holder.end - now), holder.rates)
    job, count = Waiting(holder.job, 0, 0, holder.priority, 0.0), len(holder.shares)
    for ask in asks_of(job, shape, board, ledger):
        more = int(min(idle, ledger.limits.left(ask.queue, kind)))
        if ask.kind == kind and not ask.worth and more > 0:
            chips = holder.chips
            most = min(ask.most, chips + more)
            yield replace(ask, least=chips + 1, most=most, sites_min=count, sites_max=count)


def _gain(holder: Holder, chips: int, left: float) -> float:
    """Chip-seconds of the reference, as far as it is as fast as its chips are many."""
    return left * (1.0 - holder.chips / chips) * holder.weight
