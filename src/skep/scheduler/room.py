"""Room: how many chips each pool of a kind could give to one job, all masks applied."""

from __future__ import annotations

import math

import numpy as np

from skep.model.snapshot import Bools, Floats, Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.columns import Columns, good_links
from skep.scheduler.ledger import Ledger

# W; sums of floats. Half of what the check at commit allows for, so that it never disagrees.
ROUNDING = 5e-7


def room(board: Board, ledger: Ledger, ask: Ask) -> Ints:
    """Chips per row of the kind's columns that ``ask`` could take now; 0 where a mask refuses.

    With ``ask.worth`` in chips as good as one of that kind.
    """
    columns, gate = board.columns(ask.kind), board.gate(ask.queue, ask.kind)
    chips = np.minimum(free_in_nodes(columns, ledger, ask), powered(columns, ledger, ask))
    for limit in ledger.limits.at_sites(ask.queue, ask.kind):
        chips = np.where(
            under(columns, limit.site, limit.kind), np.minimum(chips, limit.left), chips
        )
    mask: Bools = gate.open
    if ask.others:
        mask = np.logical_and(mask, beside(board, columns, ask))
    return in_worth(board, columns, ask, np.where(mask, _whole(columns, chips, ask), 0))


def under(columns: Columns, site: int | None, kind: str | None) -> Bools:
    """Which rows a quota of ``kind`` at ``site`` counts."""
    rows = np.ones(len(columns.rows), dtype=bool)
    if site is not None:
        rows &= columns.site == site
    if kind is not None:
        rows &= np.array([each == kind for each in columns.kinds], dtype=bool)
    return rows


def free_in_nodes(columns: Columns, ledger: Ledger, ask: Ask) -> Ints:
    """Free chips per row: in one block, in whole nodes, no more than may be at one site."""
    free = ledger.free_for(ask.length, columns.pool_site)[columns.rows]
    if ask.in_block:
        free = np.minimum(free, ledger.largest_for(ask.length)[columns.rows])
    if ask.spread is not None:
        free = np.minimum(free, ask.spread)
    return _whole(columns, free, ask)


def powered(columns: Columns, ledger: Ledger, ask: Ask) -> Ints:
    """Chips per row, up to those of the pool, that the site's headroom bears at work."""
    bears = (ledger.headroom_for(ask.length)[columns.site] + ROUNDING) / columns.divisor
    whole = np.minimum(np.maximum(bears, 0.0), columns.chips).astype(np.int64)
    return _whole(columns, whole, ask)


def in_worth(board: Board, columns: Columns, ask: Ask, chips: Ints) -> Ints:
    """``chips`` per row in chips as good as one of ``ask.worth``; as they are without it."""
    if not ask.worth:
        return chips
    found: Ints = np.floor(chips * worth(board, columns, ask) + 1e-9).astype(np.int64)
    return found


def worth(board: Board, columns: Columns, ask: Ask) -> Floats:
    """Per row, how many chips of ``ask.worth`` one chip does the work of."""
    one = board.speed(ask.worth, ask.rates) or math.inf
    same = np.array([kind == ask.worth for kind in columns.kinds], dtype=bool)
    return np.where(same, 1.0, columns.speed(ask.rates) / one)


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


def beside(board: Board, columns: Columns, ask: Ask) -> Bools:
    """Rows at none of the sites where the job runs, with a link to each of them."""
    theirs, sites = board.sites_of(ask.others), board.snapshot.sites
    good = good_links(sites.bandwidth, sites.rtt, ask.bandwidth, ask.rtt)
    linked = np.asarray(good[columns.site][:, theirs].all(axis=1))
    return ~columns.at(theirs) & linked


def _whole(columns: Columns, chips: Ints, ask: Ask) -> Ints:
    return chips - chips % columns.node if ask.whole_nodes else chips
