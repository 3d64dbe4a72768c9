"""Outlook: what a refused ask could have now, and what it could have of an empty pool."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skep.model.snapshot import Ints
from skep.scheduler.ask import Ask
from skep.scheduler.board import Board
from skep.scheduler.ledger import Ledger
from skep.scheduler.room import free_in_nodes, one_pool_per_site, powered, reached, room
from skep.scheduler.search import choose


@dataclass(frozen=True, slots=True)
class Outlook:
    """``now`` and ``later``: chips per row; ``most_now``, ``most_ever``: the most at once of them.

    Later is with no run alive, all sites up, none drained, and on any later day of the rules;
    ``ever`` is whether the ask fits then.
    """

    ask: Ask
    now: Ints
    later: Ints
    most_now: int
    most_ever: int
    ever: bool


def outlook(board: Board, ledger: Ledger, ask: Ask) -> Outlook:
    """What ``ask`` could have, now and with the pool as it is but idle."""
    now, later = room(board, ledger, ask), room_ever(board, ask)
    return Outlook(
        ask,
        now,
        later,
        most_now=most(board, ask, now),
        most_ever=most(board, ask, later),
        ever=fits(board, ask, later),
    )


def room_ever(board: Board, ask: Ask) -> Ints:
    """Chips per row that the pool could give if nothing ran and every site was up."""
    columns, gate = board.columns(ask.kind), board.gate(ask.queue, ask.kind)
    idle = board.idle
    chips = np.minimum(free_in_nodes(columns, idle, ask), powered(columns, idle, ask))
    allowed = gate.ever
    if ask.others:
        allowed = allowed & ~columns.at(board, ask.others) & reached(board, columns, ask.others)
    return np.where(allowed, chips, 0)


def fits(board: Board, ask: Ask, rooms: Ints) -> bool:
    """Whether some placement of ``ask`` goes into ``rooms``."""
    columns = board.columns(ask.kind)
    return choose(columns, rooms, ask, np.zeros(len(rooms))) is not None


def most(board: Board, ask: Ask, rooms: Ints) -> int:
    """The most chips, up to what is asked, that one placement gets from ``rooms``; 0 for none."""
    columns = board.columns(ask.kind)
    wish = replace(ask, least=1)
    found = choose(columns, rooms, wish, np.zeros(len(rooms)))
    return 0 if found is None else int(found.chips.sum())


def sites_needed(board: Board, ask: Ask, rooms: Ints) -> int | None:
    """The fewest sites over which ``ask`` goes into ``rooms``; None where no number does."""
    columns = board.columns(ask.kind)
    wide = replace(ask, most=ask.least, sites_max=max(len(rooms), ask.sites_min))
    found = choose(columns, one_pool_per_site(columns, rooms), wide, np.zeros(len(rooms)))
    return None if found is None else len(found.rows)
