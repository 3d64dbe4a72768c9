"""Room: how many chips each pool of a kind could give to one job, all masks applied."""

from __future__ import annotations

import numpy as np

from skep.model.snapshot import Bools, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board, Columns
from skep.scheduler.ledger import Ledger

# W; sums of floats. Half of what the check at commit allows for, so that it never disagrees.
ROUNDING = 5e-7


def room(board: Board, ledger: Ledger, ask: Ask) -> Ints:
    """Chips per row of the kind's columns that ``ask`` could take now; 0 where a mask refuses."""
    columns, gate = board.columns(ask.kind), board.gate(ask.queue, ask.kind)
    chips = np.minimum(free_in_nodes(columns, ledger, ask), powered(columns, ledger, ask))
    if ask.others:
        return np.where(gate.open & beside(board, columns, ask.others), chips, 0)
    return np.where(gate.open, chips, 0)


def free_in_nodes(columns: Columns, ledger: Ledger, ask: Ask) -> Ints:
    """Free chips per row; in whole nodes where the job asks for nodes."""
    return _whole(columns, ledger.free[columns.rows], ask)


def powered(columns: Columns, ledger: Ledger, ask: Ask) -> Ints:
    """Chips per row, up to those of the pool, that the site's headroom bears at work."""
    bears = (ledger.headroom[columns.site] + ROUNDING) / columns.divisor
    whole = np.minimum(np.maximum(bears, 0.0), columns.chips).astype(np.int64)
    return _whole(columns, whole, ask)


def one_pool_per_site(columns: Columns, rooms: Ints) -> Ints:
    """``rooms`` with 0 for all but the roomiest pool of each site: a share stays in one pool."""
    if columns.alone:
        return rooms
    order = np.lexsort((-rooms, columns.site))
    first = np.ones(len(order), dtype=bool)
    first[1:] = columns.site[order][1:] != columns.site[order][:-1]
    kept = np.zeros_like(rooms)
    kept[order[first]] = rooms[order[first]]
    return kept


def beside(board: Board, columns: Columns, others: frozenset[str]) -> Bools:
    """Rows at none of the sites ``others``, with a link to each of them."""
    theirs = [board.row[name] for name in others if name in board.row]
    links = board.snapshot.sites.bandwidth[columns.site][:, theirs] > 0
    return ~columns.at(board, others) & links.all(axis=1)


def _whole(columns: Columns, chips: Ints, ask: Ask) -> Ints:
    return chips - chips % columns.node if ask.whole_nodes else chips
